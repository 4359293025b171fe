"""In which lanes there is something to be sent, and when."""

from collections.abc import Callable, Hashable
from datetime import datetime
from heapq import heapify, heappop, heappush

_SLACK = 64


class _DueTimes:
    """For each lane the earliest moment that was put; the earliest lane costs O(log n)."""

    def __init__(self) -> None:
        self._at: dict[str, datetime] = {}
        self._order: list[tuple[datetime, str]] = []  # may hold moments that are out of date

    def put(self, lane: str, at: datetime) -> None:
        if lane not in self._at or at < self._at[lane]:
            self._at[lane] = at
            if len(self._order) > 2 * len(self._at) + _SLACK:
                self._order = [(known, each) for each, known in self._at.items()]
                heapify(self._order)
            else:
                heappush(self._order, (at, lane))

    def first(self) -> tuple[datetime, str] | None:
        while self._order and self._at.get(self._order[0][1]) != self._order[0][0]:
            heappop(self._order)
        return self._order[0] if self._order else None

    def pop(self) -> tuple[datetime, str] | None:
        if (found := self.first()) is not None:
            heappop(self._order)
            del self._at[found[1]]
        return found


class DeliverySchedule:
    """For each lane the earliest moment at which there may be something in it. One that can't be served in its time is
    held until what it waits for is freed; others don't wait with it, nor are they looked at when it is freed.
    """

    def __init__(self) -> None:
        self._due = _DueTimes()
        self._held: dict[Hashable, _DueTimes] = {}
        self._freed: dict[Hashable, None] = {}  # of those that hold

    def put(self, lane: str, at: datetime) -> None:
        self._due.put(lane, at)

    def free(self, what: Hashable) -> None:
        if what in self._held:
            self._freed[what] = None

    def take(self, now: datetime, most: int, waits_for: Callable[[str], Hashable | None]) -> list[str]:
        """Up to *most* lanes that are due, the earliest first; they are off the agenda then. One that *waits_for*
        something is held until that is freed.
        """
        taken: list[str] = []
        while len(taken) < most:
            first = self._due.first()
            if first is None or first[0] > now:
                if self._put_back():
                    continue
                return taken
            at, lane = first
            self._due.pop()
            if (held_by := waits_for(lane)) is None:
                taken.append(lane)
            else:
                self._held.setdefault(held_by, _DueTimes()).put(lane, at)
                self._freed.pop(held_by, None)
        return taken

    def next(self) -> datetime | None:
        """When the first lane is due that isn't held."""
        self._put_back()
        first = self._due.first()
        return None if first is None else first[0]

    def _put_back(self) -> bool:
        """One lane that waits for nothing any more; there may be thousands, and room for few of them."""
        while self._freed:
            what = next(iter(self._freed))
            if (first := self._held[what].pop()) is not None:
                self._due.put(first[1], first[0])
                return True
            del self._held[what], self._freed[what]
        return False
