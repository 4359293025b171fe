"""The place of a downloaded file."""

from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Self


class DownloadTarget:
    """A file that appears at its `path` when it is complete, as a context manager."""

    def __init__(self, target: str | PathLike[str], name: str) -> None:
        """*target* is the file, or the folder in which it gets the name *name*."""
        place = Path(target)
        self.path = place / name if place.is_dir() else place
        self._partial = self.path.with_name(f"{self.path.name}.part")
        self._file = self._partial.open("wb")

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
