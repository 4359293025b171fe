"""The sockets that the service listens on, bound before anything else starts."""

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from typing import NamedTuple

from msgspec.structs import replace

from stepwell.cli.errors import Refused
from stepwell.settings import Settings

# Errors that another port avoids: the port is in use, or reserved for root.
_PORT_ERRORS = (errno.EADDRINUSE, errno.EACCES)


class Listeners(NamedTuple):
    """The sockets of the service: for the API, and for health and metrics only."""

    api: socket.socket
    admin: socket.socket | None


@contextmanager
def bound_sockets(settings: Settings) -> Iterator[Listeners]:
    """Yield sockets that are bound to the settings' ports and don't listen yet. Raises `Refused`."""
    with ExitStack() as stack:
        api = stack.enter_context(bound_socket(settings))
        admin = None
        if settings.admin_port is not None:
            admin = stack.enter_context(bound_socket(replace(settings, port=settings.admin_port)))
        yield Listeners(api, admin)


@contextmanager
def bound_socket(settings: Settings) -> Iterator[socket.socket]:
    """Yield a socket that is bound to the settings' address and doesn't listen yet. Raises `Refused`."""
    try:
        addresses = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # IPv4 first, because clients of "localhost" mostly try that.
        family, kind, protocol, _, address = min(addresses, key=lambda each: each[0] != socket.AF_INET)
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except BaseException:
            listener.close()
            raise
    except UnicodeError as error:  # a label of the host name is empty or too long
        raise cannot_listen(settings, OSError(errno.EINVAL, "Not a host name")) from error
    except OSError as error:
        raise cannot_listen(settings, error) from error
    with listener:
        yield listener


def address_of(listener: socket.socket) -> str:
    """Return the URL at which programs on this machine reach *listener*."""
    host, port = listener.getsockname()[:2]
    if ip_address(host.partition("%")[0]).is_unspecified:
        host = "::1" if listener.family is socket.AF_INET6 else "127.0.0.1"
    return f"http://[{host}]:{port}" if listener.family is socket.AF_INET6 else f"http://{host}:{port}"


def cannot_listen(settings: Settings, error: OSError) -> Refused:
    """Return the refusal for *error* of a socket of the settings' address, with advice."""
    what = "port" if error.errno in _PORT_ERRORS else "host"
    return Refused(
        f"cannot listen on {settings.host} port {settings.port}: {error.strerror or error}: "
        f"choose another {what} with --{what} or STEPWELL_{what.upper()}"
    )
