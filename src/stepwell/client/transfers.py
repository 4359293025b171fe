"""The files that the client transfers: the content of an upload, and the file of a download."""

from collections.abc import Callable
from io import SEEK_END, SEEK_SET, BytesIO
from os import PathLike, fspath
from pathlib import Path
from secrets import token_hex
from stat import S_ISREG
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self, TypeAlias

from stepwell.client.errors import StepwellError


class ReadableFile(Protocol):
    """A file that is open for reading bytes."""

    def read(self, size: int, /) -> bytes: ...


Content: TypeAlias = "str | PathLike[str] | bytes | bytearray | memoryview | ReadableFile"


class UploadSource:
    """The content of one upload. `name` is "" if it has none; `size` is None if it isn't known.

    `is_rewindable`: it can be sent again.
    """

    def __init__(self, content: Content, name: str | None) -> None:
        self.name, self.size, self.is_rewindable = name or "", None, True
        self._close = True
        if isinstance(content, bytes | bytearray | memoryview):
            data = bytes(content)
            self.size = len(data)
            self._open: Callable[[], Any] = lambda: BytesIO(data)
        elif isinstance(content, str | PathLike):
            path = Path(fspath(content))
            info = path.stat()
            self.name = name or path.name
            if S_ISREG(info.st_mode):
                self.size = info.st_size
            else:  # a pipe
                self.is_rewindable = False
            self._open = lambda: path.open("rb")
        else:
            self._use_file(content, name)

    size: int | None

    def _use_file(self, file: Any, name: str | None) -> None:
        if not callable(getattr(file, "read", None)) or not isinstance(file.read(0), bytes):
            raise TypeError("an upload is a path, bytes or a file that is open in binary mode")
        own_name = getattr(file, "name", None)
        self.name = name or (Path(own_name).name if isinstance(own_name, str) else "")
        self._close = False
        self.is_rewindable = bool(getattr(file, "seekable", lambda: False)())
        if not self.is_rewindable:
            self._open = lambda: file
            return
        start = file.tell()
        self.size = file.seek(0, SEEK_END) - start

        def rewind() -> Any:
            file.seek(start, SEEK_SET)
            return file

        self._open = rewind

    def open(self) -> BinaryIO:
        """Return the content from its beginning."""
        file: BinaryIO = self._open()
        return file

    def check(self, count: int, *, is_end: bool = False) -> None:
        """Raise StepwellError if *count* bytes of the content don't fit its size, which has been sent."""
        if self.size is not None and (count > self.size or (is_end and count < self.size)):
            raise StepwellError(f"{self.name or 'the content'} has changed while it was sent")

    def close(self, file: BinaryIO) -> None:
        """Close what `open` returned, unless it is the caller's."""
        if self._close:
            file.close()


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
        """Give the complete file its name."""
        self._file.close()
        self._partial.replace(self.path)
