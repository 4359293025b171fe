"""The schedule of webhooks: the lanes that have something to send, in the order of their due times.

A lane is a tenant's deliveries to one host and port (`lifecycle.webhook_deliveries.lane_of`).
"""

from collections.abc import Callable, Hashable
from datetime import datetime
from heapq import heapify, heappop, heappush

_SLACK = 64


class _DueTimes:
    """A priority queue with one due time for each lane, the earliest that was put. An operation costs O(log n)."""

    def __init__(self) -> None:
        self._at: dict[str, datetime] = {}
        self._order: list[tuple[datetime, str]] = []  # a heap; entries that differ from `_at` are outdated

    def __len__(self) -> int:
        return len(self._order)

    def put(self, lane: str, at: datetime) -> None:
        if lane not in self._at or at < self._at[lane]:
            self._at[lane] = at
            if len(self._order) > 2 * len(self._at) + _SLACK:
                self._order = [(current, each) for each, current in self._at.items()]
                heapify(self._order)
            else:
                heappush(self._order, (at, lane))

    def first(self) -> tuple[datetime, str] | None:
        while self._order and self._at.get(self._order[0][1]) != self._order[0][0]:
            heappop(self._order)
        return self._order[0] if self._order else None

    def pop(self) -> tuple[datetime, str] | None:
        if (entry := self.first()) is not None:
            heappop(self._order)
            del self._at[entry[1]]
        return entry


class DeliverySchedule:
    """The earliest due time of each lane.

    A due lane may be blocked, because it or its tenant is at a limit. It is then set aside until `unblock` is called
    for the key that blocks it. Other lanes don't wait for it. When a key is unblocked, `take` checks its lanes one by
    one, so the cost doesn't grow with the number of lanes that are set aside.
    """

    def __init__(self) -> None:
        self._due = _DueTimes()
        self._blocked: dict[Hashable, _DueTimes] = {}  # lanes that are set aside, by the key that blocks them
        self._unblocked: dict[Hashable, None] = {}  # keys of `_blocked` whose lanes may be taken again

    @property
    def size(self) -> int:
        """The number of entries in memory, outdated ones included."""
        return len(self._due) + sum(map(len, self._blocked.values())) + len(self._unblocked)

    def put(self, lane: str, at: datetime) -> None:
        """Schedule *lane* for *at*, unless it is scheduled for an earlier time."""
        self._due.put(lane, at)

    def unblock(self, key: Hashable) -> None:
        """Let the lanes that *key* blocks be taken again."""
        if key in self._blocked:
            self._unblocked[key] = None

    def take(self, now: datetime, limit: int, blocked_by: Callable[[str], Hashable | None]) -> list[str]:
        """Remove and return up to *limit* lanes that are due, the earliest first.

        *blocked_by* returns the key that blocks a lane, or None. A blocked lane is set aside.
        """
        lanes: list[str] = []
        while len(lanes) < limit:
            first = self._due.first()
            if first is None or first[0] > now:
                if self._put_back():
                    continue
                return lanes
            at, lane = first
            self._due.pop()
            if (key := blocked_by(lane)) is None:
                lanes.append(lane)
            else:
                self._blocked.setdefault(key, _DueTimes()).put(lane, at)
                self._unblocked.pop(key, None)
        return lanes

    def next_due(self) -> datetime | None:
        """Return the due time of the first lane that isn't set aside; None if there is none."""
        self._put_back()
        first = self._due.first()
        return None if first is None else first[0]

    def _put_back(self) -> bool:
        """Schedule one lane of an unblocked key again: there may be thousands, but only a few can be scheduled."""
        while self._unblocked:
            key = next(iter(self._unblocked))
            if (first := self._blocked[key].pop()) is not None:
                self._due.put(first[1], first[0])
                return True
            del self._blocked[key], self._unblocked[key]
        return False
