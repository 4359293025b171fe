"""`ports.processes.LimitStore` in memory."""

from datetime import datetime, timedelta
from uuid import UUID

from stepwell.lifecycle.records import NO_PROCESS
from stepwell.ports.processes import LIMITS_CHANGED
from stepwell.rules.limit_division import OVERDUE_S, Division, DivisionChange, Member
from stepwell.testing.memory_tables import NEVER, LimitMemberRow, MemoryAdapter


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
        for each in change.gone:
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
