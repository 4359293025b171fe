"""DELETE …/data: all rows and files of one workflow are deleted, and one record remains."""

import base64
import random
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from providers.image_files import file_of, gradient
from stepwell.contract.scopes import Permission
from support.database.postgres import connected
from support.database.rows_of import tables_with
from support.providers.configured_by_steps import (
    WORKFLOWS,
    ConfiguredProvider,
    configured_step,
    passthrough_step,
    steps_are,
    task_id_of,
)
from support.service.live_service import Service, token
from support.service.sse_client import streaming

pytestmark = pytest.mark.asyncio(loop_scope="module")
NOWHERE = "http://127.0.0.1:9/hook"


def data_of(workflow_id: str) -> str:
    return f"{WORKFLOWS}{workflow_id}/data"


def deleted(workflow_id: str, *, files: int) -> dict[str, Any]:
    """The response to a deletion of data that has ended, and has taken no file from another run."""
    return {"id": workflow_id, "files_deleted": files, "pending": False, "lost_by": []}


async def delete_data(live: Service, workflow_id: str) -> dict[str, Any]:
    response = await live.client.delete(data_of(workflow_id))
    assert response.status_code == 200, response.text
    deletion: dict[str, Any] = response.json()
    return deletion


async def tables_of(live: Service, *ids: UUID | str) -> set[str]:
    """Return the tables that have a row in which one of the ids occurs."""
    async with connected(live.dsn) as sql:
        return await tables_with(sql, *ids)


async def test_the_response_of_a_request_that_changed_nothing_is_deleted(live: Service) -> None:
    body = {"name": "n", "origin_instance": "o", "steps": [configured_step("a", files=1)]}
    workflow = await live.until_ended((await live.client.post(WORKFLOWS, json=body)).json()["id"])
    path = f"{WORKFLOWS}{workflow['id']}"
    for key in ("k-first", "k-same"):
        cleaned = await live.client.post(f"{path}/cleanup", headers={"Idempotency-Key": key})
        assert cleaned.status_code == 200
    await delete_data(live, workflow["id"])
    async with connected(live.dsn) as sql:
        assert await sql.fetchval("SELECT count(*) FROM idempotency_keys WHERE key LIKE 'k-%'") == 0


async def test_no_row_and_no_file_is_left_but_one_record_of_who_and_when(live: Service) -> None:
    body = {
        "name": "n",
        "origin_instance": "o",
        "steps": [configured_step("a", files=2), configured_step("b", "a", files=1)],
        "labels": {"k": "v"},
        "webhook_url": NOWHERE,
    }
    created = await live.client.post(WORKFLOWS, json=body, headers={"Idempotency-Key": "k-1"})
    workflow = await live.until_ended(created.json()["id"])
    paths = [path for step in workflow["steps"] for path in step["result"]["paths"]]
    ids = [workflow["id"], *map(task_id_of, paths)]
    assert {"workflows", "steps", "tasks", "events", "labels", "deliveries", "idempotency_keys"} <= await tables_of(
        live, *ids
    )
    assert await delete_data(live, workflow["id"]) == deleted(workflow["id"], files=3)
    assert await tables_of(live, *ids) == {"deletions"}
    assert not any((live.artifacts / path).exists() for path in paths)
    sql = await asyncpg.connect(live.dsn)
    row = await sql.fetchrow(
        "SELECT actor, now() - at < interval '1 min' AS recent FROM deletions WHERE workflow_id = $1",
        UUID(workflow["id"]),
    )
    await sql.close()
    assert tuple(row) == ("tester", True)
    responses = [
        await live.client.get(f"{WORKFLOWS}{workflow['id']}"),
        await live.client.get(f"/api/v1/artifacts/{paths[0]}"),
        await live.client.delete(data_of(workflow["id"])),
        await live.verb(workflow["id"], "cleanup"),
    ]
    assert [response.status_code for response in responses] == [404] * 4


async def test_a_running_workflow_is_refused_and_keeps_everything(live: Service, scripted: ConfiguredProvider) -> None:
    workflow_id = (await live.create(configured_step("a", wait=True)))["id"]
    await live.until(workflow_id, steps_are("RUNNING"))
    refused = await live.client.delete(data_of(workflow_id))
    assert (refused.status_code, refused.json()["current_status"]) == (409, "RUNNING")
    assert refused.json()["allowed_from"] == ["PENDING", "PAUSED", "COMPLETED", "FAILED", "CANCELLED"]
    assert refused.json()["detail"].endswith("Cancel it first.")
    scripted.release(workflow_id, "a")
    assert (await live.until_ended(workflow_id))["status"] == "COMPLETED"


