"""In which lanes there is something to be sent, and when."""

from collections import defaultdict
from collections.abc import Callable, Hashable
from datetime import datetime
from heapq import heapify, heappop, heappush

_SLACK = 64


class Agenda:
    """For each lane the earliest moment at which there may be something in it. One that can't be served in its time is
    held until what it waits for is freed; others don't wait with it.
    """

    def __init__(self) -> None:
        self._at: dict[str, datetime] = {}
        self._order: list[tuple[datetime, str]] = []  # may hold moments that are out of date
        self._held: dict[Hashable, dict[str, datetime]] = defaultdict(dict)

    def put(self, lane: str, at: datetime) -> None:
        if lane not in self._at or at < self._at[lane]:
            self._at[lane] = at
            if len(self._order) > 2 * len(self._at) + _SLACK:
                self._order = [(known, each) for each, known in self._at.items()]
                heapify(self._order)
            else:
                heappush(self._order, (at, lane))

    def free(self, what: Hashable) -> None:
        for lane, at in self._held.pop(what, {}).items():
            self.put(lane, at)

    def take(self, now: datetime, most: int, waits_for: Callable[[str], Hashable | None]) -> list[str]:
        """Up to *most* lanes that are due, the earliest first; they are off the agenda then. One that *waits_for*
        something is held until that is freed.
        """
        taken: list[str] = []
        while len(taken) < most and self._order and self._order[0][0] <= now:
            at, lane = heappop(self._order)
            if self._at.get(lane) != at:
                continue
            del self._at[lane]
            if (held_by := waits_for(lane)) is None:
                taken.append(lane)
            else:
                held = self._held[held_by]
                held[lane] = min(at, held.get(lane, at))
        return taken

    def next(self) -> datetime | None:
        """When the first lane is due that isn't held."""
        while self._order and self._at.get(self._order[0][1]) != self._order[0][0]:
            heappop(self._order)
        return self._order[0][0] if self._order else None
