"""The builder and the client use every feature of flow control against the live service."""

import asyncio
from typing import Any

import pytest

from stepwell.client import AsyncStepwell, Expression, Workflow
from stepwell.client.built_steps import BuiltStep
from support.service.live_service import Service, token

pytestmark = pytest.mark.asyncio


@pytest.fixture
def workflow() -> Workflow:
    """A workflow whose inputs have a schema, without steps."""
    schema = {"type": "object", "properties": {"names": {"type": "array"}, "size": {"type": "integer"}}}
    inputs = {"names": ["a", "b"], "size": 7}
    return Workflow("all of it", origin_instance="tests", inputs=inputs, inputs_schema=schema)


def add_items(workflow: Workflow) -> BuiltStep:
    """Add steps with every form of `for_each`. Return the first of them."""
    names = workflow.passthrough(
        config={"text": f"{Expression('item')} of {Expression('inputs.size')}"},
        for_each={"items": Expression("inputs.names"), "as": "name", "max_concurrency": 1},
        id="names",
    )
    workflow.passthrough(for_each={"items": names.output("items"), "as": "result"}, id="results")
    workflow.passthrough(for_each={"items": names.output("items[0].text", "TO_LIST")}, id="one")
    workflow.passthrough(for_each={"count": 3}, repeat={"until": "item == `9`", "max": 2, "best": "item"}, id="numbers")
    spread = {"items": [{"x": 1}, {"x": Expression("inputs.size")}], "as": None, "on_item_failure": "collect"}
    workflow.passthrough(for_each=spread, id="spread")
    return names


def add_conditions(workflow: Workflow, names: BuiltStep) -> None:
    bad = workflow.passthrough(config={"x": Expression("length(inputs.size)")}, optional=True, id="bad")
    workflow.passthrough(after=[names], when="names.count == `3`", id="never")
    workflow.passthrough(after=[names], when="names.count == `2`", id="always")
    workflow.passthrough(after=[bad, "never", "always"], run_if="any_completed", id="any")
    workflow.passthrough(after=[bad], run_if="all_ended", id="ended")
    workflow.passthrough(after=[bad], id="left out")


def add_waits(workflow: Workflow) -> None:
    workflow.approval(message="Good?", choices=["yes", "no"], timeout_s=600, on_timeout="no", id="ask")
    workflow.signal(name="paid", timeout_s=600, on_timeout="continue", id="payment")
    workflow.delay(seconds=0.01, id="pause")
    workflow.delay(until="2026-01-01T00:00:00Z", id="past")
    below = Workflow("below", origin_instance="left out", inputs={"n": 0})
    below.passthrough(config={"n": Expression("inputs.n")}, id="x")
    inputs = {"n": Expression("inputs.size")}
    workflow.subworkflow(workflow=below, inputs=inputs, repeat={"until": "final.n == `7`", "max": 3}, id="sub")


async def first_decision(stepwell: AsyncStepwell, workflow_id: Any) -> Any:
    async with asyncio.timeout(60):
        while True:
            async for decision in stepwell.decisions(workflow_id):
                return decision


async def test_the_builder_writes_every_feature_and_the_client_drives_it(service: Service, workflow: Workflow) -> None:
    add_conditions(workflow, add_items(workflow))
    add_waits(workflow)
    async with AsyncStepwell("http://stepwell", token=token(), transport=service.transport) as stepwell:
        assert [each.type for each in (await stepwell.plan(workflow)).warnings] == ["time_passed"]
        created = await stepwell.create(workflow, start=False)
        foreseen = await stepwell.dry_run("start", created.id)
        assert [below.step_id for below in foreseen.sub_workflows] == ["sub"]
        assert {"never", "always"} <= set(foreseen.may_run)
        await stepwell.start(created.id)
        decision = await first_decision(stepwell, created.id)
        decided = await stepwell.decide(created.id, decision.step_id, "yes", note="fine", data={"n": 1})
        assert decided.result is not None
        assert (decided.result["choice"], decided.result["data"]) == ("yes", {"n": 1})
        await stepwell.signal(created.id, "paid", {"euros": 5})
        done = await stepwell.wait(created.id, 60)
        assert done.status == "COMPLETED", done.errors
        assert isinstance(done.steps, list)
        steps = {step.step_id: step for step in done.steps}
        assert {name: step.skip_reason for name, step in steps.items() if step.skip_reason is not None} == {
            "never": "when",
            "left out": "failure",
        }
        assert [name for name, step in steps.items() if step.status == "FAILED"] == ["bad"]
        texts = [item.result["text"] for item in [each async for each in stepwell.items(created.id, "names")]]
        assert texts == ["a of 7", "b of 7"]
        results = {name: step.result or {} for name, step in steps.items()}
        assert [item["x"] for item in results["spread"]["items"]] == [1, 7]
        assert [item["item"] for item in results["one"]["items"]] == ["a of 7"]
        assert [item["result"]["name"] for item in results["results"]["items"]] == ["a", "b"]
        assert results["numbers"]["count"] == 3
        assert (results["payment"]["data"], results["sub"]["final"]) == ({"euros": 5}, {"n": 7})
        (child,) = [each async for each in stepwell.list(include_children=True, name="below")]
        assert child.parent is not None
        assert (child.parent.workflow_id, child.parent.step_id) == (created.id, "sub")
