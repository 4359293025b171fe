"""The place of a downloaded file."""

from os import PathLike
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import Self


def target_path(target: str | PathLike[str], name: str) -> Path:
    """Return the path of a downloaded file: *target*, or *name* in it if it is a folder.

    Raises ValueError if *name* leads out of the folder, as one with a backslash does on Windows.
    """
    path = Path(target)
    if not path.is_dir():
        return path
    if name in ("", "..") or Path(name).name != name:
        raise ValueError(f"{name!r} is no name of a file")
    return path / name


class DownloadTarget:
    """A file that appears at *path* when it is complete, as a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # Downloads of one file at the same time don't share it.
        self._partial = path.with_name(f".{token_hex(8)}.part")
        self._file = self._partial.open("xb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._partial.unlink(missing_ok=True)

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)

    def finish(self) -> None:
        """Move the complete file to its place."""
        self._file.close()
        self._partial.replace(self.path)
