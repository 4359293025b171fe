"""Carries out the commands of other processes about the workflows that this one runs, and serves their requests.

What must hold:
- A command is carried out as a verb of this process's own clients. Its mark is written in the transaction of its
  effect, and only while it waits. So it has its effect at most once, whichever processes try it.
- The outcome of a command that changes nothing is stored only while this process has the workflow.
- A command that this process can't carry out stays where it is: another process, or the next try, finds it.
- Of a cleanup that deletes files, the outcome comes first and the report follows.
- At most `MOST_REQUESTS` requests are served at once, because a result may be large. The others wait, and
  tenants take turns.
- A process that stops carries commands out while its last attempts run, if their workflows are still in memory. The
  others are left to the processes that take the workflows over.
- No statement is sent unless a notification or the recovery asks for it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol, TypeAlias
from uuid import UUID

import structlog
from msgspec import Raw
from msgspec.structs import replace

from stepwell.basics.errors import NotFound, StepwellError, Unavailable
from stepwell.basics.tenancy import TenantScope
from stepwell.contract.workflows import WorkflowCleanupDetail
from stepwell.engine.execution.checkpointer import NotWritten
from stepwell.engine.execution.workflow_access import VerbApplier
from stepwell.lifecycle.inputs import Cleanup
from stepwell.lifecycle.peer_commands import (
    ClientVerb,
    Command,
    CommandMark,
    OwnerRequest,
    ProviderCallback,
    RequestServed,
    VerbApplied,
    VerbRefused,
    refusal_of,
)
from stepwell.lifecycle.preconditions import Preconditions
from stepwell.ports.processes import CommandListener, Commands, Coordination
from stepwell.runtime.fair_turns import FairTurns
from stepwell.runtime.outages import OUTAGE_RETRY_S

log = structlog.get_logger()

MOST_REQUESTS: Final = 8
_PAGE = 100
_TURN_S = 3.0  # how long a request waits here. It stays in the table, so its requester's next poll brings it back


ServeRequest: TypeAlias = Callable[[TenantScope, UUID, OwnerRequest, Preconditions], Awaitable[Raw]]
"""Returns the result of a request about a workflow, as JSON. Raises a `StepwellError` that refuses it."""


class CleanupReports(Protocol):
    def observe(self, workflow_id: UUID, /) -> AbstractContextManager[Any]:
        """Return an observer that counts, within the context, what the cleanup of the workflow does."""

    async def wait(self, observer: Any, /, *, begun: bool) -> WorkflowCleanupDetail:
        """Return the report at the end of the cleanup, or after some seconds. *begun*: the verb has begun it."""


class CommandReceiver(CommandListener):
    """Carries out commands. A `ownership.Claimer`: commands may wait for the workflows that were claimed."""

    busy = False  # `Ownership` renews the lease while workflows are in memory

    def __init__(
        self,
        commands: Commands,
        coordination: Coordination,
        applier: VerbApplier,
        cleanups: CleanupReports,
        serve_request: ServeRequest,
    ) -> None:
        self._commands, self._coordination = commands, coordination
        self._applier, self._cleanups, self._serve_request = applier, cleanups, serve_request
        self._in_progress: set[UUID] = set()
        self._turns = FairTurns(MOST_REQUESTS)
        self.closed = False  # for good: no more commands are begun
        self._wake = asyncio.Event()

    def command_sent(self) -> None:
        self._wake.set()

    def resubscribed(self) -> None:
        if self._applier.access.scheduler.workflows:  # only then, commands may wait for this process
            self._wake.set()

    async def take_over(self) -> None:
        """Look for commands about workflows that were just claimed."""
        self._wake.set()

    async def run(self) -> None:
        """Carry out commands until cancelled, once there can be other processes."""
        await self._coordination.other_processes()
        async with asyncio.TaskGroup() as group:
            while True:
                await self._wake.wait()
                self._wake.clear()
                if (commands := await self._waiting()) is None:
                    await asyncio.sleep(OUTAGE_RETRY_S)
                    self._wake.set()
                    continue
                for command in commands:
                    self._in_progress.add(command.id)
                    group.create_task(self._carry_out(command), name=f"command {command.id}")
                if len(commands) == _PAGE:
                    self._wake.set()
                await asyncio.sleep(0)

    async def _waiting(self) -> Sequence[Command] | None:
        """Return the next commands; None if they can't be read now."""
        if self.closed:
            return ()
        try:
            return await self._commands.waiting(self._coordination.owner, self._in_progress, _PAGE)
        except Unavailable:
            return None
        except Exception:  # their requesters take them back, and the workflows go on
            log.exception("commands.unread", action="command")
            return None

    async def _carry_out(self, command: Command) -> None:
        verb, scheduler = command.request.verb, self._applier.access.scheduler
        try:
            if scheduler.stopping and command.workflow_id not in scheduler.workflows:
                pass  # it is being handed over, and must not be claimed here again
            elif isinstance(verb, OwnerRequest):
                await self._serve_in_turn(command, verb)
            elif isinstance(verb, ProviderCallback):
                await self._handle_callback(command, verb)
            elif isinstance(verb, Cleanup) and verb.cleanup_tasks:
                with self._cleanups.observe(command.workflow_id) as observer:
                    applied = await self._apply(command, verb, report_follows=True)
                    if applied is not None:
                        report = await self._cleanups.wait(observer, begun=applied.changed)
                        await self._commands.report(command.id, replace(applied, report_follows=False, report=report))
            else:
                await self._apply(command, verb)
        except (NotFound, NotWritten, TimeoutError, Unavailable):
            # The workflow is gone, or another process has it now, or the command was withdrawn, or the database is
            # away. If the command still waits, a process finds it again.
            pass
        except Exception:
            log.exception("command.broke", action="command", workflow_id=str(command.workflow_id))
        finally:
            self._in_progress.discard(command.id)

    async def _apply(self, command: Command, verb: ClientVerb, *, report_follows: bool = False) -> VerbApplied | None:
        """Apply the verb, and store its outcome. Return None if it was refused."""
        request, applied = command.request, VerbApplied(changed=True, report_follows=report_follows)
        outcome = await self._applier.apply(
            request.scope, command.workflow_id, verb, command.preconditions, CommandMark(command.id, applied)
        )
        if outcome.refused is not None:
            await self._commands.store_outcome(command.id, outcome.epoch, refusal_of(outcome.refused))
            return None
        if not outcome.changed:
            applied = replace(applied, changed=False)
            await self._commands.store_outcome(command.id, outcome.epoch, applied)
        return applied

    async def _serve_in_turn(self, command: Command, request: OwnerRequest) -> None:
        """Serve the request once fewer are being served. Raises `TimeoutError` if that takes too long."""
        workflow = self._applier.access.scheduler.workflows.get(command.workflow_id)
        tenant = None if workflow is None else workflow.tenant
        async with asyncio.timeout(_TURN_S):
            await self._turns.begin(tenant)
        try:
            await self._serve(command, request)
        finally:
            self._turns.end(tenant)

    async def _serve(self, command: Command, request: OwnerRequest) -> None:
        workflow = self._applier.access.scheduler.workflows.get(command.workflow_id)
        if workflow is None:
            return  # it has ended, or another process has it now: that one, or the requester, serves it
        epoch = workflow.run.state.epoch
        outcome: RequestServed | VerbRefused
        try:
            result = await self._serve_request(
                command.request.scope, command.workflow_id, request, command.preconditions
            )
            outcome = RequestServed(result)
        except StepwellError as error:
            outcome = refusal_of(error)
        await self._commands.store_outcome(command.id, epoch, outcome)

    async def _handle_callback(self, command: Command, callback: ProviderCallback) -> None:
        scheduler = self._applier.access.scheduler
        if (workflow := scheduler.workflows.get(command.workflow_id)) is not None:
            scheduler.handle_callback(command.workflow_id, callback.task_id, callback.body)
            await self._commands.store_outcome(command.id, workflow.run.state.epoch, VerbApplied(changed=False))
