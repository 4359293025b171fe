"""Sends a webhook once, through the SSRF guard, and keeps the beginning of the response."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from email.utils import format_datetime

import httpx

from stepwell import __version__
from stepwell.basics.setting_values import Networks
from stepwell.contract.events import DeliveryAttemptPublic
from stepwell.lifecycle.webhook_deliveries import (
    MAX_RESPONSE,
    MAX_RETRY_AFTER_S,
    WEBHOOKS_NOT_CONFIGURED,
    SendResult,
    UrlRule,
)
from stepwell.outbound.address_policy import AddressPolicy
from stepwell.outbound.http_client import retry_after_s
from stepwell.outbound.sanitise import sanitised
from stepwell.outbound.ssrf_guard import UrlBlocked, guarded_client, parse_url, url_refusal
from stepwell.ports.clock import Clock

CONNECT_S = 5.0
_CONNECTIONS = 1_000  # no more are sent at once, so no webhook waits for another's connection
_LOOK_UPS = 128
MAX_READ = 16 * 1024
_HEADERS = {
    "content-type": "application/json",
    "user-agent": f"stepwell/{__version__}",
    "accept-encoding": "identity",  # responses are not decompressed here
}
# Our own messages, because the system's contain the IP addresses of a host.
_MESSAGES: tuple[tuple[type[Exception], str], ...] = (
    (httpx.ConnectTimeout, "there was no connection in time"),
    (httpx.ConnectError, "the connection was not made"),
    (httpx.TimeoutException, "there was no response in time"),
    (httpx.ProtocolError, "there was no response in HTTP"),
    (httpx.NetworkError, "the connection broke"),
)
_TLS = ("certificate", "ssl", "tls")


def webhook_rule(allowed: Networks, *, https_only: bool, configured: bool) -> UrlRule:
    """Return the check of webhook URLs at create: it returns what is wrong with a URL, as far as is known without DNS.

    *configured* says whether there is a secret to sign webhooks with.
    """
    policy = AddressPolicy(allowed)

    def refusal(url: str) -> tuple[str, str] | None:
        if not configured:
            return WEBHOOKS_NOT_CONFIGURED
        why = url_refusal(url, policy, https_only=https_only)
        return None if why is None else (why, "url_invalid")

    return refusal


def webhook_sender(allowed: Networks, clock: Clock, *, https_only: bool, timeout_s: float) -> "WebhookSender":
    """Return a sender with its own client, so that slow receivers don't occupy the connections of downloads."""
    client = guarded_client(AddressPolicy(allowed), https_only=https_only, connections=_CONNECTIONS, look_ups=_LOOK_UPS)
    return WebhookSender(client, clock, timeout_s=timeout_s)


class WebhookSender:
    """Implements `ports.webhooks.Sender`.

    *client* is an `ssrf_guard.guarded_client`. *timeout_s* is the deadline of a whole attempt, DNS included.
    """

    def __init__(self, client: httpx.AsyncClient, clock: Clock, *, timeout_s: float) -> None:
        self._client, self._clock, self._timeout_s = client, clock, timeout_s

    async def send(self, url: str, headers: Mapping[str, str], body: str, hidden: Sequence[str]) -> SendResult:
        at, began = self._clock.now(), time.monotonic()
        code: int | None = None
        retry_s: float | None = None
        content, error = b"", None
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._client.stream(
                    "POST",
                    parse_url(url),
                    headers=_HEADERS | dict(headers),
                    content=body.encode(),
                    timeout=httpx.Timeout(self._timeout_s, connect=min(CONNECT_S, self._timeout_s)),
                ) as response,
            ):
                code = response.status_code
                dated = {"date": format_datetime(at, usegmt=True)} | dict(response.headers)
                retry_s = retry_after_s(dated, MAX_RETRY_AFTER_S)
                async for part in response.aiter_raw():
                    content += part[: MAX_READ - len(content)]
                    if len(content) >= MAX_READ:
                        break
        except Exception as failure:  # noqa: BLE001 - every failure of the receiver counts as an attempt
            error = self._message(failure)
        if code is not None:
            error = None  # there was a response, if perhaps not a complete one
        latency_ms = round((time.monotonic() - began) * 1000)
        beginning = None if code is None else _beginning(content, hidden)
        return SendResult(DeliveryAttemptPublic(at, code, latency_ms, beginning, error), retry_s)

    async def aclose(self) -> None:
        await self._client.aclose()

    def _message(self, failure: Exception) -> str:
        if isinstance(failure, UrlBlocked):
            return str(failure)
        if isinstance(failure, TimeoutError):
            return f"there was no response within {self._timeout_s:g} s"
        text = str(failure)
        if isinstance(failure, httpx.ConnectError | httpx.ConnectTimeout) and "resolve" in text:
            return sanitised(text, 300)  # the guard's message
        if isinstance(failure, httpx.ConnectError) and any(word in text.lower() for word in _TLS):
            return "the certificate doesn't hold, or there is no TLS"
        return next((words for kind, words in _MESSAGES if isinstance(failure, kind)), "it could not be sent")


def _beginning(content: bytes, hidden: Sequence[str]) -> str:
    """Return the beginning of *content* without secrets. They are masked before the cut, so no half is left."""
    text = content.decode("utf-8", "replace")
    for secret in hidden:
        for form in (secret, secret.partition("_")[2]):
            text = text.replace(form, "***")
    return sanitised(text, MAX_RESPONSE)
