"""The bodies of uploads: streamed into temporary files, whatever their size, at a rate that a client must keep up.

What must hold:
- A body holds at most some hundred KiB of memory, which are reserved.
- A body ends if it makes no progress, or if it comes at less than `LEAST_RATE` for long.
- A body that is too long is refused as soon as that is known: by its Content-Length, or when it exceeds the limit.
- Whatever ends a body early, nothing of it is left.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing
from typing import Any

from litestar import Request
from litestar.exceptions import ClientException
from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser, parse_options_header

from stepwell.api.requests.body_buffers import BodyTooLarge, reserve_memory
from stepwell.api.requests.request_bodies import (
    LEAST_RATE,
    BodyHead,
    BodyTooSlow,
    UnsupportedBody,
    read_head,
    receive_part,
)
from stepwell.api.requests.request_resources import resources_of
from stepwell.basics.errors import Fault, InvalidRequest
from stepwell.engine.files.spooled_file import SpooledFile, spooled_file
from stepwell.runtime.memory import FREE_BYTES

_MULTIPART = "multipart/form-data"
_MAX_FILES = 20
_PART_HEADERS = 4_096  # bytes, of each part of a form
_HELD_BYTES = 1024 * 1024  # a part of the body from the server, with its copies
_WRITE_BYTES = 256 * 1024  # that are written to a temporary file at once
_MAX_NAME = 200


async def read_files(
    request: Request[Any, Any, Any],
    name: str | None,
    max_bytes: int,
    count: Callable[[int], object],
    stack: AsyncExitStack,
) -> list[SpooledFile]:
    """Return the files of the body, which *stack* closes. *name* is the name of a body that is one file.

    *count* is called with the size of each part of the body, before the part is written, and may refuse it.

    Raises `UnsupportedBody`, `BodyTooLarge`, `BodyTooSlow`, `InvalidRequest`, and what `SpooledFile.write` raises.
    """
    head = read_head(request)
    media_type, options = parse_options_header(_content_type(head))
    is_form = media_type == _MULTIPART
    if is_form and not options.get("boundary"):
        raise UnsupportedBody("The Content-Type multipart/form-data needs a boundary.")
    most = max_bytes + (_PART_HEADERS * _MAX_FILES if is_form else 0)
    if head.length is not None and head.length > most:
        raise BodyTooLarge(max_bytes)
    if head.length is None or head.length > FREE_BYTES:
        await reserve_memory(await resources_of(request.scope).memory(), _HELD_BYTES)
    if is_form and name is not None:
        raise InvalidRequest([Fault(("query", "name"), "A form names its files itself", "form_name")])
    async with aclosing(_chunks(request, most, max_bytes, count)) as chunks:
        if is_form:
            return await _read_form(chunks, options["boundary"], max_bytes, stack)
        file = await stack.enter_async_context(spooled_file(name or ""))
        await _spool(chunks, file)
        return [file]


def _content_type(head: BodyHead) -> str:
    if head.encoding not in (b"", b"identity"):
        raise UnsupportedBody("The body of an upload must not be compressed.")
    content_type = (head.content_type or b"").strip()
    if not content_type or len(content_type) > _PART_HEADERS:
        raise UnsupportedBody("The upload needs one Content-Type: that of the file, or multipart/form-data.")
    return content_type.decode("latin-1")


async def _chunks(
    request: Request[Any, Any, Any], most: int, max_bytes: int, count: Callable[[int], object]
) -> AsyncGenerator[bytes, None]:
    """Yield the body as it arrives. The time that the caller takes for a part doesn't count."""
    stall_s = resources_of(request.scope).process.body_timeout_s
    loop = asyncio.get_running_loop()
    waited = received = 0.0
    more = True
    while more:
        began = loop.time()
        # The whole body may take `stall_s` longer than at the least rate, and each part of it `stall_s`.
        left = stall_s + received / LEAST_RATE - waited
        try:
            async with asyncio.timeout(min(stall_s, left + stall_s)):
                message = await receive_part(request)
        except TimeoutError:
            raise BodyTooSlow from None
        waited += loop.time() - began
        received += len(message["body"])
        if received > most:
            raise BodyTooLarge(max_bytes)
        count(len(message["body"]))
        more = message.get("more_body", False)
        yield message["body"]


async def _spool(chunks: AsyncIterator[bytes], file: SpooledFile) -> None:
    buffer = bytearray()
    async for chunk in chunks:
        buffer += chunk
        if len(buffer) >= _WRITE_BYTES:
            await file.write(bytes(buffer))
            buffer.clear()
    if buffer:
        await file.write(bytes(buffer))


async def _read_form(
    chunks: AsyncIterator[bytes], boundary: str, max_bytes: int, stack: AsyncExitStack
) -> list[SpooledFile]:
    files: list[SpooledFile] = []
    file: SpooledFile | None = None
    size = 0
    try:
        with PushMultipartParser(boundary, max_header_size=_PART_HEADERS, max_segment_count=_MAX_FILES) as parser:
            async for chunk in chunks:
                for event in parser.parse(chunk) if chunk else ():
                    if isinstance(event, MultipartSegment):
                        file = await stack.enter_async_context(spooled_file(_file_name(event)))
                        files.append(file)
                    elif event is not None:
                        assert file is not None
                        size += len(event)
                        if size > max_bytes:
                            raise BodyTooLarge(max_bytes)
                        await file.write(bytes(event))
    except ParserLimitReached:
        raise ClientException(detail=f"The form has more than {_MAX_FILES} files, or too long headers.") from None
    except MultipartError as error:
        raise ClientException(detail=f"The body isn't multipart/form-data: {error}.") from None
    if not files:
        raise InvalidRequest([Fault(("body",), "Expected one or more parts named file", "missing")])
    return files


def _file_name(part: MultipartSegment) -> str:
    if part.name != "file":
        name = part.name[:_MAX_NAME]
        raise InvalidRequest([Fault(("body", name), "Unknown part; the parts of an upload are named file", "unknown")])
    return part.filename or ""
