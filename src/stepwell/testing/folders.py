"""Temporary folders that the user who runs PostgreSQL can enter."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def fresh_folder(parent: Path | None = None) -> Iterator[Path]:
    """Yield a new folder in *parent*, by default the temporary folder. It is deleted at the end.

    Other users may pass through it if this process is root: then PostgreSQL runs as another user, for whom the folders
    of pytest's `tmp_path` are closed.
    """
    folder = Path(tempfile.mkdtemp(prefix="stepwell-", dir=parent))
    if os.geteuid() == 0:
        folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
