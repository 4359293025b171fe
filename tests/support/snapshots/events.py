"""The snapshot of the events: of each type at least one, as the state machine emits it, in the formats of the API."""

from collections.abc import Callable, Iterator, Mapping
from uuid import UUID

from msgspec import json

from stepwell.api.responses.serializers import event_to_public
from stepwell.api.routes.events import feed_event_to_public
from stepwell.contract.definition import WorkflowConfig, WorkflowUpdate
from stepwell.contract.enums import CancelReceipt, EventType, ProviderType, TaskType, WaitKind, WorkflowStatus
from stepwell.contract.tasks import Money
from stepwell.lifecycle.inputs import (
    Cleanup,
    Diverted,
    FilesDeleted,
    FollowUpEnded,
    OutcomeLost,
    Progressed,
    ReuseChecked,
    Sending,
    Signal,
    Start,
    Submitted,
    Update,
)
from stepwell.lifecycle.model import HistoryEvent, Reused, ReuseRule, Sent, StepState, UnitKey, WorkflowState
from stepwell.lifecycle.run import Run
from stepwell.lifecycle.steps import ResolvedStep
from stepwell.lifecycle.stored_run import StoredRun
from stepwell.rules.event_feed import FeedCursor, FeedEvent
from support.workflows.flow_specs import RepeatSpec, StepSpec
from support.workflows.flows import approval, flow
from support.workflows.runs import ACTOR, EPOCH, SimulatedRun, config_of

NAME = "events.jsonl"
_SENT = Sent("a/model", "d" * 64, EPOCH)


def events() -> str:
    """Return the events of each example, one in a line, and an event of the feed."""
    return "".join(f"{line}\n" for line in _lines())


def types() -> set[EventType]:
    """Return the types of the events in the examples."""
    return {event.type for example in _EXAMPLES.values() for event in example()}


def _lines() -> Iterator[str]:
    for name, example in _EXAMPLES.items():
        for event in example():
            yield f'{{"example": "{name}", "event": {json.encode(event_to_public(event)).decode()}}}'
    event = _completed()[0]
    entry = FeedEvent(event, UUID(int=7), "a tenant", "an instance", _run().status, FeedCursor(1, 2, 3))
    yield f'{{"example": "an event of the feed", "event": {json.encode(feed_event_to_public(entry)).decode()}}}'


def _run(*, steps: int = 1) -> SimulatedRun:
    """Return a workflow whose first step runs at FAL."""
    fallback = ProviderType.REPLICATE
    return SimulatedRun(((),) * steps, config_of(timeout=60), provider=ProviderType.FAL, fallback=fallback)


def _completed() -> list[HistoryEvent]:
    sim = SimulatedRun(started=False)
    sim.do(Update(ACTOR, WorkflowUpdate(name="another name", labels={"team": "a"})))
    sim.start()
    sim.pause()
    sim.resume()
    sim.drive()
    sim.do(Cleanup(ACTOR, cleanup_tasks=True))
    sim.do(FilesDeleted(deleted=2, gone=1, kept=0))
    return sim.events


def _failed() -> list[HistoryEvent]:
    sim = SimulatedRun(((), (0,)))
    sim.dispatch(0)
    sim.fail(0, retryable=True, retry_after_s=2.0)
    sim.due(0)
    sim.dispatch(0)
    sim.fail(0, error="the prompt is refused")
    return sim.events


def _timed_out() -> list[HistoryEvent]:
    sim = _run()
    sim.dispatch(0)
    sim.timeout()
    return sim.events


def _remote() -> list[HistoryEvent]:
    sim = _run(steps=2)
    sim.dispatch(0)
    task_id = sim.live[0].id
    sim.do(Sending(0, task_id, _SENT))
    sim.do(Submitted(0, task_id, "job-1", {"status": "https://p.example/1"}))
    sim.cancel()
    sim.do(FollowUpEnded(0, task_id, CancelReceipt.PROVIDER_CANCELLED))
    return sim.events


def _progressed() -> list[HistoryEvent]:
    sim = _run()
    sim.dispatch(0)
    task_id = sim.live[0].id
    sim.do(Sending(0, task_id, _SENT))
    sim.do(Submitted(0, task_id, "job-1", {}))
    return sim.run.apply(Progressed(0, task_id, 0.5, "rendering"), sim.now).events


def _diverted() -> list[HistoryEvent]:
    sim = _run()
    return sim.run.apply(Diverted(0, ProviderType.FAL, "a/model"), sim.now).events


def _lost() -> list[HistoryEvent]:
    sim = _run()
    sim.dispatch(0)
    task_id = sim.live[0].id
    sim.do(Sending(0, task_id, _SENT))
    sim.do(OutcomeLost(0, task_id, "no answer"))
    return sim.events


def _waiting() -> list[HistoryEvent]:
    sim = flow(
        approval(),
        StepSpec(depends_on=(0,), waits_for=WaitKind.SIGNAL),
        StepSpec(depends_on=(1,), waits_for=WaitKind.DELAY),
    )
    sim.do(Signal(ACTOR, "signal 1", data=b"[1]"))
    sim.drive()
    return sim.events


def _repeating() -> list[HistoryEvent]:
    sim = flow(
        StepSpec(repeat=RepeatSpec(max=3, until=1, has_best=True)),
        StepSpec(condition=False),
        StepSpec(depends_on=(1,)),
        StepSpec(items=2),
    )
    sim.drive()
    return sim.events


def _reused() -> list[HistoryEvent]:
    resolved = ResolvedStep(position=0, step_id="a", task_type=TaskType.GENERATION, provider=ProviderType.FAL)
    state = WorkflowState(UUID(int=1), WorkflowStatus.PENDING, "n")
    rule, made = ReuseRule(UUID(int=2)), Reused(UUID(int=2), UUID(int=3), UnitKey(0, None), "f", Money(0.04, "USD"))
    run = Run(StoredRun(state, WorkflowConfig(), [resolved], [StepState(0)], reuse=rule))
    inputs = (Start(ACTOR, UUID(int=4), UUID(int=5)), ReuseChecked(0, 1, made, b"{}"))
    return [event for each in inputs for event in run.apply(each, EPOCH).events]


_EXAMPLES: Mapping[str, Callable[[], list[HistoryEvent]]] = {
    "a workflow with all verbs": _completed,
    "a step that fails": _failed,
    "a workflow whose time is up": _timed_out,
    "a job that is cancelled": _remote,
    "a job that reports progress": _progressed,
    "a step that is diverted": _diverted,
    "a step that takes over a result": _reused,
    "a request without an answer": _lost,
    "steps that wait": _waiting,
    "a repeat, a condition and items": _repeating,
}
