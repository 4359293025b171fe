"""The middleware of the API: it finds the caller of a request, bounds its memory, and adds headers to each response.

What must hold:
- A response that is built whole and is larger than 64 KiB begins once its request's reservation has grown by its size.
  Until then, it can become a 503.
- A client that accepts less than `PIECE_BYTES` in `PROGRESS_S` is cut off, and the response's bytes are free.
- A smaller response is passed on as it is: it costs nothing but a comparison.
- A URL with a secret (a signature, a stream ticket or a sign-in code) expires. So a browser must not pass it on to the
  next page, and no cache may store its response.

Responses without a caller, like the manual's pages, are the same bytes for everybody. So they reserve nothing.
"""

import asyncio
from collections.abc import Callable
from http import HTTPMethod
from time import perf_counter
from typing import Any

import anyio
import structlog
from litestar.types import ASGIApp, HTTPResponseStartEvent, Message, Receive, Scope, Send
from prometheus_client import Counter, Histogram

from stepwell.api.auth.authentication import AccessControl
from stepwell.api.auth.cross_origin import CrossOrigin
from stepwell.api.auth.session_cookies import SessionsNotRead, send_privately
from stepwell.api.auth.token_keys import UnknownKey
from stepwell.api.requests.preferences import report_handling
from stepwell.api.requests.query_parameters import check_path
from stepwell.api.requests.request_resources import ProcessResources, give_resources, resources_of
from stepwell.api.responses.problems import refusal
from stepwell.api.responses.streamed_responses import MEMORY_WAIT_S, NO_MEMORY, PIECE_BYTES, PROGRESS_S
from stepwell.api.routes.usage import add_rate_limit
from stepwell.basics.errors import NeverFits, TooManyRequests, Unavailable
from stepwell.engine.execution.workflow_admission import WorkflowAdmission
from stepwell.runtime.memory import MemoryReservation
from stepwell.runtime.telemetry import Metrics

log = structlog.get_logger(__name__)

_BEGAN = "began"  # the key of the request's start in its state, by `time.perf_counter`
_METHODS = frozenset(HTTPMethod)
_READS = ("GET", "HEAD")
_EFFECT = "the request has been carried out all the same: read the workflow instead of repeating it"
_SECRETS = (b"signature=", b"ticket=")
# The page of a sign-in code has a form, with which the browser would send `Origin: null` by no-referrer. By
# strict-origin, the browser passes on the origin alone.
_SIGN_IN_CODE, _ORIGIN_ALONE = b"code=", b"strict-origin"
_POLICY, _CACHE = b"referrer-policy", b"cache-control"


class RequestMiddleware:
    """Gives each request its resources and its caller, and bounds the requests of a tenant and their responses.

    It also refuses paths with characters that no name has. Each further middleware would cost every request as much as
    parsing its query does.

    The caller's `Principal` is the request's user. No guard of Litestar does this, because Litestar copies the route's
    handler for each guard, which takes longer than the whole middleware.
    """

    def __init__(self, process: ProcessResources, access: AccessControl) -> None:
        self._process, self._access = process, access

    def __call__(self, app: ASGIApp) -> ASGIApp:
        async def handle(scope: Scope, receive: Receive, send: Send) -> None:
            scope["state"][_BEGAN] = perf_counter()
            resources = give_resources(scope, self._process)
            try:
                try:
                    caller = self._access.caller(scope)
                except (UnknownKey, SessionsNotRead):
                    caller = await self._access.read_and_find_caller(scope)
                check_path(scope.get("raw_path") or b"")
                if caller is None:
                    await app(scope, receive, send)
                    return
                scope["user"] = caller
                resources.count_for(caller.account)
                if caller.session is not None:
                    send = send_privately(send)
                await app(scope, receive, _bounded_send(scope, receive, send))
            finally:
                resources.free()

        return handle


def _bounded_send(scope: Scope, receive: Receive, send: Send) -> Send:
    """Return a function to use instead of *send*, which keeps these bounds. The request must have a caller."""
    start: Message | None = None

    async def send_bounded(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            start = message  # sent once the body shows how large the response is
            return
        body: Any = message
        stored_start, start = start, None
        if stored_start is None or len(body["body"]) <= PIECE_BYTES or body.get("more_body"):
            if stored_start is not None:
                await send(stored_start)
            await send(message)
            return
        try:
            await _grow(await resources_of(scope).memory(), len(body["body"]))
        except (Unavailable, TooManyRequests) as error:
            # The handlers of exceptions have seen the start, so they send no response any more.
            detail = str(error) if scope.get("method") in _READS else f"{error}; {_EFFECT}"
            await refusal(503, detail, error.retry_after_s)(scope, receive, send)
            return
        await send(stored_start)
        await _send_in_pieces(send, body["body"])

    return send_bounded


async def _grow(memory: MemoryReservation, size: int) -> None:
    """Reserve the response's bytes. The end of the request's reservation frees them."""
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
            log.info("response.too_slow", action="send")
            return


def _protect_secret_url(start: HTTPResponseStartEvent, scope: Scope) -> None:
    """Add the headers to the start of a response, whatever its status is, if the URL of its request has a secret."""
    query = scope["query_string"]
    if not query:
        return
    if _SIGN_IN_CODE in query:
        policy = _ORIGIN_ALONE
    elif any(name in query for name in _SECRETS):
        policy = b"no-referrer"
    else:
        return
    others = [pair for pair in start["headers"] if pair[0].lower() not in (_POLICY, _CACHE)]
    start["headers"] = [*others, (_POLICY, policy), (_CACHE, b"no-store")]


def start_hook(
    metrics: Metrics, admission: WorkflowAdmission, cross_origin: CrossOrigin | None
) -> Callable[[Message, Scope], Any]:
    """Return a hook that counts responses when they start, and adds the headers about the whole service:
    `RateLimit`, `Preference-Applied` and those of CORS.

    A middleware wouldn't see requests that routing refuses.
    """
    # By route, method and status. Finding a metric by its labels takes longer than counting.
    cache: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def metrics_of(key: tuple[str, str, int]) -> tuple[Counter, Histogram]:
        if key not in cache:
            cache[key] = metrics.requests.labels(*key), metrics.latency.labels(*key[:2])
        return cache[key]

    async def on_send(message: Message, scope: Scope) -> None:
        if message["type"] != "http.response.start":
            return
        # Only templates and known methods, so that callers can't create time series.
        route = scope.get("path_template") or "unmatched"
        method = str(scope.get("method"))
        requests, latency = metrics_of((route, method if method in _METHODS else "other", message["status"]))
        requests.inc()
        if _BEGAN in scope["state"]:
            latency.observe(perf_counter() - scope["state"][_BEGAN])
        add_rate_limit(message, scope, admission)
        report_handling(message, scope)
        if cross_origin is not None:
            cross_origin.add_headers(message, scope)
        _protect_secret_url(message, scope)

    return on_send
