"""Builds a new workflow from a validated definition: the record to be stored, and the run that starts from it."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from msgspec import Struct, json, structs

from stepwell.contract.enums import WorkflowStatus
from stepwell.definition.named_definitions import stored_request
from stepwell.definition.validation.workflow import ValidatedWorkflow
from stepwell.engine.events.bus import CommittedEvents
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.child_records import ParentLink
from stepwell.lifecycle.inputs import Created, Start
from stepwell.lifecycle.model import StepState, WorkflowState
from stepwell.lifecycle.records import (
    NO_INPUTS,
    LoadedWorkflow,
    NewWorkflow,
    StepRecord,
    StoredInputs,
    Summary,
    WorkflowRecord,
)
from stepwell.ports.clock import NewId


class NewWorkflowBundle(Struct, frozen=True):
    """A new workflow: *new* is stored and returned to the client, *workflow* runs.

    They share no state, because the state of *workflow* changes. *committed* is published once *new* is stored.
    """

    new: NewWorkflow
    workflow: ActiveWorkflow
    committed: CommittedEvents


class Creation(Struct, frozen=True):
    """The creation of a workflow: its id, its tenant, its creator and the time. `parent` is that of a sub-workflow.

    `actor` is who has created this workflow, and `created_by` the subject that has created its root. `named_files`: see
    `NewWorkflow`.
    """

    id: UUID
    tenant: str | None
    actor: str
    created_by: str
    at: datetime
    parent: ParentLink | None = None
    named_files: Collection[str] | None = None


def build_workflow(
    validated: ValidatedWorkflow, creation: Creation, start: Start | None, new_id: NewId
) -> NewWorkflowBundle:
    if validated.named is not None:
        validated = structs.replace(validated, request=stored_request(validated.request))
    record, final = _record(validated, creation, new_id)
    loaded = loaded_of(record, validated, validated.definition_bytes)
    loaded.named_files, loaded.reuse = creation.named_files, validated.reuse
    workflow = ActiveWorkflow(loaded)
    decision = workflow.run.apply(Created(creation.actor), creation.at)
    if start is not None:
        decision.merge(workflow.run.apply(start, creation.at))
    record_copy = structs.replace(
        record,
        state=structs.replace(record.state),
        steps=[structs.replace(step, state=structs.replace(step.state)) for step in record.steps or []],
    )
    return NewWorkflowBundle(
        NewWorkflow(
            record_copy,
            final,
            validated.definition_bytes,
            tuple(decision.events),
            feature_level=validated.feature_level,
            has_flow=validated.has_flow,
            inputs=stored_inputs(validated),
            named=validated.named,
            named_files=creation.named_files,
        ),
        workflow,
        workflow.committed_events(decision),
    )


def stored_inputs(validated: ValidatedWorkflow) -> StoredInputs:
    inputs, schema = validated.request.inputs, validated.request.inputs_schema
    if not inputs and schema is None:
        return StoredInputs(evaluates=True) if validated.evaluates else NO_INPUTS
    return StoredInputs(json.encode(inputs), None if schema is None else json.encode(schema), validated.evaluates)


def loaded_of(record: WorkflowRecord, validated: ValidatedWorkflow, definition_bytes: int = 0) -> LoadedWorkflow:
    """Convert the record of a new workflow to the form in which stored ones are loaded."""
    loaded = LoadedWorkflow(
        record.state,
        record.tenant,
        record.created_by,
        record.origin_instance,
        record.config,
        record.suppress_subtask_events,
        definition_bytes,
        record.steps or [],
        [],
    )
    if validated.evaluates:
        loaded.evaluates = True
        loaded.inputs, loaded.labels = stored_inputs(validated).inputs, record.labels
    return loaded


def _record(validated: ValidatedWorkflow, creation: Creation, new_id: NewId) -> tuple[WorkflowRecord, int]:
    """Return the record, and the position of its final step: the last step on which no other depends."""
    request, parent, now = validated.request, creation.parent, creation.at
    final = max(set(range(len(validated.steps))) - {d for step in validated.steps for d in step.depends_on})
    state = WorkflowState(
        id=creation.id,
        status=WorkflowStatus.PENDING,
        name=request.name,
        description=request.description,
        webhook_url=request.webhook_url,
        updated_at=now,
        parent_id=None if parent is None else parent.workflow_id,
    )
    record = WorkflowRecord(
        state=state,
        tenant=creation.tenant,
        created_by=creation.created_by,
        origin_instance=request.origin_instance,
        origin_zone=request.origin_zone,
        origin_reference=request.origin_reference,
        config=request.config,
        suppress_subtask_events=request.suppress_subtask_events,
        total_steps=len(validated.steps),
        created_at=now,
        summary=Summary(None, validated.steps[final].step_id, None, ()),
        steps=[
            StepRecord(new_id(now), resolved, definition, StepState(resolved.position), now)
            for resolved, definition in zip(validated.steps, request.steps, strict=True)
        ],
        labels=dict(sorted((request.labels or {}).items())),
        parent=parent,
        definition=validated.definition,
        reuse=validated.reuse,
    )
    return record, final
