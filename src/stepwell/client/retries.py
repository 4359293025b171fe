"""The policy for repeated requests: after which failures, after which pauses, and for how long."""

import random
from http import HTTPStatus
from time import monotonic

from stepwell.client.errors import ConnectionFailed, StepwellError

_BASE_S, _MAX_PAUSE_S, _MAX_EXPONENT = 0.25, 10.0, 10
# Another try may succeed after these, whether or not they say when.
_TEMPORARY = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})
# Another try may succeed after these if they say when. 409: the first try is still being worked on.
_TEMPORARY_IF_DATED = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.CONFLICT})


class Retries:
    """The tries of one request, with full-jitter backoff after the pause that the service asks for.

    No try begins later than *within_s* after the first failure. The time until that failure doesn't count, because it
    may be as long as a request's timeout. If *within_s* is 0, there is one try.
    """

    def __init__(self, within_s: float) -> None:
        self.within_s = within_s
        self._failed_at: float | None = None  # the time of the first failure
        self._failures = 0

    def reset(self) -> None:
        """Restart the time and the pauses after a success, for instance after a part of a stream."""
        self.extend()
        self._failures = 0

    def extend(self) -> None:
        """Restart the time, but not the pauses: the service responds, but has sent no complete event."""
        self._failed_at = None

    def pause_after(self, failure: StepwellError, *, is_repeatable: bool) -> float:
        """Return the seconds to wait before the next try. Raises *failure* if there is no next try."""
        if self.within_s <= 0 or not _may_succeed_later(failure, is_repeatable=is_repeatable):
            raise failure
        pause = self.pause_after_end() + (failure.retry_after_s or 0)
        now = monotonic()
        if self._failed_at is None:
            self._failed_at = now
        if now + pause > self._failed_at + self.within_s:
            raise failure
        return pause

    def pause_after_end(self) -> float:
        """Return the seconds to wait before a stream that has ended without a failure is opened again."""
        pause = random.uniform(0, min(_MAX_PAUSE_S, _BASE_S * 2**self._failures))  # noqa: S311 - jitter is no secret
        self._failures = min(self._failures + 1, _MAX_EXPONENT)
        return pause


def _may_succeed_later(failure: StepwellError, *, is_repeatable: bool) -> bool:
    """True if the request may be sent again, and another try may succeed."""
    if isinstance(failure, ConnectionFailed):
        return failure.is_temporary and (is_repeatable or not failure.was_sent)
    if not is_repeatable:
        return False
    return failure.status in _TEMPORARY or (failure.status in _TEMPORARY_IF_DATED and failure.retry_after_s is not None)
