"""Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html

What must hold:
- A stream ends when there is nothing more to come, when its client is too slow or gone, after an hour, and when the
  service stops; no client can keep one, or what belongs to it, for longer by doing nothing.
- What goes wrong in the middle ends the stream, with a comment that says so: the client comes back with the last id.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Protocol

import anyio
import structlog
from litestar.types import ASGIApp, Receive, Scope, Send

log = structlog.get_logger(__name__)

MEDIA_TYPE = "text/event-stream"
SEND_S = 20.0  # for one send, until the client's connection takes more
LAST_S = 2.0  # for the last words, once a stream is to end
LONGEST_S = 3600.0
RETRY_MS = 2_000

_HEADERS = [
    (b"content-type", MEDIA_TYPE.encode()),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would keep it until there is enough
]
_LATE = "an hour is over: come back"
_BROKEN = "something went wrong: come back"


class Events(Protocol):
    """What is to be sent; see `engine.outlet.Stream`."""

    @property
    def finished(self) -> bool: ...

    @property
    def farewell(self) -> str | None: ...

    @property
    def position(self) -> str | None: ...

    def on_end(self, call: Callable[[], object], /) -> None: ...

    async def next(self, within_s: float) -> bytes | None: ...


def frame(kind: str, number: str, data: bytes) -> bytes:
    """An event; *data* is one line."""
    return b"event: %b\nid: %b\ndata: %b\n\n" % (kind.encode(), number.encode(), data)


def event_stream(opening: AbstractAsyncContextManager[Events], heartbeat_s: float) -> ASGIApp:
    """The answer with the events of *opening*, which is entered, and may raise, before it begins."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async with opening as events:
            if events.finished:
                # An EventSource that is told so doesn't come back.
                await send({"type": "http.response.start", "status": HTTPStatus.NO_CONTENT, "headers": []})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": _HEADERS})
            if scope.get("method") == "HEAD":
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            async with anyio.create_task_group() as group:
                loop, gone = asyncio.get_running_loop(), group.cancel_scope
                events.on_end(lambda: loop.call_later(LAST_S, gone.cancel))
                group.start_soon(_until_gone, receive, gone, name="client of an event stream")
                await _send_all(events, send, heartbeat_s)
                gone.cancel()

    return answer


async def _until_gone(receive: Receive, gone: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    gone.cancel()


async def _send_all(events: Events, send: Send, heartbeat_s: float) -> None:
    loop = asyncio.get_running_loop()
    ends = loop.time() + LONGEST_S
    part: bytes | None = b"retry: %d\n%b\n" % (RETRY_MS, _place(events))
    farewell: str | None = _LATE
    while (now := loop.time()) < ends:
        if not await _sent(send, part or _place(events) + b": still there\n\n"):
            return
        try:
            part = await events.next(min(heartbeat_s, ends - now))
        except Exception:
            log.exception("events.broke", action="send")
            farewell = _BROKEN
            break
        if part is None:
            farewell = events.farewell
            break
    await _sent(send, b"" if farewell is None else b": %b\n\n" % farewell.encode(), more=False)


def _place(events: Events) -> bytes:
    """So that whoever comes back does so from there, though there was no event."""
    return b"" if events.position is None else b"id: %b\n" % events.position.encode()


async def _sent(send: Send, body: bytes, *, more: bool = True) -> bool:
    with anyio.move_on_after(SEND_S) as limit:
        await send({"type": "http.response.body", "body": body, "more_body": more})
    return not limit.cancelled_caught
