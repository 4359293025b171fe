"""Temporary files without a name, which other processes of this machine can open.

The kernel removes such a file when the last process closes it. So a crash leaves none behind.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from anyio import CancelScope, to_thread

_SMALL = 4 * 1024 * 1024  # bytes; to free a larger file would take milliseconds of the event loop


@asynccontextmanager
async def temporary_file(folder: Path | None = None) -> AsyncIterator[IO[bytes]]:
    """Yield an empty file, in *folder* or in the folder of temporary files. Raises OSError if the disk is full.

    A file in *folder* can be given a name there, if the file system is able to make files without a name.
    """
    file = _open_file(folder)
    try:
        yield file
    finally:
        if os.fstat(file.fileno()).st_size <= _SMALL:
            file.close()
        else:
            with CancelScope(shield=True):
                await to_thread.run_sync(file.close)


def _open_file(folder: Path | None) -> IO[bytes]:
    if folder is None:
        return TemporaryFile()
    # `TemporaryFile` adds O_EXCL, which says that the file never gets a name.
    try:
        descriptor = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o666)
    except OSError:  # a network file system, for example
        return TemporaryFile(dir=folder)
    return os.fdopen(descriptor, "w+b")


def path_for_others(file: IO[bytes]) -> str:
    """Return the path by which processes of the same user can open *file*, as long as it is open here.

    Keep *file* open until those processes have ended, because afterwards the path may lead to another file.
    """
    return f"/proc/{os.getpid()}/fd/{file.fileno()}"
