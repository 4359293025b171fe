"""`ports.processes.Commands` in memory."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from uuid import UUID

from stepwell.basics.errors import TooManyRequests
from stepwell.basics.tenancy import TenantScope
from stepwell.lifecycle.peer_commands import Command, CommandWithdrawn, Outcome, VerbApplied
from stepwell.ports.processes import COMMAND_LIFETIME_S, COMMANDS_PER_TENANT, COMMANDS_PER_WORKFLOW, CommandState
from stepwell.testing.memory_tables import CommandRow, MemoryAdapter


class MemoryCommands(MemoryAdapter):
    async def send(self, scope: TenantScope, requester: UUID, command: Command, forget: Collection[UUID] = ()) -> bool:
        for command_id in forget:
            self._tables.commands.pop(command_id, None)
        row = self._tables.find(scope, command.workflow_id)
        if row is None or (owner := row.record.state.owner) in (None, requester) or not self._tables.is_alive(owner):
            return False
        waiting = [each for each in self._tables.commands.values() if each.outcome is None]
        if sum(each.command.workflow_id == command.workflow_id for each in waiting) >= COMMANDS_PER_WORKFLOW:
            raise TooManyRequests("too many requests of this workflow wait for another process")
        if sum(each.tenant == row.record.tenant for each in waiting) >= COMMANDS_PER_TENANT:
            raise TooManyRequests("too many requests of this tenant wait for another process")
        self._tables.commands[command.id] = CommandRow(
            command, row.record.tenant, requester, owner, self._tables.clock.now()
        )
        self._tables.notify_command(owner, "sent", command.id)
        return True

    async def waiting(self, owner: UUID, except_for: Collection[UUID], limit: int) -> Sequence[Command]:
        since = self._tables.clock.now() - timedelta(seconds=COMMAND_LIFETIME_S)
        found = [
            row.command
            for row in self._tables.commands.values()
            if row.outcome is None
            and row.command.id not in except_for
            and row.created_at > since
            and self._tables.holds_key(row.command)
            and self._is_for(owner, row)
        ]
        return found[:limit]

    def _is_for(self, owner: UUID, row: CommandRow) -> bool:
        if (workflow := self._tables.workflows.get(row.command.workflow_id)) is None:
            return False
        runs_at = workflow.record.state.owner
        return runs_at == owner or (runs_at is None and row.recipient == owner)

    async def answer(self, command_id: UUID, epoch: int, outcome: Outcome) -> None:
        row = self._tables.commands.get(command_id)
        if row is None or row.outcome is not None:
            return
        workflow = self._tables.workflows.get(row.command.workflow_id)
        if workflow is not None and workflow.record.state.epoch == epoch:
            row.outcome = outcome
            self._tables.notify_command(row.requester, "answered", command_id)

    async def report(self, command_id: UUID, outcome: VerbApplied) -> None:
        row = self._tables.commands.get(command_id)
        if row is not None and isinstance(row.outcome, VerbApplied) and row.outcome.report_follows:
            row.outcome = outcome
            self._tables.notify_command(row.requester, "answered", command_id)

    async def poll(self, requester: UUID, command_id: UUID) -> CommandState:
        if (row := self._find(requester, command_id)) is None:
            return CommandState()
        workflow = self._tables.workflows.get(row.command.workflow_id)
        owner = None if workflow is None else workflow.record.state.owner
        elsewhere = owner not in (None, requester) and self._tables.is_alive(owner)
        if elsewhere and row.outcome is None:
            self._tables.notify_command(owner, "sent", command_id)
        return CommandState(row.outcome, elsewhere)

    async def withdraw(self, requester: UUID, command_id: UUID) -> Outcome | None:
        if (row := self._find(requester, command_id)) is None:
            return None
        row.outcome = row.outcome or CommandWithdrawn()
        return row.outcome

    def _find(self, requester: UUID, command_id: UUID) -> CommandRow | None:
        row = self._tables.commands.get(command_id)
        return row if row is not None and row.requester == requester else None
