"""Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html

What must hold:
- A stream ends when there can be no more events, when its client has disconnected or is too slow, after an hour, and
  when the service stops. So an idle client can't occupy a stream and its memory for longer.
- A stream ends with the token or the session that opened it. That all sessions were ended is noticed before the next
  event or heartbeat.
- An error after the start ends the stream with a comment that reports the error. The client reconnects with the last
  id.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Any, NamedTuple, TypeAlias

import anyio
import structlog
from litestar.types import ASGIApp, Receive, Scope, Send

from stepwell.api.responses.streamed_responses import cancel_on_disconnect
from stepwell.engine.events.event_stream import EventStream

log = structlog.get_logger(__name__)

MEDIA_TYPE = "text/event-stream"
SEND_S = 20.0  # for one send, until the client's connection accepts more
LAST_S = 2.0  # for the last sends, once a stream has to end
LONGEST_S = 3600.0
RETRY_MS = 2_000

_HEADERS = [
    (b"content-type", MEDIA_TYPE.encode()),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would buffer the events
]
_LATE = "an hour is over: come back"
_ENDED = "the token or the session has ended"
_BROKEN = "something went wrong: come back"

Events: TypeAlias = EventStream[Any]


class StreamBounds(NamedTuple):
    """The limits of a stream's duration. It ends after `seconds`, or once `lasts` returns false."""

    seconds: float
    lasts: Callable[[], Awaitable[bool]] | None = None


def frame(kind: str, number: str, data: bytes) -> bytes:
    """Return an event of the type *kind* with the id *number*. *data* is one line."""
    return b"event: %b\nid: %b\ndata: %b\n\n" % (kind.encode(), number.encode(), data)


def event_stream(opening: AbstractAsyncContextManager[Events], heartbeat_s: float, bounds: StreamBounds) -> ASGIApp:
    """Return the response that streams the events of *opening*.

    It enters *opening* before the response begins. If that raises, the client gets the error instead.
    """

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        async with opening as events:
            if events.finished:
                # An EventSource doesn't reconnect after this status.
                await send({"type": "http.response.start", "status": HTTPStatus.NO_CONTENT, "headers": []})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": _HEADERS})
            if scope.get("method") == "HEAD":
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            async with anyio.create_task_group() as group:
                loop, response = asyncio.get_running_loop(), group.cancel_scope
                events.on_end(lambda: loop.call_later(LAST_S, response.cancel))
                group.start_soon(cancel_on_disconnect, receive, response, name="client of an event stream")
                await _send_all(events, send, heartbeat_s, bounds)
                response.cancel()

    return respond


async def _send_all(events: Events, send: Send, heartbeat_s: float, bounds: StreamBounds) -> None:
    loop = asyncio.get_running_loop()
    ends = loop.time() + min(bounds.seconds, LONGEST_S)
    part: bytes | None = b"retry: %d\n%b\n" % (RETRY_MS, _position_line(events))
    close_reason: str | None = _LATE if bounds.seconds >= LONGEST_S else _ENDED
    while (now := loop.time()) < ends:
        if not await _send(send, part or _position_line(events) + b": still there\n\n"):
            return
        try:
            part = await events.next(min(heartbeat_s, ends - now))
            if bounds.lasts is not None and not await bounds.lasts():
                close_reason = _ENDED
                break
        except Exception:
            log.exception("events.broke", action="send")
            close_reason = _BROKEN
            break
        if part is None:
            close_reason = events.close_reason
            break
    last = b"" if close_reason is None else b": %b\n\n" % close_reason.encode()
    await _send(send, last, more=False)


def _position_line(events: Events) -> bytes:
    """Return an id line with the stream's position, so that a client that got no event resumes from there too."""
    return b"" if events.position is None else b"id: %b\n" % events.position.encode()


async def _send(send: Send, body: bytes, *, more: bool = True) -> bool:
    """Send *body*. Return False if the client doesn't accept it in time."""
    with anyio.move_on_after(SEND_S) as limit:
        await send({"type": "http.response.body", "body": body, "more_body": more})
    return not limit.cancelled_caught
