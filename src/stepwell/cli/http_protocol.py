"""uvicorn's protocol, with the bounds of `ConnectionLimits` and with deadlines for slow clients. uvicorn has neither.

What must hold:
- The head of a request comes within `HEAD_S`, and has at most about `_MOST_HEAD` bytes. Of a response, the client reads
  `_LEAST_READ` bytes each `STALLED_S`. Otherwise the connection is closed.
- A connection between two requests is closed after `IDLE_S`, and earlier if connections run short.
- The body of a request that has its response is read and dropped for `HEAD_S`, so that the client sees the response.
- A client may send requests without waiting for responses. At most `_MOST_PIPELINED` of them wait. The response to the
  last of these closes the connection. Further requests are dropped, as RFC 9112 (9.6) allows.
- When the server ends, a connection that was just made gets a response to its first request.
- While the service stops, each response closes its connection.
- A reserved connection serves the paths of health and metrics, refuses others with 503, and closes. One of the admin
  port refuses them with 404.
- A request that a trusted proxy forwards counts for the client for which it does, and has that client's address.
"""

import asyncio
from typing import TYPE_CHECKING, ClassVar, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from stepwell.api.auth.cross_origin import CrossOrigin
from stepwell.api.requests.connection_limits import CloseReason, ConnectionLimits, ConnectionSlot, RequestBound
from stepwell.api.requests.request_bodies import SHORT_BODY
from stepwell.api.responses.problems import refusal
from stepwell.basics.client_address import client_name, forwarded_client, is_trusted
from stepwell.basics.errors import TooManyRequests
from stepwell.basics.setting_values import Networks
from stepwell.runtime.memory import FREE_BYTES

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope

HEAD_S = 15.0  # the time that a client may take for the head of a request
# Longer than clients and proxies keep idle connections (httpx 5 s, nginx and most load balancers 60 s). Otherwise the
# service would close a connection just when a request is sent on it, which loses the request.
IDLE_S = 75
STALLED_S = 20.0
_LEAST_READ = 20_000
_MOST_HEAD = 128 * 1024
_MOST_PIPELINED = 4
_FLUSH_S = 1.0  # for the last bytes of a response whose connection is closed for another
_RETRY_AFTER_S = 2
_FIRST_REQUEST_S = 0.3  # for the first request of a connection, once the server ends
_HEAD_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class _PipelineFullError(Exception):
    """Raised to end the parsing, because the connection serves no further requests."""


