"""The address of a client, and the name by which its connections and its attempts are counted."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TypeAlias

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
