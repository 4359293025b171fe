"""Why there is no connection to a provider, in words for whoever runs the service."""

import errno
import re
import socket
import ssl
from collections.abc import Iterator

import httpx

from stepwell.providers.text import sanitised

_NO_CONNECTION = (httpx.ConnectError, httpx.ConnectTimeout)
_NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})
# Of the providers that Stepwell knows by itself.
_PUBLIC = re.compile(r"(?:.+\.)?(?:fal\.run|fal\.ai|replicate\.com|openai\.com|googleapis\.com)")
_MAX_CAUSE = 120
_MAX_HOST = 100


def connection_words(error: BaseException, url: str, setting: str | None) -> str | None:
    """Host, port and cause of a connection to *url* that was not made, and which *setting* names the address.

    None if *error* is about anything else. Of the URL only host and port are shown: the rest may hold secrets.
    """
    if not isinstance(error, _NO_CONNECTION):
        return None
    target = httpx.URL(url)
    port = target.port or {"https": 443}.get(target.scheme, 80)
    name = target.raw_host.decode("ascii")  # `target.host` decodes IDNA, which may fail
    host = f"[{name}]" if ":" in name else name
    words = f"no connection to {sanitised(host, _MAX_HOST)}:{port}: {_cause(error)}"
    if _PUBLIC.fullmatch(name):
        another = f" ({setting} would name another)" if setting else ""
        return f"{words}; this is the provider's public address{another}: outgoing traffic may be blocked here"
    return f"{words}; the address is from {setting}" if setting else words


def _cause(error: BaseException) -> str:
    return next((words for each in _chain(error) if (words := _words(each)) is not None), "the connection was not made")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The causes of *error*, the first one first, then *error* itself."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _chain(each)
    if (before := error.__cause__ or error.__context__) is not None:
        yield from _chain(before)
    yield error


def _words(error: BaseException) -> str | None:
    match error:
        case socket.gaierror():
            again = error.errno == socket.EAI_AGAIN
            return "the name could not be looked up: DNS gives no answer" if again else "the name isn't known to DNS"
        case ssl.SSLCertVerificationError():
            return sanitised(f"the certificate isn't trusted: {error.verify_message}", _MAX_CAUSE)
        case ssl.SSLError():
            reason = getattr(error, "reason", None)  # absent where Python itself has raised it
            return sanitised(f"TLS failed ({reason or 'no reason given'})", _MAX_CAUSE)
        case ConnectionRefusedError():
            return "connection refused"
        case ConnectionResetError():
            return "the connection was reset"
        case TimeoutError() | httpx.ConnectTimeout():
            return "there was no connection in time"
        case OSError(errno=number) if number in _NO_ROUTE:
            return "there is no route to it"
        case _:
            return None
