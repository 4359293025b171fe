"""The items of steps that run once per item: which have yet to begin, and how many are under way or have ended.

    step     PENDING ─evaluation─► RUNNING, its items want slots ─► COMPLETED, FAILED
    item     as a step: PENDING, RUNNING, COMPLETED, FAILED. CANCELLED only with its step, SKIPPED only by hand.

What must hold:
- The items of a step are stored once, before the first of them begins, and never change.
- A step with items is RUNNING exactly while one of its items is under way, or may begin.
- A COMPLETED item never runs again. No item starts while the workflow's results have no room for another one.

An item is under way from its first attempt to its end, also between two attempts.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from heapq import heapify, heappop, heappush

from msgspec.structs import replace

from stepwell.contract.definition import MAX_ITEMS
from stepwell.contract.enums import StepStatus
from stepwell.lifecycle.decision import Decision, copy_of
from stepwell.lifecycle.model import NO_FLOW, ItemKey, ItemState, StepState
from stepwell.lifecycle.steps import ForEachRule
from stepwell.lifecycle.units import Units, unit_position

MAX_WORKFLOW_ITEMS = 10_000


class ItemGroup:
    """The items of the step at `position`. `running` counts those that are under way.

    `taken` are the positions of the items that `max_concurrency` counts: under way, or about to begin.
    """

    def __init__(self, position: int, rule: ForEachRule, items: Iterable[ItemState]) -> None:
        self.position, self.rule, self.items = position, rule, list(items)
        self.taken: set[int] = set()
        self.running = self.completed = self.failed = self.skipped = 0
        self._pending: list[int] = []
        self.rebuild()

    def rebuild(self) -> None:
        """Compute everything from the statuses of the items. Costs O(items)."""
        self.taken.clear()
        self._pending.clear()
        self.running = self.completed = self.failed = self.skipped = 0
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
                case StepStatus.SKIPPED:
                    self.skipped += 1
        heapify(self._pending)

    @property
    def is_failing(self) -> bool:
        """True if the step fails as soon as no item is under way."""
        return self.failed > 0 and not self.rule.collect

    @property
    def has_ended(self) -> bool:
        return self.completed + self.failed + self.skipped == len(self.items)

    @property
    def has_succeeded(self) -> bool:
        """True if all items are COMPLETED, or skipped by hand."""
        return self.completed + self.skipped == len(self.items)

    @property
    def error(self) -> str:
        """The error of the step: that of its first failed item."""
        failed = [item for item in self.items if item.status is StepStatus.FAILED]
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        return f"item {failed[0].item_key.item}: {failed[0].error_message}{more}"

    def take(self) -> list[int]:
        """Let the next items count in `max_concurrency`. Return their positions in order."""
        taken = list[int]()
        while self._pending and len(self.taken) < self.rule.max_concurrency:
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


class Items:
    """The items of a workflow, in one group for each step whose items are known. It decides no status.

    `groups` are by the position of their step.
    """

    def __init__(self, units: Units, items: Iterable[ItemState]) -> None:
        self._units = units
        self.groups: dict[int, ItemGroup] = {}
        self._units_by_position = dict(enumerate(units.steps))
        self._resolved_by_position = dict(enumerate(units.resolved_steps))
        units.units, units.resolved_units = self._units_by_position, self._resolved_by_position
        by_step: dict[int, list[ItemState]] = {
            step.position: [] for step in units.steps if step.flow is not None and step.flow.items is not None
        }
        for item in sorted(items, key=lambda item: item.item_key):
            item.position = unit_position(len(units.steps), item.item_key)
            by_step[item.item_key.step].append(item)
        self._count = sum(map(len, by_step.values()))
        for position, own in by_step.items():
            self._add_group(position, own)
        self.rebuild()

    def rebuild(self) -> None:
        """Compute the sets of items from their statuses, after those of steps."""
        units = self._units
        for group in self.in_order():
            group.rebuild()
            if units.steps[group.position].status is StepStatus.RUNNING:
                units.ready.discard(group.position)
                for position in group.taken:
                    units.note_running(units.units[position])
                if not group.is_failing:
                    units.ready.update(group.take())

    def in_order(self) -> list[ItemGroup]:
        """Return the groups in the order of the definition."""
        return [self.groups[position] for position in sorted(self.groups)]

    def group_of(self, unit: StepState) -> ItemGroup | None:
        """Return the group of an item; None for a step."""
        return self.groups[unit.item_key.step] if isinstance(unit, ItemState) else None

    def add(self, decision: Decision, step: StepState, values: Sequence[bytes], now: datetime) -> str | None:
        """Add the items of the step. Return an error instead if there would be too many."""
        total = len(values) + self._count
        if len(values) > MAX_ITEMS:
            return f"for_each has {len(values):,} items; a step has at most {MAX_ITEMS:,}"
        if total > MAX_WORKFLOW_ITEMS:
            return f"the workflow would have {total:,} items; it has at most {MAX_WORKFLOW_ITEMS:,}"
        keys = [ItemKey(step.position, number) for number in range(len(values))]
        items = [
            ItemState(unit_position(len(self._units.steps), key), updated_at=now, item_key=key, value=value)
            for key, value in zip(keys, values, strict=True)
        ]
        step.flow = replace(step.flow or NO_FLOW, items=len(items))
        self._add_group(step.position, items)
        self._count = total
        decision.new_items += map(copy_of, items)
        return None

    def _add_group(self, position: int, items: Sequence[ItemState]) -> None:
        resolved = self._units.resolved_steps[position]
        assert resolved.flow is not None
        assert resolved.flow.for_each is not None
        self.groups[position] = ItemGroup(position, resolved.flow.for_each, items)
        for item in items:
            self._units_by_position[item.position], self._resolved_by_position[item.position] = item, resolved
