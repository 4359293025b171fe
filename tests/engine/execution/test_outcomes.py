"""The log lines about failures, and the labels of models."""

from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import structlog
from structlog.testing import capture_logs

from stepwell.contract.enums import ProviderType
from stepwell.engine.execution.outcomes import ModelLabels
from stepwell.testing import ManualClock, MemoryDatabase
from support.database.failing_store import scheduler_of
from support.emulators.base import Fault
from support.providers.emulated import world_of
from support.providers.scripted import Crash, Fail, Hang, ScriptedProvider, passthrough_step, scripted_step
from support.service.live_service import Service, running_service

SOON = {"retry": {"base_s": 0, "max_s": 0.001}}
FIELDS = {"workflow", "step", "task", "provider", "model", "attempt", "error", "tenant"}
Lines = list[MutableMapping[str, Any]]


@pytest.fixture
def provider() -> ScriptedProvider:
    return ScriptedProvider()


@pytest.fixture
async def service(memory: MemoryDatabase, tmp_path: Path, provider: ScriptedProvider) -> AsyncIterator[Service]:
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(running_service(memory, tmp_path, providers=[provider], grace_s=1))


@pytest.fixture
def lines() -> Iterator[Lines]:
    with capture_logs() as logs:
        yield logs


@pytest.fixture
def _verbose() -> Iterator[None]:
    before = structlog.get_config()["wrapper_class"]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("debug"))
    yield
    structlog.configure(wrapper_class=before)


def summaries(lines: Lines) -> list[str]:
    """Return a summary of each line about an end."""
    ends = [line for line in lines if line["event"].split(".")[0] in ("attempt", "step", "workflow")]
    assert all(line.keys() == FIELDS | {"event", "log_level"} for line in ends)
    return [f"{line['log_level']} {line['event']} {line['step']} {line['attempt']} {line['error']}" for line in ends]


