"""The guard against server-side request forgery (SSRF): URLs of users and providers can't reach the private network.

Each connection is checked: the name is resolved here, all its addresses are judged, and the connection goes to one of
these addresses. So no second look-up can return another address (DNS rebinding). TLS and the Host header use the name.
Follows https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html, case 2.
"""

import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from unicodedata import normalize
from urllib.parse import unquote

import anyio
import httpcore
import httpx

from stepwell.basics.errors import StepwellError
from stepwell.basics.setting_names import ALLOWED_CIDRS
from stepwell.basics.urls import split_url
from stepwell.outbound.address_policy import Address, AddressPolicy, parse_address
from stepwell.outbound.dns_resolver import BoundedResolver, ResolverBusy
from stepwell.outbound.http_client import MAX_PORT, MAX_URL, plain_client, tls_context
from stepwell.outbound.sanitise import sanitised

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns all A and AAAA records of a name; raises OSError."""

RESOLVE_TIMEOUT_S = 5.0
_LOOK_UPS = 64
_INNER_NAMES = ("localhost", "local", "internal", "localdomain", "home.arpa")
_NAME = re.compile(r"(?=.{1,253}\.?\Z)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?")
_DOTS = re.compile("[\u3002\uff0e\uff61]")  # IDNA reads these as dots: RFC 3490, 3.1
_NUMERIC_HOST = re.compile("([a-z][a-z0-9+.-]*://)([0-9a-fx.\u3002\uff0e\uff61]+)(?![^:/?#])(.*)", re.IGNORECASE)
_REMOVED = re.compile("[\t\n\r]")  # browsers remove these: https://url.spec.whatwg.org/#concept-basic-url-parser
_USERINFO = "the URL holds a user name or a password"
_ONLY_HTTPS = "only https URLs are taken"
_MAX_MESSAGE = 400  # bytes: the longest name of a host, and the words around it


class UrlBlocked(StepwellError):
    """A URL may not be requested. The message can be shown: it contains no address that isn't in the URL."""

    def __init__(self, why: str) -> None:
        super().__init__(sanitised(why, _MAX_MESSAGE))


def parse_url(url: str) -> httpx.URL:
    """Parse *url* and check its form. An IPv4 address in any notation becomes four decimal numbers.

    Raises `UrlBlocked`. Whether the host may be reached is checked by `url_refusal` and `GuardedTransport`.
    """
    if len(url) > MAX_URL:
        raise UrlBlocked("the URL is too long")
    if not url.isprintable():
        raise UrlBlocked("the URL holds characters that can't be printed")
    try:
        target = httpx.URL(_with_decimal_host(url))
        _ = target.host  # decodes IDNA, which may fail
    except (httpx.InvalidURL, ValueError) as error:
        raise UrlBlocked("the URL is not valid") from error
    if why := _form_fault(target):
        raise UrlBlocked(why)
    parts = split_url(url)
    if parts.userinfo is not None:  # httpx doesn't show an empty one
        raise UrlBlocked(_USERINFO)
    if parts.host is None:  # httpx reads `[::1]8080` as a host and a port
        raise UrlBlocked("the URL is not valid")
    return target


def url_refusal(url: str, policy: AddressPolicy, *, https_only: bool = False) -> str | None:
    """Return why *url* is refused; None if there is no reason that is known without DNS.

    Addresses are judged in every notation. Names of private networks (without a dot, localhost, .local, .internal) are
    refused. If the policy allows any networks, a name may lead into them: then all names pass, plain http included,
    and their addresses decide when the connection is made. An allowed address passes in spite of *https_only*.
    """
    try:
        return _refusal(parse_url(url), policy, https_only=https_only)
    except UrlBlocked as error:
        return str(error)


def host_refusal(url: str, policy: AddressPolicy) -> str | None:
    """Return the reason why *policy* refuses the host of *url*; None if it doesn't.

    For a URL that somebody else reads: nothing else is checked, and a URL without a valid host passes.
    """
    host = split_url(_REMOVED.sub("", url)).host
    if host is None:
        return None
    plain = _DOTS.sub(".", normalize("NFKC", unquote(host))).lower()
    try:
        why = _host_refusal(plain, parse_address(plain), policy)
    except ValueError:
        return None
    return why and sanitised(why, _MAX_MESSAGE)


