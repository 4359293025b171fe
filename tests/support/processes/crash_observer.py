"""A client of a service that is killed again and again: it remembers what it was told, and holds the service to it."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx

from support.workflows.crash_scenarios import Scenario

ENDED = {"COMPLETED", "FAILED", "CANCELLED"}


class Observer:
    """`promised`: the workflows whose create got a response. A step once seen COMPLETED must stay as it was seen."""

    def __init__(self) -> None:
        self.promised: dict[str, Scenario] = {}
        self._completed: dict[tuple[str, str], tuple[Any, ...]] = {}
        self._acknowledged: dict[str, list[str]] = {}

    def create(self, client: httpx.Client, scenario: Scenario) -> None:
        response = client.post("/api/v1/workflows/", json=scenario.body())
        assert response.status_code in {201, 503}, response.text
        if response.status_code == 201:
            self.promised[response.json()["id"]] = scenario
            self.watch(response.json())

    def push(self, client: httpx.Client) -> None:
        """Send each workflow the next of its scenario's verbs."""
        for workflow_id, scenario in self.promised.items():
            said = self._acknowledged.setdefault(workflow_id, [])
            if len(said) < len(scenario.verbs):
                verb = scenario.verbs[len(said)]
                path = f"/api/v1/workflows/{workflow_id}"
                response = client.delete(path) if verb == "cancel" else client.post(f"{path}/{verb}")
                # 409: an earlier try took effect, but its response was lost; or the workflow had already ended.
                assert response.status_code in {200, 409, 503}, response.text
                if response.status_code != 503:
                    said.append(verb)

    def read_workflows(self, client: httpx.Client) -> list[dict[str, Any]]:
        """All workflows, checked against what was seen before; none while the database is away."""
        found: list[dict[str, Any]] = []
        while True:
            response = client.get("/api/v1/workflows/", params={"limit": 100, "skip": len(found)})
            assert response.status_code in {200, 503}, response.text
            page = response.json()["workflows"] if response.status_code == 200 else []
            for workflow in page:
                self.watch(workflow)
            found += page
            if not page:
                return found

    def watch(self, workflow: dict[str, Any]) -> None:
        for step in workflow["steps"]:
            key = (workflow["id"], step["step_id"])
            facts = (step["status"], step["result"], step["task_id"], step["completed_at"], step["started_at"])
            if step["status"] == "COMPLETED":
                assert self._completed.setdefault(key, facts) == facts
            else:
                assert key not in self._completed, f"{key} was COMPLETED and is {step['status']}"

    def check_promises(self, found: list[dict[str, Any]]) -> None:
        """Every workflow whose create got a response exists and has reached its end."""
        by_id = {workflow["id"]: workflow for workflow in found}
        for workflow_id, scenario in self.promised.items():
            status = by_id[workflow_id]["status"]
            # A cancel may come too late: then the work is done.
            allowed = {scenario.end, "COMPLETED"} if "cancel" in scenario.verbs else {scenario.end}
            assert status in allowed, (scenario.name, by_id[workflow_id])


def check_history(client: httpx.Client, workflow: dict[str, Any]) -> None:
    """Numbers without a gap; no step started before its `run_if` permits that, no step or item completed twice."""
    events = client.get(f"/api/v1/workflows/{workflow['id']}/events", params={"limit": 1000}).json()["events"]
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    steps = {step["step_id"]: step for step in workflow["steps"]}
    completed, ended, items = set[str](), set[str](), set[tuple[str, int]]()
    for event in events:
        if event["type"] == "step.completed" and "item" in event["data"]:
            item = (event["step_id"], event["data"]["item"])
            assert item not in items, event
            items.add(item)
        elif event["type"] == "step.started":
            step = steps[event["step_id"]]
            enough = completed if step["run_if"] == "all_completed" else ended
            assert set(step["dependencies"]) <= enough, event
        elif event["type"] == "step.completed":
            assert event["step_id"] not in completed, event
            completed.add(event["step_id"])
        if event["type"] in {"step.completed", "step.failed", "step.skipped"} and "item" not in event["data"]:
            ended.add(event["step_id"])
    assert completed == {step["step_id"] for step in workflow["steps"] if step["status"] == "COMPLETED"}


def check_tasks(client: httpx.Client, workflow: dict[str, Any], scenario: Scenario, artifacts: Path) -> set[str]:
    """Attempts are counted as they were made, and their files are whole; the paths of those."""
    tasks = client.get(f"/api/v1/workflows/{workflow['id']}/tasks").json()["tasks"]
    for step in workflow["steps"]:
        mine = [task for task in tasks if task["step_id"] == step["step_id"]]
        if step["step_id"] in scenario.items:
            for item, attempts in enumerate(scenario.items[step["step_id"]]):
                of_item = [task["attempt"] for task in mine if task["item"] == item]
                assert of_item == list(range(1, attempts + 1)), (step, item, mine)
        wanted = scenario.attempts.get(step["step_id"], 1)
        if step["status"] in {"COMPLETED", "FAILED"} and step["step_id"] not in scenario.items:
            assert [task["attempt"] for task in mine] == list(range(1, wanted + 1)), (step, mine)
            assert step["retry_count"] == max(wanted - (step["runs"] or 1), 0)
        assert all(task["status"] in ENDED for task in mine)
        assert step["status"] == scenario.statuses.get(step["step_id"], step["status"])
        if step["step_id"] in scenario.members:
            assert set(step["result"]) == scenario.members[step["step_id"]]
    return check_files((output for task in tasks for output in task["outputs"]), artifacts)


def check_files(outputs: Iterable[dict[str, Any]], artifacts: Path) -> set[str]:
    paths = set()
    for output in outputs:
        data = (artifacts / output["path"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (output["size"], output["sha256"])
        paths.add(output["path"])
    return paths
