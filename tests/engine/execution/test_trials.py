"""After several unclean ends: one workflow is tried at a time, and everything else waits, but not for long."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from stepwell.engine.execution import recovery as module
from stepwell.engine.execution.recovery import Recovery
from support.database.failing_store import scheduler_of
from support.database.postgres import connected
from support.providers.configured_by_steps import (
    ConfiguredProvider,
    configured_step,
    passthrough_step,
    steps_are,
)
from support.providers.scripted import eventually
from support.service.live_service import Service, running_service, serving


async def under_way(dsn: str, folder: Path, *step_ids: str) -> list[str]:
    """Return the ids of workflows whose steps ran when their process died, after two others had died."""
    async with serving(dsn, folder, ConfiguredProvider()) as service:
        made = [(await service.create(configured_step(step_id, wait=True)))["id"] for step_id in step_ids]
        for workflow_id in made:
            await service.until(workflow_id, steps_are("RUNNING"))
    async with connected(dsn) as sql:
        dead = uuid4()
        await sql.execute("INSERT INTO processes VALUES ($1, 'infinity')", dead)
        await sql.execute("UPDATE workflows SET owner = $1 WHERE owner IS NOT NULL", dead)
        await sql.execute("INSERT INTO unclean_ends SELECT gen_random_uuid(), now(), true FROM generate_series(1, 2)")
    return made


def recovery_of(service: Service) -> Recovery:
    return service.app.components.webhooks.recovery


@asynccontextmanager
async def trying(dsn: str, folder: Path, provider: ConfiguredProvider) -> AsyncIterator[Service]:
    """The service while it tries workflows."""
    async with running_service(dsn, folder, providers=[provider], wait_for_claims=False, grace_s=1) as service:
        recovery_of(service).calm_s = 0.0
        yield service


async def explained(service: Service, workflow_id: str) -> Any:
    return (await service.client.get(f"/api/v1/workflows/{workflow_id}/explain")).json()["reason"]


async def test_a_workflow_is_tried_alone_and_new_ones_wait_for_admission(dsn: str, tmp_path: Path) -> None:
    made = await under_way(dsn, tmp_path, "a", "b")
    provider = ConfiguredProvider()
    async with trying(dsn, tmp_path, provider) as service:
        await eventually(lambda: len(provider.running) == 1)
        (first,) = provider.running
        (second,) = set(made) - {first[0]}
        created = await service.create(passthrough_step("new"))
        assert created["status"] == "RUNNING"
        assert (await explained(service, created["id"]))["code"] == "waits_for_admission"
        late = await recovery_of(service).admit({None: 1})  # it waited until the trial had begun
        assert late.loaded == []
        refused = await service.verb(second, "cancel")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert "tries one workflow at a time" in refused.json()["detail"]
        assert {str(each) for each in scheduler_of(service).workflows} == {first[0]}

        provider.release(*first)
        await service.until_ended(first[0])
        await eventually(lambda: {key[0] for key in provider.running} == {second})
        assert (await service.get(created["id"]))["steps"][0]["status"] == "PENDING"
        provider.release(second, "b" if first[1] == "a" else "a")
        assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
        assert not recovery_of(service).holds_back


async def test_a_workflow_that_is_tried_can_be_cancelled(dsn: str, tmp_path: Path) -> None:
    (tried,) = await under_way(dsn, tmp_path, "a")
    provider = ConfiguredProvider()
    async with trying(dsn, tmp_path, provider) as service:
        await eventually(lambda: len(provider.running) == 1)
        assert (await service.verb(tried, "cancel")).json()["status"] == "CANCELLED"
        await eventually(lambda: not recovery_of(service).holds_back)


async def test_whatever_is_not_tried_in_time_is_admitted_together(dsn: str, tmp_path: Path) -> None:
    made = await under_way(dsn, tmp_path, *"abcde")
    provider = ConfiguredProvider()
    async with trying(dsn, tmp_path, provider) as service:
        recovery = recovery_of(service)
        recovery.trial_s, recovery.trials_s = 0.2, 0.3
        await eventually(lambda: {key[0] for key in provider.running} == set(made))
        await eventually(recovery.caught_up.is_set)
        assert not recovery.holds_back


async def test_trials_do_not_begin_again_with_each_page_of_the_others(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAGE", 1)
    made = await under_way(dsn, tmp_path, *"abcd")
    provider = ConfiguredProvider()
    async with trying(dsn, tmp_path, provider) as service:
        recovery = recovery_of(service)
        recovery.trial_s, recovery.trials_s = 0.1, 0.0
        await eventually(lambda: len(provider.running) == 1)
        recovery.trial_s = 60.0
        await eventually(lambda: {key[0] for key in provider.running} == set(made))
