"""The effects of a decision: what the engine does once the decision is committed."""

from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from msgspec import Struct

from stepwell.lifecycle.model import Task


class StartAttempt(Struct, frozen=True):
    """Run the task. An earlier process may have begun it."""

    task: Task


class ComputeStep(Struct, frozen=True):
    """Compute the result of a ready step without a provider, as its attempt `task_id`, and apply `Computed`."""

    position: int
    task_id: UUID


class CancelAttempt(Struct, frozen=True):
    """Cancel the attempt, which runs in this process."""

    position: int
    task_id: UUID


class FollowUp(Struct, frozen=True):
    """End the job of an abandoned attempt, and apply `FollowUpEnded` once the job's end is seen."""

    position: int
    task_id: UUID


class WakeAt(Struct, frozen=True):
    """Apply `RetryDue` at that time: that of the step's next attempt, or the end of its wait."""

    position: int
    at: datetime


class DeadlineAt(Struct, frozen=True):
    """Apply `DeadlinePassed` at that time. None cancels an earlier `DeadlineAt`."""

    at: datetime | None


class Evaluate(Struct, frozen=True):
    """Evaluate the condition of the step, its items, or the config of its wait, and apply `Evaluated`.

    `number` identifies the evaluation. `items` is true if the step has a `for_each` whose items aren't known yet.
    """

    position: int
    number: int
    items: bool = False


class CheckReuse(Struct, frozen=True):
    """Find a result of the earlier run for the work of the step or item, and apply `ReuseChecked`.

    `number` identifies the check. `decision` is the fingerprint of what a person would see who decides.
    """

    position: int
    number: int
    decision: str | None = None


class PauseOrResumeChild(Struct, frozen=True):
    """Pause the sub-workflow *child* of an attempt, or resume it, and apply `ChildPausedOrResumed`.

    A later effect for the same position replaces an earlier one. A child that has ended is left as it is.
    """

    position: int
    task_id: UUID
    child: UUID
    paused: bool


Effect: TypeAlias = (
    StartAttempt
    | ComputeStep
    | CancelAttempt
    | FollowUp
    | WakeAt
    | DeadlineAt
    | Evaluate
    | CheckReuse
    | PauseOrResumeChild
)
