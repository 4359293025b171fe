"""The address and the scheme of a client, also behind proxies that the operator trusts.

A client can send any `X-Forwarded-For` it likes, and each proxy appends the address from which it got the request. So
only what trusted proxies appended counts: the rightmost address that isn't a trusted proxy's.
"""

from collections.abc import Iterable
from functools import lru_cache

from stepwell.basics.client_address import Address, parse_address
from stepwell.basics.setting_values import Networks


@lru_cache(1024)
def is_trusted(address: str, trusted: Networks) -> bool:
    """Return whether *address* belongs to a trusted proxy."""
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
