"""Limits hold for all processes together, whatever happens to the processes. The emulator of the provider counts."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stepwell.contract.enums import ProviderType
from support.emulators.base import Fault
from support.emulators.fal import FalEmulator
from support.processes.several_processes import SeveralProcesses, several_processes
from support.processes.stepwell_process import until
from support.providers.emulated import remote_step
from support.providers.emulated_in_thread import emulated

LIMIT = 4
STEPS = 6  # of each workflow
POLLS = 3  # until a job is done
BURST = 5  # what 300 a minute allow in the first second


@contextmanager
def processes_at_fal(dsn: str, folder: Path, **env: str) -> Iterator[tuple[SeveralProcesses, FalEmulator]]:
    with emulated(folder, (ProviderType.FAL,)) as worlds:
        [world] = worlds
        emulator: FalEmulator = world.emulator
        emulator.polls_until_done = POLLS
        settings = world.environment | {"STEPWELL_POLL_INTERVAL_S": "0.1"} | env
        with several_processes(dsn, folder, settings) as processes:
            yield processes, emulator


def steps(name: str) -> list[dict[str, Any]]:
    return [remote_step(ProviderType.FAL, f"{name}-{number}") for number in range(STEPS)]


def until_jobs(processes: SeveralProcesses, emulator: FalEmulator, number: int) -> None:
    """Wait until so many further jobs were accepted, or until all workflows have ended."""
    wanted = len(emulator.jobs) + number
    until(
        lambda: len(emulator.jobs) >= wanted or processes.have_ended, 120, lambda: f"{len(emulator.jobs)} of {wanted}"
    )


@pytest.fixture
def all_at_once(durable_dsn: str, tmp_path: Path) -> Iterator[tuple[SeveralProcesses, FalEmulator]]:
    # A call that was cut off is waited for until this deadline.
    limits = {"STEPWELL_MAX_STEPS_PER_PROVIDER": str(LIMIT), "STEPWELL_PROVIDER_TIMEOUT_S": "5"}
    with processes_at_fal(durable_dsn, tmp_path, **limits) as both:
        yield both


@pytest.mark.extended
def test_the_concurrency_holds_while_processes_start_stop_and_die(
    all_at_once: tuple[SeveralProcesses, FalEmulator],
) -> None:
    processes, emulator = all_at_once
    [first] = processes.start()
    for number in range(3):
        processes.create(first, *steps(f"first{number}"))
    until_jobs(processes, emulator, 2)
    second, third = processes.start(2)
    for number in range(2):
        processes.create(second, *steps(f"second{number}"))
        processes.create(third, *steps(f"third{number}"))
    until_jobs(processes, emulator, 4)
    processes.kill(second)
    until_jobs(processes, emulator, 2)
    [fourth] = processes.start()
    processes.create(fourth, *steps("fourth"))
    processes.stop(third)
    until_jobs(processes, emulator, 2)
    processes.kill(first)
    processes.start()
    # A process may have been killed during a submit. Then nobody knows whether the job exists.
    processes.until_completed(or_failed_with="not submitted again")
    assert emulator.most_waiting == LIMIT
    prompts = [job.input["prompt"] for job in emulator.jobs.values()]
    assert len(prompts) == len(set(prompts)), "no job was paid twice"


@pytest.mark.extended
def test_the_concurrency_holds_when_a_frozen_process_wakes_up(
    all_at_once: tuple[SeveralProcesses, FalEmulator],
) -> None:
    processes, emulator = all_at_once
    first, second = processes.start(2)
    for number in range(2):
        processes.create(first, *steps(f"first{number}"))
        processes.create(second, *steps(f"second{number}"))
    until_jobs(processes, emulator, 6)
    os.kill(first.pid, signal.SIGSTOP)
    until_jobs(processes, emulator, 10)  # the other one has taken over
    os.kill(first.pid, signal.SIGCONT)
    processes.create(first, *steps("first again"))
    # The process may have stood still during a submit. Then nobody knows whether the job exists.
    processes.until_completed(or_failed_with="not submitted again")
    assert emulator.most_waiting == LIMIT


@pytest.mark.extended
def test_a_limit_of_one_goes_round(durable_dsn: str, tmp_path: Path) -> None:
    limits = json.dumps({"FAL": {"*": {"concurrency": 1}}})
    with processes_at_fal(durable_dsn, tmp_path, STEPWELL_LIMITS=limits) as (processes, emulator):
        emulator.polls_until_done = 2
        for number, process in enumerate(processes.start(3)):
            processes.create(process, *steps(f"of process {number}"))
        processes.until_completed()
        assert {_process(job.input) for job in emulator.jobs.values()} == {"0", "1", "2"}
        assert emulator.most_waiting == 1


def _process(body: dict[str, Any]) -> str:
    """Return the number of the process that has the step."""
    return str(body["prompt"]).partition("of process ")[2][0]


@pytest.mark.extended
def test_the_rate_holds_for_all_processes_together(durable_dsn: str, tmp_path: Path) -> None:
    limits = json.dumps({"FAL": {"*": {"per_minute": 300}}})
    with processes_at_fal(durable_dsn, tmp_path, STEPWELL_LIMITS=limits) as (processes, emulator):
        emulator.polls_until_done = 2
        first, second, third = processes.start(3)
        for process in (first, second, third):
            processes.create(process, *steps(f"of {process.pid}"))
        until_jobs(processes, emulator, 6)
        processes.kill(second)
        processes.stop(third)
        processes.start()
        processes.until_completed()
        born = [job.born for job in emulator.jobs.values()]
        assert born[-1] - born[0] > (len(born) - BURST) * 0.2 * 0.8, "three processes of their own take a third of it"


def test_the_limit_of_a_tenant_holds_for_all_processes_together(durable_dsn: str, tmp_path: Path) -> None:
    with processes_at_fal(durable_dsn, tmp_path, STEPWELL_MAX_STEPS_PER_TENANT="2") as (processes, emulator):
        emulator.polls_until_done = 3
        for number, process in enumerate(processes.start(2)):
            processes.create(process, *steps(f"of process {number}"), origin_tenant_id="acme")
        until_jobs(processes, emulator, 4)
        processes.kill(processes.running[0])
        processes.until_completed()
        assert emulator.most_waiting == 2
        assert {_process(job.input) for job in emulator.jobs.values()} == {"0", "1"}


def _fail_until_a_breaker_opens(processes: SeveralProcesses) -> None:
    """Let steps fail, one after the other. A process that has just started may leave one to the other process."""
    failures = 3  # in a row, in one process
    for number in range(2 * failures - 1):
        failing = processes.create(processes.running[0], remote_step(ProviderType.FAL, f"{number}", max_retries=0))
        until(lambda failing=failing: processes.statuses()[failing] == "FAILED", 60, processes.statuses)  # type: ignore[misc]
        if any(map(processes.has_open_breaker, processes.running)):
            return


@pytest.mark.extended
def test_a_breaker_that_opens_in_one_process_opens_in_the_others(durable_dsn: str, tmp_path: Path) -> None:
    with processes_at_fal(durable_dsn, tmp_path, STEPWELL_BREAKER_RESET_S="600") as (processes, emulator):
        first, second = processes.start(2)
        emulator.always("submit", Fault.BROKEN)
        _fail_until_a_breaker_opens(processes)
        until(lambda: all(map(processes.has_open_breaker, (first, second))), 120)
        sent = emulator.count("submit")
        waiting = processes.create(second, remote_step(ProviderType.FAL, "waiting"))
        until(lambda: processes.explain(second, waiting)["steps"][0]["reason"]["code"] == "breaker_open", 120)
        assert emulator.count("submit") == sent
