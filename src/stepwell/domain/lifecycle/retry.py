"""What follows a failed attempt: another one, the fallback provider, or the end of the step."""

from enum import Enum, auto

from stepwell.contract.definition import RetryPolicy
from stepwell.domain.model import StepState
from stepwell.domain.steps import ResolvedStep

RETRY_AFTER_CAP_S = 3600.0


class RetryDecision(Enum):
    RETRY = auto()
    FALLBACK = auto()
    FAIL = auto()


def judge(plan: ResolvedStep, step: StepState, *, retryable: bool, provider_fault: bool) -> RetryDecision:
    """Attempts are max_retries + 1 for the primary provider, then as many for the fallback where there is one.

    What can't get better isn't retried; the fallback is still tried where the fault is the provider's.
    """
    if retryable and step.provider_attempts <= plan.max_retries:
        return RetryDecision.RETRY
    if plan.fallback is not None and not step.on_fallback and (retryable or provider_fault):
        return RetryDecision.FALLBACK
    return RetryDecision.FAIL


def backoff_s(policy: RetryPolicy, attempts: int, jitter: float, retry_after_s: float | None = None) -> float:
    """Seconds until the next attempt after *attempts* ≥ 1 have failed: the provider's own word, at most an hour, or
    "full jitter" (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015); *jitter* in [0, 1).
    """
    if retry_after_s is not None:
        return min(max(0.0, retry_after_s), RETRY_AFTER_CAP_S)  # in this order NaN is 0
    try:
        ceiling = policy.base_s * policy.factor ** (attempts - 1)
    except OverflowError:
        ceiling = policy.max_s
    return min(ceiling, policy.max_s) * jitter