class GuardedTransport(httpx.AsyncBaseTransport):
    """HTTP/1.1 to addresses that *policy* allows. Each connection is checked. No proxies, no Unix sockets.

    With *https_only*, http reaches allowed networks only. A refusal raises `UrlBlocked`. A name that doesn't resolve
    raises `httpx.ConnectError`, or `httpx.ConnectTimeout` after *resolve_timeout_s* seconds. *network* opens the
    connections, and only gets addresses. *connections* is the limit per scheme. Without a *resolver*, the transport
    has a `BoundedResolver` with *look_ups* threads.
    """

    def __init__(
        self,
        policy: AddressPolicy,
        *,
        https_only: bool = False,
        resolver: Resolver | None = None,
        resolve_timeout_s: float = RESOLVE_TIMEOUT_S,
        ssl_context: ssl.SSLContext | None = None,
        network: httpcore.AsyncNetworkBackend | None = None,
        connections: int = 100,
        look_ups: int = _LOOK_UPS,
    ) -> None:
        resolver = resolver or BoundedResolver(look_ups, late_s=resolve_timeout_s)
        self._policy, self._https_only = policy, https_only
        self._pools = {
            scheme: httpcore.AsyncConnectionPool(
                ssl_context=ssl_context or tls_context(),
                max_connections=connections,
                max_keepalive_connections=20,
                keepalive_expiry=5.0,
                network_backend=_Dialer(
                    network or httpcore.AnyIOBackend(),
                    _AddressVetting(policy, resolver, resolve_timeout_s, only_allowed=only_allowed),
                ),
            )
            for scheme, only_allowed in (("http", https_only), ("https", False))
        }

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        if why := _form_fault(url) or _refusal(url, self._policy, https_only=self._https_only):
            raise UrlBlocked(why)
        assert isinstance(request.stream, httpx.AsyncByteStream)
        plain = httpcore.Request(
            method=request.method,
            url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            # Only the time-outs: with `sni_hostname`, the certificate would be checked against another name.
            extensions={"timeout": request.extensions.get("timeout", {})},
        )
        with _as_httpx():
            response = await self._pools[url.scheme].handle_async_request(plain)
        return httpx.Response(
            response.status, headers=response.headers, stream=_Body(response), extensions=response.extensions
        )

    async def aclose(self) -> None:
        for pool in self._pools.values():
            await pool.aclose()


def guarded_client(
    policy: AddressPolicy,
    *,
    https_only: bool = False,
    resolver: Resolver | None = None,
    connections: int = 100,
    look_ups: int = _LOOK_UPS,
) -> httpx.AsyncClient:
    """Return an `http_client.plain_client` over a `GuardedTransport`, for URLs from `parse_url`. Close it when done."""
    return plain_client(
        GuardedTransport(policy, https_only=https_only, resolver=resolver, connections=connections, look_ups=look_ups)
    )


class _AddressVetting:
    """Resolves a host to addresses that may be connected to. *only_allowed* refuses those outside allowed networks."""

    def __init__(self, policy: AddressPolicy, resolver: Resolver, timeout_s: float, *, only_allowed: bool) -> None:
        self._policy, self._resolver, self._timeout_s, self._only_allowed = policy, resolver, timeout_s, only_allowed

    async def __call__(self, host: str, port: int, timeout: float | None) -> list[str]:
        """Raises `UrlBlocked` if any address is refused, and httpcore's errors if the name doesn't resolve."""
        try:
            address = parse_address(host)
        except ValueError as error:
            raise UrlBlocked("the URL is not valid") from error
        addresses = [address] if address is not None else await self._resolved(host, port, timeout)
        if any(self._policy.refusal(each) for each in addresses):
            raise UrlBlocked(_unreachable(host))
        if self._only_allowed and not all(self._policy.allows(each) for each in addresses):
            raise UrlBlocked(_ONLY_HTTPS)
        return [str(each) for each in addresses]

    async def _resolved(self, host: str, port: int, timeout: float | None) -> list[Address]:
        try:
            with anyio.fail_after(self._timeout_s if timeout is None else min(self._timeout_s, timeout)):
                texts = await self._resolver(host, port)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"{host} did not resolve in time") from error
        except ResolverBusy as error:
            raise httpcore.ConnectError(f"{host} did not resolve: {error}") from error
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} did not resolve") from error
        try:
            return [ip_address(text) for text in dict.fromkeys(texts)]
        except ValueError as error:
            raise UrlBlocked(_unreachable(host)) from error


