"""Access tokens of service accounts, by google-auth. They are fetched in a thread, cached, and renewed early.

The protocol: https://developers.google.com/identity/protocols/oauth2/service-account#httprest. The URL is `token_uri`
in the account's JSON, which the operator supplies, so it is trusted.
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import anyio
import httpx
from anyio import to_thread
from google.auth import transport
from google.auth.exceptions import GoogleAuthError, RefreshError, TransportError
from google.oauth2 import service_account
from msgspec import DecodeError, json

from stepwell.basics.errors import AttemptError
from stepwell.outbound.http_client import retry_after_s
from stepwell.outbound.sanitise import sanitised
from stepwell.providers.google.descriptors import VERTEX
from stepwell.providers.shared.connection_errors import connection_message
from stepwell.providers.shared.submit_outcomes import SubmitOutcome, is_away, outcome_of_error

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_EARLY_S = 300.0  # a token is renewed this long before its end
_UNKNOWN_LIFE_S = 60.0  # of a token without an end
_MAX_ANSWER = 1024 * 1024
_TRANSIENT_STATUSES = frozenset({408, 425, 429})
_SERVER_ERROR = 500
# Errors about the account. All others are about the request: https://www.rfc-editor.org/rfc/rfc6749#section-5.2.
_REFUSALS = frozenset({"invalid_grant", "invalid_client", "unauthorized_client"})
# google-auth raises these if an answer hasn't the form that it expects.
_UNREADABLE = (TypeError, ValueError, AttributeError, KeyError)


class AccountRefused(AttemptError):
    """The token endpoint refuses the account or its key. The message doesn't name the provider."""


class ServiceAccount:
    """One service account. `project` is its project, "" if its JSON names none. `hidden` are the lines of its key."""

    def __init__(self, name: str, secret: str) -> None:
        self._name = name
        try:
            info = json.decode(secret)
            self.project = str(info.get("project_id") or "")
            self.hidden = [line for line in str(info["private_key"]).splitlines() if line]
            make = service_account.Credentials.from_service_account_info
            self._credentials = make(info, scopes=_SCOPES)  # type: ignore[no-untyped-call]
        except (DecodeError, GoogleAuthError, RecursionError, *_UNREADABLE):
            message = f"{name}: the credential is not the JSON of a service account, with its private key"
            raise AttemptError(message, retryable=False) from None  # the error may contain parts of the key
        self._lock, self._token, self._until = anyio.Lock(), "", 0.0

    async def token(self, timeout_s: float) -> str:
        """Return a token that is valid for some time. Raises `AttemptError`; nothing that costs has been sent."""
        try:
            with anyio.fail_after(timeout_s):
                async with self._lock:
                    if time.monotonic() >= self._until:
                        fetched = await to_thread.run_sync(self._fetch_token, timeout_s, abandon_on_cancel=True)
                        self._token, self._until = fetched
                    return self._token
        except TimeoutError:
            raise AttemptError(f"{self._name}: no access token in {timeout_s:g} s", retryable=True) from None

    def forget(self, token: str) -> None:
        """Drop a token that was refused. The next call fetches another one."""
        if token == self._token:
            self._until = 0.0

    def _fetch_token(self, timeout_s: float) -> tuple[str, float]:
        """Return a new token, and the time on the monotonic clock until which to use it."""
        try:
            self._credentials.refresh(Transport(timeout_s))
        except TransportError as error:
            away = isinstance(error, _EndpointAway)
            raise AttemptError(f"{self._name}: no access token: {error}", retryable=True, provider_away=away) from None
        except RefreshError as error:
            message = str(error.args[0]) if error.args else ""
            for line in self.hidden:
                message = message.replace(line, "…")
            if _is_refusal(error):
                raise AccountRefused(sanitised(f"no access token: {message}", 300), retryable=False) from None
            raise AttemptError(sanitised(f"{self._name}: no access token: {message}", 300), retryable=False) from None
        except (GoogleAuthError, *_UNREADABLE):
            raise AttemptError(f"{self._name}: no access token: the answer can't be read", retryable=True) from None
        token, expiry = self._credentials.token, self._credentials.expiry
        if not isinstance(token, str) or not token:
            raise AttemptError(f"{self._name}: no access token: the answer can't be read", retryable=True)
        now = datetime.fromtimestamp(time.time(), UTC).replace(tzinfo=None)  # google-auth uses naive UTC times
        life_s = _UNKNOWN_LIFE_S if expiry is None else (expiry - now).total_seconds()
        return token, time.monotonic() + life_s - min(_EARLY_S, life_s / 2)


def _is_refusal(error: RefreshError) -> bool:
    body = error.args[1] if len(error.args) > 1 else None
    code = body.get("error") if isinstance(body, Mapping) else None
    return isinstance(code, str) and code in _REFUSALS


class Accounts:
    """A cache of service accounts, by the text of their JSON."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._by_secret: dict[str, ServiceAccount] = {}

    async def of(self, secret: str) -> ServiceAccount:
        """Return the account of *secret*, its JSON. Raises `AttemptError` if it isn't the JSON of a service account."""
        if secret not in self._by_secret:
            account = await to_thread.run_sync(ServiceAccount, self._name, secret)  # reading an RSA key is slow
            self._by_secret.setdefault(secret, account)
        return self._by_secret[secret]


class _Response(NamedTuple):
    """A complete response, with the members that google-auth reads."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class Transport(transport.Request):
    """A transport for google-auth: one call without redirects, environment or retries, within *timeout_s*."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_: Any,
    ) -> _Response:
        until = time.monotonic() + min(timeout or self._timeout_s, self._timeout_s)
        request_headers = {"Accept-Encoding": "identity", "User-Agent": "stepwell", **(headers or {})}
        # Shorter than the deadline, so that a failed connection is known to have sent nothing.
        limits = httpx.Timeout(self._timeout_s, connect=min(self._timeout_s / 2, 10.0))
        data = bytearray()
        try:
            with (
                httpx.Client(trust_env=False, follow_redirects=False, timeout=limits) as client,
                client.stream(method, url, content=body, headers=request_headers) as response,
            ):
                for chunk in response.iter_raw():
                    data += chunk
                    if len(data) > _MAX_ANSWER or time.monotonic() > until:
                        raise _transport_error("the answer is too big, or too slow")
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            why = connection_message(error, url, "token_uri in the service account's JSON", VERTEX.public_hosts)
            away = outcome_of_error(error) is SubmitOutcome.AWAY
            raise _transport_error(why or f"no answer ({type(error).__name__})", away=away) from None
        if response.status_code >= _SERVER_ERROR or response.status_code in _TRANSIENT_STATUSES or response.is_redirect:
            # Raised here, because google-auth would retry otherwise.
            again_s = retry_after_s(response.headers)
            away = is_away(response.status_code, retry_after=again_s is not None)
            raise _transport_error(f"the token endpoint answered {response.status_code}", away=away)
        return _Response(response.status_code, response.headers, bytes(data))


class _EndpointAway(TransportError):
    """The token endpoint is away, as in `AttemptError`. So nothing was sent to the provider."""


def _transport_error(why: str, *, away: bool = False) -> TransportError:
    kind = _EndpointAway if away else TransportError
    return kind(why)  # type: ignore[no-untyped-call] # the library has no types


def account_fault(secret: str) -> str | None:
    """Return what is wrong with a credential that isn't a service account. See `ProviderDescriptor`."""
    try:
        ServiceAccount(VERTEX.name, secret)
    except AttemptError:
        return "Expected the JSON of a service account, with its private key"
    return None