async def run_to_end(service: Service, *steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    created = await service.create(*steps, **({"config": SOON} | fields))
    return await end_of(service, created["id"])


async def end_of(service: Service, workflow_id: str) -> dict[str, Any]:
    """Return the workflow once it has left the memory: then its end is stored, and its lines are written."""
    done = await service.until_ended(workflow_id)
    await service.app.services.workflows.until_idle(UUID(workflow_id))
    return done


async def test_each_attempt_step_and_workflow_that_fails_is_one_line(
    service: Service, provider: ScriptedProvider, lines: Lines
) -> None:
    provider.plan("a", Fail("first"), Fail("second"))
    done = await run_to_end(
        service, passthrough_step("z"), scripted_step("a", "z", max_retries=1), origin_tenant_id="acme"
    )
    assert summaries(lines) == [
        "warning attempt.failed a 1 first",
        "warning attempt.failed a 2 second",
        "warning step.failed a 2 second",
        "error workflow.failed a 2 second",
    ]
    tasks = (await service.client.get(f"/api/v1/workflows/{done['id']}/tasks")).json()["tasks"]
    ids = {task["attempt"]: task["id"] for task in tasks if task["step_id"] == "a"}
    for line in lines:
        same = {"workflow": done["id"], "provider": "CUSTOM", "model": "GENERATION", "tenant": "acme"}
        assert {name: line[name] for name in same} == same
        assert line["task"] == ids[line["attempt"]]


@pytest.mark.usefixtures("_verbose")
async def test_at_debug_level_each_end_is_one_line(
    memory: MemoryDatabase, tmp_path: Path, provider: ScriptedProvider, lines: Lines
) -> None:
    provider.plan("a", Fail("first"))
    provider.plan("c", Fail("third", retryable=False))
    provider.plan("long", Hang())
    async with running_service(memory, tmp_path, providers=[provider], grace_s=1) as service:
        await run_to_end(service, scripted_step("a"))
        assert summaries(lines) == [
            "warning attempt.failed a 1 first",
            "debug attempt.completed a 2 None",
            "debug step.completed a 2 None",
            "debug workflow.completed None None None",
        ]
        lines.clear()
        continuing = {"config": {"on_failure": "continue"}}
        await run_to_end(service, scripted_step("c"), passthrough_step("d", "c"), **continuing)
        assert summaries(lines) == [
            "warning attempt.failed c 1 third",
            "warning step.failed c 1 third",
            "debug step.skipped d None None",
            "error workflow.failed c 1 third",
        ]
        lines.clear()
        provider.plan("o", Fail("optional", retryable=False))
        provider.plan("p", Fail("fatal", retryable=False))
        await run_to_end(service, scripted_step("o", optional=True), scripted_step("p", "o", run_if="all_ended"))
        assert summaries(lines) == [
            "warning attempt.failed o 1 optional",
            "warning step.failed o 1 optional",
            "warning attempt.failed p 1 fatal",
            "warning step.failed p 1 fatal",
            "error workflow.failed p 1 fatal",
        ]
        lines.clear()
        created = await service.create(scripted_step("long"), passthrough_step("behind", "long"))
        await provider.until_called("long")
        await service.verb(created["id"], "cancel")
        assert summaries(lines) == [
            "debug attempt.cancelled long 1 None",
            "debug step.cancelled long 1 None",
            "debug step.cancelled behind None None",
            "debug workflow.cancelled None None None",
        ]


async def test_successes_and_cancels_by_users_are_not_logged(
    service: Service, provider: ScriptedProvider, lines: Lines
) -> None:
    provider.plan("long", Hang())
    await run_to_end(service, passthrough_step("a"))
    created = await service.create(scripted_step("long"))
    await provider.until_called("long")
    await service.verb(created["id"], "cancel")
    assert summaries(lines) == []


async def test_a_step_that_a_failure_cancels_is_logged_with_the_cause(
    service: Service, provider: ScriptedProvider, lines: Lines
) -> None:
    provider.plan("a", Hang(Fail("no", retryable=False)))
    provider.plan("b", Hang())
    created = await service.create(scripted_step("a"), scripted_step("b"), config={"on_failure": "cancel"})
    await provider.until_called("b")
    await provider.until_called("a")
    provider.release("a")
    await end_of(service, created["id"])
    assert summaries(lines) == [
        "warning attempt.failed a 1 no",
        "warning step.failed a 1 no",
        "warning attempt.cancelled b 1 another step of the workflow failed",
        "warning step.cancelled b 1 another step of the workflow failed",
        "error workflow.failed a 1 no",
    ]


async def test_the_line_of_a_workflow_that_timed_out_has_the_reason(
    service: Service, clock: ManualClock, provider: ScriptedProvider, lines: Lines
) -> None:
    provider.plan("a", Hang())
    created = await service.create(scripted_step("a"), config={"workflow_timeout_s": 0.2})
    await provider.until_called("a")
    clock.advance(0.3)
    await end_of(service, created["id"])
    late = "workflow: timed out after 0.2 s"
    assert summaries(lines) == [
        f"warning attempt.cancelled a 1 {late}",
        f"warning step.cancelled a 1 {late}",
        f"error workflow.failed None None {late}",
    ]


async def test_the_line_of_a_failed_workflow_names_a_step_that_failed_earlier(
    service: Service, provider: ScriptedProvider, lines: Lines
) -> None:
    provider.plan("a", Fail("early", retryable=False))
    provider.plan("b", Hang())
    created = await service.create(scripted_step("a"), scripted_step("b"), config={"on_failure": "continue"})
    await provider.until_called("b")
    await service.until(created["id"], lambda found: found["steps"][0]["status"] == "FAILED")
    provider.release("b")
    await end_of(service, created["id"])
    step, workflow = lines[-2:]
    assert (step["event"], workflow["event"]) == ("step.failed", "workflow.failed")
    assert {name: workflow[name] for name in FIELDS} == {name: step[name] for name in FIELDS}


async def test_a_line_is_one_line_of_bounded_length(service: Service, provider: ScriptedProvider, lines: Lines) -> None:
    provider.plan("a", Fail("one\ntwo\x1b[31m" + "x" * 100_000, retryable=False))
    await run_to_end(service, scripted_step("a"))
    for line in lines:
        assert line["error"].startswith("one two [31mxxx")
        assert len(line["error"]) == 1_000


async def test_a_line_shows_the_error_that_users_see(
    service: Service, provider: ScriptedProvider, lines: Lines
) -> None:
    provider.plan("a", Crash(type("Leaky", (RuntimeError,), {"__str__": lambda _: "hunter2"})))
    done = await run_to_end(service, scripted_step("a", max_retries=0))
    (step,) = (line for line in lines if line["event"] == "step.failed")
    assert step["error"] == done["steps"][0]["error_message"] == "internal error: Leaky"


async def test_the_line_of_a_remote_attempt_names_its_model(
    memory: MemoryDatabase, tmp_path: Path, lines: Lines
) -> None:
    async with (
        world_of(ProviderType.CUSTOM, tmp_path / "emulator") as world,
        running_service(memory, tmp_path / "data", **world.settings) as service,
    ):
        world.emulator.always("submit", Fault.REFUSED)
        await run_to_end(service, world.step("asked", max_retries=0, provider_config={"model": "sharp"}))
        reads = {"from_step": "z", "from_field": "nowhere", "to_field": "prompt"}
        never = world.step(
            "never", max_retries=0, depends_on=["z"], input_mappings=[reads], provider_config={"model": "blunt"}
        )
        await run_to_end(service, passthrough_step("z"), never)
    attempts = [line for line in lines if line["event"] == "attempt.failed"]
    assert [(line["step"], line["provider"], line["model"]) for line in attempts] == [
        ("asked", "CUSTOM", "sharp"),
        ("never", "CUSTOM", "blunt"),
    ]


@pytest.mark.parametrize("breaks", ["_log_end", "_tally"])
async def test_an_error_in_logs_or_metrics_does_not_stop_the_engine(
    service: Service, provider: ScriptedProvider, lines: Lines, monkeypatch: pytest.MonkeyPatch, breaks: str
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the log is full")

    monkeypatch.setattr(scheduler_of(service).outcomes, breaks, broken)
    provider.plan("a", Fail("no"))
    assert (await run_to_end(service, scripted_step("a"), passthrough_step("b", "a")))["status"] == "COMPLETED"
    assert "outcome.unreadable" in [line["event"] for line in lines]
    assert not service.app.running.done()


def test_a_model_has_a_label_of_its_own_if_it_is_reserved_or_among_the_first() -> None:
    labels = ModelLabels([(ProviderType.FAL, "ours")])
    first = [labels.of("FAL", f"m{number}") for number in range(100)]
    assert first == [f"m{number}" for number in range(100)]
    assert [labels.of("FAL", model) for model in ("m100", "ours", "m99", "m100")] == ["other", "ours", "m99", "other"]
    assert labels.of("REPLICATE", "m100") == "m100"


def test_a_label_is_printable_and_bounded() -> None:
    labels = ModelLabels()
    assert labels.of("FAL", "a\nb") == "a b"
    assert len(labels.of("FAL", "x" * 10_000)) == 200
