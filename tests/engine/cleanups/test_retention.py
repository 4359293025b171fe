"""The retention in a running service: what is deleted and when, and what an idle process does."""

from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from stepwell.artifacts.store import ObstoreArtifacts
from stepwell.domain.errors import ArtifactError
from stepwell.testing import ManualClock, MemoryDatabase
from stepwell.testing.memory_purges import MemoryPurges
from support.providers.configured_by_steps import ConfiguredProvider, configured_step
from support.providers.scripted import eventually
from support.service.live_service import Service, running_service

DAY = timedelta(days=1).total_seconds()


async def made(service: Service, files: int) -> tuple[UUID, list[str]]:
    workflow = await service.until_ended((await service.create(configured_step("a", files=files)))["id"])
    return UUID(workflow["id"]), workflow["final_step_result"]["paths"]


async def test_workflows_are_deleted_when_they_are_due_and_nothing_is_sent_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[float] = []
    expire = MemoryPurges.expire
    clock = ManualClock()

    async def counted(self: MemoryPurges, *arguments: Any) -> Any:
        sent.append(clock.monotonic())
        return await expire(self, *arguments)

    monkeypatch.setattr(MemoryPurges, "expire", counted)
    database = MemoryDatabase(clock)
    workflows = database.tables.workflows
    async with running_service(database, tmp_path, providers=[ConfiguredProvider()], retention_days=2) as service:
        old, old_paths = await made(service, 2)
        clock.advance(DAY)
        young, young_paths = await made(service, 1)
        assert len(sent) == 1
        clock.advance(DAY)
        await eventually(lambda: old not in workflows)
        await eventually(lambda: not any((service.artifacts / path).exists() for path in old_paths))
        await eventually(lambda: not database.tables.cleanups)
        assert (young in workflows, database.tables.deletions) == (True, {})
        clock.advance(1)  # the pause between two batches
        await eventually(lambda: len(sent) == 3)
        clock.advance(DAY - 2)
        assert len(sent) == 3
        clock.advance(1)
        await eventually(lambda: young not in workflows)
        await eventually(lambda: not any((service.artifacts / path).exists() for path in young_paths))


async def test_a_file_that_cant_be_deleted_is_tried_again_and_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck: set[str] = set()
    delete = ObstoreArtifacts.delete

    async def tried(artifacts: ObstoreArtifacts, path: str) -> None:
        if path in stuck:
            raise ArtifactError("the store is away")
        await delete(artifacts, path)

    monkeypatch.setattr(ObstoreArtifacts, "delete", tried)
    clock = ManualClock()
    database = MemoryDatabase(clock)
    async with running_service(database, tmp_path, providers=[ConfiguredProvider()], retention_days=1) as service:
        first, (path,) = await made(service, 1)
        stuck.add(path)
        second, _ = await made(service, 1)
        clock.advance(DAY)
        await eventually(lambda: list(database.tables.cleanups) == [first])
        await eventually(lambda: database.tables.cleanups[first].tries == 1)  # before, it isn't known when it is due
        assert (service.artifacts / path).exists()
        assert {first, second}.isdisjoint(database.tables.workflows)
        stuck.clear()
        clock.advance(60)
        await eventually(lambda: not database.tables.cleanups)
        assert not (service.artifacts / path).exists()


async def test_without_the_setting_nothing_is_deleted(tmp_path: Path) -> None:
    clock = ManualClock()
    database = MemoryDatabase(clock)
    async with running_service(database, tmp_path, providers=[ConfiguredProvider()]) as service:
        workflow_id, _ = await made(service, 1)
        clock.advance(1_000 * DAY)
        assert (await service.get(str(workflow_id)))["status"] == "COMPLETED"
