"""Several `stepwell serve` on one database."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from support.processes.stepwell_process import StepwellProcess, start, until
from support.service.live_service import SECRET, token

WORKFLOWS = "/api/v1/workflows/"
ENDED = {"COMPLETED", "FAILED", "CANCELLED"}
LEASE_S = 3  # long enough for a busy machine, and soon over


class SeveralProcesses:
    """Processes that share a database and an artifact store. `ids`: the workflows that were created."""

    def __init__(self, dsn: str, folder: Path, env: Mapping[str, str]) -> None:
        self._env = {
            "STEPWELL_DATABASE_URL": dsn,
            "STEPWELL_JWT_SECRET": SECRET,
            "STEPWELL_DATA_DIR": str(folder / "data"),
            "STEPWELL_LEASE_S": str(LEASE_S),
            "STEPWELL_GRACE_S": "2",
            **env,
        }
        self._folder = folder
        self.running: list[StepwellProcess] = []
        self.ids: list[str] = []

    def start(self, number: int = 1) -> list[StepwellProcess]:
        """Start processes. Return them when they are ready."""
        started = [start("serve", self._folder / "data", self._env, logs=self._folder) for _ in range(number)]
        self.running += started
        return [each.wait_ready() for each in started]

    def kill(self, process: StepwellProcess) -> None:
        """SIGKILL."""
        self.running.remove(process)
        process.kill()

    def stop(self, process: StepwellProcess) -> None:
        """SIGTERM."""
        self.running.remove(process)
        assert process.terminate() == 0, process.stderr

    def create(self, process: StepwellProcess, *steps: Mapping[str, Any], **fields: Any) -> str:
        """Create a workflow at *process*, as soon as it isn't unavailable."""
        body = {"name": "x", "origin_instance": "tests", "steps": list(steps), **fields}

        def created() -> str | None:
            response = http.post(WORKFLOWS, json=body)
            assert response.status_code in {201, 503}, response.text
            workflow_id: str | None = response.json().get("id")
            return workflow_id

        with _client(process) as http:
            workflow_id = until(created, 60)
        assert workflow_id is not None
        self.ids.append(workflow_id)
        return workflow_id

    def explain(self, process: StepwellProcess, workflow_id: str) -> dict[str, Any]:
        """Return what the process says about the workflow."""
        with _client(process) as http:
            explained: dict[str, Any] = http.get(f"{WORKFLOWS}{workflow_id}/explain").json()
            return explained

    def has_open_breaker(self, process: StepwellProcess) -> bool:
        """Return whether a circuit breaker is open at *process*, also if no tenant has used the model there."""
        metrics = httpx.get(f"{process.url}/metrics").text
        return re.search(r'^stepwell_breaker_state\{.*state="open"\} 1', metrics, re.MULTILINE) is not None

    def statuses(self) -> dict[str, str]:
        """Return the status of each workflow that was created, as the process that started last sees it."""
        with _client(self.running[-1]) as http:
            found = http.get(WORKFLOWS, params={"limit": 1000, "include_steps": False}).json()["workflows"]
        return {each["id"]: each["status"] for each in found if each["id"] in self.ids}

    @property
    def have_ended(self) -> bool:
        """True if no workflow that was created runs any more."""
        return set(self.statuses().values()) <= ENDED

    def until_completed(self, within_s: float = 240, *, or_failed_with: str | None = None) -> None:
        """Wait until all workflows are COMPLETED, or FAILED with an error message that contains this text."""
        until(lambda: self.have_ended, within_s, self.statuses)
        for workflow_id, status in self.statuses().items():
            error = self._error_message(workflow_id)
            is_expected = status == "FAILED" and or_failed_with is not None and or_failed_with in str(error)
            assert status == "COMPLETED" or is_expected, (status, error)

    def _error_message(self, workflow_id: str) -> str | None:
        with _client(self.running[0]) as http:
            message: str | None = http.get(f"{WORKFLOWS}{workflow_id}").json()["error_message"]
            return message


@contextmanager
def several_processes(dsn: str, folder: Path, env: Mapping[str, str]) -> Iterator[SeveralProcesses]:
    """Several processes, which are killed at the end."""
    processes = SeveralProcesses(dsn, folder, env)
    try:
        yield processes
    finally:
        for each in processes.running:
            each.kill_group()


def _client(process: StepwellProcess) -> httpx.Client:
    return httpx.Client(base_url=process.url, headers={"Authorization": f"Bearer {token()}"}, timeout=30)
