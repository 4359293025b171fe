"""kill -9 of everything, at random moments, again and again: nobody notices but for the time.

The core suite kills twice: in the middle of the work, and in the middle of the next start. All fifty kills of one
folder:

    STEPWELL_TEST_FULL=1 python -m pytest --everything tests/crash/test_kill.py
"""

import random
import signal
import threading
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import pytest

from stepwell.artifacts.store_setup import ID_FILE
from support.processes.crash_observer import ENDED, Observer, check_history, check_tasks
from support.processes.stepwell_process import StepwellProcess, running_up, start_up, until
from support.soaks import FULL
from support.workflows.crash_scenarios import OPEN, SCENARIOS, Scenario

# After three kills, what was under way is tried only after `CALM_S`, which a short life doesn't reach.
CATCH_UP = 9
END_S = 600


def test_nothing_is_lost_or_repeated_by_two_kills(data_dir: Path) -> None:
    _kill(data_dir, range(1, 3), creates=6)


@pytest.mark.extended
def test_nothing_is_lost_or_repeated_by_many_kills_from_the_first_start_on(folder: Path) -> None:
    _kill(folder, range(50 if FULL else 15), creates=3)


def _kill(folder: Path, kills: range, *, creates: int) -> None:
    """Kill a service again and again, at random moments: those of even numbers while it starts."""
    chance, observer, scenarios = random.Random(), Observer(), cycle(SCENARIOS)
    for kill in kills:
        if kill % 2 == 0:  # it may be at work by then, where the machine is quick
            _one_life(folder, observer, [next(scenarios)], chance.uniform(0.1, 1.5), from_start=True)
        else:
            _one_life(folder, observer, [next(scenarios) for _ in range(creates)], chance.uniform(0.0, 1.2))
        if kill % CATCH_UP == CATCH_UP - 1:
            with running_up(folder, OPEN) as running, running.client() as client:
                _until_all_ended(observer, client)
                running.kill_group()
    with running_up(folder, OPEN) as running, running.client() as client:
        observer.check_promises(_until_all_ended(observer, client))
        assert running.terminate() == 0
    with running_up(folder, OPEN) as running, running.client() as client:
        artifacts = folder / "artifacts"
        referenced = set[str]()
        by_name = {scenario.name: scenario for scenario in SCENARIOS}
        for workflow in observer.read_workflows(client):
            check_history(client, workflow)
            referenced |= check_tasks(client, workflow, by_name[workflow["name"]], artifacts)
        stored = {str(path.relative_to(artifacts)) for path in artifacts.rglob("*") if path.is_file()}
        assert stored - {ID_FILE} == referenced
        # The test would prove little if the kills had hit only idle moments.
        assert len(observer.promised) >= len(kills) // 2
        assert len(referenced) >= len(kills) // 2


def _one_life(
    folder: Path, observer: Observer, scenarios: list[Scenario], seconds: float, *, from_start: bool = False
) -> None:
    """Start it, give it work until it is killed, that time after its start, or after it has begun to work."""
    running = start_up(folder, OPEN)
    killer = threading.Timer(seconds, running.kill_group)
    try:
        if from_start:
            killer.start()
        if _got_ready(running):
            _work(running, observer, scenarios, killer)
    finally:
        killer.cancel()
        if killer.is_alive():
            killer.join()  # or it would kill the next one
        running.kill_group()


def _got_ready(running: StepwellProcess) -> bool:
    """Not if it was killed before."""
    try:
        running.wait_ready()
    except AssertionError:
        _was_killed(running)
        return False
    return True


def _work(running: StepwellProcess, observer: Observer, scenarios: list[Scenario], killer: threading.Timer) -> None:
    try:
        with running.client() as client:
            for scenario in scenarios:
                observer.create(client, scenario)
                if killer.ident is None:
                    killer.start()
            while True:
                observer.push(client)
                observer.read_workflows(client)
    except httpx.TransportError:
        _was_killed(running)


def _was_killed(running: StepwellProcess) -> None:
    """No response is right only from a process that we have killed."""
    assert running.wait() == -signal.SIGKILL, running.stderr


def _until_all_ended(observer: Observer, client: httpx.Client) -> list[dict[str, Any]]:
    return until(
        lambda: _all_ended(observer, client), END_S, lambda: [_brief(w) for w in observer.read_workflows(client)]
    )


def _all_ended(observer: Observer, client: httpx.Client) -> list[dict[str, Any]]:
    observer.push(client)
    snapshot = observer.read_workflows(client)
    return snapshot if all(workflow["status"] in ENDED for workflow in snapshot) else []


def _brief(workflow: dict[str, Any]) -> tuple[Any, ...]:
    return (
        workflow["name"],
        workflow["status"],
        [(s["step_id"], s["status"], s["next_attempt_at"]) for s in workflow["steps"]],
    )
