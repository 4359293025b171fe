"""Definitions that make real pictures, and what tests of processes do with them over HTTP."""

from typing import Any

import httpx

from support.processes.stepwell_process import StepwellProcess, until

ENDED = {"COMPLETED", "FAILED", "CANCELLED"}
LONG = 2_000  # a second of work


def pipeline(size: int = 64, **members: Any) -> dict[str, Any]:
    """A picture of that size, and the same twice as large; for `LONG` ones without the second step."""
    generate = {"id": "generate", "task_type": "GENERATION", "config": {"prompt": "x", "width": size, "height": size}}
    refine = {
        "id": "refine",
        "task_type": "REFINE",
        "depends_on": ["generate"],
        "config": {"upscale_factor": 2.0},
        "input_mappings": [{"from_step": "generate", "from_field": "result_image_path", "to_field": "base_image_url"}],
    }
    steps = [generate] if size == LONG else [generate, refine]
    return {"name": "a picture", "origin_instance": "tests", "steps": steps, **members}


def create(client: httpx.Client, size: int = 64, **members: Any) -> str:
    response = client.post("/api/v1/workflows/", json=pipeline(size, **members))
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


def get(client: httpx.Client, workflow_id: str) -> dict[str, Any]:
    """The workflow, or {} while the service can't tell."""
    response = client.get(f"/api/v1/workflows/{workflow_id}")
    assert response.status_code in (200, 503), response.text
    found: dict[str, Any] = response.json() if response.status_code == 200 else {}
    return found


def until_ended(client: httpx.Client, workflow_id: str, within_s: float = 60) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def ended() -> bool:
        nonlocal found
        found = get(client, workflow_id)
        return found.get("status") in ENDED

    until(ended, within_s, lambda: found)
    return found


def until_running(running: StepwellProcess, client: httpx.Client, workflow_id: str) -> None:
    """Until its first step is at work in a child process."""
    until(lambda: get(client, workflow_id)["steps"][0]["status"] == "RUNNING" and running.workers, 120)
