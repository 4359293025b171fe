"""kill -9 in the midst of paid work: the sums of costs are those of the recorded attempts."""

from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from stepwell.contract.enums import ProviderType
from support.processes.stepwell_process import running_up, start_up, until
from support.providers.emulated import remote_step
from support.providers.emulated_in_thread import emulated

STEPS, KILLS = 24, 3
SETTINGS = {
    "STEPWELL_PRICES": '{"CUSTOM": {"*": 0.1}}',
    "STEPWELL_MAX_STEPS_PER_PROVIDER": "3",
    "STEPWELL_PROVIDER_TIMEOUT_S": "2",  # so long is a call waited for that was cut off
}

pytestmark = pytest.mark.extended


def test_each_cost_counts_once_however_often_the_process_is_killed(data_dir: Path) -> None:
    with emulated(data_dir.parent, (ProviderType.CUSTOM,)) as worlds:
        path = ""
        for number in range(1, KILLS + 1):
            running = start_up(data_dir, worlds.environment | SETTINGS)
            try:
                with running.wait_ready().client() as client:
                    path = path or post(client)
                    wait_for(client, path, STEPS * number // (KILLS + 1))
            finally:
                running.kill_group()
        with running_up(data_dir, worlds.environment | SETTINGS) as running, running.client() as client:
            wait_for(client, path, STEPS)
            tasks = client.get(f"{path}/tasks").json()["tasks"]
            sums = client.get("/api/v1/costs?by=provider,model").json()["costs"]
    costs = [Decimal(str(task["cost"]["amount"])) for task in tasks if task["cost"] is not None]
    assert len(costs) >= STEPS
    model = {"provider": "CUSTOM", "model": "GENERATION", "currency": "USD"}
    assert sums == [{**model, "amount": float(sum(costs)), "attempts": len(costs), "saved": 0}]


def post(client: httpx.Client) -> str:
    """Start a workflow, and return its path."""
    again = {"on_unknown": "resubmit"}
    steps = [remote_step(ProviderType.CUSTOM, f"step {each}", provider_config=again) for each in range(STEPS)]
    response = client.post("/api/v1/workflows/", json={"name": "costs", "origin_instance": "tests", "steps": steps})
    assert response.status_code == 201, response.text
    return f"/api/v1/workflows/{response.json()['id']}"


def wait_for(client: httpx.Client, path: str, completed: int) -> None:
    until(lambda: client.get(path).json()["completed_steps"] >= completed, 120, lambda: client.get(path).json())
