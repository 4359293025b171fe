"""The files of results that two runs use: the last deletion deletes them, in any order."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stepwell.testing import MemoryDatabase
from support.service.live_service import Service, running_service, step_of
from support.workflows.reused_results import WORKFLOWS, image, rerun, reused, run


@pytest.fixture(
    params=["memory_in_real_time", pytest.param("dsn", marks=pytest.mark.extended)], ids=["memory", "postgres"]
)
def database(request: pytest.FixtureRequest) -> MemoryDatabase | str:
    found: MemoryDatabase | str = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def service(database: MemoryDatabase | str, tmp_path: Path) -> AsyncIterator[Service]:
    async with running_service(database, tmp_path) as service:
        yield service


def made_files(service: Service) -> list[Path]:
    return [path for path in service.stored_files() if path.suffix == ".png"]


async def two_runs(service: Service) -> tuple[dict[str, Any], dict[str, Any], Path, Path]:
    """Return a run, one that has taken over the result of its step `a`, and the files of `a` and of `b`."""
    first = await run(service, image("a"), image("b"))
    second = await rerun(service, first, steps=["b"])
    assert reused(second) == ["a"]
    files = [service.artifacts / step_of(first, name)["result"]["result_image_path"] for name in ("a", "b")]
    return first, second, files[0], files[1]


async def clean(service: Service, workflow: dict[str, Any]) -> dict[str, Any]:
    response = await service.verb(workflow["id"], "cleanup")
    assert response.status_code == 200, response.text
    report: dict[str, Any] = response.json()["cleanup"]
    assert not report["pending"]
    return report


async def delete_data(service: Service, workflow: dict[str, Any]) -> list[str]:
    response = await service.client.delete(f"{WORKFLOWS}{workflow['id']}/data")
    assert (response.status_code, response.json()["pending"]) == (200, False), response.text
    lost_by: list[str] = response.json()["lost_by"]
    return lost_by


async def test_the_last_cleanup_deletes_a_file_that_two_runs_use(service: Service) -> None:
    first, second, shared, own = await two_runs(service)
    report = await clean(service, first)
    assert [error["step_id"] for error in report["errors"]] == ["a"]
    assert (shared.exists(), own.exists()) == (True, False)
    path = step_of(second, "a")["result"]["result_image_path"]
    assert (await service.client.get(f"/api/v1/artifacts/{path}")).status_code == 200
    await clean(service, second)
    assert made_files(service) == []
    assert (await service.client.get(f"/api/v1/artifacts/{path}")).status_code == 404
    assert [task["is_deleted"] for task in await service.tasks(first["id"], include_deleted=True)] == [True, True]
    assert (await clean(service, first))["tasks_processed"] == 0


async def test_the_cleanup_of_the_later_run_leaves_what_the_earlier_one_has_made(service: Service) -> None:
    first, second, shared, own = await two_runs(service)
    await clean(service, second)
    assert (shared.exists(), own.exists(), len(made_files(service))) == (True, True, 2)
    await clean(service, first)
    assert made_files(service) == []


async def test_a_deletion_of_data_deletes_the_files_for_both_and_says_who_loses_them(service: Service) -> None:
    first, second, shared, _ = await two_runs(service)
    assert await delete_data(service, first) == [second["id"]]
    assert not shared.exists()
    assert await delete_data(service, second) == []
    assert made_files(service) == []


async def test_a_deletion_of_data_leaves_a_file_that_another_definition_names(service: Service) -> None:
    first, second, shared, _ = await two_runs(service)
    path = step_of(first, "a")["result"]["result_image_path"]
    named = await run(service, {"id": "use", "task_type": "REFINE", "config": {"base_image_url": path}})
    assert await delete_data(service, first) == []
    assert shared.exists()
    await clean(service, second)
    await clean(service, named)
    assert made_files(service) == []


async def test_the_data_of_the_later_run_takes_what_a_cleanup_has_left_for_it(service: Service) -> None:
    first, second, shared, _ = await two_runs(service)
    await clean(service, first)
    assert shared.exists()
    assert await delete_data(service, second) == []
    assert made_files(service) == []


async def test_a_cleanup_then_a_deletion_of_the_same_run_takes_the_file_from_the_other(service: Service) -> None:
    first, second, shared, _ = await two_runs(service)
    await clean(service, first)
    assert await delete_data(service, first) == [second["id"]]
    assert not shared.exists()
