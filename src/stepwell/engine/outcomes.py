"""How attempts, steps and workflows end: counted and logged once their end has committed.

What must hold:
- Nothing is counted or logged that isn't recorded, and nothing twice: an end is that of a committed event.
- Whatever goes wrong here, the engine goes on.
- What goes well costs a few additions, and a log line at debug level only.
- No client can make up a time series, or more than one line, of bounded length, for an attempt.
"""

import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

import structlog

from stepwell.domain.decision import Decision
from stepwell.domain.model import EventType, HistoryEvent, ProviderType, StepStatus, Task, TaskStatus, WorkflowStatus
from stepwell.engine.handle import Handle
from stepwell.engine.health import ModelKey
from stepwell.telemetry import Distribution, Labels

log = structlog.get_logger()

NO_PROVIDER, OTHER_MODELS = "none", "other"
_MODELS = 100  # of a provider, that have a label of their own
_MODEL_CAP, _NAME_CAP, _ERROR_CAP = 200, 255, 1_000  # characters
_FAILURES = (EventType.STEP_RETRYING, EventType.STEP_FAILED)
_STARTED, _COMPLETED = EventType.STEP_STARTED, EventType.STEP_COMPLETED
_OUTCOMES: dict[EventType, Labels] = {kind: (kind.partition(".")[2],) for kind in EventType}
_ATTEMPT_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1_800, 3_600)
_WORKFLOW_S = (0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600, 86_400)


class Models(Protocol):
    def model_key(self, context: Handle, position: int, *, on_fallback: bool) -> ModelKey | None:
        """What the step's attempt asks at its provider; None where that is nothing outside this process."""


class ModelLabels:
    """Label values for models, whose names are the clients': of each provider those in *reserved*, and the first
    hundred others. All further ones are `other`.
    """

    def __init__(self, reserved: Iterable[tuple[ProviderType, str]] = ()) -> None:
        self._known: dict[str, dict[str, str]] = defaultdict(dict)
        for provider, model in reserved:
            self._known[provider][model] = _printable(model, _MODEL_CAP)
        self._most = {provider: len(known) + _MODELS for provider, known in self._known.items()}

    def of(self, provider: str, model: str) -> str:
        known = self._known[provider]
        if (label := known.get(model)) is None:
            if len(known) >= self._most.get(provider, _MODELS):
                return OTHER_MODELS
            label = known[model] = _printable(model, _MODEL_CAP)
        return label


class Tally:
    """How many ended in one way, and how many seconds those took that had started."""

    __slots__ = ("count", "seconds")

    def __init__(self, seconds: Distribution) -> None:
        self.count, self.seconds = 0, seconds

    def add(self, started: datetime | None, ended: datetime) -> None:
        self.count += 1
        if started is not None:
            self.seconds.observe((ended - started).total_seconds())


