"""`ports.processes` in memory: leases, the division of limits, commands, and notifications between processes."""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from uuid import UUID

from stepwell.basics.errors import TooManyRequests
from stepwell.basics.tenancy import TenantScope
from stepwell.lifecycle.peer_commands import Command, CommandWithdrawn, Outcome, VerbApplied
from stepwell.lifecycle.records import NO_PROCESS
from stepwell.ports.processes import (
    COMMAND_LIFETIME_S,
    COMMANDS_PER_TENANT,
    COMMANDS_PER_WORKFLOW,
    LIMITS_CHANGED,
    CommandListener,
    CommandState,
)
from stepwell.rules.limit_division import OVERDUE_S, Division, DivisionChange, Member
from stepwell.testing.memory_tables import (
    ALWAYS,
    NEVER,
    CommandRow,
    LimitMemberRow,
    MemoryAdapter,
    MemorySubscription,
    ProcessAdapter,
)

_NOTIFIED = timedelta(seconds=0.5)


class MemoryLeaseStore(MemoryAdapter):
    async def renew(self, owner: UUID, seconds: float | None) -> None:
        now, processes = self._tables.clock.now(), self._tables.processes
        is_alive = processes.get(owner, NEVER) > now + timedelta(seconds=(seconds or 0) / 2)
        processes[owner] = ALWAYS if seconds is None else now + timedelta(seconds=seconds)
        if not is_alive:
            self._tables.process_channel.notify(owner, None)

    async def next_expiry(self, owner: UUID) -> float | None:
        now, processes = self._tables.clock.now(), self._tables.processes
        running = {row.record.state.owner for row in self._tables.workflows.values()} - {None}
        later: dict[UUID | None, datetime] = {}  # by owner: when its first webhook or cleanup is due
        for row in self._tables.pending_deliveries():
            assert row.next_at is not None
            later[row.owner] = min(row.next_at, later.get(row.owner, row.next_at))
        for cleanup in self._tables.cleanups.values():
            later[cleanup.owner] = min(cleanup.next_at, later.get(cleanup.owner, cleanup.next_at))
        waits = any(row.record.state.waits_for_admission for row in self._tables.workflows.values())
        wanted = []
        for process, lease_until in processes.items():
            if process == owner or lease_until in (NEVER, ALWAYS):
                continue
            if lease_until > now or process in running or waits:
                wanted.append(lease_until)
            else:
                # A dead process may have known alone when a parked workflow is due.
                wanted += [at for at in (later.get(process), self._tables.next_wake()) if at is not None]
        if any(process != owner and process not in processes for process in {*running, *later}):
            return 0.0
        if any(self._is_missed(owner, command) for command in self._tables.commands.values()):
            return 0.0
        return max((min(wanted) - now).total_seconds(), 0.0) if wanted else None

    def _is_missed(self, owner: UUID, row: CommandRow) -> bool:
        """Return whether the command has waited for so long that its notification must have got lost."""
        workflow = self._tables.workflows.get(row.command.workflow_id)
        runs_here = workflow is not None and workflow.record.state.owner == owner
        return runs_here and row.outcome is None and row.created_at < self._tables.clock.now() - _NOTIFIED

    async def release(self, owner: UUID) -> None:
        if self._tables.processes.pop(owner, None) is not None:
            self._tables.process_channel.notify(owner, None)

    async def expire_others(self, owner: UUID) -> None:
        for process in self._tables.processes:
            if process != owner:
                self._tables.processes[process] = NEVER


