"""kill -9 of everything, at random moments, again and again: nobody notices but for the time."""

import random
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.observer import ENDED, Observer, check_history, check_tasks
from support.postgres import fresh_folder
from support.processes import Running, running_up, start_up, until
from support.scenarios import OPEN, SCENARIOS

KILLS = 50


@pytest.fixture
def folder() -> Iterator[Path]:
    with fresh_folder() as folder:
        yield folder / "data"


def test_nothing_is_lost_or_repeated_by_fifty_kills(folder: Path) -> None:
    chance, observer = random.Random(), Observer()
    for kill in range(KILLS):
        # From before PostgreSQL is up to well into the work.
        _one_life(folder, observer, kill, chance.uniform(0.1, 2.5))
    with running_up(folder, OPEN) as running, running.client() as client:
        found = until(lambda: _all_ended(observer, client), 120, lambda: [_brief(w) for w in observer.look(client)])
        observer.check_promises(found)
        assert running.terminate() == 0
    with running_up(folder, OPEN) as running, running.client() as client:
        artifacts = folder / "artifacts"
        referenced = set[str]()
        by_name = {scenario.name: scenario for scenario in SCENARIOS}
        for workflow in observer.look(client):
            check_history(client, workflow)
            referenced |= check_tasks(client, workflow, by_name[workflow["name"]], artifacts)
        assert {str(path.relative_to(artifacts)) for path in artifacts.rglob("*") if path.is_file()} == referenced
        # The test would prove little if the kills had hit only idle moments.
        assert len(observer.promised) >= KILLS / 2
        assert len(referenced) >= KILLS


def _one_life(folder: Path, observer: Observer, number: int, seconds: float) -> None:
    """Start it, give it work until it is killed after that time."""
    running = start_up(folder, OPEN)
    killer = threading.Timer(seconds, running.kill_group)
    killer.start()
    try:
        _work(running, observer, number)
    finally:
        killer.join()
        running.kill_group()


def _work(running: Running, observer: Observer, number: int) -> None:
    try:
        running.wait_ready()
    except AssertionError:
        _was_killed(running)
        return
    try:
        with running.client() as client:
            for n in range(3):
                observer.create(client, SCENARIOS[(number * 3 + n) % len(SCENARIOS)])
            while True:
                observer.push(client)
                observer.look(client)
    except httpx.TransportError:
        _was_killed(running)


def _was_killed(running: Running) -> None:
    """No answer is right only from a process that we have killed."""
    assert running.wait() == -signal.SIGKILL, running.stderr


def _all_ended(observer: Observer, client: httpx.Client) -> list[dict[str, Any]]:
    observer.push(client)
    found = observer.look(client)
    return found if all(workflow["status"] in ENDED for workflow in found) else []


def _brief(workflow: dict[str, Any]) -> tuple[Any, ...]:
    return (
        workflow["name"],
        workflow["status"],
        [(s["step_id"], s["status"], s["next_attempt_at"]) for s in workflow["steps"]],
    )
