"""The IP addresses that a stranger's URL must not lead to. Pure: nothing is resolved here.

The table is our own, not `ipaddress.is_global`, because that changes with the patch level of Python and lags behind
IANA's registries (https://www.iana.org/assignments/iana-ipv4-special-registry and .../iana-ipv6-special-registry).
"""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

DENIED_V4: tuple[tuple[IPv4Network, str], ...] = tuple(
    (IPv4Network(network), words)
    for network, words in (
        ("0.0.0.0/8", "an address of this host itself"),
        ("10.0.0.0/8", "a private address"),
        ("100.64.0.0/10", "an address inside a provider's network"),  # contains 100.100.100.200, Alibaba's metadata
        ("127.0.0.0/8", "a loopback address"),
        ("168.63.129.16/32", "an address of a cloud's own services"),  # Azure's
        ("169.254.0.0/16", "a link-local address"),  # contains 169.254.169.254, most clouds' metadata
        ("172.16.0.0/12", "a private address"),
        ("192.0.0.0/24", "a reserved address"),  # contains 192.0.0.192, Oracle's metadata
        ("192.0.2.0/24", "an address for documentation"),
        ("192.88.99.0/24", "an address of a tunnel"),
        ("192.168.0.0/16", "a private address"),
        ("198.18.0.0/15", "an address for benchmarks"),
        ("198.51.100.0/24", "an address for documentation"),
        ("203.0.113.0/24", "an address for documentation"),
        ("224.0.0.0/4", "a multicast address"),
        ("240.0.0.0/4", "a reserved address"),
    )
)

# The first network that contains the address decides. The last three are everything except 2000::/3, the only part of
# the space that IANA allocates.
DENIED_V6: tuple[tuple[IPv6Network, str], ...] = tuple(
    (IPv6Network(network), words)
    for network, words in (
        ("::1/128", "a loopback address"),
        ("::/128", "an address of this host itself"),
        ("::/96", "an address of a tunnel"),
        ("::ffff:0:0:0/96", "an address of a tunnel"),  # IPv4-translated: RFC 2765
        ("64:ff9b:1::/48", "an address inside a provider's network"),
        ("100::/64", "a reserved address"),
        ("2001::/32", "an address of a tunnel"),  # Teredo
        ("2001::/23", "a reserved address"),
        ("2001:db8::/32", "an address for documentation"),
        ("2002::/16", "an address of a tunnel"),  # 6to4
        ("3fff::/20", "an address for documentation"),
        ("5f00::/16", "a reserved address"),
        ("fc00::/7", "a private address"),  # contains fd00:ec2::254, AWS's metadata
        ("fe80::/10", "a link-local address"),
        ("fec0::/10", "a private address"),
        ("ff00::/8", "a multicast address"),
        ("::/3", "a reserved address"),
        ("4000::/2", "a reserved address"),
        ("8000::/1", "a reserved address"),
    )
)

# Only the IPv4 address inside these is judged, because the packets go to it. Networks with IPv6 alone depend on the
# second one.
_TRANSPARENT = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))

_WORD = 0xFFFF_FFFF
# Networks whose addresses contain an IPv4 address: the network, the position of the IPv4 address in bits from the
# right, and the mask with which its bits are inverted.
_EMBEDDED = (
    (_TRANSPARENT[0], 0, 0),  # IPv4-mapped: RFC 4291, 2.5.5.2
    (_TRANSPARENT[1], 0, 0),  # NAT64: RFC 6052
    (IPv6Network("::ffff:0:0:0/96"), 0, 0),
    (IPv6Network("::/96"), 0, 0),  # IPv4-compatible: RFC 4291, 2.5.5.1
    (IPv6Network("2002::/16"), 80, 0),  # RFC 3056
    (IPv6Network("2001::/32"), 0, _WORD),  # RFC 4380, 4
)
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})  # RFC 5214, 6.1: the third word of an address

_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_MAX_PARTS = 4


class AddressPolicy:
    """Decides which addresses may be reached: those in the networks *allowed*, and all that the table doesn't deny."""

    def __init__(self, allowed: Sequence[Network] = ()) -> None:
        self.allowed = tuple(allowed)

    def allows(self, address: Address) -> bool:
        """Return whether *address*, or the IPv4 address that it stands for, is in an allowed network.

        The IPv4 address in an ISATAP address doesn't count, because the upper half says where the packets go.
        """
        within = embedded_ipv4(address)
        return any(address in network or (within is not None and within in network) for network in self.allowed)

    def refusal(self, address: Address) -> str | None:
        """Return what makes *address* unreachable, such as "a private address"; None if it may be reached."""
        if self.allows(address):
            return None
        if words := denial(address):
            return words
        within = embedded_ipv4(address) or isatap_ipv4(address)
        return None if within is None else self.refusal(within)


def denial(address: Address) -> str | None:
    """Return what the table calls *address*; None if the table doesn't contain it. Addresses inside it don't count."""
    if isinstance(address, IPv4Address):
        return next((words for network, words in DENIED_V4 if address in network), None)
    if any(address in network for network in _TRANSPARENT):
        return None
    return next((words for network, words in DENIED_V6 if address in network), None)


def embedded_ipv4(address: Address) -> IPv4Address | None:
    """Return the IPv4 address to which a translator or a tunnel sends packets for *address*; None if there is none."""
    if isinstance(address, IPv4Address) or int(address) <= 1:  # :: and ::1 are not tunnels
        return None
    for network, shift, flipped in _EMBEDDED:
        if address in network:
            return IPv4Address((int(address) >> shift & _WORD) ^ flipped)
    return None


def isatap_ipv4(address: Address) -> IPv4Address | None:
    """Return the IPv4 address in the lower half of an ISATAP address; None if *address* isn't one."""
    if isinstance(address, IPv6Address) and int(address) >> 32 & _WORD in _ISATAP:
        return IPv4Address(int(address) & _WORD)
    return None


def parse_address(host: str) -> Address | None:
    """Return the address that *host* (lower case, without brackets) denotes; None if it is a name.

    Numbers are read as browsers and `inet_aton` do: one to four parts, each decimal, octal (0177) or hex (0x7f), where
    the last part fills the remaining bytes (https://url.spec.whatwg.org/#concept-ipv4-parser). Raises `ValueError` if
    *host* looks like an address and isn't one.
    """
    if ":" in host:
        return IPv6Address(host)
    parts = host.removesuffix(".").split(".")
    if _NUMBER.fullmatch(parts[-1]) is None:
        return None
    if len(parts) > _MAX_PARTS or len(host) > 64:  # noqa: PLR2004 - longer than any IPv4 address
        raise ValueError("too many parts or digits")
    *first, last = (_number(part) for part in parts)
    if any(number > 255 for number in first) or last >= 256 ** (5 - len(parts)):  # noqa: PLR2004 - bytes
        raise ValueError("a number is too large")
    return IPv4Address(sum(number << 24 - 8 * position for position, number in enumerate(first)) + last)


def _number(part: str) -> int:
    if _NUMBER.fullmatch(part) is None:
        raise ValueError("not a number")
    if part.startswith("0x"):
        return int(part[2:] or "0", 16)
    return int(part, 8 if part.startswith("0") else 10)
