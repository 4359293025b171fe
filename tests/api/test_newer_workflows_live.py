"""A workflow that only a newer version understands: this one shows it, and leaves all changes to a newer one."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from stepwell.lifecycle.feature_level import FEATURE_LEVEL
from support.database.postgres import connected
from support.service.live_service import Service
from support.workflows.definitions import join

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def sql(live: Service) -> AsyncIterator[asyncpg.Connection]:
    async with connected(live.dsn) as connection:
        yield connection


@pytest_asyncio.fixture(loop_scope="module")
async def newer(live: Service, sql: asyncpg.Connection) -> dict[str, Any]:
    created = await live.create(join("a"), start=False)
    await sql.execute("UPDATE workflows SET feature_level = $1 WHERE id = $2", FEATURE_LEVEL + 1, created["id"])
    return created


async def test_it_is_shown_and_listed(live: Service, newer: dict[str, Any]) -> None:
    assert await live.get(newer["id"]) == newer
    response = await live.client.get("/api/v1/workflows/", params={"limit": 1})
    assert [each["id"] for each in response.json()["workflows"]] == [newer["id"]]
    assert len(await live.events(newer["id"])) == 1


async def test_types_of_tasks_and_events_that_only_a_newer_version_knows_are_shown(
    live: Service, sql: asyncpg.Connection, newer: dict[str, Any]
) -> None:
    change = "UPDATE steps SET task_type = 'NEWER', definition = $1 WHERE workflow_id = $2"
    await sql.execute(change, '{"id":"a","task_type":"NEWER","new":1}', newer["id"])
    await sql.execute("UPDATE events SET type = 'step.newer' WHERE workflow_id = $1", newer["id"])
    path = f"/api/v1/workflows/{newer['id']}"

    async def read(url: str) -> Any:  # by a client that doesn't compare responses with the OpenAPI document
        response = await plain.get(url)
        assert response.status_code == 200, response.text
        return response.json()

    async with live.unchecked_client() as plain:
        for step in ((await read(path))["steps"][0], await read(f"{path}/steps/a")):
            assert step["task_type"] == "NEWER"
        assert (await read(f"{path}/definition"))["steps"] == [{"id": "a", "task_type": "NEWER", "new": 1}]
        await read("/api/v1/workflows/?include_steps=true")
        for found in (await read(f"{path}/events"), await read("/api/v1/events")):
            assert [event["type"] for event in found["events"]][-1:] == ["step.newer"]


@pytest.mark.parametrize("verb", ["start", "cancel", "cleanup", "patch", "dry run"])
async def test_every_change_is_left_to_a_process_of_that_version(
    live: Service, newer: dict[str, Any], verb: str
) -> None:
    path = f"/api/v1/workflows/{newer['id']}"
    match verb:
        case "patch":
            response = await live.client.patch(path, json={"name": "other"})
        case "cancel":
            response = await live.client.delete(path)
        case "dry run":
            response = await live.client.post(f"{path}/start", params={"dry_run": "true"})
        case _:
            response = await live.client.post(f"{path}/{verb}")
    assert (response.status_code, response.headers.get("Retry-After")) == (503, "5"), response.text
    assert "newer version of Stepwell" in response.json()["detail"]
    assert await live.get(newer["id"]) == newer
