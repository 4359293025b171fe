"""Passes verbs on to the process that runs the workflow, and waits for their outcomes.

What must hold:
- A verb has its effect at most once. A command without an outcome is withdrawn before this process does anything else
  with the request, and before the request's idempotency key is released. Only if the database was away while it was
  sent, the key may be released first: a command whose key was released has no effect either.
- The table is the source of truth. A lost notification costs a poll, in either direction.
- A request waits up to `outcome_s`. Then the command is withdrawn, unless it has an outcome by then.
- If the process that runs the workflow dies, or the workflow is in no process any more, the command is withdrawn, and
  this process applies the verb itself.
- A client that goes away doesn't interrupt this: what follows is the same as for a verb of this process.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TypeAlias
from uuid import UUID

import structlog
from msgspec.structs import replace

from stepwell.basics.errors import StepwellError, Unavailable
from stepwell.basics.tenancy import TenantScope
from stepwell.engine.execution.idempotency import IdempotentRequests
from stepwell.engine.execution.timers import wait_until_set
from stepwell.lifecycle.cleanup_records import empty_report
from stepwell.lifecycle.inputs import Cleanup
from stepwell.lifecycle.peer_commands import (
    ClientVerb,
    Command,
    CommandRequest,
    CommandWithdrawn,
    Outcome,
    OwnerRequest,
    ProviderCallback,
    RequestServed,
    VerbApplied,
    VerbRefused,
)
from stepwell.lifecycle.preconditions import Preconditions
from stepwell.ports.clock import Clock, NewId
from stepwell.ports.processes import CommandListener, Commands, Coordination
from stepwell.runtime.outages import until_available

log = structlog.get_logger()

Reply: TypeAlias = VerbApplied | VerbRefused | RequestServed

_FIRST_POLL_S, _LAST_POLL_S = 0.5, 1.0
_LAST_S = 2.0  # for the withdrawal
_MOST_KNOWN = 1_000
_NO_RESPONSE = "the process that runs the workflow doesn't respond"


class CommandSender(CommandListener):
    """Sends commands to other processes. `run` must be running."""

    def __init__(
        self,
        commands: Commands,
        coordination: Coordination,
        idempotency: IdempotentRequests,
        clock: Clock,
        new_id: NewId,
    ) -> None:
        self._commands, self._coordination, self._idempotency = commands, coordination, idempotency
        self._clock, self._new_id, self._requester = clock, new_id, coordination.owner
        self.outcome_s = 10.0
        self.report_s = 11.0  # the other process waits for its cleanup up to 10 s
        self._ended: dict[UUID, asyncio.Event] = {}  # by command
        self._known: list[UUID] = []  # commands whose outcomes are known, until the next statement deletes them
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._group: asyncio.TaskGroup | None = None

    @property
    def waiting(self) -> int:
        """The number of commands that wait for their outcome."""
        return len(self._ended)

    async def run(self) -> None:
        """Serve `send` until cancelled, once there can be other processes."""
        await self._coordination.other_processes()
        async with asyncio.TaskGroup() as self._group:
            await asyncio.get_running_loop().create_future()

    async def stop(self, grace_s: float) -> None:
        """Withdraw the commands that wait. This takes up to *grace_s* seconds."""
        self._closed = True
        self.resubscribed()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._idle.wait()

    def command_ended(self, command_id: UUID) -> None:
        if (ended := self._ended.get(command_id)) is not None:
            ended.set()

    def resubscribed(self) -> None:
        """Poll all commands, because notifications may have got lost."""
        for ended in self._ended.values():
            ended.set()

    async def send(
        self,
        scope: TenantScope,
        workflow_id: UUID,
        verb: ClientVerb | OwnerRequest | ProviderCallback,
        preconditions: Preconditions,
        outcome_s: float | None = None,
    ) -> Reply | None:
        """Pass the verb, request or callback on to the process that runs the workflow, and return the outcome.

        *outcome_s*: how long to wait for it, instead of `outcome_s`. Return None if this process must apply the verb,
        because no other live process runs the workflow. Raises `Unavailable` without an outcome in time, and
        `TooManyRequests`.
        """
        if self._group is None or self._closed:
            return None
        outcome_s = self.outcome_s if outcome_s is None else outcome_s
        request = CommandRequest(verb, scope, preconditions.if_match)
        command = Command(self._new_id(self._clock.now()), workflow_id, request, preconditions.claim)
        delivered: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()
        self._group.create_task(self._deliver(scope, command, delivered, outcome_s), name=f"command {command.id}")
        report_s = self.report_s if isinstance(verb, Cleanup) and verb.cleanup_tasks else 0.0
        try:
            async with asyncio.timeout(outcome_s + report_s + _LAST_S):
                # If the client goes away, its key stays claimed until the command has an outcome.
                await self._idempotency.wait_committed(preconditions.claim, delivered)
        except TimeoutError:
            raise Unavailable(f"{_NO_RESPONSE}; the request may still take effect") from None
        return delivered.result()

    async def _deliver(
        self, scope: TenantScope, command: Command, delivered: "asyncio.Future[Reply | None]", outcome_s: float
    ) -> None:
        """Send the command, and set the outcome of *delivered*."""
        ended = self._ended[command.id] = asyncio.Event()
        self._idle.clear()
        try:
            known, self._known = self._known, []
            if await self._is_sent(scope, command, delivered, known):
                outcome = await self._until_outcome(command.id, ended, outcome_s)
                self._known.append(command.id)
                del self._known[:-_MOST_KNOWN]
            else:
                outcome = None
            _set(delivered, outcome)
        except StepwellError as error:
            _set(delivered, error)
        except Exception:
            log.exception("command.broke", action="command", workflow_id=str(command.workflow_id))
            _set(delivered, Unavailable("the outcome can't be read; the request may still take effect"))
        except BaseException:
            _set(delivered, Unavailable("the service is shutting down; the request may still take effect"))
            raise
        finally:
            del self._ended[command.id]
            if not self._ended:
                self._idle.set()

    async def _is_sent(
        self, scope: TenantScope, command: Command, delivered: "asyncio.Future[Reply | None]", forget: Sequence[UUID]
    ) -> bool:
        """Send the command. Return False if this process must apply the verb.

        If the database is away, the request fails at once. But the command may be stored, so it is withdrawn then.
        """
        try:
            return await self._commands.send(scope, self._requester, command, forget)
        except Unavailable as error:
            _set(delivered, error)
            await self._withdraw(command.id)
            raise

    async def _until_outcome(self, command_id: UUID, ended: asyncio.Event, outcome_s: float) -> Reply | None:
        deadline, pause_s = self._clock.monotonic() + outcome_s, _FIRST_POLL_S
        elsewhere = True
        while elsewhere and not self._closed and (left_s := deadline - self._clock.monotonic()) > 0:
            await wait_until_set(ended, self._clock, min(pause_s, left_s))
            ended.clear()
            pause_s = _LAST_POLL_S
            with suppress(Unavailable):
                state = await self._commands.poll(self._requester, command_id)
                if isinstance(state.outcome, VerbApplied) and state.outcome.report_follows:
                    return await self._until_report(command_id, ended, state.outcome)
                if state.outcome is not None:
                    return _checked(state.outcome)
                elsewhere = state.elsewhere
        outcome = await self._withdraw(command_id)
        if isinstance(outcome, CommandWithdrawn) and not elsewhere:
            return None
        return _checked(outcome)

    async def _until_report(self, command_id: UUID, ended: asyncio.Event, applied: VerbApplied) -> VerbApplied:
        """Wait for the report of a cleanup that has been applied. Without one, files may be left."""
        deadline = self._clock.monotonic() + self.report_s
        while not self._closed and (left_s := deadline - self._clock.monotonic()) > 0:
            await wait_until_set(ended, self._clock, min(_LAST_POLL_S, left_s))
            ended.clear()
            with suppress(Unavailable):
                outcome = (await self._commands.poll(self._requester, command_id)).outcome
                if isinstance(outcome, VerbApplied) and outcome.report is not None:
                    return outcome
        return replace(applied, report=empty_report(pending=True))

    async def _withdraw(self, command_id: UUID) -> Outcome | None:
        """Withdraw the command, however long the database is away, and return its outcome."""
        return await until_available(partial(self._commands.withdraw, self._requester, command_id))


def _checked(outcome: Outcome | None) -> Reply:
    """Return the outcome of a command. Raises `Unavailable` if it has none."""
    if outcome is None:
        raise Unavailable("the workflow is being deleted")
    if isinstance(outcome, CommandWithdrawn):
        raise Unavailable(_NO_RESPONSE)
    if isinstance(outcome, VerbApplied) and outcome.report_follows:
        return replace(outcome, report=empty_report(pending=True))
    return outcome


def _set(delivered: "asyncio.Future[Reply | None]", outcome: Reply | StepwellError | None) -> None:
    if delivered.done():
        return  # the request has stopped waiting
    if isinstance(outcome, StepwellError):
        delivered.set_exception(outcome)
        delivered.exception()  # marks it as retrieved, because the request may have stopped waiting
    else:
        delivered.set_result(outcome)
