"""Fetches the key set of a JWKS URL, which the operator has configured and therefore trusts: it may be private.

Follows no redirects, because they could lead anywhere. Uses no proxies and no cookies.
"""

import asyncio
from typing import Final

import httpx

from stepwell.outbound.http_client import plain_client
from stepwell.outbound.sanitise import sanitised

MAX_BYTES: Final = 256 * 1024
_DEADLINE_S = 5.0
_ACCEPT = "application/jwk-set+json, application/json"
_HEADERS = {"Accept": _ACCEPT, "Accept-Encoding": "identity", "User-Agent": "stepwell"}


class KeySetUnavailable(Exception):
    """The URL doesn't return a key set. The message is for the operator's log."""


class KeySetClient:
    """Fetches the key set at *url*, within *deadline_s* seconds."""

    def __init__(self, url: str, deadline_s: float = _DEADLINE_S) -> None:
        self._url, self._deadline_s = url, deadline_s
        self._client = plain_client()

    async def fetch(self) -> bytes:
        """Return the body of the response. Raises `KeySetUnavailable`."""
        try:
            async with (
                asyncio.timeout(self._deadline_s),
                self._client.stream("GET", self._url, headers=_HEADERS, timeout=self._deadline_s) as response,
            ):
                return await _body(response)
        except TimeoutError:
            raise KeySetUnavailable(f"no complete response in {self._deadline_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            raise KeySetUnavailable(sanitised(f"{type(error).__name__}: {error}", 200)) from None

    async def aclose(self) -> None:
        await self._client.aclose()


async def _body(response: httpx.Response) -> bytes:
    if response.is_redirect:
        raise KeySetUnavailable(f"the response is a redirect ({response.status_code}), which isn't followed")
    if response.status_code != httpx.codes.OK:
        raise KeySetUnavailable(f"the response has status {response.status_code}")
    data = bytearray()
    async for chunk in response.aiter_raw():
        data += chunk
        if len(data) > MAX_BYTES:
            raise KeySetUnavailable(f"the response is larger than {MAX_BYTES:,} bytes")
    return bytes(data)
