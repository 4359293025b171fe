"""`stepwell top`: what runs and what waits in a service and why, and how the providers are, live."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from time import monotonic
from typing import Literal, NamedTuple

from msgspec import Struct
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from stepwell.cli.errors import INTERRUPTED
from stepwell.cli.signals import Signals, Stop, run_stoppable
from stepwell.cli.workflow_commands.command_context import CommandContext, utc_now
from stepwell.cli.workflow_commands.display.report_tables import PROVIDER_COLUMNS, PROVIDER_NUMBERS, provider_rows
from stepwell.cli.workflow_commands.recent_workflows import short_id
from stepwell.cli.workflow_commands.text_tables import (
    bar,
    cost_text,
    duration_between,
    line_text,
    shows_live,
    status_text,
)
from stepwell.client import AsyncStepwell, ConnectionFailed, NotFound, TooManyRequests, Unavailable
from stepwell.contract.enums import StepStatus, WorkflowStatus
from stepwell.contract.providers import ProviderStatus
from stepwell.contract.reasons import ExplainedStep, Explanation, StepBelow, WaitsForSteps
from stepwell.contract.workflows import WorkflowPublic

_FRAME_S = 0.5
_REFRESH_S = 2.0
_RETRY_S = 2.0  # the display soon says that the service doesn't respond
_PAUSE_FACTOR = 10  # a pause lasts at least so many times as long as the snapshot before it
_MAX_WORKFLOWS, _MAX_EXPLAINED = 50, 8
_BAR_WIDTH = 10
_HEAD_ROWS = 2  # and a note
_TITLE_ROWS = 2
_MIN_ROWS = 2


class ServiceSnapshot(Struct, frozen=True):
    """The responses of the public operations at one time. `workflows` are the RUNNING ones that were created first, and
    `explanations` are those of some of them.
    """

    at: datetime
    counts: Mapping[WorkflowStatus, int]
    workflows: Sequence[WorkflowPublic]
    providers: Sequence[ProviderStatus]
    explanations: Sequence[Explanation] = ()


class ServiceOverview:
    """The overview in at most *rows* rows; None: everything. *note* is a line for its end."""

    def __init__(self, snapshot: ServiceSnapshot, *, rows: int | None = None, note: str = "") -> None:
        self._snapshot, self._rows, self._note = snapshot, rows, note

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._head()
        parts = [part for part in (self._workflows(), self._steps(), self._providers()) if part.rows]
        rows = None if self._rows is None else self._rows - _HEAD_ROWS - _TITLE_ROWS * len(parts)
        for part, height in zip(parts, _heights([len(part.rows) for part in parts], rows), strict=True):
            yield Text()
            yield part.table(height)
        if self._note:
            yield line_text(self._note, "yellow")

    def _head(self) -> Text:
        snapshot = self._snapshot
        line = Text.assemble((f"{snapshot.at:%H:%M:%S} UTC", "bold"), no_wrap=True)
        for status in WorkflowStatus:
            if number := snapshot.counts.get(status, 0):
                line.append(f"  {number:,} ").append_text(status_text(status))
        return line

    def _workflows(self) -> "_Part":
        rows = [
            (
                Text(short_id(workflow.id), style="bold"),
                bar(workflow.progress / 100, _BAR_WIDTH) + Text(f" {workflow.progress:3.0f} %"),
                f"{workflow.completed_steps}/{workflow.total_steps}",
                duration_between(workflow.started_at, self._snapshot.at),
                cost_text(workflow.cost),
                line_text(workflow.name),
                self._reason(workflow),
            )
            for workflow in self._snapshot.workflows
        ]
        return _Part(("WORKFLOW", "PROGRESS", "STEPS", "TIME", "COST", "NAME", "REASON"), rows, ("STEPS", "TIME"))

    def _reason(self, workflow: WorkflowPublic) -> Text:
        reasons = (each.reason for each in self._snapshot.explanations if each.workflow_id == workflow.id)
        reason = next(reasons, None)
        if reason is None:
            return Text() if workflow.waits_for is None else Text(f"waits for {workflow.waits_for}")
        return line_text(reason.detail)

    def _steps(self) -> "_Part":
        """Return the table of the steps, running ones first.

        Steps that wait for others are left out if they start by themselves. A step with `below` is replaced by the
        steps of its sub-workflows that really wait.
        """
        steps: list[tuple[ExplainedStep | StepBelow, str]] = []
        for explanation in self._snapshot.explanations:
            for step in explanation.steps:
                steps += [(below, short_id(below.workflow_id)) for below in step.below]
                if not step.below and (not isinstance(step.reason, WaitsForSteps) or step.reason.stuck):
                    steps.append((step, short_id(explanation.workflow_id)))
        steps.sort(key=lambda each: each[0].status is not StepStatus.RUNNING)
        rows = [
            (
                Text(short, style="bold"),
                line_text(step.step_id),
                status_text(step.status),
                line_text(step.reason.detail),
            )
            for step, short in steps
        ]
        return _Part(("WORKFLOW", "STEP", "STATUS", "REASON"), rows)

    def _providers(self) -> "_Part":
        return _Part(PROVIDER_COLUMNS, provider_rows(self._snapshot.providers), PROVIDER_NUMBERS)


class _Part(NamedTuple):
    columns: tuple[str, ...]
    rows: Sequence[Sequence[RenderableType]]
    numbers: tuple[str, ...] = ()

    def table(self, height: int | None) -> Table:
        """Return the table in *height* rows, without its title. The last row counts those that don't fit. If the
        terminal is too narrow, the last column is cut first.
        """
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for name in self.columns:
            justify: Literal["left", "right"] = "right" if name in self.numbers else "left"
            table.add_column(name, justify=justify, no_wrap=name != self.columns[-1], overflow="ellipsis")
        count = len(self.rows) if height is None or len(self.rows) <= height else height - 1
        for row in self.rows[:count]:
            table.add_row(*row)
        if count < len(self.rows):
            table.add_row(Text(f"… {len(self.rows) - count:,} more", style="dim"))
        return table


def _heights(sizes: Sequence[int], rows: int | None) -> list[int | None]:
    """Divide *rows* among parts of these *sizes*: none gets more than it needs, and each gets a few."""
    if rows is None:
        return [None] * len(sizes)
    heights = [min(size, _MIN_ROWS) for size in sizes]
    left = rows - sum(heights)
    while left > 0 and (wanting := [i for i, size in enumerate(sizes) if heights[i] < size]):
        for i in wanting[:left]:
            heights[i] += 1
            left -= 1
    return list(heights)


def top(context: CommandContext, *, once: bool) -> None:
    """Show snapshots of the service until Ctrl-C; one only with *once*, without a terminal, and as JSON."""
    live = shows_live(context.console) and not (once or context.as_json)
    snapshots: list[ServiceSnapshot] = []

    async def body(_: Stop) -> int:
        async with context.async_client(retry_s=_RETRY_S) as client:
            if live:
                await _Display(client, context.console, await take_snapshot(client)).run()
            snapshots.append(await take_snapshot(client))
        return 0

    with Signals() as signals:
        if run_stoppable(signals, body, stopped=INTERRUPTED) and not live:
            raise KeyboardInterrupt
    for snapshot in snapshots:
        context.show(snapshot, ServiceOverview)


async def take_snapshot(client: AsyncStepwell) -> ServiceSnapshot:
    """Return the state of the service, by at most a dozen requests."""
    counts = await client.count()
    page = await client.page(
        status=WorkflowStatus.RUNNING,
        order="created_at",
        limit=_MAX_WORKFLOWS,
        include_steps=False,
        include_results=False,
        total=False,
    )
    explanations = []
    for workflow in page.workflows[:_MAX_EXPLAINED]:
        try:
            explanations.append(await client.explain(workflow.id))
        except NotFound:  # its data have just been deleted
            continue
    return ServiceSnapshot(utc_now(), counts.counts, page.workflows, await client.providers(), explanations)


class _Display:
    """The newest snapshot on a terminal. It is drawn more often than read, because the terminal may be resized."""

    def __init__(self, client: AsyncStepwell, console: Console, snapshot: ServiceSnapshot) -> None:
        self._client, self._console, self._snapshot, self._note = client, console, snapshot, ""

    async def run(self) -> None:
        """Show snapshots until the call is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._draw(), name="draw the overview")
            group.create_task(self._refresh(), name="read snapshots")

    async def _draw(self) -> None:
        with Live(console=self._console, screen=True, auto_refresh=False) as live:
            while True:
                overview = ServiceOverview(self._snapshot, rows=self._console.height, note=self._note)
                live.update(overview, refresh=True)
                await asyncio.sleep(_FRAME_S)

    async def _refresh(self) -> None:
        while True:
            started = monotonic()
            try:
                self._snapshot, self._note = await take_snapshot(self._client), ""
            except (ConnectionFailed, Unavailable, TooManyRequests) as error:
                self._note = f"No new response: {error}"
            await asyncio.sleep(max(_REFRESH_S, _PAUSE_FACTOR * (monotonic() - started)))
