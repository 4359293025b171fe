"""Requests of web pages of other origins (CORS): https://fetch.spec.whatwg.org/#http-cors-protocol.

What must hold:
- Every response has the headers of CORS, also those that refuse a request before the app sees it.
- A preflight needs no token. Every path responds to it, so that a page sees the 404 or the 405 of its request.
- Credentials are off: a browser sends no cookies along. A page sends its token in a header.

Litestar's own CORS isn't used. It responds to each OPTIONS request with an Origin as a preflight, replaces `Vary`,
sends `Vary: Origin` to requests of listed origins only, and doesn't see the responses of the server.
"""

from collections.abc import Collection, Iterable
from http import HTTPStatus
from typing import Final

from litestar.types import ASGIApp, HTTPResponseStartEvent, Message, Receive, Scope, Send

from stepwell.api.requests.operations import Operation

EVERY_ORIGIN: Final = "*"
_MAX_AGE_S = 7_200  # browsers keep the response to a preflight no longer
_REQUESTED_METHOD = b"access-control-request-method"
# `*` stands for all other headers except Authorization. Old browsers don't know it.
_REQUEST_HEADERS = {"Authorization", "Content-Type", "Content-Encoding"}


class CrossOrigin:
    """Adds the headers of CORS to responses, for pages of *origins*. A page may read the headers *exposed*."""

    def __init__(self, origins: Collection[str], operations: Iterable[Operation], exposed: Iterable[str]) -> None:
        operations = list(operations)
        methods = {"OPTIONS"}.union(*(operation.methods for operation in operations))
        headers = _REQUEST_HEADERS.union(*(operation.request_headers for operation in operations))
        self._origins = None if EVERY_ORIGIN in origins else frozenset(origin.encode() for origin in origins)
        self._exposed = (b"access-control-expose-headers", ", ".join(sorted(exposed)).encode())
        self._preflight = [
            (b"access-control-allow-methods", ", ".join(sorted(methods)).encode()),
            (b"access-control-allow-headers", ", ".join([*sorted(headers), "*"]).encode()),
            (b"access-control-max-age", b"%d" % _MAX_AGE_S),
        ]

    def add_headers(self, start: HTTPResponseStartEvent, scope: Scope) -> None:
        headers = list(start["headers"])
        if self._origins is not None:
            headers = _with_vary(headers)
        start["headers"] = headers
        if (allowed := self._allowed_origin(scope)) is not None:
            headers.append((b"access-control-allow-origin", allowed))
            headers.extend(self._preflight if is_preflight(scope) else [self._exposed])

    def wrap(self, app: ASGIApp) -> ASGIApp:
        """Return an app that responds to preflights, passes other requests to *app*, and adds headers to responses."""

        async def respond(scope: Scope, receive: Receive, send: Send) -> None:
            async def send_with_headers(message: Message) -> None:
                if message["type"] == "http.response.start":
                    self.add_headers(message, scope)
                await send(message)

            await (_allow if is_preflight(scope) else app)(scope, receive, send_with_headers)

        return respond

    def _allowed_origin(self, scope: Scope) -> bytes | None:
        if self._origins is None:
            return EVERY_ORIGIN.encode()
        origins = [value for name, value in scope["headers"] if name == b"origin"]
        return origins[0] if len(origins) == 1 and origins[0] in self._origins else None


def is_preflight(scope: Scope) -> bool:
    """Return whether a browser sends the request to find out whether a page may send another one."""
    return scope.get("method") == "OPTIONS" and any(name == _REQUESTED_METHOD for name, _ in scope["headers"])


def _with_vary(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers with Origin in `Vary`, because caches must not send a response to pages of other origins."""
    others = [value for name, value in headers if name == b"vary"]
    return [*(each for each in headers if each[0] != b"vary"), (b"vary", b", ".join([*others, b"Origin"]))]


async def _allow(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": HTTPStatus.NO_CONTENT, "headers": []})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
