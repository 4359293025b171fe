"""The retention in a running service: what is deleted and when, and what an idle process does."""

from collections.abc import Hashable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from stepwell.artifacts.store import ObstoreArtifacts
from stepwell.basics.errors import ArtifactError
from stepwell.engine.files import retention
from stepwell.runtime.fair_turns import FairTurns
from stepwell.testing import ManualClock, MemoryDatabase
from stepwell.testing.memory_costs import MemoryDailyCosts
from stepwell.testing.memory_deletions import MemoryPurges
from stepwell.testing.memory_tables import CostRow, CostRowKey
from support.providers.configured_by_steps import ConfiguredProvider, configured_step
from support.providers.scripted import eventually
from support.service.live_service import Service, running_service

DAY = 86_400


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


async def test_no_definition_is_deleted_with_its_runs(tmp_path: Path) -> None:
    clock = ManualClock()
    database = MemoryDatabase(clock)
    async with running_service(database, tmp_path, retention_days=2) as service:
        path, steps = "/api/v1/definitions/kept", [{"id": "a", "task_type": "PASSTHROUGH"}]
        stored = await service.client.put(path, json={"steps": steps})
        body = {"definition": {"name": "kept"}, "origin_instance": "tests"}
        run = await service.client.post("/api/v1/workflows/", json=body)
        await service.until_ended(run.json()["id"])
        clock.advance(5 * DAY)
        await eventually(lambda: not database.tables.workflows)
        assert (await service.client.get(path)).json() == {
            member: value for member, value in stored.json().items() if member != "warnings"
        }


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


async def test_the_sums_of_costs_of_a_day_are_deleted_when_they_are_due_and_nothing_is_sent_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "COSTS_BATCH", 2)
    sent: list[int] = []
    expire = MemoryDailyCosts.expire
    clock = ManualClock()  # it begins at midnight

    async def noted(self: MemoryDailyCosts, *arguments: Any) -> Any:
        at = round(clock.monotonic())
        batch = await expire(self, *arguments)
        sent.append(at)  # when the timer of the next statement is about to be set
        return batch

    monkeypatch.setattr(MemoryDailyCosts, "expire", noted)
    database, today = MemoryDatabase(clock), clock.now().date()
    costs = database.tables.daily_costs

    def add(day: int, *models: str) -> None:
        for model in models:
            costs[CostRowKey("acme", today + timedelta(day), "FAL", model, "USD")] = CostRow(Decimal(1), 1)

    def days() -> list[int]:
        return [(key.day - today).days for key in costs]

    add(-3, "a", "b", "c")
    add(-2, "a", "b")
    add(0, "a")
    async with running_service(database, tmp_path, costs_retention_days=2) as service:

        async def pass_until(at: int) -> None:
            """Let the time pass up to *at*, with a stop a second before it. Wait for one further statement then."""
            count = len(sent)
            clock.advance(at - 1 - clock.monotonic())
            await service.client.get("/api/v1/costs")
            clock.advance(1)
            await eventually(lambda: len(sent) == count + 1)

        await eventually(lambda: sent == [0])
        assert days() == [-3, -2, -2, 0]
        await pass_until(1)  # after the pause between two batches
        assert days() == [-2, -2, 0]
        await pass_until(DAY)
        await pass_until(DAY + 1)
        assert days() == [0]
        await pass_until(3 * DAY)
        add(3, "a")
        await pass_until(6 * DAY)
        assert (days(), sent) == ([], [0, 1, DAY, DAY + 1, 3 * DAY, 6 * DAY])


async def test_what_the_retention_deletes_takes_no_turns_of_a_tenant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[Hashable] = []
    begin = FairTurns.begin

    async def begin_turn(self: FairTurns, tenant: Hashable, weight: int = 1) -> None:
        turns.append(tenant)
        await begin(self, tenant, weight)

    clock = ManualClock()
    database = MemoryDatabase(clock)
    async with running_service(database, tmp_path, providers=[ConfiguredProvider()], retention_days=1) as service:
        for tenant in ("acme", "other"):
            created = await service.create(configured_step("a", files=1), origin_tenant_id=tenant)
            await service.until_ended(created["id"])
        monkeypatch.setattr(FairTurns, "begin", begin_turn)
        clock.advance(DAY)
        await eventually(lambda: not database.tables.workflows and not database.tables.cleanups)
    assert set(turns) == {None}


async def test_without_the_setting_nothing_is_deleted(tmp_path: Path) -> None:
    clock = ManualClock()
    database = MemoryDatabase(clock)
    database.tables.daily_costs[CostRowKey("", date(2000, 1, 1), "FAL", "a", "USD")] = CostRow(Decimal(1), 1)
    async with running_service(database, tmp_path, providers=[ConfiguredProvider()]) as service:
        workflow_id, _ = await made(service, 1)
        clock.advance(1_000 * DAY)
        assert len(database.tables.daily_costs) == 1
        assert (await service.get(str(workflow_id)))["status"] == "COMPLETED"
