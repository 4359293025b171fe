"""Responses with large workflows and with many tasks. They are sent in slices, in bounded memory.

What must hold:
- A response holds the memory that it has reserved: one snapshot of what changes, and one slice. It gives both back when
  it ends, however it ends.
- The snapshot is read before the response begins, so errors until then are proper responses. After that, an error ends
  the connection without the end of the response, so no client takes a part for the whole.
- No statement runs while the client reads. A client that accepts less than `PIECE_BYTES` in `PROGRESS_S` is cut off.
- A large workflow looks the same to the byte as a small one.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any, Final
from uuid import UUID, uuid4

import anyio
import structlog
from anyio import to_thread
from litestar.types import ASGIApp, Receive, Scope, Send
from msgspec import Struct, json, structs

from stepwell.api.requests.headers import ETAG, NO_HEADERS, Headers, encode_headers
from stepwell.api.responses.sent_definition import encode_head, encode_step, with_deleted
from stepwell.api.responses.serializers import item_to_public, stored_step_to_public, task_to_public, workflow_to_public
from stepwell.api.responses.workflow_etags import definition_etag, workflow_etag
from stepwell.basics.errors import Fault, InvalidRequest, NeverFits, NotFound, StepwellError, Unavailable
from stepwell.basics.idempotency import StoredResponse
from stepwell.basics.strict_json.size import MAX_RESULT_BYTES
from stepwell.basics.tenancy import TenantScope
from stepwell.contract.problems import DefinitionWarning
from stepwell.contract.workflows import ItemListResponse
from stepwell.definition.named_definitions import MAX_NAMED_BYTES
from stepwell.engine.reads.read_service import ReadService
from stepwell.lifecycle.preconditions import ReadVersion, Version
from stepwell.lifecycle.records import WHOLE, StoredInputs, WorkflowParts, WorkflowRecord
from stepwell.ports.storage import WorkflowReader
from stepwell.rules.large_workflow_records import LargeWorkflowSnapshot, ResponseSize, StepSnapshot
from stepwell.rules.list_records import ItemFilter, TaskCursor, TaskFilter, TaskSlice
from stepwell.runtime.memory import MemoryReservation

log = structlog.get_logger(__name__)

PIECE_BYTES: Final = 64 * 1024
SLICE_BYTES: Final = 1024 * 1024
MAX_PAGE_BYTES: Final = 1024**3
STORED_MAX_BYTES: Final = 1024 * 1024  # a response that is larger isn't stored with its idempotency key
PROGRESS_S = 30.0
MEMORY_WAIT_S: Final = 10.0
NO_MEMORY: Final = "other responses take all the memory that there is for them"
TASKS_A_SLICE: Final = 1_000
_DEFINITION: Final = WorkflowParts(steps=True, results=False)
_FIRST_COUNT, _MAX_COUNT = 250, 500  # steps of a slice
_LARGEST_ITEM: Final = 2 * MAX_RESULT_BYTES  # its value and its result
_COPIES = 3  # of a slice: as it was read, encoded, and in the buffer of the connection

_decode_states = json.Decoder(list[StepSnapshot]).decode


class StreamedResponse(Struct, frozen=True):
    """A response whose body is *prefix*, the workflows separated by commas, and *suffix*.

    A list has *page_etag*, which returns the list's ETag for the versions of its workflows. A list that is too large
    is refused at `limit`. A response without *page_etag* has one workflow, and that workflow's ETag. *warnings* are
    members of the workflow, in the response of create.
    """

    workflow_ids: Sequence[UUID]
    parts: WorkflowParts = WHOLE
    headers: Headers = NO_HEADERS
    status: int = 200
    prefix: bytes = b""
    suffix: bytes = b""
    page_etag: Callable[[Mapping[UUID, ReadVersion]], str] | None = None
    warnings: Sequence[DefinitionWarning] = ()


ApiResponse = StoredResponse | StreamedResponse


class ResponseStreams:
    """Sends streamed responses about workflows of *scope* that *reads* reads.

    *memory* returns the request's reservation.
    """

    def __init__(
        self, reads: ReadService, memory: Callable[[], Awaitable[MemoryReservation]], scope: TenantScope
    ) -> None:
        self._reads, self._memory, self._scope = reads, memory, scope

    def workflows(self, response: StreamedResponse, more: Headers = NO_HEADERS) -> ASGIApp:
        """Return the ASGI app that sends *response*, with *more* headers."""
        return stream_response(lambda: self._open(response), response.status, more)

    def tasks(self, workflow_id: UUID, first: TaskSlice, query: TaskFilter) -> ASGIApp:
        """Return the response that sends the list of the tasks of *query*, which begins with *first*.

        Each slice shows its tasks at the moment when it is read. So each response has another ETag.
        """
        tasks = self._task_list(workflow_id, first, structs.replace(query, max_bytes=SLICE_BYTES))
        return stream_response(lambda: self._open_list(tasks))

    def items(
        self, workflow_id: UUID, first: ItemListResponse, rest: ItemFilter, expected: int, *, repeats: bool
    ) -> ASGIApp:
        """Return the response that sends a page of *expected* items, which begins with *first* and goes on with *rest*.

        Each slice shows its items at the moment when it is read.
        """
        items = self._item_list(workflow_id, first, rest, expected, repeats=repeats)
        return stream_response(lambda: self._open_list(items, _LARGEST_ITEM))

    def definition(self, record: WorkflowRecord) -> ASGIApp:
        """Return the response that sends the definition of the workflow, as a client would send it."""
        return stream_response(lambda: self._open_definition(record))

    async def definition_text(self, record: WorkflowRecord, max_bytes: int) -> bytes | None:
        """Return the definition as `definition` sends it, or None if it is larger than *max_bytes*."""
        async with self._open_definition(record) as (_, body):
            return await collect(body, max_bytes)

    async def collect(self, response: StreamedResponse, max_bytes: int) -> StoredResponse | None:
        """Return the whole response, or None if its body is larger than *max_bytes*."""
        async with self._open(response) as (headers, body):
            collected = await collect(body, max_bytes)
            return None if collected is None else StoredResponse(response.status, dict(headers), collected)

    @asynccontextmanager
    async def _open(self, response: StreamedResponse) -> AsyncIterator[tuple[Headers, AsyncGenerator[bytes, None]]]:
        """Reserve the memory and read the snapshot. Return the headers, and the body in chunks."""
        size = await self._reads.size(self._scope, response.workflow_ids, response.parts, MAX_PAGE_BYTES)
        page_etag = response.page_etag
        if page_etag is not None and size.total > MAX_PAGE_BYTES:
            raise _too_large(f"The page would be over {MAX_PAGE_BYTES:,} bytes", page=True)
        memory = await self._memory()
        reserved = await _reserve(memory, size, page=page_etag is not None)
        try:
            snapshots = await self._reads.store.snapshot(self._scope, response.workflow_ids, response.parts)
            if not snapshots and response.workflow_ids:
                raise NotFound("workflow")
            # The versions may be later ones than those that the caller has read.
            if page_etag is None:
                etag = workflow_etag(_version_of(snapshots[0]), response.parts)
            else:
                etag = page_etag({snapshot.record.state.id: _version_of(snapshot) for snapshot in snapshots})
            headers = {**response.headers, ETAG: etag}
            async with aclosing(self._body(response, snapshots)) as body:
                yield headers, body
        finally:
            memory.shrink(reserved)

    @asynccontextmanager
    async def _open_list(
        self, parts: AsyncGenerator[bytes, None], largest: int = 0
    ) -> AsyncIterator[tuple[Headers, AsyncGenerator[bytes, None]]]:
        memory = await self._memory()
        reserved = await _reserve(memory, ResponseSize(0, 0, largest), page=True)
        try:
            async with aclosing(parts) as body:
                yield {ETAG: f'"{uuid4().hex}"'}, body
        finally:
            memory.shrink(reserved)

    @asynccontextmanager
    async def _open_definition(
        self, record: WorkflowRecord
    ) -> AsyncIterator[tuple[Headers, AsyncGenerator[bytes, None]]]:
        size = await self._reads.size(self._scope, [record.id], _DEFINITION, MAX_PAGE_BYTES)
        inputs = await self._reads.store.inputs(self._scope, record.id)
        root_id = record.id if record.parent is None else record.parent.root_id
        deleted = await self._reads.store.deleted_definitions(self._scope, root_id)
        other_bytes = len(inputs.inputs or b"") + len(inputs.inputs_schema or b"") + sum(map(len, deleted.values()))
        largest = max(size.largest_step, MAX_NAMED_BYTES) if deleted else size.largest_step
        memory = await self._memory()
        reserved = await _reserve(memory, ResponseSize(size.total, _COPIES * other_bytes, largest), page=False)
        try:
            copies = await to_thread.run_sync(_decode_copies, deleted) if deleted else {}
            async with aclosing(self._definition(record, inputs, copies)) as body:
                version = Version.of(record.state.last_event, record.state.updated_at)
                yield {ETAG: definition_etag(version)}, body
        finally:
            memory.shrink(reserved)

    async def _definition(
        self, record: WorkflowRecord, inputs: StoredInputs, copies: Mapping[str, Any]
    ) -> AsyncGenerator[bytes, None]:
        yield encode_head(record, inputs)[: -len(b"]}")]
        position, count = 0, _FIRST_COUNT
        while position < record.total_steps:
            steps = await self._reads.store.step_slice(
                self._scope, record.id, _DEFINITION, position, count, SLICE_BYTES
            )
            if not steps:
                raise LookupError(f"steps of workflow {record.id} are deleted")
            encoded = [encode_step(step, evaluates=inputs.evaluates) for step in steps]
            if copies:
                encoded = await to_thread.run_sync(with_deleted, encoded, copies)
            yield (b"," if position else b"") + b",".join(encoded)
            position += len(steps)
        yield b"]}"

    async def _task_list(self, workflow_id: UUID, tasks: TaskSlice, query: TaskFilter) -> AsyncGenerator[bytes, None]:
        yield b'{"tasks":['
        separator = b""
        while tasks.tasks:
            yield separator + json.encode([task_to_public(record) for record in tasks.tasks])[1:-1]
            separator = b","
            if not tasks.more:
                break
            rest = structs.replace(query, after=TaskCursor.of(tasks.tasks[-1].task))
            tasks = await self._reads.task_slice(self._scope, workflow_id, rest)
        yield b"]}"

    async def _item_list(
        self, workflow_id: UUID, first: ItemListResponse, rest: ItemFilter, expected: int, *, repeats: bool
    ) -> AsyncGenerator[bytes, None]:
        yield b'{"items":[' + json.encode(first.items)[1:-1]
        left = expected - len(first.items)
        while left > 0:
            read = await self._reads.item_slice(self._scope, workflow_id, rest, left, SLICE_BYTES)
            if not read.items:
                break
            yield b"," + json.encode([item_to_public(each, repeats=repeats) for each in read.items])[1:-1]
            left -= len(read.items)
            rest = structs.replace(rest, after=read.items[-1].state.item_key.item)
        yield b'],"total":%d,"skip":%d,"limit":%d}' % (first.total, first.skip, first.limit)

    async def _body(
        self, response: StreamedResponse, snapshots: list[LargeWorkflowSnapshot]
    ) -> AsyncGenerator[bytes, None]:
        separator = response.prefix
        snapshots.reverse()
        while snapshots:
            yield separator
            async with aclosing(
                encode_large(self._reads.store, self._scope, snapshots.pop(), response.parts, response.warnings)
            ) as chunks:
                async for chunk in chunks:
                    yield chunk
            separator = b","
        yield response.suffix


def _decode_copies(texts: Mapping[str, bytes]) -> dict[str, Any]:
    return {name: json.decode(text) for name, text in texts.items()}


def stream_response(
    open_response: Callable[[], AbstractAsyncContextManager[tuple[Headers, AsyncGenerator[bytes, None]]]],
    status: int = 200,
    more: Headers = NO_HEADERS,
) -> ASGIApp:
    """Return the response that sends the headers and the body of *open_response*, with *more* headers.

    The body is JSON, unless the headers have another type.
    """

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        async with open_response() as (headers, body):
            encoded = encode_headers({"content-type": "application/json", **headers, **more})
            await send({"type": "http.response.start", "status": status, "headers": encoded})
            if scope.get("method") == "HEAD":
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            async with anyio.create_task_group() as group:
                group.start_soon(cancel_on_disconnect, receive, group.cancel_scope, name="client of a response")
                await _send_body(send, body)
                group.cancel_scope.cancel()

    return respond


def _version_of(snapshot: LargeWorkflowSnapshot) -> ReadVersion:
    return ReadVersion.of(snapshot.record.state, snapshot.record.summary.waits_for)


async def encode_large(
    store: WorkflowReader,
    scope: TenantScope,
    snapshot: LargeWorkflowSnapshot,
    parts: WorkflowParts,
    warnings: Sequence[DefinitionWarning] = (),
) -> AsyncGenerator[bytes, None]:
    """Encode the workflow as `workflow_to_public` does, in chunks of about `SLICE_BYTES`. Frees *snapshot* meanwhile.

    Raises LookupError if steps have been deleted since the snapshot.
    """
    record = snapshot.record
    head = json.encode(await workflow_to_public(record, warnings))
    if not parts.steps:
        yield head
        return
    yield head[:-1] + b',"steps":['
    del head
    states = _states(snapshot)
    position, count = 0, _FIRST_COUNT
    while position < record.total_steps:
        steps = await store.step_slice(scope, record.state.id, parts, position, count, SLICE_BYTES)
        if not steps:
            raise LookupError(f"steps of workflow {record.state.id} are deleted")
        encoded = [
            json.encode(stored_step_to_public(step, next(states), record.created_at, results=parts.results))
            for step in steps
        ]
        yield (b"," if position else b"") + b",".join(encoded)
        # The database measures all that are requested, so request about as many as fit.
        count = min(2 * count, _MAX_COUNT) if len(steps) == count else 2 * len(steps)
        position += len(steps)
    yield b"]}"


async def collect(body: AsyncIterator[bytes], max_bytes: int) -> bytes | None:
    """Return the *body* whole, or None if it is larger than *max_bytes*."""
    chunks, size = list[bytes](), 0
    async for chunk in body:
        chunks.append(chunk)
        size += len(chunk)
        if size > max_bytes:
            return None
    return b"".join(chunks)


def _states(snapshot: LargeWorkflowSnapshot) -> Iterator[StepSnapshot]:
    snapshot.states.reverse()
    while snapshot.states:
        yield from _decode_states(snapshot.states.pop())


async def _reserve(reservation: MemoryReservation, size: ResponseSize, *, page: bool) -> int:
    """Reserve the memory for a response of *size*, and return how much that is."""
    needed = size.snapshot + _COPIES * max(SLICE_BYTES, size.largest_step)
    try:
        async with asyncio.timeout(MEMORY_WAIT_S):
            await reservation.grow(needed)
    except TimeoutError:
        raise Unavailable(NO_MEMORY, 5) from None
    except NeverFits as error:
        raise _too_large(f"The response {error}", page=page) from None
    return needed


def _too_large(why: str, *, page: bool) -> InvalidRequest:
    smaller = "a smaller limit, include_results=false or include_steps=false" if page else "include_steps=false"
    loc = ("query", "limit" if page else "include_steps")
    return InvalidRequest([Fault(loc, f"{why}; use {smaller}", "too_large")])


async def _send_body(send: Send, body: AsyncIterator[bytes]) -> None:
    """Send the body. If that fails, end without its last part: the server then closes the connection."""
    try:
        async for chunk in body:
            for begin in range(0, len(chunk), PIECE_BYTES):
                with anyio.move_on_after(PROGRESS_S) as limit:
                    piece = chunk[begin : begin + PIECE_BYTES]
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                if limit.cancelled_caught:
                    log.info("response.too_slow", action="send")
                    return
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    except (StepwellError, LookupError) as error:
        log.warning("response.broken", action="send", error=str(error))


async def cancel_on_disconnect(receive: Receive, response: anyio.CancelScope) -> None:
    """Cancel the response when the client has closed the connection. The body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass
    response.cancel()
