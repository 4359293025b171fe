"""A parser of URLs by RFC 3986, with the same result on every version of Python.

`urllib.parse.urlsplit` raises `ValueError` for a malformed host. Which hosts it considers malformed depends on Python's
patch level: 3.11.7 reads `http://[::1]8080/`, 3.13.5 refuses it. `split_url` never raises.
"""

import re
from ipaddress import IPv6Address
from unicodedata import normalize

from msgspec import Struct

_URL = re.compile(
    r"(?:([a-z][a-z0-9+.-]*):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.ASCII | re.IGNORECASE | re.DOTALL
)
_SERVER = re.compile(r"(?:\[([^\[\]]+)\]|([^\[\]:]+))(?::([0-9]*))?")
_DELIMITERS = frozenset("/?#@:")
_MAX_PORT = 65_535


class UrlParts(Struct, frozen=True):
    """The parts of a URL. `scheme` and `host` are in lower case, and an IPv6 address has no brackets.

    `host` is None if the URL has no host, or if its host or its port is malformed. `userinfo` is None if there is no
    `@` before the host; it may be empty.
    """

    scheme: str
    userinfo: str | None
    host: str | None
    port: int | None
    path: str
    query: str
    fragment: str


def split_url(url: str) -> UrlParts:
    """Return the parts of *url*, which may be any text."""
    match = _URL.fullmatch(url)
    assert match is not None  # each part may be empty, and the path matches what no other part matches
    scheme, authority, path, query, fragment = (part or "" for part in match.groups())
    userinfo, at, server = authority.rpartition("@")
    host, port = _host_and_port(server) or (None, None)
    return UrlParts(scheme.lower(), userinfo if at else None, host, port, path, query, fragment)


def _host_and_port(server: str) -> tuple[str, int | None] | None:
    """Return host and port of *server*; None if it is malformed or empty."""
    match = _SERVER.fullmatch(server)
    if match is None:
        return None
    address, name, digits = match.groups()
    if address is not None and not _is_ipv6(address):
        return None
    # Software that normalises hosts turns such a character, like U+2100, into one that ends the host.
    if name is not None and not _DELIMITERS.isdisjoint(normalize("NFKC", name)):
        return None
    if not digits:
        return (address or name).lower(), None
    significant = digits.lstrip("0") or "0"
    if len(significant) > len(str(_MAX_PORT)) or int(significant) > _MAX_PORT:
        return None
    return (address or name).lower(), int(significant)


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True