class MemoryLimitStore(MemoryAdapter):
    async def read(self, owner: UUID) -> Division:
        tables, now, state = self._tables, self._tables.clock.now(), self._tables.limit_division
        alive = [process for process in tables.processes if tables.is_alive(process)]
        has_sole = state.sole not in (None, owner)
        assert state.sole is not None or not has_sole
        lease_until = tables.processes.get(state.sole, now) if state.sole is not None else now
        return Division(
            version=state.version,
            now=now.timestamp(),
            alive=owner in alive,
            others=sum(process != owner for process in alive),
            sole=state.sole,
            sole_member=None if state.sole is None or not has_sole else self._member(state.sole, None, now),
            sole_until=min(now, lease_until).timestamp() if lease_until != NEVER else 0.0,
            starts=state.starts,
            starts_from=state.starts_from,
            members=[self._member(each, row, now) for each, row in tables.limit_members.items()],
        )

    async def write(self, owner: UUID, change: DivisionChange) -> bool:
        tables, state = self._tables, self._tables.limit_division
        if state.version != change.version or not tables.is_alive(owner):
            return False
        state.version, state.sole = change.version + 1, change.sole
        state.starts, state.starts_from = dict(change.starts), change.starts_from
        for each in change.removed:
            tables.limit_members.pop(each, None)
        if change.shares is None:
            tables.limit_members.pop(owner, None)
        else:
            row = LimitMemberRow(change.claiming, dict(change.shares), tables.clock.now())
            tables.limit_members[owner] = row
        if change.notify:
            tables.process_channel.notify(owner, (LIMITS_CHANGED, ""))
        return True

    def _member(self, owner: UUID, row: LimitMemberRow | None, now: datetime) -> Member:
        tables = self._tables
        died_at = max(tables.processes.get(owner, NEVER), NEVER if row is None else row.updated_at)
        return Member(
            owner=owner,
            alive=tables.is_alive(owner),
            claiming=row is not None and row.claiming,
            claimed=all(each.record.state.owner not in (owner, NO_PROCESS) for each in tables.workflows.values()),
            overdue=died_at < now - timedelta(seconds=OVERDUE_S),
            shares={} if row is None else row.shares,
        )


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

    async def store_outcome(self, command_id: UUID, epoch: int, outcome: Outcome) -> None:
        row = self._tables.commands.get(command_id)
        if row is None or row.outcome is not None:
            return
        workflow = self._tables.workflows.get(row.command.workflow_id)
        if workflow is not None and workflow.record.state.epoch == epoch:
            row.outcome = outcome
            self._tables.notify_command(row.requester, "ended", command_id)

    async def report(self, command_id: UUID, outcome: VerbApplied) -> None:
        row = self._tables.commands.get(command_id)
        if row is not None and isinstance(row.outcome, VerbApplied) and row.outcome.report_follows:
            row.outcome = outcome
            self._tables.notify_command(row.requester, "ended", command_id)

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


class MemoryNotifications(ProcessAdapter):
    async def send(self, workflow_ids: Collection[UUID]) -> None:
        self._tables.workflow_channel.notify(self._owner, list(workflow_ids))

    def listen(
        self, on_notification: Callable[[Collection[UUID] | None], None]
    ) -> AbstractAsyncContextManager[MemorySubscription]:
        return self._tables.subscribed(self._tables.workflow_channel, self._owner, on_notification)


class MemoryPresence(ProcessAdapter):
    """The presence of the process *owner*. `MemoryLeaseStore` notifies of changes of leases."""

    async def announce(self) -> None:
        self._tables.process_channel.notify(self._owner, None)

    async def send(self, kind: str, body: str) -> None:
        self._tables.process_channel.notify(self._owner, (kind, body))

    @asynccontextmanager
    async def watch(
        self,
        on_change: Callable[[], None],
        commands: Sequence[CommandListener] = (),
        on_message: Callable[[str, str], None] = lambda _kind, _body: None,
    ) -> AsyncIterator[MemorySubscription]:
        def on_payload(message: tuple[str, str] | None) -> None:
            if message is None:
                on_change()
            else:
                on_message(*message)

        async with self._tables.subscribed(self._tables.process_channel, self._owner, on_payload) as subscription:
            if commands:
                self._tables.command_listeners[self._owner] = commands
            try:
                yield subscription
            finally:
                self._tables.command_listeners.pop(self._owner, None)
