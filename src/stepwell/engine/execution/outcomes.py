"""Counts and logs the ends of attempts, steps and workflows, once they are committed.

What must hold:
- Each committed end is counted and logged once, or never if this process has dropped its workflow meanwhile.
- An error in here never stops the engine.
- A success costs a few additions. It is logged at debug level only.
- An item is no step: its end is logged, and its attempts are counted.
- Whatever clients send, the number of time series is bounded. An attempt has one log line, of bounded length.
"""

import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog

from stepwell.contract.enums import EventType, ProviderType, StepStatus, TaskStatus, WorkflowStatus
from stepwell.engine.attempts.runner import AttemptRunner
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.model import HistoryEvent, Task
from stepwell.runtime.telemetry import Distribution, Labels

log = structlog.get_logger()

NO_PROVIDER, OTHER_MODELS = "none", "other"
_MODELS = 100  # of a provider, with a label of their own
_MODEL_CAP, _NAME_CAP, _ERROR_CAP = 200, 255, 1_000  # characters
_FAILURES = (EventType.STEP_RETRYING, EventType.STEP_FAILED)
_STARTED, _COMPLETED = EventType.STEP_STARTED, EventType.STEP_COMPLETED
_TASK_COMPLETED = TaskStatus.COMPLETED  # hot path: an attribute of an enum costs 0.1 µs in Python 3.11
_OUTCOMES: dict[EventType, Labels] = {kind: (kind.partition(".")[2],) for kind in EventType}
_ATTEMPT_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1_800, 3_600)
_WORKFLOW_S = (0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600, 86_400)


class ModelLabels:
    """The metric labels of models. Clients choose the names of models, so the number of labels must be bounded.

    Of each provider, the models in *reserved* and the first hundred others have labels. All others share `other`.
    """

    def __init__(self, reserved: Iterable[tuple[ProviderType, str]] = ()) -> None:
        self._labels: dict[str, dict[str, str]] = defaultdict(dict)
        for provider, model in reserved:
            self._labels[provider][model] = _printable(model, _MODEL_CAP)
        self._limits = {provider: len(labels) + _MODELS for provider, labels in self._labels.items()}

    def of(self, provider: str, model: str) -> str:
        labels = self._labels[provider]
        if (label := labels.get(model)) is None:
            if len(labels) >= self._limits.get(provider, _MODELS):
                return OTHER_MODELS
            label = labels[model] = _printable(model, _MODEL_CAP)
        return label


class OutcomeCounts(Distribution):
    """The number of ends with one outcome, and their durations in seconds. `unstarted` counts ends without a start."""

    __slots__ = ("unstarted",)

    def __init__(self, bounds: Sequence[float]) -> None:
        super().__init__(bounds)
        self.unstarted = 0

    @property
    def count(self) -> int:
        return self.observed + self.unstarted

    def add(self, started: datetime | None, ended: datetime) -> None:
        if started is None:
            self.unstarted += 1
        else:
            self.observe((ended - started).total_seconds())


