"""`stepwell watch`: a workflow live until its end, as a tree on a terminal, else as lines."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from time import monotonic
from uuid import UUID

from rich.console import Console, RenderableType
from rich.live import Live

from stepwell.cli.errors import INTERRUPTED
from stepwell.cli.outcome import exit_code_of
from stepwell.cli.signals import Signals, Stop, run_stoppable
from stepwell.cli.workflow_commands.command_context import CommandContext, utc_now
from stepwell.cli.workflow_commands.display.event_lines import event_line
from stepwell.cli.workflow_commands.display.watched_workflow import WatchedWorkflow
from stepwell.cli.workflow_commands.display.workflow_tree import WorkflowOutcome, WorkflowTree
from stepwell.cli.workflow_commands.recent_workflows import short_id
from stepwell.cli.workflow_commands.text_tables import STATUS_STYLES, duration, plain, shows_live
from stepwell.client import AsyncStepwell, StepwellError
from stepwell.contract.enums import TERMINAL_STATUSES, StepStatus, TaskType, WorkflowStatus
from stepwell.contract.events import EventPublic
from stepwell.contract.workflows import WorkflowPublic

_FRAME_S = 0.25
_REFRESH_S, _MAX_REFRESH_S, _SLOWER = 2.0, 10.0, 1.5
_PAUSE_FACTOR = 10  # a pause lasts at least so many times as long as the work before it
_SILENCE_S = 15.0
_MAX_ERRORS = 20
_WITHOUT_FILES = (TaskType.PASSTHROUGH, TaskType.LLM_INTERACTION)
_RETRY_S = 3600.0  # the display says that the service doesn't respond; Ctrl-C ends it


def watch(context: CommandContext, workflow: str) -> int:
    """Show the workflow until its end. Returns the exit code: 0 if it is COMPLETED."""
    workflow_id = context.workflow_id(workflow)
    try:
        if shows_live(context.console) and not context.as_json:
            ended = _show_live(context, workflow_id)
        else:
            ended = _print_events(context, workflow_id)
    except KeyboardInterrupt:
        ended = None
    if ended is None:
        context.report(f"The workflow goes on. To watch it again: stepwell watch {short_id(workflow_id)}")
        return INTERRUPTED
    return exit_code_of(ended.status)


def _print_events(context: CommandContext, workflow_id: UUID) -> WorkflowPublic:
    """Print a line for each event, then the outcome. Return the workflow at its end."""
    context.client.get(workflow_id, include_steps=False, include_results=False)
    client = context.patient_client
    ended: list[WorkflowPublic] = []

    def lines() -> Iterator[EventPublic | WorkflowPublic]:
        yield from client.events(workflow_id)
        ended.append(client.get(workflow_id, include_results=context.as_json))
        yield ended[0]

    context.show_stream(lines(), _line)
    return ended[0] if ended else client.get(workflow_id, include_results=False)


def _line(each: EventPublic | WorkflowPublic) -> RenderableType:
    return (
        WorkflowOutcome(WatchedWorkflow.of(each), utc_now()) if isinstance(each, WorkflowPublic) else event_line(each)
    )


def _show_live(context: CommandContext, workflow_id: UUID) -> WorkflowPublic | None:
    """Show the tree until the workflow ends. Return the workflow then; None if the user has stopped the display."""
    workflow = context.client.get(workflow_id, include_results=False)
    ended = [workflow] if workflow.status in TERMINAL_STATUSES else []

    async def body(_: Stop) -> int:
        async with context.async_client(retry_s=_RETRY_S) as client:
            ended.append(await _Watch(client, WatchedWorkflow.of(workflow), context.console).run())
        return 0

    if not ended:
        with Signals() as signals:
            run_stoppable(signals, body, stopped=INTERRUPTED)
    if not ended:
        return None
    _print_end(context.console, ended[0])
    return ended[0]


def _print_end(console: Console, workflow: WorkflowPublic) -> None:
    """Print the tree, the errors in full, and what to do next."""
    end, notes = short_id(workflow.id), []
    if _has_files(workflow):
        notes.append(f"To download its files: stepwell outputs {end}")
    if workflow.status is WorkflowStatus.FAILED and not workflow.is_deleted:
        notes.append(f"To run the rest of it: stepwell resume {end}")
    console.print(WorkflowTree(WatchedWorkflow.of(workflow), utc_now(), rows=console.height - 1, notes=notes))
    for error in workflow.errors[:_MAX_ERRORS]:
        console.print(plain(error, STATUS_STYLES["FAILED"]))


class _Watch:
    """A display of one workflow that follows its events. Costs, models and reasons are read from time to time."""

    def __init__(self, client: AsyncStepwell, state: WatchedWorkflow, console: Console) -> None:
        self._client, self._state, self._console = client, state, console
        self._responded_at = monotonic()
        self._changed = asyncio.Event()

    async def run(self) -> WorkflowPublic:
        """Show the workflow until it ends. Return it then, without its results."""
        with Live(console=self._console, screen=True, auto_refresh=False) as live:
            async with asyncio.TaskGroup() as group:
                asyncio_tasks = [
                    group.create_task(self._draw(live), name="draw the tree"),
                    group.create_task(self._refresh(), name="read costs and reasons"),
                ]
                ended = await self._follow()
                for asyncio_task in asyncio_tasks:
                    asyncio_task.cancel()
        return ended

    async def _follow(self) -> WorkflowPublic:
        async for event in self._client.events(self._state.id):
            self._responded_at = monotonic()
            self._state.apply(event)
            self._changed.set()
            if self._state.ended:
                # The history may have the end of an earlier execution.
                workflow = await self._client.get(self._state.id, include_results=False)
                if workflow.status in TERMINAL_STATUSES:
                    return workflow
                self._state.refresh(workflow)
        return await self._client.get(self._state.id, include_results=False)

    async def _refresh(self) -> None:
        pause = _REFRESH_S
        while True:
            started = monotonic()
            with suppress(StepwellError):  # the next one may succeed; following the events fails if nothing does
                self._state.explain(await self._client.explain(self._state.id))
                self._state.refresh(await self._client.get(self._state.id, include_results=False))
                self._responded_at = monotonic()
            pause = _REFRESH_S if self._changed.is_set() else min(_MAX_REFRESH_S, pause * _SLOWER)
            self._changed.clear()
            await asyncio.sleep(max(pause, _PAUSE_FACTOR * (monotonic() - started)))

    async def _draw(self, live: Live) -> None:
        while True:
            tree = WorkflowTree(self._state, utc_now(), rows=self._console.height, notes=self._notes())
            started = monotonic()
            live.update(tree, refresh=True)
            await asyncio.sleep(max(_FRAME_S, _PAUSE_FACTOR * (monotonic() - started)))

    def _notes(self) -> list[str]:
        silence = monotonic() - self._responded_at
        notes = [f"No response from the service for {duration(silence)}"] if silence > _SILENCE_S else []
        return [*notes, "Ctrl-C ends this display, not the workflow."]


def _has_files(workflow: WorkflowPublic) -> bool:
    return any(
        step.status is StepStatus.COMPLETED and step.task_type not in _WITHOUT_FILES for step in workflow.steps or ()
    )
