"""When it is whose turn, in a line where whoever had one goes to its end until they have had all of theirs."""

from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate


class RoundRobinRank:
    """Somebody's turns among those of others: how many each one before them, and each one behind them, still wants.
    Made in O(n log n) for n others; an answer costs O(log n).
    """

    def __init__(self, before: Iterable[int], behind: Iterable[int]) -> None:
        self._before, self._behind = _Others(before), _Others(behind)

    def others_first(self, own: int) -> int:
        """How many turns of others come before one's own number *own*, counted from 0."""
        # One before me has had own + 1 turns by then, one behind me as many as I: or fewer, where that was all.
        return self._before.taken(own + 1) + self._behind.taken(own)


class _Others:
    def __init__(self, wanted: Iterable[int]) -> None:
        self._wanted = sorted(wanted)
        self._sums = [0, *accumulate(self._wanted)]

    def taken(self, rounds: int) -> int:
        few = bisect_right(self._wanted, rounds)
        return self._sums[few] + rounds * (len(self._wanted) - few)


class QueuePositions:
    """The steps of one workflow in one queue, in their order, and who shares it: *workflows* are the turns of the
    workflow among its tenant's, *tenants* those of the tenant among all.
    """

    def __init__(self, steps: Iterable[int], workflows: RoundRobinRank, tenants: RoundRobinRank) -> None:
        self._steps, self._workflows, self._tenants = tuple(steps), workflows, tenants

    def places(self) -> dict[int, int]:
        """For each step, by position: how many starts it is until its own, that included."""
        found: dict[int, int] = {}
        for index, position in enumerate(self._steps):
            of_tenant = self._workflows.others_first(index) + index
            found.setdefault(position, self._tenants.others_first(of_tenant) + of_tenant + 1)
        return found
