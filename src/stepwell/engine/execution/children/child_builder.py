"""Builds the sub-workflow of an attempt from the definition in its step's config."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from uuid import UUID
from weakref import WeakKeyDictionary

from msgspec import Struct

from stepwell.definition.mapping.templates import INPUTS, SUB_DEFINITION
from stepwell.definition.validation.sub_workflow_rules import with_origin
from stepwell.engine.attempts.attempt_control import AttemptSuperseded
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.children.child_validator import ChildValidator
from stepwell.engine.execution.children.stored_children import StoredChildren
from stepwell.engine.execution.new_workflow import Creation, NewWorkflowBundle, build_workflow
from stepwell.lifecycle.child_records import ParentLink
from stepwell.lifecycle.inputs import SERVICE, Start
from stepwell.lifecycle.model import ItemState, Task
from stepwell.ports.clock import Clock, NewId
from stepwell.runtime.fair_turns import FairTurns
from stepwell.runtime.offloop import off_loop

_BUILT_AT_ONCE: Final = 8  # sub-workflows, at most one for each tenant


class _Ancestry(Struct, frozen=True):
    """The origin, the root and the depth of a parent, which never change. `depth` is the number of its ancestors."""

    origin: Mapping[str, str | None]
    root_id: UUID
    depth: int


class ChildBuilder:
    """Builds sub-workflows to be stored."""

    def __init__(self, children: StoredChildren, validator: ChildValidator, clock: Clock, new_id: NewId) -> None:
        self._children, self._validator = children, validator
        self._clock, self._new_id = clock, new_id
        self._ancestries: WeakKeyDictionary[ActiveWorkflow, _Ancestry] = WeakKeyDictionary()
        self._turns = FairTurns(_BUILT_AT_ONCE, 1)

    async def build(
        self, parent: ActiveWorkflow, child_id: UUID, task: Task, inputs: Mapping[str, Any]
    ) -> NewWorkflowBundle:
        """Build the sub-workflow of an attempt, started. *inputs* are those of the step.

        Raises `AttemptError`, and `AttemptSuperseded` if the parent doesn't exist any more.
        """
        async with self._turns.turn(parent.tenant):
            await asyncio.sleep(0)  # turns that need not wait would otherwise begin in the same pass of the loop
            ancestry = await self._ancestry(parent)
            definition = inputs[SUB_DEFINITION]
            child_inputs = {**(definition.get(INPUTS) or {}), **(inputs.get(INPUTS) or {})}
            body = with_origin({**definition, INPUTS: child_inputs}, ancestry.origin)
            link = _link(parent, ancestry, task)
            planned = await self._validator.validate(parent.tenant, body, link.depth)
            now = self._clock.now()
            creation, start = (
                Creation(child_id, parent.tenant, SERVICE, now, link),
                Start(SERVICE, self._new_id(now), None),
            )
            build = partial(build_workflow, planned, creation, start, self._new_id)
            return await off_loop(build, steps=len(planned.steps))

    async def _ancestry(self, parent: ActiveWorkflow) -> _Ancestry:
        if (ancestry := self._ancestries.get(parent)) is not None:
            return ancestry
        if (record := await self._children.record(parent.workflow_id)) is None:
            raise AttemptSuperseded
        origin = {
            "origin_instance": record.origin_instance,
            "origin_zone": record.origin_zone,
            "origin_reference": record.origin_reference,
        }
        link = record.parent
        root_id, depth = (record.id, 0) if link is None else (link.root_id, link.depth)
        self._ancestries[parent] = _Ancestry(origin, root_id, depth)
        return self._ancestries[parent]


def _link(parent: ActiveWorkflow, ancestry: _Ancestry, task: Task) -> ParentLink:
    unit = parent.run.units[task.position]
    return ParentLink(
        parent.workflow_id,
        parent.resolved_step(task.position).step_id,
        unit.place.item if isinstance(unit, ItemState) else None,
        ancestry.root_id,
        ancestry.depth + 1,
    )
