"""The sub-workflows of a workflow as they are stored."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

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
