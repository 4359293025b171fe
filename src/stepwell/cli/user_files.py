"""Files of the command line in the user's own folders, which only this user can read."""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from uuid import uuid4

_MAX_BYTES = 1_048_576
_POLL_S = 0.01


def config_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder of the user's configuration. Raises RuntimeError for a user without a home."""
    return _folder(environ, "XDG_CONFIG_HOME", ".config")


def state_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder of what commands store for later commands. Raises RuntimeError for a user without a home."""
    return _folder(environ, "XDG_STATE_HOME", ".local/state")


def _folder(environ: Mapping[str, str], variable: str, default: str) -> Path:
    """Return the folder by the XDG Base Directory Specification, which ignores relative paths."""
    base = Path(environ.get(variable) or "")
    return (base if base.is_absolute() else Path.home() / default) / "stepwell"


def read_bounded(path: Path) -> bytes:
    """Return the content of the file, at most a mebibyte of it. Raises OSError."""
    with path.open("rb") as file:
        return file.read(_MAX_BYTES)


def write_private(path: Path, data: bytes) -> None:
    """Replace the file atomically. Only its user can read it. Its folder exists. Raises OSError."""
    with staged_file(path, data) as staged:
        staged.replace(path)


@contextmanager
def staged_file(path: Path, data: bytes) -> Iterator[Path]:
    """Yield a new file beside *path* with *data*, safe on the disk. At the end it is deleted, unless it was renamed."""
    staged, descriptor = open_staged(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield staged
    finally:
        staged.unlink(missing_ok=True)


def open_staged(path: Path) -> tuple[Path, int]:
    """Create a new file beside *path*, which only its user can read. Return its path and its descriptor."""
    staged = path.with_name(f".{path.name}-{uuid4().hex}")
    return staged, os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


@contextmanager
def locked_folder(folder: Path, *, within_s: float = 10.0) -> Iterator[None]:
    """Create *folder* if it is missing, and let one command at a time change its files.

    Raises OSError, also if another command, which may be suspended, holds the lock for longer than *within_s*.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    deadline = monotonic() + within_s
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while not _locked(descriptor):
            if monotonic() > deadline:
                raise TimeoutError(None, f"another command holds the lock of {folder}")
            sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
