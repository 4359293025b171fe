"""`ports.processes.LeaseStore` in memory."""

from datetime import datetime, timedelta
from uuid import UUID

from stepwell.testing.memory_tables import ALWAYS, NEVER, CommandRow, MemoryAdapter

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