class Outcomes:
    """Counts the ends in this process.

    `workflows` and `steps` are by outcome, `attempts` by provider, model and outcome, `costs` by provider and currency.
    """

    def __init__(self, runner: AttemptRunner, labels: ModelLabels) -> None:
        self._runner, self.labels = runner, labels
        ends = ("completed", "failed", "cancelled")
        self.workflows: dict[Labels, OutcomeCounts] = {(end,): OutcomeCounts(_WORKFLOW_S) for end in ends}
        self.steps: dict[Labels, OutcomeCounts] = {(end,): OutcomeCounts(_WORKFLOW_S) for end in (*ends, "skipped")}
        self._step_tallies = {kind: self.steps[labels] for kind, labels in _OUTCOMES.items() if labels in self.steps}
        self.attempts: dict[Labels, OutcomeCounts] = {}
        self.costs: defaultdict[Labels, float] = defaultdict(float)
        # A cache of `attempts` by the names of models. It has only models with a label of their own.
        self._tallies: dict[tuple[ProviderType | None, str, TaskStatus], OutcomeCounts] = {}
        self._verbose = log.is_enabled_for(logging.DEBUG)
        self._handlers: Mapping[EventType, Callable[[ActiveWorkflow, Decision, HistoryEvent], object]] = {
            EventType.STEP_COMPLETED: self._step_ended,
            EventType.STEP_FAILED: self._step_ended,
            EventType.STEP_CANCELLED: self._step_ended,
            EventType.STEP_SKIPPED: self._step_ended,
            EventType.STEP_RETRYING: self._attempt_ended,
            EventType.STEP_REPEATING: self._attempt_ended,
            EventType.STEP_CANCEL_SETTLED: self._follow_up_ended,
            EventType.WORKFLOW_COMPLETED: self._workflow_ended,
            EventType.WORKFLOW_FAILED: self._workflow_ended,
            EventType.WORKFLOW_CANCELLED: self._workflow_ended,
        }

    def committed(self, workflow: ActiveWorkflow, decision: Decision) -> None:
        """Count and log the ends in *decision*, which has committed. It may merge several decisions of one run."""
        handlers = self._handlers
        try:
            for event in decision.events:
                if (kind := event.type) is not _STARTED and kind in handlers:
                    handlers[kind](workflow, decision, event)
        except Exception:  # metrics and logs must never stop the engine
            with contextlib.suppress(Exception):
                log.exception("outcome.unreadable", action="outcome", workflow=str(workflow.workflow_id))

    def attempt_seconds(self) -> dict[Labels, Distribution]:
        """Return the durations of attempts, by provider and outcome. The models of a provider are added up."""
        sums: dict[Labels, Distribution] = defaultdict(lambda: Distribution(_ATTEMPT_S))
        for (provider, _, outcome), tally in self.attempts.items():
            sums[provider, outcome].merge(tally)
        return sums

    def _step_ended(self, workflow: ActiveWorkflow, decision: Decision, event: HistoryEvent) -> None:
        task, kind = self._attempt_ended(workflow, decision, event), event.type
        started = None if task is None else decision.steps[task.position].started_at
        if "item" not in event.data:
            self._step_tallies[kind].add(started, event.at)
        if self._verbose or kind is not _COMPLETED:
            self._log_end(kind.value, workflow, event, task)

    def _attempt_ended(self, workflow: ActiveWorkflow, decision: Decision, event: HistoryEvent) -> Task | None:
        """Count the attempt that ended with *event*, and return it; None if the step didn't run."""
        if event.task_id is None or (task := decision.tasks.get(event.task_id)) is None:
            return None
        if task.completed_at != event.at:
            return None
        model = workflow.resolved_step(task.position).task_type if (sent := task.sent) is None else sent.model
        tally = self._tallies.get((task.provider, model, task.status)) or self._tally(workflow, task)
        tally.add(task.started_at, event.at)
        # The cost of a job that is followed up is known when the follow-up ends.
        if task.cost is not None and task.cancel_receipt is None:
            self._add_cost(task)
        if self._verbose or task.status is not _TASK_COMPLETED:
            self._log_end(f"attempt.{_ATTEMPT_OUTCOMES[task.status]}", workflow, event, task)
        return task

    def _tally(self, workflow: ActiveWorkflow, task: Task) -> OutcomeCounts:
        model = self._model(workflow, task)
        provider, outcome = task.provider or NO_PROVIDER, _ATTEMPT_OUTCOMES[task.status]
        label = self.labels.of(provider, model)
        if (tally := self.attempts.get((provider, label, outcome))) is None:
            tally = self.attempts[provider, label, outcome] = OutcomeCounts(_ATTEMPT_S)
        if label != OTHER_MODELS:
            self._tallies[task.provider, model, task.status] = tally
        return tally

    def _follow_up_ended(self, _: ActiveWorkflow, decision: Decision, event: HistoryEvent) -> None:
        if event.task_id is not None and (task := decision.tasks.get(event.task_id)) is not None:
            self._add_cost(task)

    def _add_cost(self, task: Task) -> None:
        if task.cost is not None and task.cost.amount > 0:
            self.costs[task.provider or NO_PROVIDER, task.cost.currency] += task.cost.amount

    def _workflow_ended(self, workflow: ActiveWorkflow, decision: Decision, event: HistoryEvent) -> None:
        self.workflows[_OUTCOMES[event.type]].add(decision.workflow.started_at, event.at)
        if self._verbose or event.type is EventType.WORKFLOW_FAILED:
            self._log_workflow(workflow, decision, event)

    # Log lines

    def _log_end(self, name: str, workflow: ActiveWorkflow, event: HistoryEvent, task: Task | None) -> None:
        error = event.data.get("error") if task is None else task.error  # a step with items ends without an attempt
        failed = event.type in _FAILURES
        if event.type is EventType.STEP_CANCELLED and workflow.run.state.status is not WorkflowStatus.CANCELLED:
            # No user has cancelled the workflow, so this follows from a failure.
            failed, error = True, workflow.run.state.failure or "another step of the workflow failed"
        if failed or self._verbose:  # else don't build the fields: 10,000 steps may be cancelled at once
            write = log.warning if failed else log.debug
            item = {"item": event.data["item"]} if "item" in event.data else {}
            write(name, **self._fields(workflow, event.step_id, task, error), **item)

    def _log_workflow(self, workflow: ActiveWorkflow, decision: Decision, event: HistoryEvent) -> None:
        if event.type is not EventType.WORKFLOW_FAILED:
            log.debug(event.type.value, **self._fields(workflow, None, None, None))
            return
        # The cause is the first failed step in the order of the definition, as in `error_message`, or no step.
        reason, run = event.data.get("reason"), workflow.run
        fatal = (
            step
            for step, resolved in zip(run.steps, run.resolved_steps, strict=True)
            if step.status is StepStatus.FAILED and not resolved.optional
        )
        failed = next(fatal, None) if reason is None else None
        if failed is None:
            log.error(event.type.value, **self._fields(workflow, None, None, reason))
            return
        task = decision.tasks.get(failed.task_id) if failed.task_id is not None else None
        fields = self._fields(workflow, workflow.resolved_step(failed.position).step_id, task, failed.error_message)
        if task is None and failed.task_id is not None:  # it ended earlier
            fields |= {"task": str(failed.task_id), "attempt": failed.attempt}
            key = self._runner.model_key(workflow, failed.position, on_fallback=workflow.on_fallback(failed.position))
            model = workflow.resolved_step(failed.position).task_type if key is None else key.model
            fields |= {"provider": workflow.provider(failed.position), "model": _printable(model, _MODEL_CAP)}
        log.error(event.type.value, **fields)

    def _fields(
        self, workflow: ActiveWorkflow, step_id: str | None, task: Task | None, error: str | None
    ) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "workflow": str(workflow.workflow_id),
            "step": _shortened(step_id, _NAME_CAP),
            "task": None,
            "provider": None,
            "model": None,
            "attempt": None,
            "error": _shortened(error, _ERROR_CAP),
            "tenant": _shortened(workflow.tenant, _NAME_CAP),
        }
        if task is not None:
            model = _printable(self._model(workflow, task), _MODEL_CAP)
            fields |= {"task": str(task.id), "attempt": task.attempt, "provider": task.provider, "model": model}
        return fields

    def _model(self, workflow: ActiveWorkflow, task: Task) -> str:
        """Return the attempt's model; for work in this process the type of the task, as in `GET /api/v1/providers`."""
        if task.sent is not None:
            return task.sent.model
        resolved = workflow.resolved_step(task.position)
        key = self._runner.model_key(workflow, task.position, on_fallback=task.provider != resolved.provider)
        return resolved.task_type if key is None else key.model


_ATTEMPT_OUTCOMES = {TaskStatus.COMPLETED: "completed", TaskStatus.FAILED: "failed", TaskStatus.CANCELLED: "cancelled"}


def _printable(text: str, cap: int) -> str:
    """Return *text* on one line, of *cap* characters at most."""
    if len(text) <= cap and text.isprintable():
        return text
    shortened = text if len(text) <= cap else text[: cap - 1] + "…"
    return "".join(character if character.isprintable() else " " for character in shortened)


def _shortened(text: str | None, cap: int) -> str | None:
    return None if text is None else _printable(text, cap)
