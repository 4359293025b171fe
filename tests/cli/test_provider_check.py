"""`stepwell providers check` at each emulator: what it sends, what it says, and how it ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stepwell.cli.errors import Refused
from stepwell.cli.provider_check import CheckOptions, check_provider
from stepwell.cli.signals import Signals
from stepwell.contract.enums import ProviderType
from support.emulators.base import Fault
from support.processes.stepwell_process import stepwell, surroundings, until
from support.providers.emulated import ANSWERING, REMOTE, World
from support.providers.emulated_in_thread import emulated
from support.service.installed_settings import read_settings

FREE = {"STEPWELL_PRICES": '{"FAL": {"*": 0.02}}'}


@pytest.fixture
def fal(tmp_path: Path) -> Iterator[World]:
    with emulated(tmp_path, (ProviderType.FAL,)) as worlds:
        yield worlds.found[0]


def check(world: World, environment: dict[str, str] | None = None, **options: Any) -> int:
    settings = read_settings(world.environment | (environment or {}))
    with Signals() as signals:
        return check_provider(settings, CheckOptions(world.kind, **options), signals)


def lines(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str]]:
    """Each outcome and the call that it is of."""
    words = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    return [(each[0], each[1]) for each in words]


@pytest.mark.parametrize("kind", REMOTE)
def test_a_job_is_fetched_and_a_second_one_is_cancelled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: ProviderType
) -> None:
    with emulated(tmp_path, (kind,)) as worlds:
        (world,) = worlds
        assert (check(world, dry_run=True), world.emulator.calls) == (0, [])
        assert check(world, spend=0.01) == 0
        assert lines(capsys) == [("agrees", name) for name in ("submit", "list", "poll", "fetch", "cost", "cancel")]
        assert len(world.emulator.ledger.jobs()) == 2
        assert world.emulator.count("cancel") == 1


@pytest.mark.parametrize("kind", ANSWERING)
def test_a_provider_that_answers_with_the_result_is_asked_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: ProviderType
) -> None:
    with emulated(tmp_path, (kind,)) as worlds:
        (world,) = worlds
        assert (check(world, dry_run=True), world.emulator.calls) == (0, [])
        assert check(world, spend=0) == 0
        assert lines(capsys) == [("agrees", name) for name in ("submit", "fetch", "cost")]
        assert len(world.emulator.ledger.jobs()) == 1


@pytest.mark.parametrize(
    ("call", "fault", "ends_with"),
    [
        ("submit", Fault.GARBAGE_AFTER, ("DIFFERS", "submit")),
        ("submit", Fault.REFUSED, ("DIFFERS", "submit")),
        ("poll", Fault.BROKEN, ("DIFFERS", "poll")),
        ("list", Fault.BROKEN, ("DIFFERS", "list")),
        ("cancel", Fault.BROKEN, ("DIFFERS", "cancel")),
    ],
)
def test_a_call_that_differs_ends_the_check(
    fal: World, capsys: pytest.CaptureFixture[str], call: str, fault: Fault, ends_with: tuple[str, str]
) -> None:
    fal.emulator.always(call, fault)
    assert check(fal, FREE) == 1
    assert lines(capsys)[-1] == ends_with


@pytest.mark.parametrize(
    ("environment", "options", "why"),
    [
        ({}, {}, "the price of FAL fal-ai/flux-lora isn't known, so --spend can't bound it"),
        (FREE, {"spend": 0.03}, "2 jobs of FAL fal-ai/flux-lora cost 0.04 USD, and --spend is 0.03"),
        ({"STEPWELL_PRICES": '{"FAL": {"*": 0.03}}'}, {}, "cost 0.06 USD, and --spend is 0.05"),
        (
            {"STEPWELL_PRICES": '{"FAL": {"*": {"amount": "0.04", "currency": "EUR", "per": "image"}}}'},
            {},
            "cost 0.08 EUR, and --spend is 0.05",
        ),
    ],
)
def test_what_may_cost_too_much_is_not_sent(
    fal: World, environment: dict[str, str], options: dict[str, Any], why: str
) -> None:
    with pytest.raises(Refused, match=why) as refused:
        check(fal, environment, **options)
    assert (refused.value.code, fal.emulator.calls) == (2, [])


def test_a_dry_run_says_what_would_be_sent_and_sends_nothing(fal: World) -> None:
    done = stepwell("providers", "check", "fal", "--dry-run", "--model", "fal-ai/other", env=fal.environment | FREE)
    assert (done.returncode, done.stderr, fal.emulator.calls) == (0, "", [])
    cost = "at most 2 jobs for at most 0.04 USD by STEPWELL_PRICES; the second one is cancelled"
    assert done.stdout.splitlines() == [
        f"FAL: GENERATION with fal-ai/other, at {fal.emulator.url}",
        f"A dry run: nothing is sent. It would send {cost}",
    ]


@pytest.mark.parametrize(
    ("provider", "why"),
    [
        ("NOBODY", "stepwell: NOBODY is no provider; known are LOCAL, FAL"),
        ("LOCAL", "stepwell: LOCAL works in this process"),
        ("REPLICATE", "stepwell: REPLICATE is not configured: set STEPWELL_CREDENTIALS__REPLICATE"),
        ("COMFYUI", "stepwell: COMFYUI is not configured: set STEPWELL_COMFYUI_URL"),
    ],
)
def test_a_provider_that_cannot_be_checked_is_a_misuse(provider: str, why: str) -> None:
    done = stepwell("providers", "check", provider)
    assert (done.returncode, done.stderr[: len(why)]) == (2, why)


def test_a_refused_key_is_named_by_its_setting(fal: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(fal, FREE | {"STEPWELL_CREDENTIALS__FAL": "another key"}) == 1
    shown = capsys.readouterr().out
    assert "the key was refused (set STEPWELL_CREDENTIALS__FAL)" in shown
    assert "another key" not in shown


def test_a_job_that_still_runs_is_cancelled_when_the_command_is_interrupted(fal: World) -> None:
    fal.hold()
    environment = surroundings(fal.environment | FREE)
    command = [sys.executable, "-m", "stepwell", "providers", "check", "FAL"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        until(lambda: fal.emulator.count("poll") > 0, 60)
        os.kill(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "was still running: the provider was asked to cancel it" in out
    assert (len(fal.emulator.ledger.jobs()), fal.emulator.count("cancel")) == (1, 1)
