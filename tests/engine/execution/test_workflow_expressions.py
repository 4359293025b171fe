"""What the expressions of a workflow's steps read of the workflow."""

from datetime import UTC, datetime
from uuid import UUID

from msgspec import json, structs

from stepwell.contract.enums import WorkflowStatus
from stepwell.engine.execution.workflow_expressions import WorkflowExpressions
from stepwell.lifecycle.model import StepState, WorkflowState
from stepwell.lifecycle.records import LoadedWorkflow, StepRecord
from support.workflows.definitions import body, join, validate


def test_attempts_share_one_copy_of_a_large_config_until_the_labels_change() -> None:
    validated = validate(
        body(*(join(step_id, config={"x": "${workflow}"}) for step_id in "ab"), config={"mine": "x" * 1_000_000})
    )
    state = WorkflowState(UUID(int=1), WorkflowStatus.RUNNING, "w")
    steps = [
        StepRecord(UUID(int=2 + place), step, definition, StepState(place), datetime(2026, 1, 1, tzinfo=UTC))
        for place, (step, definition) in enumerate(zip(validated.steps, validated.request.steps, strict=True))
    ]
    config = validated.request.config
    loaded = LoadedWorkflow(
        state, None, "a", "tests", config, suppress_subtask_events=False, definition_bytes=0, steps=steps, open_tasks=[]
    )
    tested = WorkflowExpressions(loaded)
    first, second = tested.of(0, state), tested.of(1, state)
    assert first is not None
    assert second is not None
    assert first.own["workflow"] is second.own["workflow"]
    tested.labels = {"k": "v"}
    changed = tested.of(0, structs.replace(state, name="new"))
    assert changed is not None
    seen = json.decode(changed.own["workflow"])
    assert (seen["name"], seen["labels"], len(seen["config"]["mine"])) == ("new", {"k": "v"}, 1_000_000)
