"""The rules by which results of an earlier run are taken over.

What must hold:
- A result is taken over only for equal work, and at most once in a run.
- If several units have equal work, each first takes the result of the same step and item. The others are distributed in
  the order of the definition, except those that their own unit is going to take.
- A step that repeats is taken over as a whole: its `repeat` and the fingerprint of its first run are equal.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from msgspec import Struct, structs

from stepwell.basics.strict_json.canonical import digest
from stepwell.contract.tasks import Cost, Money
from stepwell.lifecycle.model import NO_FLOW, FlowState, Reused, Task, UnitKey
from stepwell.lifecycle.records import EarlierResult


def work_of_unit(fingerprint: str, repeat: Mapping[str, Any] | None) -> str:
    """Return the fingerprint of all runs of a unit, from that of the first one. *repeat* is None if it has one run."""
    return fingerprint if repeat is None else digest([fingerprint, {"best": None, **repeat}])


class CompletedUnit(Struct, frozen=True):
    """A COMPLETED step or item as stored. `task_id` is its latest attempt, `repeat` the member of its definition."""

    key: UnitKey
    step_id: str
    task_id: UUID | None
    size: int
    repeat: Mapping[str, Any] | None
    flow: FlowState | None


def earlier_results(workflow_id: UUID, units: Iterable[CompletedUnit], tasks: Iterable[Task]) -> list[EarlierResult]:
    """Return the results of *units* that may be taken over, in their order. *tasks* are the COMPLETED attempts with a
    fingerprint, those of a unit in their order.
    """
    by_unit: dict[UnitKey, list[Task]] = defaultdict(list)
    for task in tasks:
        key = UnitKey(task.position, None) if task.item_key is None else UnitKey(*task.item_key)
        by_unit[key].append(task)
    found = (_earlier_result(workflow_id, unit, by_unit.get(unit.key, [])) for unit in units)
    return [each for each in found if each is not None]


def _earlier_result(workflow_id: UUID, unit: CompletedUnit, tasks: Sequence[Task]) -> EarlierResult | None:
    flow, result = unit.flow or NO_FLOW, partial(EarlierResult, unit.step_id, unit.size)
    if flow.reused is not None:
        return result(structs.replace(flow.reused, source=unit.key))
    if flow.given_by is not None:
        return None  # nobody knows what work that was
    if flow.decision is not None:
        return result(Reused(workflow_id, None, unit.key, flow.decision))
    if unit.repeat is None:
        tasks = [task for task in tasks if task.id == unit.task_id]
    if not tasks or unit.task_id is None or (fingerprint := tasks[0].fingerprint) is None:
        return None
    outputs = tuple(output for task in tasks for output in task.outputs)
    work, saved = work_of_unit(fingerprint, unit.repeat), _sum([task.cost for task in tasks])
    return result(Reused(workflow_id, unit.task_id, unit.key, work, saved, outputs))


def _sum(costs: Sequence[Cost | None]) -> Money | None:
    """Return the sum of the *costs*; None if one isn't known, or if they are in several currencies."""
    known = [cost for cost in costs if cost is not None]
    currencies = {cost.currency for cost in known}
    if len(known) < len(costs) or len(currencies) != 1:
        return None
    return Money(round(sum(cost.amount for cost in known), 9), currencies.pop())


class WantedResult(Struct, frozen=True):
    """A unit of the new run that may take over a result. `key` is that in the new run."""

    key: UnitKey
    step_id: str
    fingerprint: str

    @property
    def name(self) -> tuple[str, int | None]:
        return self.step_id, self.key.item


class EarlierResults:
    """The results of an earlier run, by fingerprint, each list in the order of the earlier run.

    `works` are the fingerprints that units want whose own results others ask for; None: they want none.
    """

    def __init__(self, results: Iterable[EarlierResult]) -> None:
        self._by_fingerprint: dict[str, list[EarlierResult]] = defaultdict(list)
        self._by_name: dict[tuple[str, int | None], EarlierResult] = {}
        self.works: dict[tuple[int, bool], str | None] = {}  # by position, and whether it is at the fallback
        for each in results:
            self._by_fingerprint[each.reused.fingerprint].append(each)
            self._by_name[each.name] = each

    def __bool__(self) -> bool:
        return bool(self._by_fingerprint)

    def own(self, wanted: Iterable[WantedResult], taken: Collection[UnitKey]) -> dict[UnitKey, EarlierResult]:
        """Return the results of the same steps and items, by the keys of the *wanted* units. *taken* are given out."""
        found = ((each, self._by_name.get(each.name)) for each in wanted)
        return {
            each.key: result
            for each, result in found
            if result is not None and result.reused.fingerprint == each.fingerprint and result.key not in taken
        }

    def others(self, fingerprint: str) -> Sequence[EarlierResult]:
        """Return all results with this fingerprint, in the order in which others than their own units take them."""
        return self._by_fingerprint.get(fingerprint, ())
