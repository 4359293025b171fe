"""The tree of a workflow's steps by layers, in as many rows as the terminal has.

A layer holds the steps whose dependencies are all in earlier layers. If the rows don't suffice, failed and running
steps are shown first, then those that wait for something other than steps. The others are counted, in their layers.
"""

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from stepwell.cli.workflow_commands.display.step_advice import workflow_advice
from stepwell.cli.workflow_commands.display.watched_workflow import WatchedStep, WatchedWorkflow
from stepwell.cli.workflow_commands.text_tables import (
    STATUS_STYLES,
    bar,
    cost_text,
    counted,
    duration,
    duration_between,
    fit,
    items_text,
    line_text,
    status_text,
)
from stepwell.contract.enums import SkipReason, StepStatus
from stepwell.contract.reasons import RunsHere, WaitsForSteps
from stepwell.contract.tasks import CostSums

_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_FRAMES_A_SECOND = 4
_ICONS = {
    StepStatus.PENDING: "·",
    StepStatus.COMPLETED: "✔",
    StepStatus.FAILED: "✘",
    StepStatus.SKIPPED: "↷",
    StepStatus.CANCELLED: "⊘",
}
# The order in which steps get rows.
_FAILED, _RUNNING, _WAITING, _PENDING, _ENDED = range(5)
_MIN_TREE_ROWS = 3
_WIDE = 70  # columns; below that, the column of providers and models is left out
_TIME_WIDTH, _PROVIDER_WIDTH, _JOB_BAR_WIDTH = 11, 24, 10

_SKIPPED_BECAUSE: Mapping[str, str] = {
    SkipReason.WHEN: "its condition isn't true",
    SkipReason.FAILURE: "a step before it has failed",
    SkipReason.DEPENDENCY: "a step that it needs was skipped",
    SkipReason.MANUAL: "a person has skipped it",
}
_Entry = tuple[str, WatchedStep | list[WatchedStep]]  # a gutter, and a step or the steps that have no row


class WorkflowTree:
    """The tree at the time *now*. *notes* are lines for its end. If *rows* is None, every step has a row."""

    def __init__(
        self, workflow: WatchedWorkflow, now: datetime, *, rows: int | None = None, notes: Sequence[str] = ()
    ) -> None:
        self._workflow, self._now, self._rows, self._notes = workflow, now, rows, notes

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self.lines(options.max_width):
            line.truncate(options.max_width, overflow="ellipsis")
            yield line

    def lines(self, width: int) -> list[Text]:
        head, foot = self._head(width), self._foot()
        rows = None if self._rows is None else max(_MIN_TREE_ROWS, self._rows - len(head) - len(foot))
        return [*head, *self._tree(width, rows), *foot]

    def _head(self, width: int) -> list[Text]:
        workflow = self._workflow
        text = " " + _summary(workflow, self._now)
        progress = workflow.progress()
        return [
            _title(workflow),
            Text.assemble(bar(progress, max(8, min(30, width - len(text)))), text, no_wrap=True),
            Text(),
        ]

    def _foot(self) -> list[Text]:
        workflow = self._workflow
        lines = []
        if workflow.error and not any(step.error for step in workflow.steps.values()):
            lines.append(line_text(workflow.error, "red"))
        if workflow.reason is not None:
            lines.append(line_text(workflow.reason.detail, "yellow"))
            if advice := workflow_advice(workflow.reason, workflow.id, workflow.status):
                lines.append(line_text(advice, "dim"))
        lines += [line_text(note, "dim") for note in self._notes]
        return [Text(), *lines] if lines else []

    def _tree(self, width: int, rows: int | None) -> list[Text]:
        layers = self._workflow.layers
        entries = _entries(layers, _visible_ids(layers, list(self._workflow.steps.values()), rows))
        steps = [each for _, each in entries if isinstance(each, WatchedStep)]
        widths = _Widths(width, [gutter for gutter, _ in entries], steps)
        return [
            widths.step_line(gutter, each, self._now) if isinstance(each, WatchedStep) else widths.summary(gutter, each)
            for gutter, each in entries
        ]


