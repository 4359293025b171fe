"""The rules of resume: which steps it leaves as they are, and how it puts the others back."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from stepwell.contract.enums import RunIf, SkipReason, StepStatus
from stepwell.lifecycle.model import StepState
from stepwell.lifecycle.steps import ResolvedStep

_RESET_BY_RESUME = (StepStatus.FAILED, StepStatus.CANCELLED, StepStatus.SKIPPED, StepStatus.PENDING)


def steps_to_leave(
    resolved_steps: Sequence[ResolvedStep],
    steps: Sequence[StepState],
    dependants: Callable[[int], Iterable[int]],
    *,
    from_paused: bool,
) -> set[int]:
    """Return the positions of the SKIPPED and FAILED steps that resume leaves as they are. Costs O(steps + edges).

    A SKIPPED step returns if one of its dependencies does, unless one that stays forbids it by `run_if`, or a person
    has skipped it. *from_paused*: an optional FAILED step stays, because it was paid for, and nobody has asked to run
    it again.
    """
    left = [len(resolved.depends_on) for resolved in resolved_steps]
    order = [position for position, number in enumerate(left) if not number]
    unchanged, changed = set[int](), set[int]()
    for position in order:  # it grows
        resolved, status = resolved_steps[position], steps[position].status
        if status is StepStatus.SKIPPED:
            forbidden = resolved.run_if is RunIf.ALL_COMPLETED and not unchanged.isdisjoint(resolved.depends_on)
            forbidden = forbidden or steps[position].skip_reason is SkipReason.MANUAL
            returns = not forbidden and not changed.isdisjoint(resolved.depends_on)
            (changed if returns else unchanged).add(position)
        elif status is StepStatus.FAILED and resolved.optional and from_paused:
            unchanged.add(position)
        elif status not in (StepStatus.COMPLETED, StepStatus.RUNNING):
            changed.add(position)
        for dependant in dependants(position):
            left[dependant] -= 1
            if not left[dependant]:
                order.append(dependant)
    return unchanged


def reset(step: StepState) -> bool:
    """Put a step or an item back to PENDING, or renew the retry budget of a RUNNING one. Return whether it has changed.

    An item that a person has skipped stays as it is. For steps, `steps_to_leave` decides that.
    """
    if step.skip_reason is SkipReason.MANUAL:
        return False
    if step.flow is not None and step.flow.outage is not None:
        step.flow = replace(step.flow, outage=None)
    if step.status in _RESET_BY_RESUME and (step.status is not StepStatus.PENDING or step.error_message is not None):
        step.status, step.on_fallback = StepStatus.PENDING, False
        step.provider_attempts = step.retry_count = 0
        step.started_at = step.completed_at = step.error_message = step.skip_reason = None
        return True
    if step.status is StepStatus.RUNNING and step.retry_count:
        step.retry_count, step.provider_attempts = 0, 1
        return True
    return False


def resume_report(
    resolved_steps: Sequence[ResolvedStep], steps: Sequence[StepState], unchanged: set[int]
) -> dict[str, Any]:
    """Return the data of the event that reports a resume: the ids of the steps that stay as they are."""
    by_status = {"still_skipped": StepStatus.SKIPPED, "still_failed": StepStatus.FAILED}
    named = {
        name: [resolved_steps[position].step_id for position in sorted(unchanged) if steps[position].status is status]
        for name, status in by_status.items()
    }
    return {name: ids for name, ids in named.items() if ids}
