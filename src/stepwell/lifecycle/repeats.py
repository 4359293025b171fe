"""The rules of `repeat`: which result counts, and whether another run follows."""

from typing import NamedTuple

from msgspec.structs import replace

from stepwell.lifecycle.inputs import RunVerdict
from stepwell.lifecycle.model import FlowState
from stepwell.lifecycle.steps import RepeatRule


class RunEnd(NamedTuple):
    """The consequences of a run that has succeeded.

    `flow` is the state after it. `stores`: its result replaces the one that is stored, if any. `unstored_bytes` is the
    size of the other one of the two. `repeats`: another run follows.
    """

    flow: FlowState
    stores: bool
    unstored_bytes: int
    repeats: bool


def end_of_run(rule: RepeatRule, flow: FlowState, verdict: RunVerdict, size: int) -> RunEnd:
    """Return the consequences of a run whose result has so many bytes. *flow* is the state before the run has ended.

    A result that is good enough counts. Otherwise the best one counts, or the last one without `best`. Of equally good
    ones the first counts.
    """
    repeats = not verdict.done and flow.run + 1 < rule.max
    after = replace(flow, run=flow.run + 1)
    if not verdict.done and not _is_better(rule, flow, verdict):
        return RunEnd(after, stores=False, unstored_bytes=size, repeats=repeats)
    after = replace(after, candidate_bytes=size, best=verdict.best)
    return RunEnd(after, stores=True, unstored_bytes=flow.candidate_bytes or 0, repeats=repeats)


def _is_better(rule: RepeatRule, flow: FlowState, verdict: RunVerdict) -> bool:
    if flow.candidate_bytes is None or not rule.has_best:
        return True
    return verdict.best is not None and (flow.best is None or verdict.best > flow.best)
