"""Signatures between Stepwell and a custom worker: HMAC-SHA256 with a secret that both hold, on all that either sends.

A message carries `Stepwell-Timestamp` (seconds since 1970) and `Stepwell-Signature: v1=<hex>`. What is signed, UTF-8:

| message  | signed                                                           | so that                                |
|----------|------------------------------------------------------------------|----------------------------------------|
| request  | `{timestamp}.{METHOD}.{path?query}.{body}`                       | only we can start, read or end jobs    |
| answer   | `{timestamp}.{status}.{the request's signature, hex}.{body}`     | it holds for this request alone        |
| callback | `{timestamp}.{attempt_id}.{body}`                                | it holds for this attempt alone        |

`path?query` is the request target as it was sent, the path of STEPWELL_CUSTOM_URL included. The second part has another
form in each, so that none passes for another. A timestamp more than 5 minutes off is refused.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping

import httpx

from stepwell.contract.enums import ProviderType
from stepwell.domain.setting_names import url_setting
from stepwell.ports.providers import ErrorText
from stepwell.providers.shared.credentials import Key
from stepwell.providers.shared.provider_api import ApiAnswer, ProviderApi, is_unauthorized, key_refusal

TOLERANCE_S = 300
TIMESTAMP, SIGNATURE = "Stepwell-Timestamp", "Stepwell-Signature"
_VERSION = "v1="
_DIGITS = 12  # of a timestamp: more are no time


class UntrustedAnswer(httpx.HTTPError):
    """An answer that need not be the worker's: to us it is as good as a lost one. The subclass says why."""


class UnsignedAnswer(UntrustedAnswer):
    pass


class StaleSignature(UntrustedAnswer):
    pass


class WrongSignature(UntrustedAnswer):
    pass


class SignedApi(ProviderApi):
    """A `ProviderApi` that signs requests and believes signed answers alone; without a *key* neither.

    An answer that can't be believed counts as none: `submit` raises `OutcomeUnknown`, `call` raises `CallFailed`.
    For one call, or one after the other: `answer` is the latest one.

    An answer with a valid signature counts as accepting the key, and a 401 without one as refusing it.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        name: str,
        error_text: ErrorText,
        *,
        key: Key | None,
        clock: Callable[[], float],
        timeout_s: float,
    ) -> None:
        setting = url_setting(ProviderType.CUSTOM)
        super().__init__(client, name, self._masked_words, timeout_s=timeout_s, setting=setting)
        self._words, self._signing_key, self._clock = error_text, key, clock
        self._secret = None if key is None else key.secret
        self.answer: ApiAnswer | None = None
        self._key_refused = False

    def masked(self, text: str) -> str:
        """*text* without the secret, which a worker may have put into its words."""
        return text.replace(self._secret, "***") if self._secret else text

    def _masked_words(self, body: bytes) -> str | None:
        words = self._words(body)
        return None if words is None else self.masked(words)

    def _no_answer(self, error: Exception) -> str:
        words = super()._no_answer(error)
        if self._key_refused and self._signing_key is not None:
            return f"{words}: {key_refusal(self._signing_key)}{error}"
        return words

    async def _request(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], timeout_s: float
    ) -> ApiAnswer:
        self.answer, self._key_refused = None, False
        if self._signing_key is None or self._secret is None:
            self.answer = await super()._request(method, url, body, headers, timeout_s)
            return self.answer
        target = httpx.URL(url).raw_path.decode("ascii")
        ours = signature_headers(self._secret, self._clock(), (method, target), body or b"")
        answer = await super()._request(method, url, body, {**headers, **ours}, timeout_s)
        parts = (str(answer.status), ours[SIGNATURE].removeprefix(_VERSION))
        try:
            check(self._secret, self._clock(), answer.headers, parts, answer.body)
        except (UnsignedAnswer, WrongSignature):
            self._key_refused = is_unauthorized(answer)
            if self._key_refused:
                self._signing_key.report_refused()
            raise
        self._signing_key.report_accepted()
        self.answer = answer
        return answer


def signature_headers(secret: str, now: float, parts: tuple[str, ...], body: bytes) -> dict[str, str]:
    """The two headers of a message; *parts* are what stands between timestamp and body, *now* is in seconds."""
    timestamp = str(int(now))
    return {TIMESTAMP: timestamp, SIGNATURE: _signature(secret, timestamp, parts, body)}


def check(secret: str, now: float, headers: Mapping[str, str], parts: tuple[str, ...], body: bytes) -> None:
    """Raise `UntrustedAnswer` unless the message is signed, now and for these *parts*. *headers*: names in any case."""
    found = {name.lower(): value for name, value in headers.items()}
    timestamp, given = found.get(TIMESTAMP.lower()), found.get(SIGNATURE.lower())
    if timestamp is None or given is None:
        raise UnsignedAnswer("there is no signature")
    expected = _signature(secret, timestamp, parts, body)
    # As bytes: odd characters must not raise, and the time that it takes must not tell.
    if not hmac.compare_digest(expected.encode("utf-8", "replace"), given.encode("utf-8", "replace")):
        raise WrongSignature("the signature is wrong")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _DIGITS):
        raise StaleSignature("the timestamp is none")
    if abs(now - int(timestamp)) > TOLERANCE_S:
        raise StaleSignature("the signature is too old, or of the future")


def _signature(secret: str, timestamp: str, parts: tuple[str, ...], body: bytes) -> str:
    message = ".".join((timestamp, *parts, "")).encode("utf-8", "replace") + body
    return _VERSION + hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()
