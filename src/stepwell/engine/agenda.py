"""Which hosts have something to be sent to, and when."""

from collections import defaultdict
from collections.abc import Callable, Hashable
from datetime import datetime
from heapq import heapify, heappop, heappush

_SLACK = 64


class Agenda:
    """For each host the earliest moment at which there may be something for it. One that can't be served in its time is
    held until what it waits for is freed; others don't wait with it.
    """

    def __init__(self) -> None:
        self._at: dict[str, datetime] = {}
        self._order: list[tuple[datetime, str]] = []  # may hold moments that are out of date
        self._held: dict[Hashable, dict[str, datetime]] = defaultdict(dict)

    def put(self, host: str, at: datetime) -> None:
        if host not in self._at or at < self._at[host]:
            self._at[host] = at
            if len(self._order) > 2 * len(self._at) + _SLACK:
                self._order = [(known, each) for each, known in self._at.items()]
                heapify(self._order)
            else:
                heappush(self._order, (at, host))

    def hold(self, host: str, at: datetime, until: Hashable) -> None:
        """As `put`, once *until* is freed; what else there is for the host doesn't wait for that."""
        held = self._held[until]
        held[host] = min(at, held.get(host, at))

    def free(self, what: Hashable) -> None:
        for host, at in self._held.pop(what, {}).items():
            self.put(host, at)

    def take(self, now: datetime, most: int, full: Callable[[str], bool]) -> list[str]:
        """Up to *most* hosts that are due, the earliest first, and not *full*; they are off the agenda then. Those that
        are full are held until `free(host)`.
        """
        taken: list[str] = []
        while len(taken) < most and self._order and self._order[0][0] <= now:
            at, host = heappop(self._order)
            if self._at.get(host) != at:
                continue
            del self._at[host]
            if full(host):
                self.hold(host, at, host)
            else:
                taken.append(host)
        return taken

    def next(self) -> datetime | None:
        """When the first host is due that isn't held."""
        while self._order and self._at.get(self._order[0][1]) != self._order[0][0]:
            heappop(self._order)
        return self._order[0][0] if self._order else None
