"""Messages about failed connections to providers, for the operator of the service."""

import errno
import socket
import ssl
from collections.abc import Iterator, Sequence

import httpx

from stepwell.outbound.sanitise import sanitised

_NO_CONNECTION = (httpx.ConnectError, httpx.ConnectTimeout)
_NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})
_MAX_CAUSE = 120
_MAX_HOST = 100


def connection_message(
    error: BaseException, url: str, setting: str | None, public_hosts: Sequence[str] = ()
) -> str | None:
    """Return a message about a failed connection to *url*: host, port, cause, and the *setting* of the address.

    Returns None if *error* isn't a failure to connect. The message contains only host and port of the URL, because the
    rest may contain secrets. *public_hosts* are those of the provider's public API; hosts below them count too.
    """
    if not isinstance(error, _NO_CONNECTION):
        return None
    target = httpx.URL(url)
    port = target.port or {"https": 443}.get(target.scheme, 80)
    name = target.raw_host.decode("ascii")  # `target.host` decodes IDNA, which may fail
    host = f"[{name}]" if ":" in name else name
    cause = next((text for each in _chain(error) if (text := _cause_text(each)) is not None), "the connection failed")
    message = f"no connection to {sanitised(host, _MAX_HOST)}:{port}: {cause}"
    if any(f".{name}".endswith(f".{public}") for public in public_hosts):
        another = f" ({setting} overrides it)" if setting else ""
        return f"{message}; this is the provider's public address{another}: outgoing traffic may be blocked here"
    return f"{message}; the address is from {setting}" if setting else message


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the causes of *error*, the first one first, and then *error* itself."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _chain(each)
    if (before := error.__cause__ or error.__context__) is not None:
        yield from _chain(before)
    yield error


def _cause_text(error: BaseException) -> str | None:
    match error:
        case socket.gaierror():
            again = error.errno == socket.EAI_AGAIN
            return "the name can't be resolved: DNS doesn't answer" if again else "DNS doesn't know the name"
        case ssl.SSLCertVerificationError():
            return sanitised(f"the certificate isn't trusted: {error.verify_message}", _MAX_CAUSE)
        case ssl.SSLError():
            reason = getattr(error, "reason", None)  # absent if Python itself raised the error
            return sanitised(f"TLS failed ({reason or 'no reason given'})", _MAX_CAUSE)
        case ConnectionRefusedError():
            return "connection refused"
        case ConnectionResetError():
            return "the connection was reset"
        case TimeoutError() | httpx.ConnectTimeout():
            return "the connection timed out"
        case OSError(errno=number) if number in _NO_ROUTE:
            return "there is no route to the host"
        case _:
            return None
