"""The place of a downloaded file."""

from os import PathLike
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import Self


class DownloadTarget:
    """A file that appears at its `path` when it is complete, as a context manager."""

    def __init__(self, target: str | PathLike[str], name: str) -> None:
        """*target* is the file, or the folder in which it gets the name *name*. Raises ValueError if *name* leads out
        of the folder, as one with a backslash does on Windows.
        """
        place = Path(target)
        if place.is_dir():
            if name in ("", "..") or Path(name).name != name:
                raise ValueError(f"{name!r} is no name of a file")
            place /= name
        self.path = place
        # Downloads of one file at the same time don't share it.
        self._partial = place.with_name(f".{token_hex(8)}.part")
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