class WorkflowOutcome:
    """The outcome of a workflow: its status, its progress, and the errors of its steps."""

    def __init__(self, workflow: WatchedWorkflow, now: datetime) -> None:
        self._workflow, self._now = workflow, now

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        workflow = self._workflow
        yield _title(workflow)
        yield Text(_summary(workflow, self._now))
        failed = [step for step in workflow.steps.values() if step.status is StepStatus.FAILED]
        for step in failed:
            yield line_text(f"{step.step_id}: {step.error}", STATUS_STYLES["FAILED"])
        if workflow.error and not failed:
            yield line_text(workflow.error, STATUS_STYLES["FAILED"])


def _title(workflow: WatchedWorkflow) -> Text:
    title = Text.assemble(line_text(workflow.name, "bold"), "  ", status_text(workflow.status), no_wrap=True)
    title.append("  deleted" if workflow.is_deleted else "", style="red")
    return title.append(f"  {workflow.id}", style="dim")


def _summary(workflow: WatchedWorkflow, now: datetime) -> str:
    counts = workflow.counts()
    facts = [f"{counts.get(StepStatus.COMPLETED, 0):,} of {counted(len(workflow.steps), 'step')}"]
    facts += [
        f"{counts[status]:,} {status.lower()}"
        for status in (StepStatus.RUNNING, StepStatus.FAILED, StepStatus.SKIPPED, StepStatus.CANCELLED)
        if status in counts
    ]
    elapsed = duration_between(workflow.started_at, workflow.completed_at or now)
    facts += filter(None, (elapsed, _cost(workflow.cost)))
    return f"{workflow.progress() * 100:3.0f} %  {'  '.join(facts)}"


