"""A file that is being received: in an unnamed temporary file, with its size and its digest."""

import errno
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import IO

from anyio import to_thread

from stepwell.basics.errors import ArtifactDiskFull, ArtifactError
from stepwell.runtime.temporary_files import path_for_others, temporary_file

_FULL = (errno.ENOSPC, errno.EDQUOT)


class SpooledFile:
    """The bytes of one file. The kernel removes them with the context of `spooled_file`, or with the process."""

    def __init__(self, name: str, file: IO[bytes]) -> None:
        self.name, self.file = name, file
        self.size = 0
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    @property
    def path(self) -> str:
        """The path by which a child process opens the file."""
        return path_for_others(self.file)

    async def write(self, data: bytes) -> None:
        """Append *data*. Raises `ArtifactDiskFull` and `ArtifactError`."""
        try:
            await to_thread.run_sync(self._write, data)
        except OSError as error:
            kind = ArtifactDiskFull if error.errno in _FULL else ArtifactError
            raise kind(f"an upload could not be written to a temporary file: {error.strerror}") from error

    def _write(self, data: bytes) -> None:
        self.file.write(data)
        self.file.flush()
        self._digest.update(data)
        self.size += len(data)


@asynccontextmanager
async def spooled_file(name: str) -> AsyncIterator[SpooledFile]:
    """Yield an empty file, which gets *name* once it is stored. Raises OSError if the disk is full."""
    async with temporary_file() as file:
        yield SpooledFile(name, file)
