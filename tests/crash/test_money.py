"""kill -9 in the midst of paid work: whatever was accepted for an attempt is found again, and nothing is paid twice."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from stepwell.domain.model import ProviderType
from support.emulator import Fault
from support.postgres import fresh_folder
from support.processes import running_up, start_up, until
from support.worlds import REMOTE, World, remote_step, world_of

STEPS = 100  # at each of three providers
SLOTS = {"STEPWELL_MAX_STEPS_PER_PROVIDER": str(STEPS)}
WORKFLOWS = "/api/v1/workflows/"


@contextmanager
def emulated(kind: ProviderType, folder: Path) -> Iterator[World]:
    """The emulator in a thread of its own, with a loop of its own: the test waits for processes meanwhile."""
    loop, entered, leave = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    found: list[World] = []

    async def run() -> None:
        async with world_of(kind, folder) as world:
            found.append(world)
            entered.set()
            await leave.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    assert entered.wait(10)
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(leave.set)
        thread.join(10)
        loop.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    with fresh_folder() as folder:
        yield folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def post(client: httpx.Client, kind: ProviderType, *, alike: bool = False, **fields: Any) -> str:
    """A workflow of so many steps that wait for nobody. *alike*: all ask for the same thing."""
    same = {"config": {"prompt": "the same", "seed": 7}} if alike else {}
    steps = [remote_step(kind, f"s{number}", **same) for number in range(STEPS)]
    answer = client.post(WORKFLOWS, json={"name": "money", "origin_instance": "tests", "steps": steps} | fields)
    assert answer.status_code == 201, answer.text
    created: str = answer.json()["id"]
    return created


def ended(client: httpx.Client, workflow_id: str) -> dict[str, Any]:
    def look() -> dict[str, Any]:
        found: dict[str, Any] = client.get(WORKFLOWS + workflow_id, params={"include_steps": False}).json()
        return found

    until(lambda: look()["status"] in {"COMPLETED", "FAILED"}, 30, look)
    return look()


def check_paid_once(world: World, client: httpx.Client, workflow_id: str) -> None:
    """One accepted job for each attempt, each attempt with a job of its own, and all of them brought home."""
    found = ended(client, workflow_id)
    assert (found["status"], found["completed_steps"]) == ("COMPLETED", STEPS), found["errors"][:3]
    tasks = client.get(f"{WORKFLOWS}{workflow_id}/tasks").json()["tasks"]
    assert [task["attempt"] for task in tasks] == [1] * STEPS
    jobs = [job_id for job_id, _, _ in world.emulator.ledger.jobs()]
    assert sorted(task["remote_id"] for task in tasks) == sorted(jobs)
    assert len(jobs) == STEPS


def taken(world: World) -> Callable[[], bool]:
    return lambda: len(world.emulator.ledger.jobs()) >= STEPS


@pytest.mark.parametrize("kind", REMOTE)
def test_lost_answers(folder: Path, kind: ProviderType) -> None:
    with emulated(kind, folder / "emulator") as world:
        world.emulator.always("submit", Fault.LOSE_AFTER)
        with running_up(folder / "data", env=world.environment | SLOTS) as running, running.client() as client:
            check_paid_once(world, client, post(client, kind, alike=True))


@pytest.mark.parametrize("kind", REMOTE)
@pytest.mark.parametrize("when", ["before the id is committed", "after"])
def test_killed_with_jobs_under_way(folder: Path, kind: ProviderType, when: str) -> None:
    with emulated(kind, folder / "emulator") as world:
        world.hold()
        if when != "after":
            world.emulator.always("submit", Fault.HANG_AFTER)
        first = start_up(folder / "data", env=world.environment | SLOTS)
        try:
            with first.wait_ready().client() as client:
                workflow_id = post(client, kind)
                until(taken(world), 60)
                if when == "after":
                    until(lambda: all_submitted(client, workflow_id), 60)
                    client.post(f"{WORKFLOWS}{workflow_id}/pause")
        finally:
            first.kill_group()
        world.emulator.always("submit", None)
        world.hold(held=False)
        with running_up(folder / "data", env=world.environment | SLOTS) as second, second.client() as client:
            # Paused or not, what was paid for is brought home.
            check_paid_once(world, client, workflow_id)


def all_submitted(client: httpx.Client, workflow_id: str) -> bool:
    tasks = client.get(f"{WORKFLOWS}{workflow_id}/tasks").json()["tasks"]
    return [task["phase"] for task in tasks] == ["SUBMITTED"] * STEPS


@pytest.mark.parametrize("kind", REMOTE)
@pytest.mark.parametrize("callbacks", ["duplicate", "early"])
def test_callbacks_bring_home_what_nothing_else_would(folder: Path, kind: ProviderType, callbacks: str) -> None:
    port = free_port()
    with emulated(kind, folder / "emulator") as world:
        switch = {"FAL": "webhook", "REPLICATE": "webhooks", "CUSTOM": "callbacks"}[kind]
        setattr(world.emulator, switch, callbacks)
        # Polls alone would take longer than the test waits, and lists show nothing.
        world.emulator.hide_from_listing, world.emulator.polls_until_done = True, 1_000_000
        told = {"STEPWELL_PUBLIC_URL": f"http://127.0.0.1:{port}"}
        slow = {"STEPWELL_POLL_INTERVAL_S": "100", "STEPWELL_RECONCILE_S": "60"}
        if callbacks == "early":
            world.emulator.always("submit", Fault.LOSE_AFTER)
        env = world.environment | SLOTS | told | slow
        with running_up(folder / "data", env, "--port", str(port)) as running, running.client() as client:
            workflow_id = post(client, kind)
            if kind is ProviderType.FAL and callbacks == "duplicate":
                until(lambda: all_submitted(client, workflow_id), 30)
                world.finish_all()  # this one never ends a job by itself
            check_paid_once(world, client, workflow_id)
