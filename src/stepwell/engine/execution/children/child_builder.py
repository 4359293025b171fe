"""Validates the definition in the config of an attempt's step with its inputs, and builds the sub-workflow from it."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from uuid import UUID
from weakref import WeakKeyDictionary

from msgspec import Struct, field, json, structs

from stepwell.basics.errors import AttemptError, InvalidRequest
from stepwell.basics.strict_json.normalise import Handling
from stepwell.basics.workflow_limits import definition_size
from stepwell.contract.problems import place_text
from stepwell.definition.mapping.expressions import FEW_CHARACTERS, Expressions, expressions_of
from stepwell.definition.mapping.templates import INPUTS
from stepwell.definition.named_definitions import stored_request
from stepwell.definition.validation.provider_rules import ProviderCatalog
from stepwell.definition.validation.sub_workflow_rules import with_origin
from stepwell.definition.validation.workflow import ValidatedWorkflow, validate_workflow
from stepwell.engine.attempts.attempt_control import AttemptSuperseded
from stepwell.engine.attempts.expression_evaluator import ExpressionEvaluator
from stepwell.engine.attempts.inputs_checker import InputsChecker
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.children.stored_children import StoredChildren
from stepwell.engine.execution.new_workflow import Creation, NewWorkflowBundle, build_workflow
from stepwell.lifecycle.child_records import ParentLink
from stepwell.lifecycle.inputs import SERVICE, Start
from stepwell.lifecycle.model import ItemState, ReuseRule, Task
from stepwell.ports.clock import Clock, NewId
from stepwell.rules.webhook_secrets import WebhookSecrets
from stepwell.runtime.fair_turns import FairTurns
from stepwell.runtime.offloop import off_loop, off_loop_if_large
from stepwell.runtime.outages import until_available

_BUILT_AT_ONCE: Final = 8  # sub-workflows, at most one for each tenant


class _Ancestry(Struct, frozen=True):
    """The origin, the root and the depth of a parent, which never change. `depth` is the number of its ancestors."""

    origin: Mapping[str, str | None]
    root_id: UUID
    depth: int


class ChildBuilder(Struct, eq=False):
    """Validates and builds sub-workflows to be stored."""

    _children: StoredChildren
    _catalog: ProviderCatalog
    _inputs: InputsChecker
    _expressions: ExpressionEvaluator
    _secrets: WebhookSecrets
    _clock: Clock
    _new_id: NewId
    _ancestries: WeakKeyDictionary[ActiveWorkflow, _Ancestry] = field(default_factory=WeakKeyDictionary)
    _turns: FairTurns = field(default_factory=lambda: FairTurns(_BUILT_AT_ONCE, 1))

    async def build(
        self, parent: ActiveWorkflow, child_id: UUID, task: Task, inputs: Mapping[str, Any]
    ) -> NewWorkflowBundle:
        """Build the sub-workflow of an attempt, started. *inputs* are those of the step.

        Raises `AttemptError`, and `AttemptSuperseded` if the parent doesn't exist any more.
        """
        async with self._turns.turn(parent.tenant):
            await asyncio.sleep(0)  # turns that need not wait would otherwise begin in the same pass of the loop
            ancestry = await self._ancestry(parent)
            try:
                definition, reference = await self._children.definition(ancestry.root_id, inputs)
            except InvalidRequest as error:
                raise _refusal(error) from error
            child_inputs = {**(definition.get(INPUTS) or {}), **(inputs.get(INPUTS) or {})}
            body = with_origin({**definition, INPUTS: child_inputs}, ancestry.origin)
            link = _link(parent, ancestry, task)
            validated = await self._validate(parent.tenant, body, link.depth)
            request = stored_request(validated.request)
            reuse = await self._reuse(parent, link, task)
            validated = structs.replace(validated, request=request, definition=reference, reuse=reuse)
            now = self._clock.now()
            creation = Creation(child_id, parent.tenant, SERVICE, parent.created_by, now, link, parent.files.named)
            start = Start(SERVICE, self._new_id(now), None)
            build = partial(build_workflow, validated, creation, start, self._new_id)
            return await off_loop(build, steps=len(validated.steps))

    async def _reuse(self, parent: ActiveWorkflow, link: ParentLink, task: Task) -> ReuseRule | None:
        """Return the rule by which the sub-workflow reuses the earlier one of the same step, item and run; or None."""
        checks = parent.run.reuse
        if checks is None or parent.resolved_step(task.position).position in checks.never:
            return None
        if parent.earlier_children is None:
            parent.earlier_children = await self._children.of_run(parent.tenant, checks.rule.from_)
        earlier = parent.earlier_children.get((link.step_id, link.item), ())
        return ReuseRule(earlier[min(parent.run_number(task.position), len(earlier) - 1)]) if earlier else None

    async def _validate(self, tenant: str | None, body: Mapping[str, Any], depth: int) -> ValidatedWorkflow:
        """Validate the definition *body*. *depth* is the number of its ancestors.

        Raises `AttemptError`, which names the place of the first fault.
        """
        try:
            validated = await self._validate_rules(tenant, body, depth)
            self._secrets.check_url(tenant, validated.request.webhook_url)
            await until_available(partial(self._inputs.check, tenant, validated))
        except InvalidRequest as error:
            raise _refusal(error) from error
        return validated

    async def _validate_rules(self, tenant: str | None, body: Mapping[str, Any], depth: int) -> ValidatedWorkflow:
        """Check *body* by the rules of definitions. Many expressions are parsed by a child process, as in a create."""
        checked, expressions = None, await off_loop_if_large(expressions_of, body)
        if sum(map(len, expressions)) > FEW_CHARACTERS:
            check = partial(self._expressions.check, tenant, expressions)
            checked = Expressions(await until_available(check))

        def validate(body: Any) -> ValidatedWorkflow:
            size, now = definition_size(json.encode(body)), self._clock.now()
            lenient = Handling.LENIENT
            return validate_workflow(
                body, self._catalog, checked, handling=lenient, definition_bytes=size, now=now, depth=depth
            )

        return await off_loop_if_large(validate, body)

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


def _refusal(error: InvalidRequest) -> AttemptError:
    fault = error.faults[0]
    message = f"the sub-workflow can't be created: {place_text(fault.loc)}: {fault.msg}"
    return AttemptError(message, retryable=False, provider_fault=False)


def _link(parent: ActiveWorkflow, ancestry: _Ancestry, task: Task) -> ParentLink:
    unit = parent.run.units[task.position]
    return ParentLink(
        parent.workflow_id,
        parent.resolved_step(task.position).step_id,
        unit.item_key.item if isinstance(unit, ItemState) else None,
        ancestry.root_id,
        ancestry.depth + 1,
    )
