"""Queue positions under round-robin, and under start-time fair queueing.

Under round-robin, a participant goes to the back after each turn, until it has had all its turns. Under fair queueing,
the participant that was served least is next.
"""

from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate
from math import ceil, floor
from typing import NamedTuple, Protocol


class RoundRobinRank:
    """A participant's rank in a round-robin queue.

    *before* and *behind* are how many turns each participant before it and behind it still needs. Construction costs
    O(n log n) for n participants, and a query O(log n).
    """

    def __init__(self, before: Iterable[int], behind: Iterable[int]) -> None:
        self._before, self._behind = _Participants(before), _Participants(behind)

    def turns_ahead(self, own: int) -> int:
        # By then each one before it has had own + 1 turns, and each one behind it own turns, or all if it needs fewer.
        return self._before.turns_in(own + 1) + self._behind.turns_in(own)


class _Participants:
    def __init__(self, turns: Iterable[int]) -> None:
        self._turns = sorted(turns)
        self._sums = [0, *accumulate(self._turns)]

    def turns_in(self, rounds: int) -> int:
        """Return how many turns they have, together, in that many rounds."""
        finished = bisect_right(self._turns, rounds)
        return self._sums[finished] + rounds * (len(self._turns) - finished)


class WeightedTurns(NamedTuple):
    """The turns of a participant: the first has the tag *tag*, and each one raises the tag by *cost*, which isn't 0."""

    tag: float
    cost: float
    turns: int


class WeightedRank:
    """A participant's rank in a queue in which the least tag is next. Of equal tags, those of *before* come first.

    A query costs O(n) for n participants.
    """

    def __init__(self, own: WeightedTurns, before: Iterable[WeightedTurns], behind: Iterable[WeightedTurns]) -> None:
        self._own, self._before, self._behind = own, list(before), list(behind)

    def turns_ahead(self, own: int) -> int:
        tag = self._own.tag + own * self._own.cost
        not_later = sum(min(o.turns, max(0, floor((tag - o.tag) / o.cost) + 1)) for o in self._before)
        return not_later + sum(min(o.turns, max(0, ceil((tag - o.tag) / o.cost))) for o in self._behind)


class Rank(Protocol):
    """A participant's rank in a queue."""

    def turns_ahead(self, own: int) -> int:
        """Return how many turns of others come before this participant's turn number *own*, counted from 0."""


class QueuePositions:
    """The queue positions of one workflow's steps in one pool.

    *steps* are the positions of the steps in the workflow, in queue order. *in_tenant* is the workflow's rank among
    the workflows of its tenant, *in_pool* the tenant's rank among the tenants of the pool.
    """

    def __init__(self, steps: Iterable[int], in_tenant: Rank, in_pool: Rank) -> None:
        self._steps, self._in_tenant, self._in_pool = tuple(steps), in_tenant, in_pool

    def by_step(self) -> dict[int, int]:
        """Return the queue position of each step, from 1: the number of starts in the pool up to and with its own."""
        positions: dict[int, int] = {}
        for index, step in enumerate(self._steps):
            turn_of_tenant = self._in_tenant.turns_ahead(index) + index
            positions.setdefault(step, self._in_pool.turns_ahead(turn_of_tenant) + turn_of_tenant + 1)
        return positions
