"""Cleanups in a running service: stores that fail, requests that leave, tenants that share."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID

import pytest

from stepwell.artifacts.store import ObstoreArtifacts
from stepwell.basics.errors import ArtifactError
from stepwell.engine.files import cleanup_runner
from stepwell.engine.files.cleanup_runner import retry_s
from stepwell.testing import ManualClock, MemoryDatabase
from support.database.failing_store import scheduler_of, use_failing_store
from support.providers.configured_by_steps import ConfiguredProvider, configured_step
from support.providers.scripted import eventually
from support.service.live_service import Service, running_service

Delete = Callable[[ObstoreArtifacts, str], Awaitable[None]]


class Store:
    """The deletions of a store: how often each path was tried, and which of them fail now."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tries: Counter[str] = Counter()
        self.away = False
        self.stuck: set[str] = set()
        self.gate = asyncio.Event()
        self.gate.set()
        delete: Delete = ObstoreArtifacts.delete

        async def tried(artifacts: ObstoreArtifacts, path: str) -> None:
            self.tries[path] += 1
            await self.gate.wait()
            if self.away or path in self.stuck:
                raise ArtifactError("the store is away")
            await delete(artifacts, path)

        monkeypatch.setattr(ObstoreArtifacts, "delete", tried)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    return Store(monkeypatch)


async def made(service: Service, files: int) -> tuple[str, list[str]]:
    steps = [configured_step(str(number), files=1) for number in range(files)]
    workflow = await service.until_ended((await service.create(*steps))["id"])
    return workflow["id"], [path for step in workflow["steps"] for path in step["result"]["paths"]]


async def counts(service: Service, workflow_id: str) -> list[dict[str, int]]:
    return [e["data"] for e in await service.events(workflow_id) if e["type"] == "workflow.files_deleted"]


async def test_a_store_that_is_away_is_tried_a_few_times_a_pass_and_later_again(tmp_path: Path, store: Store) -> None:
    clock = ManualClock()
    async with running_service(MemoryDatabase(clock), tmp_path, providers=[ConfiguredProvider()]) as service:
        workflow_id, paths = await made(service, 40)
        store.away = True
        report = (await service.verb(workflow_id, "cleanup")).json()["cleanup"]
        assert (report["pending"], report["deleted_paths"], len(report["errors"])) == (True, [], 8)
        assert sum(store.tries.values()) == 8
        cleanups = service.app.services.cleanups
        await eventually(lambda: cleanups.waiting)
        for tries in range(1, 5):
            clock.advance(retry_s(tries - 1, 1))
            await eventually(lambda: cleanups.waiting and sum(store.tries.values()) == 8 * (tries + 1))  # noqa: B023
        assert set(store.tries) == set(paths), "each pass continues behind the failures of the last one"
        assert await counts(service, workflow_id) == []
        store.away = False
        clock.advance(300)
        await eventually(lambda: not any((service.artifacts / path).exists() for path in paths))
        await eventually(lambda: cleanups.waiting)
        assert await counts(service, workflow_id) == [{"deleted": 40, "gone": 0, "kept": 0}]


async def test_a_repeat_reports_no_file_that_the_first_try_has_deleted(tmp_path: Path, store: Store) -> None:
    async with running_service(MemoryDatabase(), tmp_path, providers=[ConfiguredProvider()]) as service:
        workflow = await service.until_ended((await service.create(configured_step("a", files=3)))["id"])
        paths = workflow["final_step_result"]["paths"]
        store.stuck = {paths[1]}
        first = (await service.verb(workflow["id"], "cleanup")).json()["cleanup"]
        assert (first["deleted_paths"], len(first["errors"]), first["pending"]) == ([paths[0], paths[2]], 1, True)
        store.stuck = set()
        second = (await service.verb(workflow["id"], "cleanup")).json()["cleanup"]
        assert (second["deleted_paths"], second["errors"], second["pending"]) == ([paths[1]], [], False)
        assert await counts(service, workflow["id"]) == [{"deleted": 3, "gone": 0, "kept": 0}]


async def test_a_request_waits_only_so_long_and_the_cleanup_goes_on(tmp_path: Path, store: Store) -> None:
    async with running_service(MemoryDatabase(), tmp_path, providers=[ConfiguredProvider()]) as service:
        workflow_id, paths = await made(service, 3)
        cleanups = service.app.services.cleanups
        cleanups.wait_s = 0.05
        store.gate.clear()
        first = (await service.verb(workflow_id, "cleanup")).json()["cleanup"]
        assert first == {"tasks_processed": 0, "tasks_cleaned": 0, "deleted_paths": [], "errors": [], "pending": True}
        store.gate.set()
        await eventually(lambda: cleanups.waiting)
        assert not any((service.artifacts / path).exists() for path in paths)
        assert await counts(service, workflow_id) == [{"deleted": 3, "gone": 0, "kept": 0}]
        again = (await service.verb(workflow_id, "cleanup")).json()["cleanup"]
        assert (again["tasks_processed"], again["pending"]) == (0, False)


async def test_an_end_that_waits_for_the_database_is_not_written_again_by_the_next_pass(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup_runner, "COMMIT_S", 0.05)
    clock = ManualClock()
    database = MemoryDatabase(clock)
    async with running_service(database, tmp_path, providers=[ConfiguredProvider()]) as service:
        workflow_id, _ = await made(service, 1)
        cleanups, failing = service.app.services.cleanups, use_failing_store(service)
        cleanups.wait_s = 0.05
        store.gate.clear()
        await service.verb(workflow_id, "cleanup")
        failing.gate.clear()
        store.gate.set()
        row = database.tables.cleanups[UUID(workflow_id)]
        for tries in (1, 2):
            await eventually(lambda: cleanups.waiting and row.tries == tries)  # noqa: B023
            clock.advance(2)
        failing.gate.set()
        await eventually(lambda: not database.tables.cleanups and cleanups.waiting)
        await scheduler_of(service).checkpointer.flushed(UUID(workflow_id))
        assert await counts(service, workflow_id) == [{"deleted": 1, "gone": 0, "kept": 0}]


async def test_the_next_process_continues_what_a_stopped_one_has_left(tmp_path: Path, store: Store) -> None:
    database = MemoryDatabase()
    async with running_service(database, tmp_path, providers=[ConfiguredProvider()]) as service:
        workflow_id, paths = await made(service, 3)
        service.app.services.cleanups.wait_s = 0.05
        store.gate.clear()
        await service.verb(workflow_id, "cleanup")
    store.gate.set()
    async with running_service(database, tmp_path) as service:
        await eventually(lambda: not any((service.artifacts / path).exists() for path in paths))
        await eventually(lambda: service.app.services.cleanups.waiting)
        assert await counts(service, workflow_id) == [{"deleted": 3, "gone": 0, "kept": 0}]
