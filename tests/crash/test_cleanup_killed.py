"""kill -9 at every point of a cleanup: the next process deletes the rest, whoever asked for it."""

import signal
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from support.processes.forks import call_in_fork
from support.processes.killed_cleanup import clean_and_die
from support.providers.configured_by_steps import ConfiguredProvider, configured_step
from support.service.live_service import Service, running_service
from support.workflows.reused_results import image, rerun, reused, run

_FILES = 3

pytestmark = pytest.mark.extended


async def test_a_cleanup_that_is_killed_at_any_point_is_continued_without_the_client(dsn: str, tmp_path: Path) -> None:
    killed: tuple[str, list[str]] | None = None
    for point in count(1, 2):  # after each call: before the next one, everything is as it was then
        async with running_service(dsn, tmp_path, providers=[ConfiguredProvider()]) as service:
            if killed is not None:
                await _check(service, dsn, *killed)
            steps = [configured_step(str(number), files=1) for number in range(_FILES)]
            workflow = await service.until_ended((await service.create(*steps))["id"])
        killed = workflow["id"], [path for step in workflow["steps"] for path in step["result"]["paths"]]
        code = await call_in_fork(clean_and_die, dsn, tmp_path, workflow["id"], point)
        if code == 0:
            break
        assert code == -signal.SIGKILL, point
    assert point >= 2 * (1 + 1 + 2 + _FILES + 1 + 1 + 1)


async def _check(service: Service, dsn: str, workflow_id: str, paths: list[str]) -> None:
    sql = await asyncpg.connect(dsn)
    if not (await service.get(workflow_id))["is_deleted"]:  # killed before the commit: nothing has happened
        assert all((service.artifacts / path).exists() for path in paths)
        assert (await service.verb(workflow_id, "cleanup")).json()["cleanup"]["deleted_paths"] == paths
    events: list[dict[str, Any]] = []
    while "workflow.files_deleted" not in [event["type"] for event in events]:
        events = await service.events(workflow_id)
    assert not any((service.artifacts / path).exists() for path in paths)
    counted = [event["data"] for event in events if event["type"] == "workflow.files_deleted"]
    assert counted == [{"deleted": _FILES, "gone": 0, "kept": 0}]
    repeated = (await service.verb(workflow_id, "cleanup")).json()["cleanup"]
    assert (repeated["tasks_processed"], repeated["errors"], repeated["pending"]) == (0, [], False)
    assert await sql.fetchval("SELECT count(*) FROM cleanups") == 0
    await sql.close()


async def test_the_last_cleanup_of_a_reused_file_deletes_it_wherever_it_is_killed(dsn: str, tmp_path: Path) -> None:
    killed: str | None = None
    for point in count(1, 2):
        async with running_service(dsn, tmp_path) as service:
            if killed is not None:
                if not (await service.get(killed))["is_deleted"]:
                    await service.verb(killed, "cleanup")
                while "workflow.files_deleted" not in [event["type"] for event in await service.events(killed)]:
                    pass
                assert [path for path in service.stored_files() if path.suffix == ".png"] == []
            first = await run(service, image("a"), image("b"))
            second = await rerun(service, first, steps=["b"])
            assert reused(second) == ["a"]
            assert len((await service.verb(first["id"], "cleanup")).json()["cleanup"]["deleted_paths"]) == 1
            killed = second["id"]
        code = await call_in_fork(clean_and_die, dsn, tmp_path, killed, point)
        if code == 0:
            break
        assert code == -signal.SIGKILL, point
    assert point >= 2 * (1 + 1 + 2 + 2 + 1 + 1)
