"""A buffer for the answer of a provider: a large one is in a temporary file."""

import os
from collections.abc import AsyncIterator
from tempfile import TemporaryFile
from typing import IO

from anyio import to_thread

from stepwell.runtime.memory import FREE_BYTES

_CHUNK = 1024 * 1024  # bytes


class AnswerSpool:
    """Stores an answer as it comes. Close it when done. `size` is the number of its bytes.

    What can't be written because the disk is full stays in memory: the answer may be paid for.
    """

    def __init__(self) -> None:
        self.size = 0
        self._small, self._tail = bytearray(), bytearray()
        self._file: IO[bytes] | None = None
        self._broken = False

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    async def write(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if self.size <= FREE_BYTES:
            self._small += chunk
        elif self._broken:
            self._tail += chunk
        else:
            await to_thread.run_sync(self._write_to_file, chunk)

    async def read(self) -> bytes:
        return bytes(self._small) if self.size <= FREE_BYTES else await to_thread.run_sync(self._read)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the answer in chunks of up to a megabyte, without reading all of it to memory."""
        if self.size <= FREE_BYTES:
            yield bytes(self._small)
            return
        offset = 0
        while chunk := await to_thread.run_sync(self._read_at, offset):
            offset += len(chunk)
            yield chunk
        if self._tail:
            yield bytes(self._tail)

    def _read_at(self, offset: int) -> bytes:
        return b"" if self._file is None else os.pread(self._file.fileno(), _CHUNK, offset)

    def _write_to_file(self, chunk: bytes) -> None:
        rest = memoryview(chunk if self._file is not None else bytes(self._small) + chunk)
        try:
            if self._file is None:
                self._file = TemporaryFile(buffering=0)  # noqa: SIM115 - `close` closes it
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            self._broken = True
            self._tail += rest

    def _read(self) -> bytes:
        if self._file is None:
            return bytes(self._tail)
        self._file.seek(0)
        written = self._file.read()  # the only copy in memory, if all is in the file
        return written + self._tail if self._tail else written
