"""uvicorn's protocol with bounds for connections that never become a request, which uvicorn itself lets be."""

import asyncio
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct
from uvicorn.protocols.http.auto import AutoHTTPProtocol

if TYPE_CHECKING:
    # Either of uvicorn's has what is used here.
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as UvicornProtocol
else:
    UvicornProtocol = AutoHTTPProtocol

# How long a client may take for the head of a request.
HEAD_S = 15.0
# So many connections beyond those that are served are told so, with 503.
_TOLD = 16


class _Limits(Struct, frozen=True):
    served: int
    most: int
    head_s: float


class _Limited(UvicornProtocol):
    limits: ClassVar[_Limits]
    _head_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        count = len(self.connections)
        if count > self.limits.most:
            self.connections.discard(self)
            transport.abort()
            return
        if count > self.limits.served:
            self.limit_concurrency = 0  # each of its requests is one too many
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch_head()
        super().connection_lost(exc)

    def _watch_head(self) -> None:
        """Give a head that has begun, or is the first, its deadline. uvicorn's own is for connections between two."""
        if self.cycle is not None and not self.cycle.response_complete:  # type: ignore[redundant-expr]  # None at first
            self._unwatch_head()
        elif self._head_deadline is None:
            self._head_deadline = self.loop.call_later(self.limits.head_s, self.timeout_keep_alive_handler)

    def _unwatch_head(self) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None


def limited(most: int, head_s: float) -> type[asyncio.Protocol]:
    """A protocol for uvicorn's `Config(http=...)`, with at most *most* connections at once.

    The last few of them only get 503, and whoever comes beyond *most* is cut off at once. What a connection gets is
    settled when it is made: one that is served goes on to be. One whose head isn't whole after *head_s* is closed.
    """

    class Limited(_Limited):
        limits = _Limits(served=most - min(_TOLD, most // 2), most=most, head_s=head_s)

    return Limited
