"""kill -9 in the midst of paid work: whatever was accepted for an attempt is found again, and nothing is paid twice.

Each test is one workflow with several steps at each of several providers.
"""

import time
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from stepwell.contract.enums import ProviderType
from support.emulators.base import Fault
from support.processes.pasting import reserved_port
from support.processes.stepwell_process import running_up, start_up, until
from support.providers.emulated import ANSWERING, REMOTE, remote_step
from support.providers.emulated_in_thread import Kinds, Worlds, emulated

STEPS = 8  # at each provider
_UNTIL_KILLED_S = 4.0
CALLING_BACK = (ProviderType.FAL, ProviderType.REPLICATE, ProviderType.CUSTOM)
WORKFLOWS = "/api/v1/workflows/"


def post(client: httpx.Client, kinds: Kinds = REMOTE, *, alike: bool = False) -> str:
    """Steps that wait for nobody. *alike*: all ask for the same thing."""
    same = {"config": {"prompt": "the same", "seed": 7}} if alike else {}
    steps = [remote_step(kind, f"{kind} {number}", **same) for kind in kinds for number in range(STEPS)]
    response = client.post(WORKFLOWS, json={"name": "money", "origin_instance": "tests", "steps": steps})
    assert response.status_code == 201, response.text
    created: str = response.json()["id"]
    return created


def tasks_of(client: httpx.Client, workflow_id: str) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = client.get(f"{WORKFLOWS}{workflow_id}/tasks").json()["tasks"]
    return tasks


def steps_of(client: httpx.Client, workflow_id: str) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = client.get(WORKFLOWS + workflow_id).json()["steps"]
    return steps


def is_submitted(client: httpx.Client, workflow_id: str, *kinds: ProviderType) -> bool:
    """All that goes to these."""
    mine = [task["phase"] for task in tasks_of(client, workflow_id) if task["provider"] in kinds]
    return mine == ["SUBMITTED"] * STEPS * len(kinds)


def check_paid_once(worlds: Worlds, client: httpx.Client, workflow_id: str) -> None:
    """One accepted job for each attempt, each attempt with a job of its own, and all of them brought home."""

    def workflow() -> dict[str, Any]:
        found: dict[str, Any] = client.get(WORKFLOWS + workflow_id, params={"include_steps": False}).json()
        return found

    until(lambda: workflow()["status"] in {"COMPLETED", "FAILED"}, 900, workflow)
    found, tasks = workflow(), tasks_of(client, workflow_id)
    assert (found["status"], found["completed_steps"]) == ("COMPLETED", STEPS * len(worlds.found)), found["errors"][:3]
    for world in worlds:
        mine = [task for task in tasks if task["provider"] == world.kind]
        assert [task["attempt"] for task in mine] == [1] * STEPS
        jobs = [job_id for job_id, _, _ in world.emulator.ledger.jobs()]
        assert sorted(task["remote_id"] for task in mine) == sorted(jobs)
        assert len(jobs) == STEPS


def test_lost_answers_to_requests_that_are_all_alike(data_dir: Path) -> None:
    with emulated(data_dir.parent) as worlds:
        worlds.always("submit", Fault.LOSE_AFTER)
        with running_up(data_dir, worlds.environment) as running, running.client() as client:
            check_paid_once(worlds, client, post(client, alike=True))


@pytest.mark.parametrize("when", ["before the ids are committed", "after"])
def test_killed_with_jobs_under_way(data_dir: Path, when: str) -> None:
    with emulated(data_dir.parent) as worlds:
        worlds.hold()
        if when != "after":
            worlds.always("submit", Fault.HANG_AFTER)
        first = start_up(data_dir, worlds.environment)
        try:
            with first.wait_ready().client() as client:
                workflow_id = post(client)
                until(lambda: worlds.have_taken(STEPS), 240)
                if when == "after":
                    until(lambda: is_submitted(client, workflow_id, *REMOTE), 240)
                    client.post(f"{WORKFLOWS}{workflow_id}/pause")
        finally:
            first.kill_group()
        worlds.always("submit", None)
        worlds.hold(held=False)
        with running_up(data_dir, worlds.environment) as second, second.client() as client:
            # Paused or not, what was paid for is brought home.
            check_paid_once(worlds, client, workflow_id)


