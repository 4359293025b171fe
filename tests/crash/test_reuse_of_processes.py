"""Several processes reuse results of one run: nothing is submitted twice. The emulator of the provider counts."""

from pathlib import Path
from typing import Any

import httpx

from stepwell.contract.enums import ProviderType
from support.processes.several_processes import WORKFLOWS, several_processes
from support.processes.stepwell_process import StepwellProcess
from support.providers.emulated import remote_step
from support.providers.emulated_in_thread import emulated
from support.service.live_service import token

AT_EACH = 3


def steps() -> list[dict[str, Any]]:
    """Steps whose work is equal, and others whose work isn't, with an input in the end."""
    made = [remote_step(ProviderType.FAL, f"s{number}", config={"prompt": "a vase"}) for number in range(3)]
    items = remote_step(ProviderType.FAL, "each", config={"prompt": "${item}"})
    return [*made, remote_step(ProviderType.FAL, "other"), {**items, "for_each": {"items": ["a", "b", "a"]}}]


def sources(process: StepwellProcess, workflow_id: str) -> list[str]:
    """Return the attempts that have made the results of the steps and of the items."""
    with httpx.Client(base_url=process.url, headers={"Authorization": f"Bearer {token()}"}, timeout=30) as client:
        workflow = client.get(WORKFLOWS + workflow_id).json()
        items = client.get(f"{WORKFLOWS}{workflow_id}/steps/each/items").json()["items"]
        assert client.get(f"{WORKFLOWS}{workflow_id}/tasks").json()["tasks"] == []
    units = [*(step for step in workflow["steps"] if step["step_id"] != "each"), *items]
    return [unit["reused_from"]["task_id"] for unit in units]


def test_processes_that_reuse_one_run_at_once_submit_nothing_again(durable_dsn: str, tmp_path: Path) -> None:
    with emulated(tmp_path, (ProviderType.FAL,)) as worlds:
        [world] = worlds
        with several_processes(durable_dsn, tmp_path, world.environment) as processes:
            one, other = processes.start(2)
            first = processes.create(one, *steps())
            processes.until_completed()
            made = len(world.emulator.jobs)
            assert made == 4 + 3
            for each in [one, other] * AT_EACH:
                processes.create(each, *steps(), reuse={"from": first})
            processes.kill(other)  # while its runs take results
            processes.until_completed()
            assert len(world.emulator.jobs) == made
            for workflow_id in processes.ids[1:]:
                taken = sources(one, workflow_id)
                assert len(taken) == len(set(taken)) == made, "each result is given out once"
