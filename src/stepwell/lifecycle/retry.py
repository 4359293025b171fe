"""Decides what follows a failed attempt: another one, the fallback provider, or the failure of the step."""

from enum import Enum, auto

from stepwell.contract.definition import RetryPolicy
from stepwell.lifecycle.model import StepState
from stepwell.lifecycle.steps import ResolvedStep

RETRY_AFTER_CAP_S = 3600.0


class RetryDecision(Enum):
    """The consequence of a failed attempt."""

    RETRY = auto()
    FALLBACK = auto()
    FAIL = auto()


def decide_retry(resolved: ResolvedStep, step: StepState, *, retryable: bool, provider_fault: bool) -> RetryDecision:
    """Return what follows a failed attempt.

    The primary provider gets max_retries + 1 attempts. The fallback, if there is one, then gets the same number. An
    error that is not *retryable* isn't retried; if it is a *provider_fault*, the fallback is still tried.
    """
    if retryable and step.provider_attempts <= resolved.max_retries:
        return RetryDecision.RETRY
    if resolved.fallback is not None and not step.on_fallback and (retryable or provider_fault):
        return RetryDecision.FALLBACK
    return RetryDecision.FAIL


def uncount_attempt(step: StepState) -> None:
    """Uncount the present attempt of the step, of which nothing was sent."""
    step.retry_count -= step.provider_attempts > 1
    step.provider_attempts -= 1


OUTAGE_PAUSE_MIN_S, OUTAGE_PAUSE_MAX_S = 1.0, 30.0


def outage_pause_s(waited_s: float, jitter: float, retry_after_s: float | None) -> float:
    """Return the seconds until an attempt at a provider that is away is tried again.

    *waited_s* are the seconds since the first try: the pauses double up to half a minute. *jitter* is from 0 to below
    1. A `Retry-After` that is longer counts.
    """
    pause = min(max(waited_s, OUTAGE_PAUSE_MIN_S), OUTAGE_PAUSE_MAX_S) * (1 + jitter) / 2
    return max(pause, retry_after_s or 0.0)


def backoff_s(policy: RetryPolicy, attempts: int, jitter: float, retry_after_s: float | None = None) -> float:
    """Return the seconds until the next attempt, after *attempts* (1 or more) have failed.

    If the provider said when to retry, that is the result, at most an hour. Otherwise it is "full jitter" (M. Brooker,
    "Exponential Backoff And Jitter", AWS Architecture Blog, 2015); *jitter* is from 0 to below 1.
    """
    if retry_after_s is not None:
        return min(max(0.0, retry_after_s), RETRY_AFTER_CAP_S)  # in this order NaN is 0
    try:
        ceiling = policy.base_s * policy.factor ** (attempts - 1)
    except OverflowError:
        ceiling = policy.max_s
    return min(ceiling, policy.max_s) * jitter
