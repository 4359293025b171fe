"""A workflow that only a newer version understands: this one shows it, and leaves all changes to a newer one."""

from typing import Any

import asyncpg
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
