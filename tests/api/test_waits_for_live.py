"""`waits_for` over the live service: it shows the waits of sub-workflows, and lists and counts filter by it."""

from typing import Any

import pytest

from support.providers.configured_by_steps import WORKFLOWS
from support.service.live_service import Service
from support.workflows.definitions import join

pytestmark = pytest.mark.asyncio(loop_scope="module")


def waits(task_type: str, step_id: str, *needs: str, **config: Any) -> dict[str, Any]:
    return {"id": step_id, "task_type": task_type, "depends_on": list(needs), "config": config}


def runs(step_id: str, *steps: dict[str, Any], **members: Any) -> dict[str, Any]:
    workflow = {"name": f"below {step_id}", "steps": list(steps)}
    return {"id": step_id, "task_type": "SUBWORKFLOW", "config": {"workflow": workflow}, **members}


async def listed(live: Service, waits_for: str, **query: Any) -> set[str]:
    wanted = {"waits_for": waits_for, "include_steps": "false", "origin_instance": "waits-for", **query}
    page = (await live.client.get(WORKFLOWS, params=wanted)).json()
    assert page["total"] == len(page["workflows"])
    assert {each["waits_for"] for each in page["workflows"]} <= {waits_for}
    return {each["id"] for each in page["workflows"]}


async def test_a_workflow_shows_and_is_found_by_what_its_sub_workflows_wait_for(live: Service) -> None:
    deep = runs("deep", waits("APPROVAL", "ask"), join("next", "ask"))
    steps = [runs("each", deep, for_each={"count": 2}), waits("SIGNAL", "paid"), join("end", "each", "paid")]
    created = await live.create(*steps, origin_instance="waits-for")
    path = WORKFLOWS + created["id"]
    workflow = await live.until(created["id"], lambda found: found["waits_for"] == "decision")
    assert workflow["status"] == "RUNNING"
    decisions: list[dict[str, Any]] = []
    while len(decisions) < 2:
        found = await live.client.get("/api/v1/decisions", params={"workflow_id": created["id"]})
        decisions = found.json()["decisions"]
    tag = (await live.client.get(path)).headers["ETag"]
    assert (await live.client.get(path, headers={"If-None-Match": tag})).status_code == 304
    middle = (await live.get(decisions[0]["workflow_id"]))["parent"]["workflow_id"]
    family = {created["id"], middle, decisions[0]["workflow_id"]}
    assert {(await live.get(each))["waits_for"] for each in family} == {"decision"}
    assert await listed(live, "decision") == {created["id"]}
    assert family <= await listed(live, "decision", include_children="true")
    paused = await live.client.post(f"{path}/pause")
    assert (paused.json()["status"], paused.json()["waits_for"]) == ("PAUSED", "decision")
    await live.client.post(f"{path}/resume")
    for each in decisions:
        decided = f"{WORKFLOWS}{each['workflow_id']}/steps/ask/decision"
        assert (await live.client.post(decided, json={"choice": "approve"})).status_code == 200
    assert (await live.get(created["id"]))["waits_for"] == "signal"
    assert (await live.client.get(path, headers={"If-None-Match": tag})).status_code == 200
    assert (await listed(live, "decision"), await listed(live, "signal")) == (set(), {created["id"]})
    counts = await live.client.get(f"{WORKFLOWS}counts", params={"waits_for": "signal", "origin_instance": "waits-for"})
    assert counts.json()["total"] == 1
    cancelled = await live.client.delete(path)
    assert (cancelled.json()["status"], cancelled.json()["waits_for"]) == ("CANCELLED", None)
    assert (await live.client.get(WORKFLOWS, params={"waits_for": "workflow"})).status_code == 422