class _LimitedProtocol(HttpToolsProtocol):
    limits: ClassVar[ConnectionLimits]
    head_s: ClassVar[float]
    stalled_s: ClassVar[float]
    trusted: ClassVar[Networks]
    cross_origin: ClassVar[CrossOrigin | None]
    admin_port: ClassVar[int | None]
    slot: ConnectionSlot
    _running: RequestResponseCycle | None = None  # the request whose response is incomplete
    _in_head = _has_dropped = _is_ending = _has_begun = False
    _head_bytes = 0  # of the request whose head is incomplete
    _head_deadline: asyncio.TimerHandle | None = None
    _read_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        address = "" if self.client is None else self.client[0]
        self._is_proxy = is_trusted(address, self.trusted)
        self.slot = self.limits.add(
            None if self._is_proxy else client_name(address),
            self._drop,
            admin=self.admin_port is not None and self.server is not None and self.server[1] == self.admin_port,
        )
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_head()
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > _MOST_HEAD:
                self._refuse_head()

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= _MOST_PIPELINED:
            self._has_dropped = True
            raise _PipelineFullError
        super().on_message_begin()
        self._in_head, self._has_begun, self._head_bytes = True, True, 0

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch_head()
        self._unwatch_reader()
        self._unset_keepalive_if_required()  # after a reset, uvicorn's timer would keep this object in memory
        self.limits.remove(self.slot)
        if self._running is not None:  # uvicorn reports the loss to the last request in the pipeline only
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self.app = self._app_of_request()
        super().on_headers_complete()
        if self._running is None:
            self._running = self.cycle
        self.limits.begin(self.slot)
        if not self.slot.served or len(self.pipeline) >= _MOST_PIPELINED:
            self.cycle.keep_alive = False
        if self._is_ending or self.limits.is_stopping:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if len(self.cycle.body) <= FREE_BYTES:
            self.cycle.scope["state"][SHORT_BODY] = True

    def shutdown(self) -> None:
        """Close the connection once it has no request in progress, because the server ends.

        The first request of a new connection is on its way, and gets a response.
        """
        self._is_ending = True
        if not self._has_begun:
            self.loop.call_later(_FIRST_REQUEST_S, super().shutdown)
        else:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        if not self._has_dropped:
            super().send_400_response(msg)

    def on_response_complete(self) -> None:
        self._running = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()
        if self.cycle.response_complete:  # there is no other request in the pipeline
            self.limits.end(self.slot)
        if self.transport.is_closing():
            self._watch_reader()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        if not self.transport.is_closing():
            self._unwatch_reader()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._watch_reader()

    def _app_of_request(self) -> "ASGI3Application":
        app: ASGI3Application = self.config.loaded_app
        if not self.slot.served and not is_probe(self.url) and not self.limits.serve(self.slot):
            if self.slot.admin:
                return self._refusal(404, "This port serves health and metrics only.", None)
            self.limits.refused[RequestBound.CONNECTIONS] += 1
            detail = "The service has as many connections as it may have. Health and metrics are served."
            return self._refusal(503, detail, _RETRY_AFTER_S)
        if not self._is_proxy or self.client is None:
            return app
        address, scheme = forwarded_client(self.client[0], self.headers, self.trusted)
        self.scope["client"], self.scope["scheme"] = (address, 0), scheme or self.scope["scheme"]
        if is_trusted(address, self.trusted):  # the proxy's own request
            return app
        name = client_name(address)

        async def count_and_run(scope: "Scope", receive: "ASGIReceiveCallable", send: "ASGISendCallable") -> None:
            try:
                self.limits.begin_request_of_client(name)
            except TooManyRequests as error:
                await self._refusal(429, str(error), error.retry_after_s)(scope, receive, send)
                return
            try:
                await app(scope, receive, send)
            finally:
                self.limits.end_request_of_client(name)

        return count_and_run

    def _refusal(self, status: int, detail: str, retry_after_s: int | None) -> "ASGI3Application":
        refuse = refusal(status, detail, retry_after_s, close=True)
        return cast("ASGI3Application", refuse if self.cross_origin is None else self.cross_origin.wrap(refuse))

    def _drop(self) -> None:
        """Close the connection for another one. It has no request in progress."""
        self.transport.close()
        self.loop.call_later(_FLUSH_S, self.transport.abort)

    def _refuse_head(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(_HEAD_TOO_LARGE)
            self.transport.close()

    def _watch_head(self) -> None:
        """Set a deadline for the head of the first request, or of one that has begun.

        uvicorn's own timeout is for connections between two requests.
        """
        if self.cycle is not None and not self.cycle.response_complete:  # type: ignore[redundant-expr]  # None at first
            self._unwatch_head()
        elif self._head_deadline is None:
            self._head_deadline = self.loop.call_later(self.head_s, self.timeout_keep_alive_handler)

    def _unwatch_head(self) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def _watch_reader(self) -> None:
        """Set a deadline for the client to read what it has been sent."""
        if self._read_deadline is None:
            unread = self.transport.get_write_buffer_size()
            self._read_deadline = self.loop.call_later(self.stalled_s, self._check_reader, unread)

    def _check_reader(self, unread: int) -> None:
        self._read_deadline = None
        if self.transport.get_write_buffer_size() > max(unread - _LEAST_READ, 0):
            self.limits.closed[CloseReason.STALLED] += 1
            self.transport.abort()
        else:
            self._watch_reader()

    def _unwatch_reader(self) -> None:
        if self._read_deadline is not None:
            self._read_deadline.cancel()
            self._read_deadline = None


def limited_protocol(
    limits: ConnectionLimits,
    trusted: Networks,
    cross_origin: CrossOrigin | None,
    *,
    admin_port: int | None,
    head_s: float,
    stalled_s: float,
) -> type[asyncio.Protocol]:
    """Return a protocol for uvicorn's `Config(http=...)`, whose connections are within *limits*."""
    members = {
        "limits": limits,
        "trusted": trusted,
        "cross_origin": cross_origin,
        "admin_port": admin_port,
        "head_s": head_s,
        "stalled_s": stalled_s,
    }
    return type("Limited", (_LimitedProtocol,), members)


def is_probe(url: bytes) -> bool:
    """Return whether *url* is a path of health or metrics, which reserved connections serve."""
    path = url.partition(b"?")[0].rstrip(b"/")
    return path in (b"/metrics", b"/health") or path.startswith(b"/health/")
