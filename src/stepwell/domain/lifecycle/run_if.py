"""Decides whether a step may run, must be skipped or has to wait, when a step that it depends on has ended.

A step has ended for its dependants when it is COMPLETED, SKIPPED, or FAILED without stopping the workflow. A failure
doesn't stop the workflow if the step is optional, or if the workflow's `on_failure` is "continue".
"""

from collections.abc import Callable, Iterable, Sequence

from stepwell.contract.enums import OnFailure, RunIf, SkipReason, StepStatus
from stepwell.domain.model import StepState
from stepwell.domain.steps import ResolvedStep


def has_ended(plan: ResolvedStep, step: StepState, on_failure: OnFailure) -> bool:
    """Return whether the dependants of the step needn't wait for it any more."""
    status = step.status
    if status is StepStatus.FAILED:
        return plan.optional or on_failure is OnFailure.CONTINUE
    return status is StepStatus.COMPLETED or status is StepStatus.SKIPPED


def skip_reason(plan: ResolvedStep, steps: Sequence[StepState], cause: StepState) -> SkipReason | None:
    """Return why the step must be skipped; None if it may run.

    *cause* is a dependency that has just ended without success. All dependencies have ended, unless the step is
    `all_completed`: that one doesn't wait for the others.
    """
    match plan.run_if:
        case RunIf.ALL_COMPLETED:
            return _reason_after(cause)
        case RunIf.ANY_COMPLETED:
            ended = [steps[position] for position in plan.depends_on]
            if any(step.status is StepStatus.COMPLETED for step in ended):
                return None
            by_failure = any(_reason_after(step) is SkipReason.FAILURE for step in ended)
            return SkipReason.FAILURE if by_failure else SkipReason.DEPENDENCY
        case RunIf.ALL_ENDED:
            return None


def _reason_after(cause: StepState) -> SkipReason:
    """Return the reason of a step that is skipped because of *cause*. The reason `failure` is inherited."""
    is_condition = cause.status is StepStatus.SKIPPED and cause.skip_reason is not SkipReason.FAILURE
    return SkipReason.DEPENDENCY if is_condition else SkipReason.FAILURE


def kept_by_resume(
    plans: Sequence[ResolvedStep],
    steps: Sequence[StepState],
    dependants: Callable[[int], Iterable[int]],
    *,
    from_paused: bool,
) -> set[int]:
    """Return the positions of the SKIPPED and FAILED steps that resume leaves as they are. Costs O(steps + edges).

    A SKIPPED step returns if one of its dependencies does, unless one that stays forbids it by `run_if`. *from_paused*:
    an optional FAILED step stays, because it was paid for, and nobody has asked to run it again.
    """
    left = [len(plan.depends_on) for plan in plans]
    order = [position for position, number in enumerate(left) if not number]
    kept, returning = set[int](), set[int]()
    for position in order:  # it grows
        plan, status = plans[position], steps[position].status
        if status is StepStatus.SKIPPED:
            forbidden = plan.run_if is RunIf.ALL_COMPLETED and not kept.isdisjoint(plan.depends_on)
            returns = not forbidden and not returning.isdisjoint(plan.depends_on)
            (returning if returns else kept).add(position)
        elif status is StepStatus.FAILED and plan.optional and from_paused:
            kept.add(position)
        elif status not in (StepStatus.COMPLETED, StepStatus.RUNNING):
            returning.add(position)
        for dependant in dependants(position):
            left[dependant] -= 1
            if not left[dependant]:
                order.append(dependant)
    return kept
