"""Records of stored sub-workflows: their links to their parents, the results of inserts, and lists."""

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import NamedTuple
from uuid import UUID

from msgspec import Struct

from stepwell.contract.enums import WorkflowStatus


class ChildRecord(NamedTuple):
    """A sub-workflow: the step of its parent that runs it, and the number of the step's item, if any."""

    id: UUID
    step_id: str
    item: int | None
    status: WorkflowStatus


class ChildRecords(NamedTuple):
    """The first sub-workflows of a workflow in the order of their ids, and the number of all of them."""

    first: Sequence[ChildRecord]
    total: int


class ParentLink(Struct, frozen=True):
    """The link of a sub-workflow to its parent: the step that runs it, and the number of the item of the step, if any.

    `root_id` is the workflow at the top, and `depth` the number of ancestors, at least 1.
    """

    workflow_id: UUID
    step_id: str
    item: int | None
    root_id: UUID
    depth: int = 1


class ChildStatuses(Struct, frozen=True):
    """The statuses of sub-workflows that aren't deleted, by id, and how many ends are counted in the row of their
    parent at the same moment.
    """

    statuses: Mapping[UUID, WorkflowStatus]
    ends: int


class ChildInsertion(Enum):
    """The result of storing a sub-workflow.

    NEW: it is stored. STORED: it was stored before. LOST: the caller doesn't own the parent any more, or the attempt
    has ended. The others mean that a limit of its root is reached: TOO_MANY sub-workflows, TOO_MANY_STEPS of these, or
    TOO_LARGE definitions.
    """

    NEW = auto()
    STORED = auto()
    LOST = auto()
    TOO_MANY = auto()
    TOO_MANY_STEPS = auto()
    TOO_LARGE = auto()


class ParentAttempt(Struct, frozen=True):
    """The attempt of a parent that stores a sub-workflow, and the process that runs the parent."""

    owner: UUID
    task_id: UUID