class _Widths:
    """The widths of the columns of a tree, and its lines."""

    def __init__(self, width: int, gutters: Sequence[str], steps: Sequence[WatchedStep]) -> None:
        self._gutter = max(map(len, gutters), default=0)
        names = max((line_text(step.step_id).cell_len for step in steps), default=0)
        self._name = min(names, max(10, width * 35 // 100))
        providers = max((line_text(_where(step)).cell_len for step in steps), default=0)
        self._provider = min(providers, _PROVIDER_WIDTH) if width >= _WIDE else 0

    def step_line(self, gutter: str, step: WatchedStep, now: datetime) -> Text:
        style = STATUS_STYLES[step.status]
        line = Text.assemble((f"{gutter:>{self._gutter}} ", "dim"), no_wrap=True)
        line.append(_icon(step, now), style=style)
        line.append(" ").append_text(fit(line_text(step.step_id), self._name))
        line.append(" ").append_text(fit(line_text(_elapsed(step, now), "dim"), _TIME_WIDTH, right=True))
        if self._provider:
            line.append("  ").append_text(fit(line_text(_where(step), "dim"), self._provider))
        return line.append("  ").append_text(_detail(step, now))

    def summary(self, gutter: str, steps: Sequence[WatchedStep]) -> Text:
        counts = Counter(step.status for step in steps)
        text = ", ".join(f"{counts[status]:,} {status.lower()}" for status in StepStatus if counts[status])
        return Text(f"{gutter:>{self._gutter}} … {text}", style="dim", no_wrap=True)


def _visible_ids(layers: Sequence[list[WatchedStep]], steps: Sequence[WatchedStep], rows: int | None) -> set[str]:
    """Return the ids of as many steps as fit into *rows*, the most important ones."""
    if rows is None or len(steps) <= rows:
        return {step.step_id for step in steps}
    ranked = heapq.nsmallest(rows, steps, key=_rank)
    low, high = 0, len(ranked)
    while low < high:  # one more step never needs fewer rows
        middle = (low + high + 1) // 2
        if _row_count(layers, ranked[:middle]) <= rows:
            low = middle
        else:
            high = middle - 1
    return {step.step_id for step in ranked[:low]}


def _rank(step: WatchedStep) -> tuple[int, float]:
    match step.status:
        case StepStatus.FAILED:
            return _FAILED, 0.0
        case StepStatus.RUNNING:
            return _RUNNING, 0.0
        case StepStatus.PENDING:
            waits = step.reason is not None and not isinstance(step.reason, WaitsForSteps)
            return (_WAITING if waits else _PENDING), 0.0
    return _ENDED, -step.at.timestamp()


def _row_count(layers: Sequence[list[WatchedStep]], steps: Sequence[WatchedStep]) -> int:
    """Return the number of rows: one for each of *steps*, for the others of its layer, and for layers between."""
    rows, end = 0, 0
    for layer, count in sorted(Counter(step.layer for step in steps).items()):
        rows += count + (count < len(layers[layer])) + (layer > end)
        end = layer + 1
    return rows + (end < len(layers))


def _entries(layers: Sequence[list[WatchedStep]], visible_ids: set[str]) -> list[_Entry]:
    entries: list[_Entry] = []
    end = 0
    for number in [i for i, layer in enumerate(layers) if any(step.step_id in visible_ids for step in layer)]:
        entries += _collapsed_layers(layers, end, number) + _layer_entries(number + 1, layers[number], visible_ids)
        end = number + 1
    return entries + _collapsed_layers(layers, end, len(layers))


def _collapsed_layers(layers: Sequence[list[WatchedStep]], start: int, end: int) -> list[_Entry]:
    """Return one entry for the layers from *start* to before *end*; none if there are none."""
    if start == end:
        return []
    name = f"{end}  " if end == start + 1 else f"{start + 1}-{end}  "
    return [(name, [step for layer in layers[start:end] for step in layer])]


def _layer_entries(number: int, layer: Sequence[WatchedStep], visible_ids: set[str]) -> list[_Entry]:
    rows: list[WatchedStep | list[WatchedStep]] = [step for step in layer if step.step_id in visible_ids]
    if others := [step for step in layer if step.step_id not in visible_ids]:
        rows.append(others)
    last = len(rows) - 1
    if not last:
        return [(f"{number} ─", rows[0])]
    branches = ("┬" if i == 0 else "└" if i == last else "├" for i in range(last + 1))
    return [
        (f"{'' if i else number} {branch}", each) for i, (branch, each) in enumerate(zip(branches, rows, strict=True))
    ]


def _icon(step: WatchedStep, now: datetime) -> str:
    if step.status is StepStatus.RUNNING:
        if step.next_attempt_at is not None:
            return "↻"
        return _SPINNER[int(now.timestamp() * _FRAMES_A_SECOND) % len(_SPINNER)]
    return _ICONS[step.status]


def _elapsed(step: WatchedStep, now: datetime) -> str:
    if step.status is StepStatus.PENDING:
        return ""
    return duration_between(step.started_at, step.completed_at or now)


def _where(step: WatchedStep) -> str:
    return " ".join(filter(None, (step.provider, step.model)))


def _detail(step: WatchedStep, now: datetime) -> Text:
    """Return what the last column says: the progress or error of an attempt, or the reason why the step waits."""
    parts = []
    if step.retries:
        # Those of all items together may be more than the step's most.
        retries = f"retry {step.retries} of {step.max_retries}" if step.items is None else f"retries: {step.retries:,}"
        parts.append(Text(retries, style="yellow"))
    if step.status is StepStatus.RUNNING:
        parts += _running_parts(step, now)
    elif step.status is StepStatus.PENDING and step.reason is not None:
        parts.append(line_text(step.reason.detail, "dim"))
    elif step.status is StepStatus.SKIPPED and step.skip_reason is not None:
        parts.append(line_text(_SKIPPED_BECAUSE.get(step.skip_reason, step.skip_reason), "dim"))
    elif step.error:
        optional = "optional, " if step.optional and step.status is StepStatus.FAILED else ""
        parts.append(line_text(f"{optional}{step.error}", STATUS_STYLES[step.status]))
    if step.cost is not None and step.cost.amounts:
        parts.insert(0, Text(cost_text(step.cost), style="dim"))
    if step.items is not None:
        parts.insert(0, Text(items_text(step.items)))
    return Text("  ").join(parts)


def _cost(cost: CostSums | None) -> str:
    if cost is None:
        return ""
    return cost_text(cost) if cost.amounts else "cost unknown"


def _running_parts(step: WatchedStep, now: datetime) -> list[Text]:
    if step.next_attempt_at is not None:
        left = duration((step.next_attempt_at - now).total_seconds())
        return [Text(f"next attempt in {left}", style="yellow"), line_text(step.error or "", "yellow")]
    if step.progress is not None:
        word = f" {step.word}" if step.word else ""
        return [bar(step.progress, _JOB_BAR_WIDTH) + line_text(f" {step.progress * 100:.0f} %{word}")]
    works = isinstance(step.reason, RunsHere) and step.reason.doing == "working" and step.reason.trouble is None
    return [] if step.reason is None or works else [line_text(step.reason.detail, "dim")]
