"""Tracks the items of one `for_each` step: which have yet to begin, and how many are under way or have ended.

It decides no status. An item is under way from its first attempt to its end, also between two attempts.
"""

from collections.abc import Iterable
from heapq import heapify, heappop, heappush

from stepwell.contract.enums import StepStatus
from stepwell.lifecycle.model import ItemState
from stepwell.lifecycle.steps import ForEachPlan

MAX_WORKFLOW_ITEMS = 10_000


class ItemGroup:
    """The items of the step at `position`. `running` counts those that are under way.

    `taken` are the positions of the items that have a place in `max_concurrency`: under way, or about to begin.
    """

    def __init__(self, position: int, plan: ForEachPlan, items: Iterable[ItemState]) -> None:
        self.position, self.plan, self.items = position, plan, list(items)
        self.taken: set[int] = set()
        self.running = self.completed = self.failed = 0
        self._pending: list[int] = []
        self.rebuild()

    def rebuild(self) -> None:
        """Compute everything from the statuses of the items. Costs O(items)."""
        self.taken.clear()
        self._pending.clear()
        self.running = self.completed = self.failed = 0
        for item in self.items:
            match item.status:
                case StepStatus.PENDING:
                    self._pending.append(item.position)
                case StepStatus.RUNNING:
                    self.taken.add(item.position)
                    self.running += 1
                case StepStatus.COMPLETED:
                    self.completed += 1
                case StepStatus.FAILED:
                    self.failed += 1
        heapify(self._pending)

    @property
    def is_failing(self) -> bool:
        """True if the step fails as soon as no item is under way."""
        return self.failed > 0 and not self.plan.collect

    @property
    def has_ended(self) -> bool:
        return self.completed + self.failed == len(self.items)

    @property
    def error(self) -> str:
        """The error of the step: that of its first failed item."""
        failed = [item for item in self.items if item.status is StepStatus.FAILED]
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        return f"item {failed[0].place.item}: {failed[0].error_message}{more}"

    def take(self) -> list[int]:
        """Give the next items their places in `max_concurrency`. Return their positions in order."""
        taken = list[int]()
        while self._pending and len(self.taken) < self.plan.max_concurrency:
            position = heappop(self._pending)
            self.taken.add(position)
            taken.append(position)
        return taken

    def begin(self) -> None:
        """Record that an item is under way."""
        self.running += 1

    def end(self, item: ItemState) -> None:
        """Record that an item has ended, with the status that it has."""
        self.taken.discard(item.position)
        self.running -= 1
        self.completed += item.status is StepStatus.COMPLETED
        self.failed += item.status is StepStatus.FAILED

    def hold_back(self, position: int) -> None:
        """Record that an item that was under way, or about to begin, is PENDING again."""
        self.taken.discard(position)
        heappush(self._pending, position)
