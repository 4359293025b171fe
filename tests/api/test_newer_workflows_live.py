"""A workflow that only a newer version understands: this one shows it, and leaves all changes to a newer one."""

from typing import Any

import asyncpg
import httpx
import pytest

from stepwell.domain.feature_level import FEATURE_LEVEL
from support.service.live_service import Service
from support.workflows.definitions import join


@pytest.fixture
async def newer(service: Service, sql: asyncpg.Connection) -> dict[str, Any]:
    created = await service.create(join("a"), start=False)
    await sql.execute("UPDATE workflows SET feature_level = $1", FEATURE_LEVEL + 1)
    return created


async def test_it_is_shown_and_listed(service: Service, newer: dict[str, Any]) -> None:
    assert await service.get(newer["id"]) == newer
    answer = await service.client.get("/api/v1/workflows/")
    assert [each["id"] for each in answer.json()["workflows"]] == [newer["id"]]
    assert len(await service.events(newer["id"])) == 1


async def test_types_of_tasks_and_events_that_only_a_newer_version_knows_are_shown(
    service: Service, sql: asyncpg.Connection, newer: dict[str, Any]
) -> None:
    await sql.execute("UPDATE steps SET task_type = 'NEWER', definition = $1", '{"id":"a","task_type":"NEWER","new":1}')
    await sql.execute("UPDATE events SET type = 'step.newer'")
    path = f"/api/v1/workflows/{newer['id']}"

    async def read(url: str) -> Any:  # by a client that doesn't compare answers with the OpenAPI document
        answer = await plain.get(url)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async with httpx.AsyncClient(
        transport=service.transport, base_url=service.client.base_url, headers=service.client.headers
    ) as plain:
        for step in ((await read(path))["steps"][0], await read(f"{path}/steps/a")):
            assert step["task_type"] == "NEWER"
        assert (await read(f"{path}/definition"))["steps"] == [{"id": "a", "task_type": "NEWER", "new": 1}]
        await read("/api/v1/workflows/?include_steps=true")
        for found in (await read(f"{path}/events"), await read("/api/v1/events")):
            assert [event["type"] for event in found["events"]] == ["step.newer"]


@pytest.mark.parametrize("verb", ["start", "cancel", "cleanup", "patch", "dry run"])
async def test_every_change_is_left_to_a_process_of_that_version(
    service: Service, newer: dict[str, Any], verb: str
) -> None:
    path = f"/api/v1/workflows/{newer['id']}"
    match verb:
        case "patch":
            answer = await service.client.patch(path, json={"name": "other"})
        case "cancel":
            answer = await service.client.delete(path)
        case "dry run":
            answer = await service.client.post(f"{path}/start", params={"dry_run": "true"})
        case _:
            answer = await service.client.post(f"{path}/{verb}")
    assert (answer.status_code, answer.headers.get("Retry-After")) == (503, "5"), answer.text
    assert "newer version of Stepwell" in answer.json()["detail"]
    assert await service.get(newer["id"]) == newer