async def test_a_followed_up_job_is_waited_for(live: Service) -> None:
    workflow = await live.until_ended((await live.create(configured_step("a")))["id"])
    sql = await asyncpg.connect(live.dsn)
    follow_up = "UPDATE tasks SET follow_up_until = $2 WHERE workflow_id = $1"
    until = await sql.fetchval("SELECT now() + interval '1 h'")
    await sql.execute(follow_up, UUID(workflow["id"]), until)
    refused = await live.client.delete(data_of(workflow["id"]))
    assert (refused.status_code, refused.json()["title"]) == (409, "Being worked on")
    assert not (await live.get(workflow["id"]))["is_deleted"]
    await sql.execute(follow_up, UUID(workflow["id"]), None)
    await sql.close()
    assert not (await delete_data(live, workflow["id"]))["pending"]


async def test_a_paused_workflow_is_stopped_first_and_its_streams_end(
    live: Service, scripted: ConfiguredProvider
) -> None:
    workflow_id = (await live.create(configured_step("a", wait=True), configured_step("b", "a", wait=True)))["id"]
    await live.until(workflow_id, lambda workflow: workflow["steps"][0]["status"] == "RUNNING")
    scripted.release(workflow_id, "a")
    await live.until(workflow_id, lambda workflow: workflow["steps"][1]["status"] == "RUNNING")
    assert (await live.verb(workflow_id, "pause")).status_code == 200
    async with streaming(live.app.api, f"{WORKFLOWS}{workflow_id}/events", token()) as stream:
        (created,) = await stream.frames(1)
        assert created.data["type"] == "workflow.created"
        assert not (await delete_data(live, workflow_id))["pending"]
        assert "workflow.created" not in [each.data["type"] for each in await stream.rest()]
    assert UUID(workflow_id) not in live.app.engine.scheduler.workflows
    assert await tables_of(live, workflow_id) == {"deletions"}


@pytest.mark.parametrize("how", ["data", "cleanup"])
async def test_a_file_that_another_workflow_names_goes_with_that_one(live: Service, how: str) -> None:
    workflow = await live.until_ended((await live.create(configured_step("a", files=2)))["id"])
    paths = workflow["final_step_result"]["paths"]
    reader = (await live.create(passthrough_step("a", of=paths[0])))["id"]
    await live.until_ended(reader)
    assert await delete_data(live, workflow["id"]) == deleted(workflow["id"], files=0)
    for path in paths:
        assert (await live.client.get(f"/api/v1/artifacts/{path}")).status_code == 200
    async with live.as_tenant("another") as other:
        assert (await other.get(f"/api/v1/artifacts/{paths[0]}")).status_code == 404
    assert await live.app.stores.task_files.sweep() == 0
    if how == "data":
        await delete_data(live, reader)
    else:
        assert (await live.verb(reader, "cleanup")).status_code == 200
    assert not any((live.artifacts / path).exists() for path in paths)
    assert (await live.client.get(f"/api/v1/artifacts/{paths[0]}")).status_code == 404
    assert "file_removals" not in await tables_of(live, workflow["id"])


async def test_files_of_a_workflow_that_was_cleaned_before_are_gone_too(live: Service) -> None:
    workflow = await live.until_ended((await live.create(configured_step("a", files=1)))["id"])
    assert (await live.verb(workflow["id"], "cleanup", cleanup_tasks=False)).status_code == 200
    assert (await delete_data(live, workflow["id"]))["files_deleted"] == 1
    assert await tables_of(live, workflow["id"]) == {"deletions"}


async def test_an_upload_that_came_with_the_definition_is_deleted_and_others_stay(live: Service) -> None:
    image = file_of(gradient(60, 60)) + random.Random(7).randbytes(5_000)
    own = await live.client.post("/api/v1/artifacts", content=b"a text", headers={"Content-Type": "text/plain"})
    mine = own.json()["artifacts"][0]["path"]
    uri = f"data:image/png;base64,{base64.b64encode(image).decode()}"
    step = {"id": "a", "task_type": "IMAGE_ADJUSTER", "config": {"base_image_url": uri}}
    created = await live.create(step, passthrough_step("b", of=mine), start=False)
    path = created["steps"][0]["config"]["base_image_url"]
    assert (live.artifacts / path).exists()
    assert await delete_data(live, created["id"]) == deleted(created["id"], files=1)
    assert not (live.artifacts / path).exists()
    assert await tables_of(live, created["id"], task_id_of(path)) == {"deletions"}
    assert (live.artifacts / mine).exists()


async def test_another_tenant_and_a_reader_may_not_delete(live: Service) -> None:
    workflow = await live.until_ended((await live.create(passthrough_step("a"), origin_tenant_id="mine"))["id"])
    async with live.as_tenant("another") as other:
        assert (await other.delete(data_of(workflow["id"]))).status_code == 404
    async with live.as_tenant("mine", permissions=(Permission.READ,)) as reader:
        assert (await reader.delete(data_of(workflow["id"]))).status_code == 403
    async with live.as_tenant("mine") as owner:
        assert (await owner.delete(data_of(workflow["id"]))).status_code == 200