class _Dialer(httpcore.AsyncNetworkBackend):
    """A network backend for httpcore that connects to plain addresses instead of to the host."""

    def __init__(self, network: httpcore.AsyncNetworkBackend, vet: _AddressVetting) -> None:
        self._network, self._vet = network, vet

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Try the addresses one after the other. *timeout* bounds the look-up and all attempts, in seconds."""
        ends = None if timeout is None else anyio.current_time() + timeout
        addresses = await self._vet(host, port, timeout)
        last_error: Exception = httpcore.ConnectError(f"{host} has no address")
        for tried, address in enumerate(addresses):
            time_slice = None if ends is None else max(ends - anyio.current_time(), 0.0) / (len(addresses) - tried)
            try:
                return await self._network.connect_tcp(address, port, time_slice, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last_error = error
        raise last_error

    async def connect_unix_socket(
        self,
        path: str,  # noqa: ARG002 - httpcore's signature, which has keyword parameters
        timeout: float | None = None,  # noqa: ARG002
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        raise UrlBlocked("Unix sockets may not be reached from here")


class _Body(httpx.AsyncByteStream):
    """The body of a response of httpcore, which raises httpx's errors."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx():
            async for part in self._response.aiter_stream():
                yield part

    async def aclose(self) -> None:
        await self._response.aclose()


@contextmanager
def _as_httpx() -> Iterator[None]:
    """Replace each error of httpcore by the error of the same name in httpx. `UrlBlocked` is left as it is."""
    try:
        yield
    except (
        httpcore.TimeoutException,
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.ProxyError,
        httpcore.UnsupportedProtocol,
    ) as error:
        raise getattr(httpx, type(error).__name__)(str(error)) from error


def _with_decimal_host(url: str) -> str:
    """Write an IPv4 host as four decimal numbers: httpx rejects octal ones and reads other notations as names."""
    match = _NUMERIC_HOST.fullmatch(url)
    if match is None:
        return url
    start, host, rest = match.groups()
    address = parse_address(_DOTS.sub(".", host).lower())
    return url if address is None else f"{start}{address}{rest}"


def _form_fault(url: httpx.URL) -> str | None:
    """Return what is wrong with the form of *url*, whatever its host; None if nothing is."""
    host = url.raw_host.decode("ascii")
    if url.scheme not in {"http", "https"}:
        return "only http and https URLs are taken"
    if url.userinfo:
        return _USERINFO
    if url.port is not None and not 1 <= url.port <= MAX_PORT:
        return f"the port is not in the range 1 to {MAX_PORT}"
    try:
        is_address = parse_address(host) is not None
    except ValueError:
        return "the URL is not valid"
    if "%" in host or (not is_address and _NAME.fullmatch(host) is None):
        return "the URL has no valid host"
    return None


def _refusal(url: httpx.URL, policy: AddressPolicy, *, https_only: bool) -> str | None:
    """As `url_refusal`, for a URL without a `_form_fault`."""
    host = url.raw_host.decode("ascii")
    address = parse_address(host)
    if https_only and url.scheme != "https" and not _is_allowed(address, policy):
        return _ONLY_HTTPS
    return _host_refusal(host, address, policy)


def _is_allowed(address: Address | None, policy: AddressPolicy) -> bool:
    """Return whether *policy* opens the address, or any for a name (None), because a name may lead there."""
    return policy.allows(address) if address is not None else bool(policy.allowed)


def _host_refusal(host: str, address: Address | None, policy: AddressPolicy) -> str | None:
    """Return why *policy* refuses *host*. *address* is the address that *host* denotes; None for a name."""
    if _is_allowed(address, policy):
        return None
    if address is not None:
        words = policy.refusal(address)
        return words and _unreachable(host, words)
    name = host.removesuffix(".")
    if "." not in name or any(f".{name}".endswith(f".{inner_name}") for inner_name in _INNER_NAMES):
        return _unreachable(host, "a name of an inner network")
    return None


def _unreachable(host: str, kind: str = "") -> str:
    """Return the message that refuses *host*, which is a *kind* of host. It names the setting that can allow it."""
    reason = f": it is {kind}" if kind else ""
    return f"{host} may not be reached from here{reason}; {ALLOWED_CIDRS} can allow it"
