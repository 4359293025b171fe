"""`waiting_for` of steps and items: it agrees with explain, and names only sub-workflows that exist."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from stepwell.engine.execution.children.child_attempts import ChildAttempts
from stepwell.engine.execution.new_workflow import NewWorkflowBundle
from support.providers.configured_by_steps import WORKFLOWS
from support.service.live_service import Service, step_of
from support.workflows.sub_workflows import child_of, runs

pytestmark = pytest.mark.asyncio(loop_scope="module")
SIGNAL = {"id": "signal", "task_type": "SIGNAL", "config": {}}


def approval(step_id: str) -> dict[str, Any]:
    return {"id": step_id, "task_type": "APPROVAL", "config": {}}


async def send_signal(live: Service, workflow_id: str) -> None:
    response = await live.client.post(f"{WORKFLOWS}{workflow_id}/signals/signal", json={})
    assert response.status_code == 200, response.text


async def test_a_sub_workflow_is_named_once_it_exists(live: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    insert, begun, may_insert = ChildAttempts.insert, asyncio.Event(), asyncio.Event()

    async def insert_late(self: ChildAttempts, bundle: NewWorkflowBundle, task_id: UUID) -> bool:
        begun.set()
        await may_insert.wait()
        return await insert(self, bundle, task_id)

    monkeypatch.setattr(ChildAttempts, "insert", insert_late)
    created = await live.create(runs(SIGNAL))
    async with asyncio.timeout(60):
        await begun.wait()
    step = step_of(await live.get(created["id"]), "sub")
    assert (step["status"], step["waiting_for"]) == ("RUNNING", None)
    may_insert.set()
    child = await child_of(live, created)
    waiting_for = step_of(await live.get(created["id"]), "sub")["waiting_for"]
    (waiting,) = [event for event in await live.events(created["id"]) if event["type"] == "step.waiting"]
    assert (waiting_for["workflow_id"], waiting_for["since"]) == (child, waiting["at"])
    await send_signal(live, child)
    assert (await live.until_ended(created["id"]))["status"] == "COMPLETED"


async def items_of(live: Service, workflow_id: str) -> list[dict[str, Any]]:
    response = await live.client.get(f"{WORKFLOWS}{workflow_id}/steps/sub/items")
    assert response.status_code == 200, response.text
    items: list[dict[str, Any]] = response.json()["items"]
    return items


async def test_items_name_their_sub_workflows_while_they_run_and_afterwards(live: Service) -> None:
    created = await live.create(runs(SIGNAL, for_each={"count": 2, "max_concurrency": 1}))
    first = await child_of(live, created)
    waiting, later = await items_of(live, created["id"])
    assert (waiting["waiting_for"]["kind"], waiting["waiting_for"]["workflow_id"]) == ("workflow", first)
    assert (await live.get(first))["parent"] == {"workflow_id": created["id"], "step_id": "sub", "item": 0}
    assert later["waiting_for"] is None
    assert step_of(await live.get(created["id"]), "sub")["waiting_for"] is None
    await send_signal(live, first)
    second = await child_of(live, created, item=1)
    done, waiting = await items_of(live, created["id"])
    assert (done["waiting_for"], done["result"]["workflow_id"]) == (None, first)
    assert waiting["waiting_for"]["workflow_id"] == second
    await send_signal(live, second)
    assert (await live.until_ended(created["id"]))["status"] == "COMPLETED"
    assert [item["result"]["workflow_id"] for item in await items_of(live, created["id"])] == [first, second]


async def asked_steps(service: Service, workflow_id: str) -> list[tuple[str, str]]:
    """Return the steps that wait for decisions, by the ids of their workflows, from pages of one."""
    found, path = list[tuple[str, str]](), f"/api/v1/decisions?limit=1&workflow_id={workflow_id}"
    while path:
        response = await service.client.get(path)
        assert response.status_code == 200, response.text
        found += [(each["workflow_id"], each["step_id"]) for each in response.json()["decisions"]]
        path = response.links.get("next", {}).get("url", "")
    return found


async def test_decisions_of_a_workflow_are_those_of_its_sub_workflows_too(api: Service, live: Service) -> None:
    for service in (api, live):  # over a database in memory, and over PostgreSQL
        await service.create(approval("elsewhere"))
        created = await service.create(runs(runs(approval("below"), step_id="inner"), approval("beside")))
        child = await child_of(service, created)
        grandchild = await child_of(service, {"id": child})
        await service.until(grandchild, lambda workflow: step_of(workflow, "below")["waiting_for"] is not None)
        await service.until(child, lambda workflow: step_of(workflow, "beside")["waiting_for"] is not None)
        for workflow_id in (created["id"], child):
            found = await asked_steps(service, workflow_id)
            assert sorted(found) == sorted([(child, "beside"), (grandchild, "below")])
        assert await asked_steps(service, grandchild) == [(grandchild, "below")]
