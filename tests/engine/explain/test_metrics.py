"""The values of `/metrics` in every situation, in a format that Prometheus accepts."""

import asyncio
import re
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock
from uuid import UUID, uuid4

import pytest

from stepwell.basics.errors import Unavailable
from stepwell.basics.setting_values import ModelLimits, Prices
from stepwell.contract.enums import ProviderType
from stepwell.contract.providers import ModelLimit
from stepwell.engine.execution import outcomes
from stepwell.engine.webhooks import backlog
from stepwell.ports.webhooks import Backlog
from stepwell.testing import ManualClock, MemoryDatabase
from stepwell.testing.memory_events import MemoryOutbox
from support.emulators.base import Fault
from support.emulators.webhook_receiver import HANG, response_of, running_sink
from support.processes.source_tree import TOP
from support.providers.emulated import World
from support.providers.scripted import Fail, Hang, ScriptedProvider, eventually, passthrough_step, scripted_step
from support.service.live_service import Service, running_service
from support.service.metrics_lint import families_of, faults

LABELS = ("provider", "currency", "model", "outcome", "state")
AT_ONCE = {"retry": {"base_s": 0}}


async def text_of(service: Service) -> str:
    """Return the text of `/metrics`, after the linter has checked it."""
    response = await service.client.get("/metrics")
    assert (response.status_code, response.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert faults(response.text) == []
    return response.text


async def samples_of(service: Service, name: str) -> dict[tuple[str, ...], float]:
    """Return the samples of *name* that aren't 0, by the values of their labels, in the order of LABELS."""
    found = {}
    for family in families_of(await text_of(service)).values():
        for sample in family.samples:
            if sample.name == name and sample.value:
                found[tuple(sample.labels[label] for label in LABELS if label in sample.labels)] = sample.value
    return found


async def run_workflow(service: Service, *steps: dict[str, Any], **fields: Any) -> str:
    """Run a workflow to its end, and return its status."""
    created = await service.create(*steps, **({"config": AT_ONCE} | fields))
    done = await service.until_ended(created["id"])
    await service.app.services.workflows.until_idle(UUID(created["id"]))  # its end is counted when it is committed
    return str(done["status"])


async def test_checkpoints_are_counted_by_batches_events_and_rows(service: Service) -> None:
    assert await run_workflow(service, passthrough_step("a"), passthrough_step("b")) == "COMPLETED"
    value = service.app.metrics.value
    assert value("stepwell_workflows_in_memory") == 0
    assert value("stepwell_steps_running") == value("stepwell_steps_waiting") == value("stepwell_database_away") == 0
    assert value("stepwell_checkpoint_batches_total") >= 2
    # Two steps that start and complete, and the end of the workflow. Its first two events were inserted with it.
    assert value("stepwell_checkpoint_events_total") == 5
    # One row for each event, two for each start and each end (step and task), and one of the workflow in each batch.
    batches = value("stepwell_checkpoint_batches_total")
    assert value("stepwell_checkpoint_rows_total") in (5 + 4 + batches, 5 + 8 + batches, 5 + 6 + batches)
    assert value("stepwell_checkpoint_duration_seconds_count") == batches


async def test_every_end_is_counted_by_its_outcome(memory: MemoryDatabase, tmp_path: Path) -> None:
    provider = ScriptedProvider(
        script={"twice": [Fail(), Fail(before=2)], "never": [Fail(retryable=False)], "long": [Hang()]}
    )
    async with running_service(memory, tmp_path, providers=[provider], grace_s=1) as service:
        assert await run_workflow(service, scripted_step("twice"), passthrough_step("after", "twice")) == "COMPLETED"
        failing = {"config": {"on_failure": "continue"}}
        assert (
            await run_workflow(service, scripted_step("never"), passthrough_step("skipped", "never"), **failing)
            == "FAILED"
        )
        cancelled = await service.create(scripted_step("long"), passthrough_step("behind", "long"))
        await provider.until_called("long")
        await service.verb(cancelled["id"], "cancel")
        waits = await service.create(passthrough_step("not begun"), start=False)
        await service.verb(waits["id"], "cancel")
        assert await samples_of(service, "stepwell_workflows_total") == {
            ("completed",): 1,
            ("failed",): 1,
            ("cancelled",): 2,
        }
        assert await samples_of(service, "stepwell_steps_total") == {
            ("completed",): 2,
            ("failed",): 1,
            ("cancelled",): 3,
            ("skipped",): 1,
        }
        assert await samples_of(service, "stepwell_attempts_total") == {
            ("CUSTOM", "GENERATION", "completed"): 1,
            ("CUSTOM", "GENERATION", "failed"): 2,
            ("CUSTOM", "GENERATION", "cancelled"): 1,
            ("none", "PASSTHROUGH", "completed"): 1,
        }
        assert await samples_of(service, "stepwell_attempt_duration_seconds_count") == {
            ("CUSTOM", "completed"): 1,
            ("CUSTOM", "failed"): 2,
            ("CUSTOM", "cancelled"): 1,
            ("none", "completed"): 1,
        }
        # What never started has no duration: one workflow, and three of seven steps.
        assert sum((await samples_of(service, "stepwell_workflow_duration_seconds_count")).values()) == 3
        assert sum((await samples_of(service, "stepwell_step_duration_seconds_count")).values()) == 4


async def test_ends_by_a_restart_or_a_deadline_are_counted_once(
    memory: MemoryDatabase, clock: ManualClock, tmp_path: Path
) -> None:
    provider = ScriptedProvider(script={"a": [Hang(), Hang()]})
    async with running_service(memory, tmp_path, providers=[provider], grace_s=1) as first:
        created = await first.create(scripted_step("a"), config={"workflow_timeout_s": 3_600})
        await provider.until_called("a")
    assert first.app.metrics.value("stepwell_workflows_total", {"outcome": "failed"}) == 0
    clock.advance(3_600)
    async with running_service(memory, tmp_path, providers=[provider], grace_s=1) as second:
        assert (await second.until_ended(created["id"]))["status"] == "FAILED"
        await second.app.services.workflows.until_idle(UUID(created["id"]))
        assert await samples_of(second, "stepwell_workflows_total") == {("failed",): 1}
        assert await samples_of(second, "stepwell_steps_total") == {("cancelled",): 1}
        assert await samples_of(second, "stepwell_attempts_total") == {("CUSTOM", "GENERATION", "cancelled"): 1}


# Models


async def test_breakers_are_reported_by_model_with_the_steps_that_they_block(
    world: World, memory: MemoryDatabase, tmp_path: Path
) -> None:
    settings = world.settings | {"breaker_failures": 1, "grace_s": 1}
    async with running_service(memory, tmp_path / "data", **settings) as service:
        world.emulator.always("submit", Fault.BROKEN)
        model: dict[str, Any] = {"provider_config": {"model": 'loud "1"\n'}}
        assert await run_workflow(service, world.step(max_retries=1, **model)) == "FAILED"
        assert await samples_of(service, "stepwell_breaker_state") == {("CUSTOM", 'loud "1" ', "open"): 1}
        assert await samples_of(service, "stepwell_attempts_total") == {("CUSTOM", 'loud "1" ', "failed"): 2}
        await service.create(world.step("held", **model))
        await eventually(lambda: queue_lengths(service) == {"breaker_open": 1})
        assert service.app.metrics.value("stepwell_queue_oldest_wait_seconds") > 0


async def test_the_number_of_series_by_model_is_bounded(
    world: World, memory: MemoryDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "_MODELS", 5)
    limits = ModelLimits({ProviderType.CUSTOM: {"ours": ModelLimit(concurrency=5)}})
    async with running_service(memory, tmp_path / "data", limits=limits, **world.settings) as service:
        world.emulator.always("submit", Fault.REFUSED)
        models = [f"m{number}" for number in range(9)] + ["ours"]
        steps = [world.step(model, max_retries=0, depends_on=[], provider_config={"model": model}) for model in models]
        assert await run_workflow(service, *steps, config={"on_failure": "continue"}) == "FAILED"
        counted = await samples_of(service, "stepwell_attempts_total")
        assert (len(counted), counted["CUSTOM", "other", "failed"]) == (7, 4)
        assert counted["CUSTOM", "ours", "failed"] == 1


async def test_costs_are_counted_by_provider_and_currency(world: World, memory: MemoryDatabase, tmp_path: Path) -> None:
    prices = Prices({ProviderType.CUSTOM: {"*": 0.25}})
    async with running_service(memory, tmp_path / "data", prices=prices, currency="EUR", **world.settings) as service:
        assert await run_workflow(service, world.step("a"), world.step("b")) == "COMPLETED"
        assert await samples_of(service, "stepwell_cost_total") == {("CUSTOM", "EUR"): 0.5}


# Queues


def queue_lengths(service: Service) -> dict[str, float]:
    """Return the lengths of the queues that aren't empty."""
    (family,) = (each for each in service.app.metrics.registry.collect() if each.name == "stepwell_queue_length")
    return {sample.labels["reason"]: sample.value for sample in family.samples if sample.value}


@pytest.mark.parametrize(
    ("reason", "settings"),
    [
        ("slot_total", {"max_running_steps": 1}),
        ("slot_provider", {"max_steps_per_provider": 1}),
        ("slot_tenant", {"max_steps_per_tenant": 1}),
        ("slot_model", {"limits": ModelLimits({ProviderType.CUSTOM: {"*": ModelLimit(concurrency=1)}})}),
        ("rate_limited", {"limits": ModelLimits({ProviderType.CUSTOM: {"*": ModelLimit(per_minute=0.01)}})}),
    ],
)
async def test_the_queue_length_is_reported_by_reason(
    world: World, memory: MemoryDatabase, tmp_path: Path, reason: str, settings: dict[str, Any]
) -> None:
    world.hold()
    settings = world.settings | settings | {"grace_s": 1}
    async with running_service(memory, tmp_path / "data", **settings) as service:
        created = await service.create(*(world.step(f"s{number}") for number in range(3)))
        await eventually(lambda: queue_lengths(service) == {reason: 2})
        assert service.app.metrics.value("stepwell_steps_waiting") == 2
        waited = service.app.metrics.value("stepwell_queue_oldest_wait_seconds")
        assert service.app.metrics.value("stepwell_queue_oldest_wait_seconds") > waited > 0
        await text_of(service)
        await service.verb(created["id"], "cancel")
        assert queue_lengths(service) == {}
        assert service.app.metrics.value("stepwell_queue_oldest_wait_seconds") == 0


async def test_a_pause_before_a_retry_counts_as_waiting_and_a_delay_does_not(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    provider = ScriptedProvider(script={"a": [Fail(retry_after_s=3_600)]})
    delay = {"id": "b", "task_type": "DELAY", "config": {"seconds": 3_600}}
    async with running_service(memory, tmp_path, providers=[provider]) as service:
        await service.create(scripted_step("a"), delay, config={"workflow_timeout_s": 3_600})
        await eventually(lambda: queue_lengths(service) == {"retry": 1})
        assert service.app.metrics.value("stepwell_queue_oldest_wait_seconds") == 0


# Webhooks


async def test_the_backlog_of_webhooks_and_its_age_are_reported_until_they_are_sent(
    memory: MemoryDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "_CACHE_S", 0)
    monkeypatch.setattr(backlog, "_CACHE_FACTOR", 0)
    async with running_service(memory, tmp_path) as service, running_sink(response=HANG) as sink:
        assert await samples_of(service, "stepwell_webhook_backlog") == {}
        assert await run_workflow(service, passthrough_step("a"), webhook_url=sink.url()) == "COMPLETED"
        await sink.until(1)
        assert await samples_of(service, "stepwell_webhook_backlog") == {(): 1}
        (age,) = (await samples_of(service, "stepwell_webhook_backlog_age_seconds")).values()
        assert 0 < age < 600
        sink.response = response_of(200)
        sink.gate.set()
        async with asyncio.timeout(30):
            while await samples_of(service, "stepwell_webhook_backlog"):
                await asyncio.sleep(0.005)
        assert await samples_of(service, "stepwell_webhook_backlog_age_seconds") == {}
        # An empty backlog is not counted again until there may be something new.
        counts = AsyncMock()
        monkeypatch.setattr(service.app.stores.database.outbox, "backlog", counts)
        await text_of(service)
        assert not counts.called


@pytest.mark.parametrize("fault", [Unavailable("away"), ValueError("broken"), None])
async def test_without_the_database_all_metrics_but_the_backlog_are_reported(
    service: Service, monkeypatch: pytest.MonkeyPatch, fault: Exception | None
) -> None:
    async def failing_count(_: MemoryOutbox, __: UUID) -> Backlog:
        if fault is not None:
            raise fault
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(MemoryOutbox, "backlog", failing_count)
    monkeypatch.setattr(backlog, "_DEADLINE_S", 0.01)
    families = families_of(await text_of(service))
    assert families["stepwell_webhook_backlog"].samples == []
    assert families["stepwell_webhook_backlog_age_seconds"].samples == []
    assert len(families["stepwell_workflows_total"].samples) == 3


async def test_a_workflow_that_another_process_has_taken_over_is_a_lost_lease(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    provider = ScriptedProvider(script={"a": [Hang()]})
    async with running_service(memory, tmp_path, providers=[provider], grace_s=1) as service:
        await service.create(scripted_step("a"))
        await provider.until_called("a")
        memory.take_over(uuid4())
        provider.release("a")
        await eventually(lambda: service.app.metrics.value("stepwell_lease_losses_total") == 1)
        # The attempt's end wasn't recorded, so it isn't counted.
        assert await samples_of(service, "stepwell_attempts_total") == {}


# All of them


async def test_the_manual_lists_every_metric_and_no_other(service: Service) -> None:
    assert await run_workflow(service, passthrough_step("a")) == "COMPLETED"
    page = (TOP / "src/stepwell/manual/metrics.md").read_text()
    rows = re.findall(r"^\| (`stepwell_\w+`[^|]*) \| (\w+) \| ([^|]*) \| ", page, re.MULTILINE)
    listed = {}
    for names, kind, labels in rows:
        for name in re.findall(r"`(\w+)`", names):
            listed[name] = kind, frozenset(re.findall(r"\w+", labels))
    families = families_of(await text_of(service))
    assert {name: kind for name, (kind, _) in listed.items()} == {name: each.type for name, each in families.items()}
    for name, family in families.items():
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} == listed[name][1], name


def family(name: str, kind: str, *samples: str, text: str = "A text.") -> str:
    return "\n".join((f"# HELP {name} {text}", f"# TYPE {name} {kind}", *samples, ""))


@pytest.mark.parametrize(
    "text",
    [
        family("stepwell_ends", "counter", "stepwell_ends 1.0"),
        family("stepwell_ends_total", "gauge", "stepwell_ends_total 1.0"),
        family("stepwell_end_count", "gauge", "stepwell_end_count 1.0"),
        family("stepwell_wait_ms", "gauge", "stepwell_wait_ms 1.0"),
        family("stepwell_wait_minutes", "gauge", "stepwell_wait_minutes 1.0"),
        family("stepwell_seconds_waited", "gauge", "stepwell_seconds_waited 1.0"),
        family("stepwell_end_gauge", "gauge", "stepwell_end_gauge 1.0"),
        family("stepwell_Ends", "gauge", "stepwell_Ends 1.0"),
        family("ends", "gauge", "ends 1.0"),
        family("stepwell_ends", "gauge", "stepwell_ends 1.0", text=""),
        family("stepwell_ends", "gauge", 'stepwell_ends{le="1"} 1.0'),
        family("stepwell_ends", "gauge", 'stepwell_ends{How="x"} 1.0'),
        family("stepwell_ends", "gauge", "stepwell_ends 1.0", "stepwell_ends 2.0"),
        family("stepwell_ends_total", "counter", "stepwell_ends_total -1.0"),
        family("stepwell_wait_seconds", "histogram", 'stepwell_wait_seconds_bucket{le="1.0"} 1.0'),
        2 * family("stepwell_ends", "gauge", "stepwell_ends 1.0"),
    ],
)
def test_the_linter_reports_every_violation(text: str) -> None:
    assert faults(family("stepwell_fine_total", "counter", 'stepwell_fine_total{outcome="x"} 1.0')) == []
    assert faults(text) != []
