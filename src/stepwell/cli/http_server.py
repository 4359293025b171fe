"""The HTTP server: uvicorn on one listening socket, without its own handling of signals and logs."""

import asyncio
import logging
import resource
import socket
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import cast

import uvicorn
from litestar import Litestar

from stepwell.api.requests.connection_limits import ConnectionLimits
from stepwell.api.routes.all_routes import build_cross_origin
from stepwell.cli.http_protocol import HEAD_S, IDLE_S, STALLED_S, limited_protocol
from stepwell.cli.listeners import cannot_listen
from stepwell.settings import Settings

# The time that responses get after the engine has ended. They have had the grace time before.
_LAST_RESPONSES_S = 1
_WANTED_FILES = 65_536
# Files for connections that are being closed while others replace them.
_CLOSING = 16


class HttpServer(uvicorn.Server):
    """Serves *api* until `should_exit` is set. `opened` is set when connections are accepted.

    Its connections are within *limits*, and take no more than half of the files that the process may open: the other
    half is the engine's. Raises `Refused` if it can't listen on its bound sockets.
    """

    def __init__(
        self,
        api: Litestar,
        settings: Settings,
        limits: ConnectionLimits | None = None,
        *,
        admin: socket.socket | None = None,
        head_s: float = HEAD_S,
        stalled_s: float = STALLED_S,
        idle_s: int = IDLE_S,
    ) -> None:
        """*admin* is a further socket, which serves health and metrics only. *head_s* is the time that a client may
        take for the head of a request, *stalled_s* for reading some of a response, *idle_s* between two requests.
        """
        limits = limits or ConnectionLimits()
        limits.open(_open_files() // 2 - _CLOSING)
        super().__init__(
            uvicorn.Config(
                api,
                http=limited_protocol(
                    limits,
                    settings.trusted_proxies,
                    build_cross_origin(settings.cors_origins),
                    admin_port=None if admin is None else admin.getsockname()[1],
                    head_s=head_s,
                    stalled_s=stalled_s,
                ),
                lifespan="off",
                ws="none",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=idle_s,
                timeout_graceful_shutdown=_LAST_RESPONSES_S,
            )
        )
        self.opened = asyncio.Event()
        self._settings, self._admin = settings, admin
        # It logs its start and its stop, which we log ourselves.
        logging.getLogger("uvicorn").setLevel(logging.WARNING)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Install no handlers. uvicorn's close the listener at the first signal, and raise it again at the end."""
        yield

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        await super().serve([*(sockets or []), *([] if self._admin is None else [self._admin])])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except OSError as error:  # another process has begun to listen on the bound address
            raise cannot_listen(self._settings, error) from error
        self.opened.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept the connections that clients have just made, then end as uvicorn does.

        uvicorn closes the listeners while such connections may wait there, which resets them. A proxy couldn't know
        whether their requests have arrived.
        """
        loop = asyncio.get_running_loop()
        with ExitStack() as stack:
            # The copies keep the listeners open while the loop doesn't accept from them any more.
            copies = [stack.enter_context(each.dup()) for server in self.servers for each in server.sockets]
            for server in self.servers:
                server.close()
            accepted = [connection for copy in copies for connection in _accept_waiting(copy)]
        for connection in accepted:
            with suppress(OSError):
                await loop.connect_accepted_socket(self._make_protocol, connection)
        await super().shutdown(sockets)

    def _make_protocol(self) -> asyncio.Protocol:
        protocol = cast("Callable[..., asyncio.Protocol]", self.config.http_protocol_class)
        return protocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


def _accept_waiting(listener: socket.socket) -> Iterator[socket.socket]:
    listener.settimeout(0)
    with suppress(OSError):  # BlockingIOError: there are no more
        while True:
            yield listener.accept()[0]


def _open_files() -> int:
    """Raise the limit of open files as far as the system allows, and return it."""
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = _WANTED_FILES if most == resource.RLIM_INFINITY else min(_WANTED_FILES, most)
    if usual != resource.RLIM_INFINITY and usual < limit:
        with suppress(ValueError, OSError):  # macOS has a lower limit, which it doesn't report
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))
            usual = limit
    return _WANTED_FILES if usual == resource.RLIM_INFINITY else usual
