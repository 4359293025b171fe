"""`stepwell top`: what runs and what waits in a service, live."""

import asyncio
from time import monotonic

from rich.console import Console
from rich.live import Live

from stepwell.cli.errors import INTERRUPTED
from stepwell.cli.signals import Signals, Stop, run_stoppable
from stepwell.cli.workflow_commands.command_context import CommandContext, utc_now
from stepwell.cli.workflow_commands.display.service_overview import ServiceOverview, ServiceSnapshot
from stepwell.cli.workflow_commands.text_tables import shows_live
from stepwell.client import AsyncStepwell, ConnectionFailed, NotFound, TooManyRequests, Unavailable
from stepwell.contract.enums import WorkflowStatus

_FRAME_S = 0.5
_REFRESH_S = 2.0
_RETRY_S = 2.0  # the display soon says that the service doesn't answer
_PAUSE_FACTOR = 10  # a pause lasts at least so many times as long as the snapshot before it
_MAX_WORKFLOWS, _MAX_EXPLAINED = 50, 8


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
        """Show snapshots until the task is cancelled."""
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
                self._note = f"No new answer: {error}"
            await asyncio.sleep(max(_REFRESH_S, _PAUSE_FACTOR * (monotonic() - started)))