@pytest.mark.extended
@pytest.mark.parametrize("callbacks", ["duplicate", "early"])
def test_callbacks_bring_home_what_nothing_else_would(data_dir: Path, callbacks: str) -> None:
    with reserved_port() as port, emulated(data_dir.parent, CALLING_BACK) as worlds:
        for world in worlds:
            switch = {"FAL": "webhook", "REPLICATE": "webhooks", "CUSTOM": "callbacks"}[world.kind]
            setattr(world.emulator, switch, callbacks)
            # Polls alone would take longer than the test waits, and lists show nothing.
            world.emulator.hide_from_listing, world.emulator.polls_until_done = True, 1_000_000
        if callbacks == "early":
            worlds.always("submit", Fault.LOSE_AFTER)
        address = {"STEPWELL_PUBLIC_URL": f"http://127.0.0.1:{port}"}
        slow = {"STEPWELL_POLL_INTERVAL_S": "200", "STEPWELL_RECONCILE_S": "600"}
        env = worlds.environment | address | slow
        with (
            running_up(data_dir, env, "--port", str(port)) as running,
            running.client() as client,
        ):
            workflow_id = post(client, CALLING_BACK)
            if callbacks == "duplicate":
                fal = next(world for world in worlds if world.kind is ProviderType.FAL)
                until(lambda: is_submitted(client, workflow_id, fal.kind), 240)
                fal.finish_all()  # this one never ends a job by itself
            check_paid_once(worlds, client, workflow_id)


def test_killed_while_providers_answer_with_the_work_itself(data_dir: Path) -> None:
    """Nobody can know what has become of it: it is told, and nothing is asked for again."""
    with emulated(data_dir.parent, ANSWERING) as worlds:
        worlds.always("submit", Fault.HANG_AFTER)
        first = start_up(data_dir, worlds.environment)
        try:
            with first.wait_ready().client() as client:
                workflow_id = post(client, ANSWERING)
                until(lambda: worlds.have_taken(STEPS), 240)
        finally:
            first.kill_group()
        worlds.always("submit", None)
        # How long the call that was cut off may have been on its way.
        short = {"STEPWELL_PROVIDER_TIMEOUT_S": "1"}
        with (
            running_up(data_dir, worlds.environment | short) as second,
            second.client() as client,
        ):
            until(lambda: client.get(WORKFLOWS + workflow_id).json()["status"] == "FAILED", 240)
            tasks = tasks_of(client, workflow_id)
            assert [(task["attempt"], task["outcome_unknown"]) for task in tasks] == [(1, True)] * STEPS * 3
            assert client.get(WORKFLOWS + workflow_id).json()["cost"] == {"amounts": [], "unknown_attempts": STEPS * 3}
        for world in worlds:
            assert len(world.emulator.ledger.jobs()) == STEPS


def test_killed_while_providers_are_away(data_dir: Path) -> None:
    """The attempts of the first process go on in the second one, without a retry.

    None of them may submit at the moment of the kill: then nobody would know whether there is a job.
    """

    def waits(step: dict[str, Any]) -> bool:
        at: str | None = step["next_attempt_at"]
        return at is not None and datetime.fromisoformat(at).timestamp() > time.time() + _UNTIL_KILLED_S

    with emulated(data_dir.parent) as worlds:
        worlds.always("submit", Fault.AWAY)
        for world in worlds:
            world.emulator.away_s = 10
        first = start_up(data_dir, worlds.environment)
        try:
            with first.wait_ready().client() as client:
                workflow_id = post(client)
                until(lambda: all(map(waits, steps_of(client, workflow_id))), 240)
                task_ids = [task["id"] for task in tasks_of(client, workflow_id)]
        finally:
            first.kill_group()
        worlds.always("submit", None)
        with running_up(data_dir, worlds.environment) as second, second.client() as client:
            check_paid_once(worlds, client, workflow_id)
            assert [task["id"] for task in tasks_of(client, workflow_id)] == task_ids
            assert all(step["retry_count"] == 0 for step in steps_of(client, workflow_id))
