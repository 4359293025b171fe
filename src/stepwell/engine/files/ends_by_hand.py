"""Prepares the ends of steps and items by hand: checks the result, and lets the workflow refer to its files.

    request ──► step found ──► result checked ──► files found ──► references stored ──► the verb `EndByHand`

What must hold:
- A file that a result names belongs to the workflow's tenant, and exists, when the verb is applied. Nobody deletes it
  from then on, because the reference is stored first, as at create.
- A request that is refused by what the step is now leaves no reference.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from msgspec import Struct, json

from stepwell.basics.artifacts import named_paths
from stepwell.basics.errors import Fault, InvalidRequest, NotByHand, UploadsGone
from stepwell.basics.tenancy import TenantScope
from stepwell.definition.validation.hand_results import hand_result
from stepwell.definition.validation.provider_rules import ProviderCatalog
from stepwell.engine.files.task_files import TaskFiles
from stepwell.lifecycle.allowed_verbs import check_allowed
from stepwell.lifecycle.by_hand import refusal, takes_no_result
from stepwell.lifecycle.inputs import EndByHand
from stepwell.lifecycle.records import ItemRecord, StepRecord, WorkflowRecord
from stepwell.ports.storage import WorkflowStore

_RESULT = ("body", "result")


class WantedEnd(NamedTuple):
    """The end of a step, or of its item with the number `item`, by a result that a person gives; None skips it."""

    workflow_id: UUID
    step_id: str
    item: int | None
    result: dict[str, Any] | None


class EndsByHand(Struct, frozen=True):
    """Makes the inputs that end steps and items by hand."""

    store: WorkflowStore
    task_files: TaskFiles
    catalog: ProviderCatalog

    async def prepare(
        self,
        scope: TenantScope,
        actor: str,
        wanted: WantedEnd,
        workflow: WorkflowRecord,
        step: StepRecord,
        item: ItemRecord | None,
        *,
        refer: bool,
    ) -> EndByHand:
        """Return the input that ends the *step*, or its *item*.

        *refer*: the workflow refers to the files of the result from now on. Raises `InvalidRequest` for a result that
        doesn't fit the step, `InvalidTransition` and `NotByHand`.
        """
        position, result = step.state.position, wanted.result
        if result is None:
            return EndByHand(actor, position, wanted.item)
        stored = self._checked(step, result, of_item=item is not None)
        check_allowed("give_result", workflow.state)
        if (why := refusal(step.state, None if item is None else item.state)) is not None:
            raise NotByHand(why)
        if paths := named_paths(stored):
            if unknown := paths - await self.task_files.owned(TenantScope(workflow.tenant), paths):
                raise _missing(result, unknown)
            if refer:
                await self._refer(scope, workflow.id, result, paths)
        return EndByHand(actor, position, wanted.item, stored)

    async def _refer(
        self, scope: TenantScope, workflow_id: UUID, result: Mapping[str, Any], paths: Collection[str]
    ) -> None:
        try:
            await self.store.refer(scope, workflow_id, paths)
        except UploadsGone as error:
            gone = {str(upload_id) for upload_id in error.upload_ids}
            raise _missing(result, [path for path in paths if path.split("/")[1] in gone]) from error

    def _checked(self, step: StepRecord, result: dict[str, Any], *, of_item: bool) -> bytes:
        """Return the result as it is stored. Raises `InvalidRequest`."""
        if takes_no_result(step.resolved):
            why = f"A step of the type {step.resolved.task_type} takes no result by hand: it can be skipped"
            raise InvalidRequest([Fault(_RESULT, why, "no_result_by_hand")])
        stored, faults = hand_result(step, self.catalog, result, _RESULT, of_item=of_item)
        if faults:
            raise InvalidRequest(faults)
        return stored


def _missing(result: Mapping[str, Any], paths: Collection[str]) -> InvalidRequest:
    """Return the error that lists the members of *result* that name files which don't exist."""
    why = "There is no such file, or it is being deleted: upload it again"
    named = (name for name, value in result.items() if named_paths(json.encode(value)).intersection(paths))
    return InvalidRequest([Fault((*_RESULT, name), why, "file_invalid") for name in named])
