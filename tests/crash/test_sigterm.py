"""SIGTERM in the middle of the work: out after the grace time, and on from there at the next start."""

import random
from pathlib import Path
from typing import Any

import httpx

from support.processes.crash_observer import ENDED, Observer, check_history, check_tasks
from support.processes.stepwell_process import StepwellProcess, running_up, start_up, until
from support.workflows.crash_scenarios import OPEN, SCENARIOS, Scenario

GRACE_S = 2
# Far longer than what the grace time leaves to it: 360 pictures of a film.
LONG = Scenario(
    "long",
    (
        {"id": "draw", "task_type": "GENERATION", "config": {"prompt": "a long film", "width": 640, "height": 640}},
        {
            "id": "film",
            "task_type": "VIDEO_GENERATION",
            "depends_on": ["draw"],
            "config": {"duration_s": 30, "fps": 12, "width": 640, "height": 640},
            "input_mappings": [{"from_step": "draw", "from_field": "result_image_path", "to_field": "base_image_url"}],
        },
    ),
)


def test_a_long_attempt_is_cut_off_and_taken_up_again_uncounted(folder: Path) -> None:
    observer = Observer()
    running = start_up(folder, OPEN | {"STEPWELL_GRACE_S": str(GRACE_S)})
    try:
        with running.wait_ready().client() as client:
            observer.create(client, LONG)
            [workflow_id] = observer.promised
            film = until(lambda: _started(client, workflow_id, "film"), 120)
            assert film is not None
        running.process.terminate()
        assert running.wait() == 0
    finally:
        running.kill_group()
    with running_up(folder, OPEN) as running, running.client() as client:
        again = _step(client, workflow_id, "film")
        assert (again["status"], again["task_id"], again["retry_count"]) == ("RUNNING", film["task_id"], 0)
        assert again["started_at"] == film["started_at"]
        until(lambda: _step(client, workflow_id, "film")["status"] == "COMPLETED", 600)
        _check(running, client, observer)


def test_five_stops_at_random_moments_lose_and_count_nothing(folder: Path) -> None:
    chance, observer = random.Random(), Observer()
    for number in range(5):
        running = start_up(folder, OPEN | {"STEPWELL_GRACE_S": str(GRACE_S)})
        try:
            with running.wait_ready().client() as client:
                for scenario in chance.sample(SCENARIOS, 4):
                    observer.create(client, scenario)
                for _ in range(number * 3):
                    observer.push(client)
                    observer.read_workflows(client)
            running.process.terminate()
            assert running.wait() == 0, running.stderr
            assert running.processes() == set()
        finally:
            running.kill_group()
    with running_up(folder, OPEN) as running, running.client() as client:
        until(lambda: _all_ended(observer, client), 600)
        observer.check_promises(observer.read_workflows(client))
        _check(running, client, observer)


def _check(running: StepwellProcess, client: httpx.Client, observer: Observer) -> None:
    for workflow in observer.read_workflows(client):
        check_history(client, workflow)
        check_tasks(client, workflow, observer.promised[workflow["id"]], running.data_dir / "artifacts")


def _all_ended(observer: Observer, client: httpx.Client) -> bool:
    observer.push(client)
    return all(workflow["status"] in ENDED for workflow in observer.read_workflows(client))


def _step(client: httpx.Client, workflow_id: str, step_id: str) -> dict[str, Any]:
    steps = client.get(f"/api/v1/workflows/{workflow_id}").json()["steps"]
    found: dict[str, Any] = next(step for step in steps if step["step_id"] == step_id)
    return found


def _started(client: httpx.Client, workflow_id: str, step_id: str) -> dict[str, Any] | None:
    step = _step(client, workflow_id, step_id)
    return step if step["status"] == "RUNNING" else None
