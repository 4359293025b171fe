"""The origin of a request by a browser: whether a page of this service makes it.

Browsers send `Sec-Fetch-Site` to https and to this machine. If it is there, it decides. Else `Origin` decides, which
browsers send with every request that isn't a GET. https://www.w3.org/TR/fetch-metadata/
"""

from collections.abc import Collection
from enum import Enum, auto


class RequestOrigin(Enum):
    """SAME: a page of this service makes the request. OTHER: another page does, or none. UNKNOWN: nothing says so."""

    SAME = auto()
    OTHER = auto()
    UNKNOWN = auto()


def request_origin(fetch_site: str | None, origin: str | None, own: Collection[str]) -> RequestOrigin:
    """Return the origin of a request with these headers, to a service whose pages have the origins *own*."""
    if fetch_site is not None:
        return RequestOrigin.SAME if fetch_site == "same-origin" else RequestOrigin.OTHER
    if origin is None:
        return RequestOrigin.UNKNOWN
    return RequestOrigin.SAME if origin in own else RequestOrigin.OTHER
