"""The forecast of what a run takes over, in a dry run. `test_reuse_reference` compares forecasts with runs."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stepwell.testing import MemoryDatabase
from support.service.live_service import Service, running_service, step_of
from support.workflows.reused_results import WORKFLOWS, image, rerun, run, sharper


@pytest.fixture
async def service(memory_in_real_time: MemoryDatabase, tmp_path: Path) -> AsyncIterator[Service]:
    async with running_service(memory_in_real_time, tmp_path) as service:
        yield service


async def test_a_dry_run_of_a_rerun_says_what_it_takes_over_what_it_costs_and_what_is_missing(service: Service) -> None:
    first = await run(service, image("make"), sharper("refine", "make"), sharper("again", "refine"))
    path = f"{WORKFLOWS}{first['id']}/rerun?dry_run=true"

    async def forecast(**changes: Any) -> tuple[list[str], list[str]]:
        response = await service.client.post(path, json=changes)
        assert response.status_code == 200, response.text
        plan = response.json()
        return [step["forecast"] for step in plan["steps"]], plan["gone"]

    assert await forecast() == (["reused"] * 3, [])
    assert await forecast(config={"refine": {"upscale_factor": 2}}) == (["reused", "runs", "depends"], [])
    assert await forecast(steps=["again"]) == (["reused", "reused", "runs"], [])
    missing = step_of(first, "make")["result"]["result_image_path"]
    (service.artifacts / missing).unlink()
    assert await forecast() == (["runs", "depends", "depends"], [missing])
    listed = await service.client.get(WORKFLOWS, params={"include_steps": False})
    assert listed.json()["total"] == 1, "nothing was created"
    assert [step["reused_from"] is None for step in (await rerun(service, first))["steps"]] == [True, True, True]
