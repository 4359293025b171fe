"""The URL of a service, and the headers that each request to it has.

The environment's token is for the service that the environment names: it is sent to no other one.
"""

import os
import re
from collections.abc import Mapping
from contextlib import suppress

import httpx

_URL_VARIABLE, _TOKEN_VARIABLE = "STEPWELL_URL", "STEPWELL_TOKEN"
_PORTS = {"http": 80, "https": 443}
_TOKEN = re.compile(r"[\x21-\x7e]+")


class ServiceUrl:
    """The URL of a service without a slash at its end, and the headers with the token. "" is no token."""

    def __init__(self, url: str, token: str | None) -> None:
        try:
            parsed = httpx.URL(url)
            parsed.raw_host.decode("ascii").encode("idna")  # as the socket does: a label is neither empty nor too long
            host = parsed.host
        except (httpx.InvalidURL, UnicodeError) as error:
            raise ValueError(f"the URL of the service is invalid: {error}") from None
        if parsed.scheme not in ("http", "https") or not host:
            raise ValueError("the URL of the service begins with http:// or https:// and a host")
        if parsed.userinfo or parsed.query or parsed.fragment:
            raise ValueError("the URL of the service has no user, no query and no fragment")
        if token and not _TOKEN.fullmatch(token):
            raise ValueError("a token has only printable ASCII characters, and no space or line end")
        self.url = str(parsed).rstrip("/")
        self.headers: Mapping[str, str] = {} if not token else {"Authorization": f"Bearer {token}"}


def find_service(url: str | None, token: str | None) -> ServiceUrl:
    """Return the service at *url* with *token*. None: that of STEPWELL_URL, and of STEPWELL_TOKEN.

    Raises ValueError if one of them is invalid, or if there is no URL.
    """
    named = os.environ.get(_URL_VARIABLE) or None
    if url is None and named is None:
        raise ValueError(f"there is no URL of a service: pass it as url, or set {_URL_VARIABLE}")
    service = ServiceUrl(url if url is not None else named or "", token)
    stored = os.environ.get(_TOKEN_VARIABLE) or None
    if token is not None or stored is None or not (named is None or is_same_service(service.url, named)):
        return service
    return ServiceUrl(service.url, stored.strip())


def is_same_service(url: str, other: str) -> bool:
    """Return whether both URLs are valid, and those of one service."""
    with suppress(ValueError):
        return _address(url) == _address(other)
    return False


def _address(service_url: str) -> tuple[str, str, int | None, str]:
    url = httpx.URL(ServiceUrl(service_url.strip(), None).url)
    return url.scheme, url.host, url.port or _PORTS.get(url.scheme), url.path
