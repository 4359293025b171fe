"""Carries out the commands of other processes about the workflows that this one runs.

What must hold:
- A command is carried out as a verb of this process's own clients. Its mark is written in the transaction of its
  effect, and only while it waits. So it has its effect at most once, whichever processes try it.
- The outcome of a command that changes nothing is stored only while this process has the workflow.
- A command that this process can't carry out stays where it is: another process, or the next try, finds it.
- A process that stops leaves its commands to the process that takes its workflows over.
- No statement is sent unless a notification or the recovery asks for it.
"""

import asyncio
from uuid import UUID

import structlog

from stepwell.domain.errors import NotFound, Unavailable
from stepwell.domain.lifecycle.peer_commands import Command, VerbApplied, refusal_of
from stepwell.engine.execution.checkpointer import NotWritten
from stepwell.engine.execution.verb_applier import VerbApplier
from stepwell.ports.coordination import Coordination
from stepwell.ports.peer_commands import Commands

log = structlog.get_logger()

_PAGE = 100
_RETRY_S = 0.5


class CommandReceiver:
    """Carries out commands. A `recovery.Claimer`: commands may wait for the workflows that were claimed."""

    busy = False  # `Recovery` renews the lease while workflows are in memory

    def __init__(self, commands: Commands, coordination: Coordination, applier: VerbApplier) -> None:
        self._commands, self._coordination, self._applier = commands, coordination, applier
        self._in_progress: set[UUID] = set()
        self._closed = False
        self._wake = asyncio.Event()

    @property
    def may_have_commands(self) -> bool:
        """True if this process runs workflows, so that commands may wait for it."""
        return bool(self._applier.access.scheduler.workflows)

    def command_sent(self) -> None:
        self._wake.set()

    async def take_over(self) -> None:
        """Look for commands about workflows that were just claimed."""
        self._wake.set()

    def close(self) -> None:
        """Begin no more commands."""
        self._closed = True

    async def run(self) -> None:
        """Carry out commands until cancelled, once there can be other processes."""
        await self._coordination.other_processes()
        async with asyncio.TaskGroup() as group:
            while True:
                await self._wake.wait()
                self._wake.clear()
                try:
                    commands = await self._waiting()
                except Unavailable:
                    await asyncio.sleep(_RETRY_S)
                    self._wake.set()
                    continue
                for command in commands:
                    self._in_progress.add(command.id)
                    group.create_task(self._carry_out(command), name=f"command {command.id}")
                if len(commands) == _PAGE:
                    self._wake.set()
                await asyncio.sleep(0)

    async def _waiting(self) -> list[Command]:
        if self._closed:
            return []
        return list(await self._commands.waiting(self._coordination.owner, self._in_progress, _PAGE))

    async def _carry_out(self, command: Command) -> None:
        request = command.request
        try:
            result = await self._applier.apply(
                request.scope, command.workflow_id, request.verb, command.preconditions, command.id
            )
            if result.refused is not None:
                await self._commands.answer(command.id, result.epoch, refusal_of(result.refused))
            elif not result.changed:
                await self._commands.answer(command.id, result.epoch, VerbApplied(changed=False))
        except (NotFound, NotWritten, TimeoutError, Unavailable):
            # The workflow is gone, or another process has it now, or the command was withdrawn, or the database is
            # away. If the command still waits, a process finds it again.
            pass
        except Exception:
            log.exception("command.broke", action="command", workflow_id=str(command.workflow_id))
        finally:
            self._in_progress.discard(command.id)
