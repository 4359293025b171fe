"""Signatures between Stepwell and a custom worker: HMAC-SHA256 with a shared secret, on every message of both sides.

The scheme is our own, not Standard Webhooks: these signatures bind the method, the path, the status and the request,
which Standard Webhooks doesn't. A message has the headers `Stepwell-Timestamp` (seconds since 1970) and
`Stepwell-Signature: v1=<hex>`. The signed text, in UTF-8:

| message  | signed text                                                      | purpose                                |
|----------|------------------------------------------------------------------|----------------------------------------|
| request  | `{timestamp}.{METHOD}.{path?query}.{body}`                       | only Stepwell can start and end jobs   |
| answer   | `{timestamp}.{status}.{the request's signature, hex}.{body}`     | it is valid for this request only      |
| callback | `{timestamp}.{attempt_id}.{body}`                                | it is valid for this attempt only      |

`path?query` is the request target as it was sent, with the path of STEPWELL_CUSTOM_URL. The second part has a different
form in each kind of message, so that no signature fits another kind. A timestamp that is more than 5 minutes off is
refused.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping

import httpx

from stepwell.ports.providers import AnswerMemory
from stepwell.providers.custom.descriptor import CUSTOM
from stepwell.providers.custom.protocol import NAME, error_words
from stepwell.providers.shared.credentials import Key
from stepwell.providers.shared.provider_api import ApiAnswer, ProviderApi, is_unauthorized, key_refusal

TOLERANCE_S = 300
TIMESTAMP, SIGNATURE = "Stepwell-Timestamp", "Stepwell-Signature"
_VERSION = "v1="
_DIGITS = 12  # a longer timestamp is not a time


class UntrustedAnswer(httpx.HTTPError):
    """An answer that may not be the worker's. It counts as lost. The subclass says why."""


class UnsignedAnswer(UntrustedAnswer):
    """The answer has no signature."""


class StaleSignature(UntrustedAnswer):
    """The timestamp is invalid, too old, or in the future."""


class WrongSignature(UntrustedAnswer):
    """The signature isn't that of the message."""


class SignedApi(ProviderApi):
    """A `ProviderApi` that signs requests and accepts only signed answers. Without a *key* it does neither.

    An answer that isn't accepted counts as lost: `submit` raises `OutcomeUnknown`, `call` raises `CallFailed`. Calls
    must not overlap, because `answer` is the latest answer.

    An answer with a valid signature means that the worker accepts the key; a 401 without one, that it refuses it.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        answers: AnswerMemory | None,
        key: Key | None,
        clock: Callable[[], float],
        timeout_s: float,
    ) -> None:
        super().__init__(client, NAME, self._masked_words, answers=answers, timeout_s=timeout_s, provider=CUSTOM)
        self._signing_key, self._clock = key, clock
        self._secret = None if key is None else key.secret
        self.answer: ApiAnswer | None = None
        self._key_refused = False

    def masked(self, text: str) -> str:
        """Return *text* without the secret, which a worker may have put into its messages."""
        return text.replace(self._secret, "***") if self._secret else text

    def _masked_words(self, body: bytes) -> str | None:
        words = error_words(body)
        return None if words is None else self.masked(words)

    def _no_answer(self, error: Exception) -> str:
        words = super()._no_answer(error)
        if self._key_refused and self._signing_key is not None:
            return f"{words}: {key_refusal(self._signing_key)}{error}"
        return words

    async def _request(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str],
        timeout_s: float,
        *,
        submits: bool = False,
    ) -> ApiAnswer:
        """Send the request, and check the signature of its answer.

        Answers to submits aren't stored, because the signature can be checked only in memory. If one is lost, the job
        is found in the worker's list of jobs.
        """
        del submits
        self.answer, self._key_refused = None, False
        if self._signing_key is None or self._secret is None:
            self.answer = await super()._request(method, url, body, headers, timeout_s)
            return self.answer
        target = httpx.URL(url).raw_path.decode("ascii")
        signed_headers = signature_headers(self._secret, self._clock(), (method, target), body or b"")
        answer = await super()._request(method, url, body, {**headers, **signed_headers}, timeout_s)
        parts = (str(answer.status), signed_headers[SIGNATURE].removeprefix(_VERSION))
        try:
            check_signature(self._secret, self._clock(), answer.headers, parts, answer.body)
        except (UnsignedAnswer, WrongSignature):
            self._key_refused = is_unauthorized(answer)
            if self._key_refused:
                self._signing_key.report_refused()
            raise
        self._signing_key.report_accepted()
        self.answer = answer
        return answer


def signature_headers(secret: str, now: float, parts: tuple[str, ...], body: bytes) -> dict[str, str]:
    """Return the two headers of a message. *parts* are signed between timestamp and body. *now* is in seconds."""
    timestamp = str(int(now))
    return {TIMESTAMP: timestamp, SIGNATURE: _signature(secret, timestamp, parts, body)}


def check_signature(secret: str, now: float, headers: Mapping[str, str], parts: tuple[str, ...], body: bytes) -> None:
    """Raise `UntrustedAnswer` unless *parts* have a recent signature. Names in *headers* have any case."""
    lowered = {name.lower(): value for name, value in headers.items()}
    timestamp, signature = lowered.get(TIMESTAMP.lower()), lowered.get(SIGNATURE.lower())
    if timestamp is None or signature is None:
        raise UnsignedAnswer("there is no signature")
    expected = _signature(secret, timestamp, parts, body)
    # As bytes, because compare_digest raises for non-ASCII text. It takes the same time for every wrong signature.
    if not hmac.compare_digest(expected.encode("utf-8", "replace"), signature.encode("utf-8", "replace")):
        raise WrongSignature("the signature is wrong")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _DIGITS):
        raise StaleSignature("the timestamp is not a number")
    if abs(now - int(timestamp)) > TOLERANCE_S:
        raise StaleSignature("the signature is too old, or of the future")


def _signature(secret: str, timestamp: str, parts: tuple[str, ...], body: bytes) -> str:
    message = ".".join((timestamp, *parts, "")).encode("utf-8", "replace") + body
    return _VERSION + hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()
