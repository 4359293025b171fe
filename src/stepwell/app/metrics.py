"""The metrics of the service: names, help texts, labels, and the sources of their values. The manual lists them."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial

from stepwell.api.requests.connection_limits import ConnectionLimits
from stepwell.app.construction import Engine, Stores
from stepwell.app.database import StatementCounter
from stepwell.contract.enums import BreakerState
from stepwell.engine.dispatch.model_health import ModelHealth
from stepwell.engine.dispatch.step_queue import LimitKind, StepQueue
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.checkpointer import Checkpointer
from stepwell.engine.execution.outcomes import OutcomeCounts, Outcomes
from stepwell.engine.execution.scheduler import Scheduler
from stepwell.engine.execution.workflow_admission import WorkflowAdmission
from stepwell.engine.service import Services
from stepwell.runtime.telemetry import Labels, Metrics

_REASONS = {
    LimitKind.TOTAL: "slot_total",
    LimitKind.PROVIDER: "slot_provider",
    LimitKind.MODEL: "slot_model",
    LimitKind.TENANT: "slot_tenant",
    LimitKind.RATE: "rate_limited",
}


def build_metrics(stores: Stores, engine: Engine, services: Services, connections: ConnectionLimits) -> Metrics:
    """Return the metrics of a service. Each scrape reads their values from these parts."""
    metrics, scheduler, health = Metrics(), engine.scheduler, engine.health
    writes, memory, streams = stores.writes, engine.memory, services.subscriptions
    _measure_outcomes(metrics, scheduler.outcomes)
    _measure_queue(metrics, scheduler, services.admission, engine.step_queue, health)
    _measure_database(metrics, scheduler.checkpointer, stores.statements)
    metrics.gauges(
        "stepwell_breaker_state",
        "Circuit breakers in the state: 1 or 0 for one model, the number of breakers for the model other.",
        ("provider", "model", "state"),
        lambda: _breakers(scheduler.outcomes, health),
    )
    metrics.watch("stepwell_disk_full", "1 while writes fail because a disk is full.", lambda: writes.disk_full)
    text = "Bytes that attempts, responses, bodies and uploads have reserved in memory."
    metrics.watch("stepwell_memory_held_bytes", text, lambda: memory.held)
    text = "Attempts, responses, bodies and uploads that wait for memory."
    metrics.watch("stepwell_memory_waiting", text, lambda: memory.waiting)
    lag = scheduler.loop_lag
    text = "Seconds by which a timer of the event loop is late, measured each second."
    metrics.histograms("stepwell_loop_lag_seconds", text, (), lambda: {(): lag.seconds})
    text = "Workflows that another process took over because this process's lease had ended."
    metrics.count("stepwell_lease_losses", text, lambda: scheduler.lease_losses)
    metrics.watch("stepwell_event_streams", "Streams of events that are open.", lambda: streams.open)
    text = "Streams of events that were refused because their tenant had too many."
    metrics.count("stepwell_event_streams_refused", text, lambda: streams.refused)
    metrics.count("stepwell_previews", "Previews of images that were made.", lambda: services.previews.total)
    _measure_connections(metrics, connections)
    services.webhooks.deliverer.measure(metrics)
    return metrics


def _measure_outcomes(metrics: Metrics, outcomes: Outcomes) -> None:
    for name, tallies in (("workflow", outcomes.workflows), ("step", outcomes.steps)):
        metrics.counters(
            f"stepwell_{name}s",
            f"{name.capitalize()}s that ended, by outcome.",
            ("outcome",),
            partial(_counts, tallies),
        )
        metrics.histograms(
            f"stepwell_{name}_duration_seconds",
            f"Seconds from the first start of a {name} to its end, by outcome.",
            ("outcome",),
            tallies.copy,
        )
    metrics.counters(
        "stepwell_attempts",
        "Attempts at steps that ended, by provider, model and outcome.",
        ("provider", "model", "outcome"),
        partial(_counts, outcomes.attempts),
    )
    metrics.histograms(
        "stepwell_attempt_duration_seconds",
        "Seconds from the start of an attempt to its end, by provider and outcome.",
        ("provider", "outcome"),
        outcomes.attempt_seconds,
    )
    text = "What attempts have cost, by provider and currency."
    metrics.counters("stepwell_cost", text, ("provider", "currency"), lambda: outcomes.costs)


def _counts(tallies: Mapping[Labels, OutcomeCounts]) -> dict[Labels, float]:
    return {labels: tally.count for labels, tally in tallies.items()}


def _measure_queue(
    metrics: Metrics, scheduler: Scheduler, workflows: WorkflowAdmission, step_queue: StepQueue, health: ModelHealth
) -> None:
    metrics.watch("stepwell_workflows_in_memory", "Workflows that run here.", lambda: len(scheduler.workflows))
    text = "Workflows that are known to wait in the database until a process has a free slot."
    metrics.watch("stepwell_workflows_waiting", text, lambda: workflows.waiting)
    text = "Workflows that left memory because they only wait."
    metrics.count("stepwell_workflows_parked", text, lambda: workflows.queue.parked)
    text = "Parked workflows that were due, and wait for a process with a free slot."
    metrics.count("stepwell_workflows_unparked", text, lambda: workflows.unparked)
    metrics.watch("stepwell_steps_running", "Steps that have a slot.", lambda: step_queue.used)
    metrics.watch("stepwell_steps_waiting", "Steps that are ready and wait for a slot.", lambda: step_queue.waiting)

    def lengths() -> dict[Labels, float]:
        steps = step_queue.waiting_by_limit()
        counts: dict[Labels, float] = {(reason,): steps[limit] for limit, reason in _REASONS.items()}
        counts["breaker_open",] = health.count_blocked()
        counts["retry",] = sum(workflow.retries_waiting for workflow in scheduler.workflows.values())
        return counts

    text = "Steps that wait to start, by reason."
    metrics.gauges("stepwell_queue_length", text, ("reason",), lengths)
    metrics.watch(
        "stepwell_queue_oldest_wait_seconds",
        "Seconds that the longest waiting step has waited for a slot, a rate limit or a breaker.",
        lambda: _oldest_wait_s(scheduler.workflows.values()),
    )


def _measure_database(metrics: Metrics, checkpointer: Checkpointer, statements: StatementCounter) -> None:
    metrics.count("stepwell_checkpoint_batches", "Batches written.", lambda: checkpointer.batches)
    metrics.count("stepwell_checkpoint_events", "Transitions written.", lambda: checkpointer.events)
    metrics.count("stepwell_checkpoint_rows", "Rows written by checkpoints.", lambda: checkpointer.rows)
    metrics.histograms(
        "stepwell_checkpoint_duration_seconds",
        "Seconds until the database had committed a batch.",
        (),
        lambda: {(): checkpointer.seconds},
    )
    metrics.count("stepwell_database_statements", "Statements sent to the database.", lambda: statements.sent)
    metrics.watch("stepwell_database_away", "1 while transitions can't be written.", lambda: checkpointer.outage)


def _measure_connections(metrics: Metrics, connections: ConnectionLimits) -> None:
    metrics.watch("stepwell_http_connections", "Connections of clients.", lambda: connections.connections)
    text = "Connections that were closed for another one, or because their client didn't read."
    metrics.counters("stepwell_http_connections_closed", text, ("reason",), connections.count_closed)
    text = "Requests that were refused because there were too many, by the bound that they exceeded."
    metrics.counters("stepwell_http_requests_refused", text, ("bound",), connections.count_refused)


def _breakers(outcomes: Outcomes, health: ModelHealth) -> Counter[Labels]:
    counts: Counter[Labels] = Counter()
    for key, state in health.breakers():
        model = outcomes.labels.of(key.provider, key.model)
        for each in BreakerState:
            counts[key.provider, model, each] += each is state
    return counts


def _oldest_wait_s(workflows: Iterable[ActiveWorkflow]) -> float:
    oldest = min((next(iter(each.waiting_since.values())) for each in workflows if each.waiting_since), default=None)
    return 0.0 if oldest is None else time.monotonic() - oldest
