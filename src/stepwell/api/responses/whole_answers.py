"""Answers that are built whole and are larger than 64 KiB: they hold memory of the governor while they are sent.

What must hold:
- Such an answer begins once its request's reservation has grown by its size. Until then, it can become a 503.
- A client that accepts less than `PIECE_BYTES` in `PROGRESS_S` is cut off, and the answer's bytes are free.
- A smaller answer is passed on as it is: it costs nothing but a comparison.

Answers without a caller, like the manual's pages, are the same bytes for everybody. So they reserve nothing.
"""

import asyncio
from typing import Any

import anyio
import structlog
from litestar.types import Message, Receive, Scope, Send

from stepwell.api.requests.request_resources import resources_of
from stepwell.api.responses.problems import refusal
from stepwell.api.responses.streamed_answers import MEMORY_WAIT_S, NO_MEMORY, PIECE_BYTES, PROGRESS_S
from stepwell.basics.errors import NeverFits, TooManyRequests, Unavailable
from stepwell.runtime.memory import MemoryReservation

log = structlog.get_logger(__name__)

_READS = ("GET", "HEAD")
_EFFECT = "the request has been carried out all the same: read the workflow instead of repeating it"


def bounded_send(scope: Scope, receive: Receive, send: Send) -> Send:
    """Return a function to use instead of *send*, which keeps these bounds. The request must have a caller."""
    start: Message | None = None

    async def send_bounded(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            start = message  # held until the body shows how large the answer is
            return
        body: Any = message
        held_start, start = start, None
        if held_start is None or len(body["body"]) <= PIECE_BYTES or body.get("more_body"):
            if held_start is not None:
                await send(held_start)
            await send(message)
            return
        try:
            await _grow(await resources_of(scope).memory(), len(body["body"]))
        except (Unavailable, TooManyRequests) as error:
            # The handlers of exceptions have seen the start, so they don't answer any more.
            detail = str(error) if scope.get("method") in _READS else f"{error}; {_EFFECT}"
            await refusal(503, detail, error.retry_after_s)(scope, receive, send)
            return
        await send(held_start)
        await _send_in_pieces(send, body["body"])

    return send_bounded


async def _grow(memory: MemoryReservation, size: int) -> None:
    """Reserve the answer's bytes. They are given back with the request's reservation."""
    try:
        async with asyncio.timeout(MEMORY_WAIT_S):
            await memory.grow(size)
    except (TimeoutError, NeverFits):
        raise Unavailable(NO_MEMORY, 5) from None


async def _send_in_pieces(send: Send, body: bytes) -> None:
    view = memoryview(body)
    for begin in range(0, len(body), PIECE_BYTES):
        piece, more = bytes(view[begin : begin + PIECE_BYTES]), begin + PIECE_BYTES < len(body)
        with anyio.move_on_after(PROGRESS_S) as limit:
            await send({"type": "http.response.body", "body": piece, "more_body": more})
        if limit.cancelled_caught:
            log.info("answer.too_slow", action="send")
            return
