"""What `Run` asks the engine to do once a decision is committed."""

from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from msgspec import Struct

from stepwell.domain.model import Task


class StartAttempt(Struct, frozen=True):
    """Run the task; it may be one that an earlier process had begun."""

    task: Task


class CancelAttempt(Struct, frozen=True):
    position: int
    task_id: UUID


class FollowUp(Struct, frozen=True):
    """End the job of an attempt that was given up, and hand in `FollowUpEnded` once its end is seen."""

    position: int
    task_id: UUID


class WakeAt(Struct, frozen=True):
    """Hand in `RetryDue` at that time."""

    position: int
    at: datetime


class DeadlineAt(Struct, frozen=True):
    """Hand in `DeadlinePassed` at that time; null takes an earlier deadline back."""

    at: datetime | None


Effect: TypeAlias = StartAttempt | CancelAttempt | FollowUp | WakeAt | DeadlineAt
