"""uvicorn's protocol, with limits for connections that never send a whole request. uvicorn itself has none."""

import asyncio
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct
from uvicorn.protocols.http.auto import AutoHTTPProtocol

if TYPE_CHECKING:
    # Both protocols of uvicorn have the members that are used here.
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as UvicornProtocol
else:
    UvicornProtocol = AutoHTTPProtocol

HEAD_S = 15.0  # the time that a client may take for the head of a request
# The number of connections, of those allowed, that get 503 for each request.
_REFUSED = 16


class _ConnectionLimits(Struct, frozen=True):
    served: int
    most: int
    head_s: float


class _LimitedProtocol(UvicornProtocol):
    limits: ClassVar[_ConnectionLimits]
    _head_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        count = len(self.connections)
        if count > self.limits.most:
            self.connections.discard(self)
            transport.abort()
            return
        if count > self.limits.served:
            self.limit_concurrency = 0  # uvicorn answers each of its requests with 503
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch_head()
        super().connection_lost(exc)

    def _watch_head(self) -> None:
        """Set a deadline for the head of the first request, or of one that has begun.

        uvicorn's own timeout is for connections between two requests.
        """
        if self.cycle is not None and not self.cycle.response_complete:  # type: ignore[redundant-expr]  # None at first
            self._unwatch_head()
        elif self._head_deadline is None:
            self._head_deadline = self.loop.call_later(self.limits.head_s, self.timeout_keep_alive_handler)

    def _unwatch_head(self) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None


def limited_protocol(most: int, head_s: float) -> type[asyncio.Protocol]:
    """Return a protocol for uvicorn's `Config(http=...)`, with at most *most* connections at a time.

    The last few connections get 503, and further ones are closed at once. This is decided when a connection is made, so
    a connection that is served once is served until its end. A connection is closed if the head of its request isn't
    complete after *head_s*.
    """

    class Limited(_LimitedProtocol):
        limits = _ConnectionLimits(served=most - min(_REFUSED, most // 2), most=most, head_s=head_s)

    return Limited
