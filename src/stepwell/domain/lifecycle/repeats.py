"""The rules of `repeat`: which result counts, and whether another run follows."""

from enum import Enum, auto

from stepwell.domain.lifecycle.inputs import RunVerdict
from stepwell.domain.model import FlowState
from stepwell.domain.steps import RepeatPlan


class AfterRun(Enum):
    """The next transition after a run that has succeeded.

    REPEAT: another run follows. TAKE: its result is the step's. TAKE_BEST: the best earlier one is.
    """

    REPEAT = auto()
    TAKE = auto()
    TAKE_BEST = auto()


def is_better(plan: RepeatPlan, flow: FlowState, verdict: RunVerdict) -> bool:
    """Return whether a run's result replaces the best one so far. The first of equally good ones stays."""
    if flow.candidate_bytes is None or not plan.has_best:
        return True
    return verdict.best is not None and (flow.best is None or verdict.best > flow.best)


def after_run(plan: RepeatPlan, flow: FlowState, verdict: RunVerdict) -> AfterRun:
    """Return what follows. *flow* is the state before the run has ended."""
    if verdict.done:
        return AfterRun.TAKE
    if flow.run + 1 < plan.max:
        return AfterRun.REPEAT
    return AfterRun.TAKE if is_better(plan, flow, verdict) else AfterRun.TAKE_BEST
