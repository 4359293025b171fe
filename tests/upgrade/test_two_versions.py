"""This version and the next one run side by side on the database that the next one has migrated."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.processes.next_version import NEXT_FEATURE, make_next_version
from support.processes.stepwell_process import PROGRAM, StepwellProcess, start, until
from support.service.live_service import SECRET, token

WORKFLOWS = "/api/v1/workflows/"
WAIT_S = 120
# Long enough that a process is killed while it runs them: some thousands of steps.
LONG_CHAIN, CHAINS = 300, 6
GO = {"id": "go", "task_type": "SIGNAL"}  # no workflow with it ends before `send_go`

pytestmark = pytest.mark.extended


class Versions:
    """Starts processes of both versions on one database and one folder."""

    def __init__(self, dsn: str, folder: Path) -> None:
        self._folder, self._next, self.processes = folder, make_next_version(folder / "next"), list[StepwellProcess]()
        self._env = {
            "STEPWELL_DATABASE_URL": dsn,
            "STEPWELL_JWT_SECRET": SECRET,
            "STEPWELL_DATA_DIR": str(folder / "data"),
            "STEPWELL_DEFAULT_PROVIDER": "LOCAL",
            "STEPWELL_LEASE_S": "3",
        }

    def start(self, *, newer: bool) -> StepwellProcess:
        """Start a process and return it when it is ready."""
        env = self._env | (self._next if newer else {})
        process = start("serve", self._folder / "data", env, logs=self._folder, program=PROGRAM)
        self.processes.append(process)
        return process.wait_ready(WAIT_S)


@pytest.fixture
def versions(empty: str, folder: Path) -> Iterator[Versions]:
    versions = Versions(empty, folder)
    try:
        yield versions
    finally:
        for process in versions.processes:
            process.kill_group()


@contextmanager
def client(process: StepwellProcess) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {token()}"}
    with httpx.Client(base_url=process.url, headers=headers, timeout=30, trust_env=False) as http:
        yield http


def join(step_id: str, *depends_on: str) -> dict[str, Any]:
    return {"id": step_id, "task_type": "PASSTHROUGH", "config": {}, "depends_on": list(depends_on)}


def chain(length: int) -> list[dict[str, Any]]:
    return [join(f"s{number}", *[f"s{number - 1}"][:number]) for number in range(length)]


def create(http: httpx.Client, steps: list[dict[str, Any]], *, begin: bool = True, name: str = "a test") -> str:
    body = {"name": name, "origin_instance": "tests", "steps": steps}
    response = http.post(WORKFLOWS, params={"start": begin}, json=body)
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


def get(http: httpx.Client, workflow_id: str) -> dict[str, Any]:
    response = http.get(WORKFLOWS + workflow_id)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def send_go(http: httpx.Client, workflow_ids: list[str]) -> None:
    for each in workflow_ids:
        verb(http, each, "signals/go")


def verb(http: httpx.Client, workflow_id: str, name: str) -> None:
    """Send the verb until it is accepted: a process that can't change the workflow now says 503 with Retry-After."""

    def accepted() -> bool:
        path = WORKFLOWS + workflow_id
        response = http.delete(path) if name == "cancel" else http.post(f"{path}/{name}")
        assert response.status_code == 200 or (response.status_code == 503 and "Retry-After" in response.headers), (
            response.text
        )
        return response.status_code == 200

    until(accepted, WAIT_S)


def until_all_completed(http: httpx.Client, workflow_ids: list[str]) -> None:
    until(
        lambda: all(get(http, each)["status"] == "COMPLETED" for each in workflow_ids),
        WAIT_S,
        lambda: [(get(http, each)["status"], get(http, each)["completed_steps"]) for each in workflow_ids],
    )


def test_two_versions_run_each_others_workflows_on_the_migrated_database(versions: Versions) -> None:
    old = versions.start(newer=False)
    new = versions.start(newer=True)  # it migrates the tables, which the other one uses
    restarted = versions.start(newer=False)  # on tables of a later revision than its own
    with client(old) as old_http, client(new) as new_http, client(restarted) as restarted_http:
        both = [old_http, new_http, restarted_http]
        draw = {"id": "draw", "task_type": "GENERATION", "config": {"prompt": "x", "width": 64, "height": 64}}
        workflows = [create(http, [draw, join("last", "draw")]) for http in both]
        for http in both:
            until_all_completed(http, workflows)
            for each in workflows:
                path = get(http, each)["steps"][0]["result"]["result_image_path"]
                assert http.get(f"/api/v1/artifacts/{path}").status_code == 200
        for one, other in ((old_http, new_http), (new_http, old_http)):
            workflow_id = create(one, chain(3), begin=False)
            verb(other, workflow_id, "start")
            until_all_completed(one, [workflow_id])
            verb(other, workflow_id, "cleanup")
            cancelled = create(one, chain(3), begin=False)
            verb(other, cancelled, "cancel")
            assert get(one, cancelled)["status"] == "CANCELLED"


def test_only_the_next_version_runs_and_changes_what_uses_its_feature(versions: Versions) -> None:
    old, new = versions.start(newer=False), versions.start(newer=True)
    with client(old) as old_http, client(new) as new_http:
        waiting = create(new_http, chain(1), begin=False, name=NEXT_FEATURE)
        refused = old_http.post(f"{WORKFLOWS}{waiting}/start")
        assert (get(old_http, waiting)["status"], refused.status_code) == ("PENDING", 503)
        assert "only a newer version of Stepwell understands the workflow" in refused.text
        left = create(new_http, [*chain(LONG_CHAIN), GO], name=NEXT_FEATURE)
        understood = create(new_http, chain(LONG_CHAIN))
        new.kill()
        until_all_completed(old_http, [understood])  # the next version's process is dead
        assert get(old_http, left)["status"] == "RUNNING"
    with client(versions.start(newer=True)) as new_http:
        send_go(new_http, [left])
        until_all_completed(new_http, [left])
        verb(new_http, waiting, "start")
        until_all_completed(new_http, [waiting])


@pytest.mark.parametrize("killed", ["this", "next"])
def test_each_version_claims_what_the_other_has_left(versions: Versions, killed: str) -> None:
    old = versions.start(newer=False)
    new = versions.start(newer=True)
    dying, living = (old, new) if killed == "this" else (new, old)
    with client(dying) as http:
        workflows = [create(http, [*chain(LONG_CHAIN), GO]) for _ in range(CHAINS)]
        dying.kill()
    with client(living) as http:
        assert all(get(http, each)["status"] == "RUNNING" for each in workflows)
        send_go(http, workflows)
        until_all_completed(http, workflows)
        for each in workflows:
            events = http.get(f"{WORKFLOWS}{each}/events", params={"limit": 1000}).json()["events"]
            assert [event["type"] for event in events].count("step.completed") == LONG_CHAIN + 1