class Outcomes:
    """`workflows` and `steps` are by outcome, `attempts` by provider, model and outcome, `costs` by provider and
    currency. Durations are in seconds; attempts of one provider and outcome share theirs.
    """

    def __init__(self, models: Models, labels: ModelLabels) -> None:
        self._models, self.labels = models, labels
        ends = ("completed", "failed", "cancelled")
        self.workflows: dict[Labels, Tally] = {(end,): Tally(Distribution(_WORKFLOW_S)) for end in ends}
        self.steps: dict[Labels, Tally] = {(end,): Tally(Distribution(_WORKFLOW_S)) for end in (*ends, "skipped")}
        self._step_tallies = {kind: self.steps[labels] for kind, labels in _OUTCOMES.items() if labels in self.steps}
        self.attempts: dict[Labels, Tally] = {}
        self.attempt_seconds: dict[Labels, Distribution] = {}
        self.costs: defaultdict[Labels, float] = defaultdict(float)
        # By model names as they are, of models that have a label.
        self._tallies: dict[tuple[ProviderType | None, str, TaskStatus], Tally] = {}
        self._verbose = log.is_enabled_for(logging.DEBUG)
        self._handlers: Mapping[EventType, Callable[[Handle, Decision, HistoryEvent], object]] = {
            EventType.STEP_COMPLETED: self._step_ended,
            EventType.STEP_FAILED: self._step_ended,
            EventType.STEP_CANCELLED: self._step_ended,
            EventType.STEP_SKIPPED: self._step_ended,
            EventType.STEP_RETRYING: self._attempt_ended,
            EventType.STEP_CANCEL_SETTLED: self._settled,
            EventType.WORKFLOW_COMPLETED: self._workflow_ended,
            EventType.WORKFLOW_FAILED: self._workflow_ended,
            EventType.WORKFLOW_CANCELLED: self._workflow_ended,
        }

    def committed(self, handle: Handle, decision: Decision) -> None:
        """*decision* is on disk; it may be several of the same run in one."""
        try:
            for event in decision.events:
                kind = event.type
                if kind is not _STARTED and (handler := self._handlers.get(kind)) is not None:
                    handler(handle, decision, event)
        except Exception:  # numbers and lines must never end the engine
            with contextlib.suppress(Exception):
                log.exception("outcome.unreadable", action="outcome", workflow=str(handle.workflow_id))

    def _step_ended(self, handle: Handle, decision: Decision, event: HistoryEvent) -> None:
        task, kind = self._attempt_ended(handle, decision, event), event.type
        started = None if task is None else decision.steps[task.position].started_at
        self._step_tallies[kind].add(started, event.at)
        if self._verbose or kind is not _COMPLETED:
            self._tell(kind.value, handle, event, task)

    def _attempt_ended(self, handle: Handle, decision: Decision, event: HistoryEvent) -> Task | None:
        """The attempt that ended with *event*; None if none did, as when a step is cancelled that didn't run."""
        if event.task_id is None or (task := decision.tasks.get(event.task_id)) is None:
            return None
        if task.completed_at != event.at:
            return None
        asked = handle.plan(task.position).task_type if task.sent is None else task.sent.model
        tally = self._tallies.get((task.provider, asked, task.status)) or self._tally(handle, task)
        tally.add(task.started_at, event.at)
        # A job that is followed up says what it cost when that ends.
        if task.cost is not None and task.cancel_receipt is None:
            self._spent(task)
        if self._verbose or task.status is not TaskStatus.COMPLETED:
            self._tell(f"attempt.{_ATTEMPT_OUTCOMES[task.status]}", handle, event, task)
        return task

    def _tally(self, handle: Handle, task: Task) -> Tally:
        model = self._model(handle, task)
        provider, outcome = task.provider or NO_PROVIDER, _ATTEMPT_OUTCOMES[task.status]
        label = self.labels.of(provider, model)
        if (tally := self.attempts.get((provider, label, outcome))) is None:
            seconds = self.attempt_seconds.setdefault((provider, outcome), Distribution(_ATTEMPT_S))
            tally = self.attempts[provider, label, outcome] = Tally(seconds)
        if label != OTHER_MODELS:
            self._tallies[task.provider, model, task.status] = tally
        return tally

    def _settled(self, _: Handle, decision: Decision, event: HistoryEvent) -> None:
        if event.task_id is not None and (task := decision.tasks.get(event.task_id)) is not None:
            self._spent(task)

    def _spent(self, task: Task) -> None:
        if task.cost is not None and task.cost.amount > 0:
            self.costs[task.provider or NO_PROVIDER, task.cost.currency] += task.cost.amount

    def _workflow_ended(self, handle: Handle, decision: Decision, event: HistoryEvent) -> None:
        self.workflows[_OUTCOMES[event.type]].add(decision.workflow.started_at, event.at)
        if self._verbose or event.type is EventType.WORKFLOW_FAILED:
            self._tell_workflow(handle, decision, event)

    # Lines

    def _tell(self, name: str, handle: Handle, event: HistoryEvent, task: Task | None) -> None:
        error = None if task is None else task.error
        badly = event.type in _FAILURES
        if event.type is EventType.STEP_CANCELLED and handle.run.state.status is not WorkflowStatus.CANCELLED:
            # No user has cancelled the workflow, so this follows from a failure.
            badly, error = True, handle.run.state.failure or "another step of the workflow failed"
        if badly or self._verbose:  # else 10,000 cancelled steps would be prepared for nothing
            write = log.warning if badly else log.debug
            write(name, **self._fields(handle, event.step_id, task, error))

    def _tell_workflow(self, handle: Handle, decision: Decision, event: HistoryEvent) -> None:
        if event.type is not EventType.WORKFLOW_FAILED:
            log.debug(event.type.value, **self._fields(handle, None, None, None))
            return
        # What made it fail: the first step in the order of the definition, as in `error_message`, or no step at all.
        steps = handle.run.steps
        reason = event.data.get("reason")
        failed = next((step for step in steps if step.status is StepStatus.FAILED), None) if reason is None else None
        if failed is None:
            log.error(event.type.value, **self._fields(handle, None, None, reason))
            return
        task = decision.tasks.get(failed.task_id) if failed.task_id is not None else None
        fields = self._fields(handle, handle.plan(failed.position).step_id, task, failed.error_message)
        if task is None and failed.task_id is not None:  # it ended earlier
            fields |= {"task": str(failed.task_id), "attempt": failed.attempt}
            fields |= self._asked(handle, failed.position, handle.provider(failed.position))
        log.error(event.type.value, **fields)

    def _fields(self, handle: Handle, step_id: str | None, task: Task | None, error: str | None) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "workflow": str(handle.workflow_id),
            "step": _shown(step_id, _NAME_CAP),
            "task": None,
            "provider": None,
            "model": None,
            "attempt": None,
            "error": _shown(error, _ERROR_CAP),
            "tenant": _shown(handle.tenant, _NAME_CAP),
        }
        if task is not None:
            asked = {"provider": task.provider, "model": _printable(self._model(handle, task), _MODEL_CAP)}
            fields |= {"task": str(task.id), "attempt": task.attempt} | asked
        return fields

    def _asked(self, handle: Handle, position: int, provider: ProviderType | None) -> dict[str, Any]:
        key = self._models.model_key(handle, position, on_fallback=handle.on_fallback(position))
        model = handle.plan(position).task_type if key is None else key.model
        return {"provider": provider, "model": _printable(model, _MODEL_CAP)}

    def _model(self, handle: Handle, task: Task) -> str:
        """What the attempt has asked; for work in this process the type of the task, as in `GET /api/v1/providers`."""
        if task.sent is not None:
            return task.sent.model
        plan = handle.plan(task.position)
        if task.provider is None or task.provider is ProviderType.LOCAL:
            return plan.task_type
        key = self._models.model_key(handle, task.position, on_fallback=task.provider is not plan.provider)
        return plan.task_type if key is None else key.model


_ATTEMPT_OUTCOMES = {
    TaskStatus.COMPLETED: "completed",
    TaskStatus.FAILED: "failed",
    TaskStatus.CANCELLED: "cancelled",
}


def _printable(text: str, cap: int) -> str:
    """*text* on one line, of *cap* characters at most."""
    if len(text) <= cap and text.isprintable():
        return text
    shown = text if len(text) <= cap else text[: cap - 1] + "…"
    return "".join(character if character.isprintable() else " " for character in shown)


def _shown(text: str | None, cap: int) -> str | None:
    return None if text is None else _printable(text, cap)
