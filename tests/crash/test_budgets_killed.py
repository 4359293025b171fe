"""kill -9 in the midst of paid work under a budget: what the provider accepted never exceeds the budget."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from stepwell.contract.enums import ProviderType
from support.processes.stepwell_process import running_up, start_up, until
from support.providers.emulated import remote_step
from support.providers.emulated_in_thread import emulated

PRICE, FITTING, RAISED, ITEMS = 0.1, 12, 20, 40
SETTINGS = {
    "STEPWELL_PRICES": '{"CUSTOM": {"*": 0.1}}',
    "STEPWELL_MAX_STEPS_PER_PROVIDER": "4",
    "STEPWELL_PROVIDER_TIMEOUT_S": "2",  # so long is a call waited for that was cut off
    "STEPWELL_LEASE_S": "1",
}

pytestmark = pytest.mark.extended


@pytest.mark.parametrize("nested", [False, True], ids=["items", "sub-workflows"])
def test_the_jobs_of_a_killed_process_stay_within_the_budget(data_dir: Path, *, nested: bool) -> None:
    with emulated(data_dir.parent, (ProviderType.CUSTOM,)) as worlds:
        (world,) = worlds
        path = ""

        def jobs() -> int:
            return len(world.emulator.ledger.jobs())

        for number in (2, 5, FITTING - 1):  # the last one dies when the budget is about to be used up
            running = start_up(data_dir, worlds.environment | SETTINGS)
            try:
                with running.wait_ready().client() as client:
                    path = path or post(client, nested=nested)
                    until_killed = partial(is_far_enough, client, path, jobs, number)
                    until(until_killed, 120, jobs)
            finally:
                running.kill_group()
        with running_up(data_dir, worlds.environment | SETTINGS) as running, running.client() as client:
            until_paused(client, path)
            assert jobs() <= FITTING
            used = budget(client, path)
            assert used["costs"]["USD"]["spent"] <= FITTING * PRICE + 1e-9
            assert used["costs"]["USD"]["reserved"] == used["attempts"]["reserved"] == 0
            assert used["attempts"]["spent"] >= jobs()
            raised = {"config": {"budget": {"max_cost": {"USD": f"{RAISED * PRICE:.2f}"}}}}
            assert client.patch(path, json=raised).status_code == 200
            assert client.post(f"{path}/resume").status_code == 200
            until(lambda: jobs() > FITTING or is_paused(client, path), 120, jobs)
            until_paused(client, path)
            assert jobs() <= RAISED
            assert budget(client, path)["costs"]["USD"]["reserved"] == 0


def post(client: httpx.Client, *, nested: bool) -> str:
    """Start a workflow, and return its path."""
    step: dict[str, Any] = remote_step(ProviderType.CUSTOM, "draw", provider_config={"on_unknown": "resubmit"})
    if nested:
        step = {"id": "run", "task_type": "SUBWORKFLOW", "config": {"workflow": {"name": "one", "steps": [step]}}}
    step |= {"for_each": {"count": ITEMS, "max_concurrency": ITEMS}}
    config = {"budget": {"max_cost": {"USD": f"{FITTING * PRICE:.2f}"}}, "retry": {"base_s": 0}}
    body = {"name": "budget", "origin_instance": "tests", "steps": [step], "config": config}
    response = client.post("/api/v1/workflows/", json=body)
    assert response.status_code == 201, response.text
    return f"/api/v1/workflows/{response.json()['id']}"


def is_far_enough(client: httpx.Client, path: str, jobs: Callable[[], int], least: int) -> bool:
    """Return whether there are as many jobs, or the budget is used up: a request of a killed process counts, too."""
    return jobs() >= least or is_paused(client, path)


def is_paused(client: httpx.Client, path: str) -> bool:
    """Return whether the workflow and all sub-workflows have stopped, and no attempt is under way."""
    response = client.get("/api/v1/workflows/", params={"include_children": True, "limit": 1000})
    statuses = {each["status"] for each in response.json()["workflows"]} - {"PAUSED", "COMPLETED"}
    return not statuses and budget(client, path)["attempts"]["reserved"] == 0


def until_paused(client: httpx.Client, path: str) -> None:
    until(lambda: is_paused(client, path), 120, lambda: client.get(path).json())
    assert client.get(path).json()["pause_reason"] == "budget"


def budget(client: httpx.Client, path: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"{path}/explain").json()["budget"]
    return found
