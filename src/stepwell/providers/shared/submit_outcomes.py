"""The outcome of a submit over HTTP: whether there is a job that is paid for. One table for all providers.

| answer or error                                           | outcome      | consequence                            |
|-----------------------------------------------------------|--------------|----------------------------------------|
| no connection: refused, DNS, TLS, a proxy's               | AWAY         | the attempt is tried again             |
| 503 with a Retry-After                                    | AWAY         | the same, after its Retry-After        |
| no connection free in time, a request that can't be sent  | NOT_SENT     | the attempt failed; a retry may help   |
| 408, 425, 429; 503 in the provider's own words            | NOT_ACCEPTED | the same, after its Retry-After        |
| any other 4xx, a redirect                                 | REFUSED      | the attempt failed; a retry won't help |
| any other 5xx in the provider's own words                 | FAILED       | the attempt failed; a retry may help   |
| 2xx that can be read                                      | ACCEPTED     | there is a job                         |
| 2xx or 5xx that can't be read, 502 and 504 of a gateway,  | UNKNOWN      | reconcile, and then `on_unknown`       |
| a connection lost, or a deadline passed, once it was sent |              |                                        |

"In the provider's own words" means that the body has the form that the provider documents for errors. A gateway in
front of the provider answers with other bodies, and doesn't know what became of the request.
"""

from enum import Enum, auto
from typing import NoReturn

import httpx

from stepwell.basics.errors import AttemptError, OutcomeUnknown
from stepwell.outbound.sanitise import sanitised

_NEVER_ACCEPTED = frozenset({408, 425, 429})
_GATEWAY = frozenset({502, 504})
_BUSY = 503
_NO_CONNECTION = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)
_NOT_SENT = (
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
    httpx.InvalidURL,
    UnicodeError,  # a key that can't be sent in a header, or an invalid host name
)
_MAX_MESSAGE = 500  # bytes


class SubmitOutcome(Enum):
    """The outcome of a submit, as in the table above."""

    AWAY = auto()
    NOT_SENT = auto()
    NOT_ACCEPTED = auto()
    REFUSED = auto()
    FAILED = auto()
    ACCEPTED = auto()
    UNKNOWN = auto()


def outcome_of_answer(status: int, *, readable: bool, retry_after: bool) -> SubmitOutcome:
    """Return the outcome for an answer. *readable*: the body is a job or an error, as documented for this status.

    *retry_after*: it has a `Retry-After`.
    """
    match status // 100:
        case _ if is_away(status, retry_after=retry_after):
            return SubmitOutcome.AWAY
        case _ if status in _NEVER_ACCEPTED:
            return SubmitOutcome.NOT_ACCEPTED
        case 3 | 4:
            return SubmitOutcome.REFUSED
        case _ if status in _GATEWAY or not readable:
            return SubmitOutcome.UNKNOWN
        case 2:
            return SubmitOutcome.ACCEPTED
        case 5:
            return SubmitOutcome.NOT_ACCEPTED if status == _BUSY else SubmitOutcome.FAILED
        case _:
            return SubmitOutcome.UNKNOWN


def outcome_of_error(error: Exception) -> SubmitOutcome:
    """Return the outcome for an error of httpx, or for the TimeoutError of a deadline around the whole call."""
    if isinstance(error, _NO_CONNECTION):
        return SubmitOutcome.AWAY
    return SubmitOutcome.NOT_SENT if isinstance(error, _NOT_SENT) else SubmitOutcome.UNKNOWN


def is_away(status: int, *, retry_after: bool) -> bool:
    """Return whether an answer asks to come back later: a 503 with a `Retry-After`."""
    return status == _BUSY and retry_after


def raise_outcome(outcome: SubmitOutcome, provider: str, why: str, retry_after_s: float | None = None) -> NoReturn:
    """Raise what `RemoteProvider.submit` raises for *outcome*, which isn't ACCEPTED. *why* is shown to users."""
    message = sanitised(f"{provider}: {why}", _MAX_MESSAGE)
    match outcome:
        case SubmitOutcome.UNKNOWN:
            raise OutcomeUnknown(message)
        case SubmitOutcome.REFUSED:
            raise AttemptError(message, retryable=False)
        case _:
            away = outcome is SubmitOutcome.AWAY
            raise AttemptError(message, retryable=True, retry_after_s=retry_after_s, provider_away=away)
