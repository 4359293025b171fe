"""The addresses of clients: their names for counting, and the client behind proxies that the operator trusts.

A client can send any `X-Forwarded-For` it likes, and each proxy appends the address from which it got the request. So
only what trusted proxies appended counts: the rightmost address that isn't a trusted proxy's.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TypeAlias

from stepwell.basics.setting_values import Networks

Address: TypeAlias = IPv4Address | IPv6Address
_IPV6_PREFIX = 64  # what one client usually gets of IPv6, and may take addresses from at will


@lru_cache(1024)
def client_name(address: str) -> str:
    """Return the name by which a client at *address* is counted: the address, or the /64 of an IPv6 address."""
    parsed = parse_address(address)
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, _IPV6_PREFIX), strict=False))
    return address if parsed is None else str(parsed)


def is_loopback_host(host: str) -> bool:
    """Return whether *host* is a loopback address, or `localhost`."""
    address = parse_address(host)
    return host == "localhost" if address is None else address.is_loopback


def parse_address(text: str) -> Address | None:
    """Return the address in *text*, of IPv4 where it is mapped into IPv6; None if it is no address."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


@lru_cache(1024)
def is_trusted(address: str, trusted: Networks) -> bool:
    parsed = parse_address(address)
    return parsed is not None and _is_in(parsed, trusted)


def forwarded_client(peer: str, headers: Iterable[tuple[bytes, bytes]], trusted: Networks) -> tuple[str, str | None]:
    """Return the client's address and scheme, for a request from the trusted proxy *peer*.

    The scheme is None if no proxy reports it. What isn't an address ends the search: the proxy that appended it then
    counts as the client. *headers* have names in lower case.
    """
    addresses, schemes = list[str](), list[str]()
    for name, value in headers:
        if name == b"x-forwarded-for":
            addresses += value.decode("latin-1").split(",")
        elif name == b"x-forwarded-proto":
            schemes += value.decode("latin-1").split(",")
    client, position = peer, 0
    for position in range(1, len(addresses) + 1):
        parsed = parse_address(_without_port(addresses[-position].strip()))
        if parsed is None:
            break
        client = str(parsed)
        if not _is_in(parsed, trusted):
            break
    # Each proxy may append a scheme too, or only the last one sets it.
    scheme = schemes[-position if len(schemes) == len(addresses) else -1].strip().lower() if schemes else None
    return client, scheme if scheme in ("http", "https") else None


def _without_port(text: str) -> str:
    """Return the address in `1.2.3.4:5`, `[::1]:5` and `[::1]`."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def _is_in(address: Address, networks: Networks) -> bool:
    return any(address in network for network in networks)
