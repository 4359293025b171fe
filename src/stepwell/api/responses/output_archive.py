"""The ZIP with all files of a run. It is sent while it is made.

What must hold:
- It has exactly the files of the list of outputs, as that was when the response began, under the names that
  `basics.folder_names` makes. Its length is computed beforehand, by the layout of `zipfile`.
- Each file has the size and the SHA-256 that were recorded. If one is missing, unreadable or different, the response
  ends in front of the list of names that each ZIP has at its end. So no client takes a part for the whole.
- It needs the memory of a chunk and of the list, which it reserves, whatever the sizes of the files are.
- A file is read, hashed and copied in threads. No statement runs while the client reads.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from hashlib import sha256
from typing import Final
from uuid import UUID
from zipfile import ZipFile, ZipInfo

from anyio import to_thread
from litestar.types import ASGIApp
from msgspec import Struct

from stepwell.api.requests.body_buffers import INLINE_BYTES
from stepwell.api.requests.headers import Headers
from stepwell.api.responses.streamed_responses import MEMORY_WAIT_S, NO_MEMORY, stream_response
from stepwell.basics.errors import ArtifactError, Fault, InvalidRequest, NeverFits, Unavailable
from stepwell.basics.folder_names import FolderNames
from stepwell.contract.tasks import Output
from stepwell.ports.artifacts import Artifacts
from stepwell.rules.list_records import OutputCursor, StoredOutput
from stepwell.runtime.memory import MemoryReservation
from stepwell.runtime.offloop import off_loop

ZIP_TYPE: Final = "application/zip"
_PAGE: Final = 1_000
_CHUNKS_BYTES: Final = 6 * 1024 * 1024  # a chunk, as it was read, in the ZIP and on the way to the client
_FILE_BYTES: Final = 2_000  # of memory for the entries of a file, here and in `ZipFile`
_LIMIT: Final = (1 << 31) - 1  # where `zipfile` begins to use the fields of ZIP64
_FILES_LIMIT: Final = (1 << 16) - 1

ReadPage = Callable[[OutputCursor | None, int], Awaitable[list[StoredOutput]]]
"""A function that returns up to so many files of the list, those behind the cursor."""


class ArchivedFile(Struct, frozen=True, gc=False):
    """A file of the ZIP, and its name there."""

    name: str
    output: Output


def archive_response(
    workflow_id: UUID,
    read_page: ReadPage,
    artifacts: Artifacts,
    memory: Callable[[], Awaitable[MemoryReservation]],
    now: datetime,
) -> ASGIApp:
    """Return the response that sends the files of *read_page* as one ZIP. *memory* returns the request's reservation.

    The response raises what *read_page* and *memory* raise, `Unavailable`, and `InvalidRequest` if there are too many
    files.
    """

    @asynccontextmanager
    async def open_archive() -> AsyncIterator[tuple[Headers, AsyncGenerator[bytes, None]]]:
        reservation = await memory()
        await _reserve(reservation, _CHUNKS_BYTES)
        files = await _read_list(read_page, reservation)
        headers = {
            "content-type": ZIP_TYPE,
            "content-length": str(await off_loop(lambda: archive_length(files), steps=len(files))),
            "content-disposition": f'attachment; filename="{workflow_id}.zip"',
            "x-content-type-options": "nosniff",
            "cache-control": "private, no-store",
            "vary": "Accept",
        }
        async with aclosing(archive(files, artifacts, now)) as body:
            # A fault in the first chunk is a proper response.
            yield headers, _chain(await anext(body), body)

    return stream_response(open_archive)


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    yield first
    async for chunk in rest:
        yield chunk


async def _read_list(read_page: ReadPage, reservation: MemoryReservation) -> list[ArchivedFile]:
    """Return all files of the list, with their names in the ZIP.

    Raises `Unavailable` if a sub-workflow has been replaced by the next one of `repeat` between two pages.
    """
    files, folder = list[ArchivedFile](), FolderNames()
    step: tuple[str, UUID] | None = None
    after: OutputCursor | None = None
    while True:
        await _reserve(reservation, _PAGE * _FILE_BYTES)
        page = await read_page(after, _PAGE)
        for each in page:
            if step != (each.step_path, each.cursor.workflow_id):  # the files of a step or item are consecutive
                step, folder = (each.step_path, each.cursor.workflow_id), FolderNames()
            name = folder.add(each.output.path.rpartition("/")[2])
            files.append(ArchivedFile(f"{each.step_path}/{name}", each.output))
        if len(page) < _PAGE:
            break
        after = page[-1].cursor
    if len({each.name for each in files}) < len(files):
        raise Unavailable("The list of outputs has changed while it was read.", 1)
    return files


async def _reserve(reservation: MemoryReservation, size: int) -> None:
    try:
        async with asyncio.timeout(MEMORY_WAIT_S):
            await reservation.grow(size)
    except TimeoutError:
        raise Unavailable(NO_MEMORY, 5) from None
    except NeverFits as error:
        why = f"The list of all files {error}; read the list page by page, and get the files one by one"
        raise InvalidRequest([Fault(("header", "Accept"), why, "too_large")]) from None


def archive_length(files: Sequence[ArchivedFile]) -> int:
    """Return the length of the ZIP of *files* in bytes.

    The layout is that of https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT (4.3), with a data descriptor
    behind each file.
    """
    offset = directory = 0
    for each in files:
        size, name = each.output.size, len(each.name)
        large = size > _LIMIT
        fields = 2 * large + (offset > _LIMIT)
        directory += 46 + name + (4 + 8 * fields if fields else 0)
        offset += 30 + name + size + (20 + 24 if large else 16)
    needs_zip64 = len(files) > _FILES_LIMIT or offset > _LIMIT or directory > _LIMIT
    return offset + directory + (56 + 20 if needs_zip64 else 0) + 22


async def archive(files: Sequence[ArchivedFile], artifacts: Artifacts, now: datetime) -> AsyncGenerator[bytes, None]:
    """Yield the ZIP of *files* in chunks. Media hardly shrink, so nothing is compressed.

    Raises `ArtifactError` and `ArtifactGone`, before the end of the ZIP.
    """
    sink = _Sink()
    zip_file = ZipFile(sink, "w")
    for each in files:
        digest, size = sha256(), 0
        info = ZipInfo(each.name, now.timetuple()[:6])
        with zip_file.open(info, "w", force_zip64=each.output.size > _LIMIT) as file:

            def write(chunk: bytes) -> None:
                digest.update(chunk)  # noqa: B023 - called in this iteration
                file.write(chunk)

            async with artifacts.stream(each.output.path) as chunks:
                async for chunk in chunks:
                    size += len(chunk)
                    if size > each.output.size:
                        break
                    if len(chunk) <= INLINE_BYTES:
                        write(chunk)
                    else:
                        await to_thread.run_sync(write, chunk)
                    if sink.size > INLINE_BYTES:
                        yield sink.take()
            if (size, digest.hexdigest()) != (each.output.size, each.output.sha256):
                raise ArtifactError(f"{each.output.path} is damaged: it has another size or hash than recorded")
    await to_thread.run_sync(zip_file.close)
    yield sink.take()


class _Sink:
    """A file for `ZipFile`, which can't seek. `size` counts the bytes that haven't been taken."""

    def __init__(self) -> None:
        self._parts, self.size = list[bytes](), 0

    def write(self, data: bytes) -> int:
        self._parts.append(data)
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing: what was written is taken from here."""

    def close(self) -> None:
        """Do nothing."""

    def take(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        self.size = 0
        return data
