"""The URL of a service, and the headers that each request to it has."""

import re
from collections.abc import Mapping

import httpx

_TOKEN = re.compile(r"[\x21-\x7e]+")


class ServiceUrl:
    """The URL of a service without a slash at its end, and the headers with the token."""

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
        if token is not None and not _TOKEN.fullmatch(token):
            raise ValueError("a token has only printable ASCII characters, and no space or line end")
        self.url = str(parsed).rstrip("/")
        self.headers: Mapping[str, str] = {} if token is None else {"Authorization": f"Bearer {token}"}
