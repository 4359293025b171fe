"""kill -9 at every point of a run that reuses results: each is taken over once, and nothing runs that needn't."""

import signal
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from support.processes.forks import call_in_fork
from support.processes.killed_rerun import run_and_die
from support.service.live_service import Service, running_service, step_of
from support.workflows.reused_results import WORKFLOWS, image, reused, run, sharper

pytestmark = pytest.mark.extended


async def test_a_run_that_is_killed_at_any_point_takes_each_result_over_once(dsn: str, tmp_path: Path) -> None:
    each = {**image("each", "${item}"), "for_each": {"items": ["a", "a", "b"], "max_concurrency": 2}}
    steps = (image("one"), image("two"), sharper("refine", "one"), each)
    killed: str | None = None
    first: dict[str, Any] | None = None
    for point in count(1):
        async with running_service(dsn, tmp_path) as service:
            first = first or await run(service, *steps)
            if killed is not None:
                await _check(service, first, killed)
            created = await service.create(*steps, reuse={"from": first["id"]}, start=False)
            killed = created["id"]
        code = await call_in_fork(run_and_die, dsn, tmp_path, killed, point)
        if code == 0:
            break
        assert code == -signal.SIGKILL, point
    assert point > 8


async def _check(service: Service, first: dict[str, Any], workflow_id: str) -> None:
    if (await service.get(workflow_id))["status"] == "PENDING":  # killed before the start was committed
        await service.verb(workflow_id, "start")
    workflow = await service.until_ended(workflow_id)
    assert reused(workflow) == ["one", "two", "refine"]
    assert await service.tasks(workflow_id) == []
    items = (await service.client.get(f"{WORKFLOWS}{workflow_id}/steps/each/items")).json()["items"]
    sources = [item["reused_from"]["task_id"] for item in items]
    sources += [step_of(workflow, name)["reused_from"]["task_id"] for name in ("one", "two", "refine")]
    assert len(set(sources)) == 6
    assert step_of(workflow, "one")["result"] == step_of(first, "one")["result"]
