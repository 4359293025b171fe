"""Workflows whose first step runs once for each item, for tests of the stores alone."""

from collections.abc import Sequence
from typing import Any

from msgspec import json

from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.inputs import AttemptFailed, Evaluated, Input, Succeeded
from stepwell.lifecycle.model import ItemKey, Task
from stepwell.lifecycle.records import LoadedWorkflow
from stepwell.lifecycle.units import unit_position
from support.database.stored_workflows import Workflows, dispatched
from support.workflows.definitions import body, join


class ItemWorkflow:
    """A workflow of *stored* with items of its step 0."""

    def __init__(self, stored: Workflows, handle: ActiveWorkflow) -> None:
        self.stored, self.handle = stored, handle
        self.workflow_id = handle.workflow_id

    def decide(self, *inputs: Input) -> Decision:
        return self.stored.decide(self.handle, *inputs)

    async def write(self, *inputs: Input) -> None:
        assert await self.stored.workflow_store.write([self.decide(*inputs)]) == set()

    def evaluated(self, values: Sequence[object]) -> Evaluated:
        """The result of the evaluation of step 0: its items."""
        assert self.handle.run.conditions is not None
        number = self.handle.run.conditions.requested[0]
        return Evaluated(0, number, items=tuple(json.encode(value) for value in values))

    def dispatch(self, item: int) -> Input:
        return dispatched(unit_position(len(self.handle.run.steps), ItemKey(0, item)))

    def succeed(self, item: int, result: object) -> Succeeded:
        task = self.open_task(item)
        return Succeeded(task.position, task.id, json.encode(result))

    def fail(self, item: int, error: str = "no") -> AttemptFailed:
        task = self.open_task(item)
        return AttemptFailed(task.position, task.id, error, retryable=False, provider_fault=False, jitter=0.5)

    def open_task(self, item: int) -> Task:
        task = self.handle.run.open_task(unit_position(len(self.handle.run.steps), ItemKey(0, item)))
        assert task is not None
        return task

    async def complete(self, item: int, result: object) -> None:
        await self.write(self.dispatch(item))
        await self.write(self.succeed(item, result))

    async def load(self) -> LoadedWorkflow:
        loaded = await self.stored.workflow_store.load(EVERY_TENANT, self.workflow_id)
        assert loaded is not None
        return loaded


async def make_with_items(stored: Workflows, values: Sequence[object], **members: Any) -> ItemWorkflow:
    """A started workflow whose step 0 has items. *members* as in `make_before_items`."""
    workflow = await make_before_items(stored, **members)
    await workflow.write(workflow.evaluated(values))
    return workflow


async def make_before_items(
    stored: Workflows, *, collect: bool = False, repeat: dict[str, Any] | None = None, last: bool = False
) -> ItemWorkflow:
    """A started workflow that has yet to learn the items of its step 0. *last*: it has no other step."""
    for_each = {"count": 1_000, "max_concurrency": 1_000, "on_item_failure": "collect" if collect else "fail"}
    others = () if last else (join("b", "a"),)
    definition = body(join("a", for_each=for_each, repeat=repeat), *others)
    made = await stored.make(definition)
    loaded = await stored.workflow_store.load(EVERY_TENANT, made.workflow_id)
    assert loaded is not None
    handle = ActiveWorkflow(loaded)
    handle.run.pending_work()
    return ItemWorkflow(stored, handle)
