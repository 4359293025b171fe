"""The dependency graph of a definition: finds unknown, repeated and cyclic dependencies.

Positions are those of the steps in the definition. An edge leads from a step to one that it depends on. A mapping
implies a dependency on the step that it reads from, and an expression on each step that it names.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from graphlib import CycleError, TopologicalSorter
from itertools import islice

from msgspec import Struct

from stepwell.basics.errors import Fault
from stepwell.basics.spelling import similar_name
from stepwell.basics.strict_json.schema_faults import Loc

# Of all steps of a definition and its sub-workflows together: the end of a step visits those that depend on it.
MAX_DEPENDENCIES = 100_000
_MAX_CYCLES = 20
_MAX_NAMED = 20
_MAX_NAME = 60
_MAX_LISTED = 5
_MAX_SEARCHES = 10
_SELF = "A step can't depend on itself"


def quoted(step_id: str) -> str:
    """Return *step_id* in quotes for a message, shortened to 60 characters."""
    return f"'{step_id[:_MAX_NAME]}…'" if len(step_id) > _MAX_NAME else f"'{step_id}'"


def too_many_dependencies(loc: Loc) -> Fault:
    message = f"A definition has at most {MAX_DEPENDENCIES:,} dependencies, those of its sub-workflows included"
    return Fault(loc, message, "too_many_dependencies")


class DependencyBudget(Struct):
    """The number of dependencies that a definition and its sub-workflows may still have. Below 0, that is a fault."""

    left: int = MAX_DEPENDENCIES


class Graph:
    """The graph of a definition, which may be faulty. An invalid edge is reported in `faults` and left out.

    `ids`, `dependencies` and `sources` (the steps that mappings read from) are by position, and so is `named`: the
    steps that expressions name, each with the location of an expression. An id, a dependency or a source that isn't a
    string is None; another check reports it, and a source that is no step. `edges` holds, by
    position, the positions that a step depends on: the declared ones first, each in the order of the definition. Steps
    behind the one that exceeds *budget* have none.
    `order` lists the positions, dependencies first, without steps that lie on a cycle or depend on one.
    """

    def __init__(
        self,
        ids: Sequence[str | None],
        dependencies: Sequence[Sequence[str | None]],
        sources: Sequence[Sequence[str | None]],
        named: Sequence[Mapping[str, Loc]] = (),
        budget: DependencyBudget | None = None,
    ) -> None:
        self.ids = ids
        self.named = named or [{}] * len(ids)
        self.dependencies, self.sources = dependencies, sources
        self.position_of: dict[str, int] = {}
        self.edges: list[dict[int, None]] = []
        self.faults: list[Fault] = []
        self._searches, self._budget = 0, budget or DependencyBudget()
        self._index_ids()
        self._connect()
        self.order = self._sort()
        self.cyclic = len(self.order) < len(self.ids)
        if self.cyclic:
            self._report_cycles()

    def _index_ids(self) -> None:
        for position, step_id in enumerate(self.ids):
            if step_id is None:
                continue
            first = self.position_of.setdefault(step_id, position)
            if first != position:
                message = f"Step {first} has the id {quoted(step_id)} already"
                self.faults.append(Fault(_at(position, "id"), message, "duplicate_step_id"))

    def _connect(self) -> None:
        budget, position_of = self._budget, self.position_of
        for position, names in enumerate(self.dependencies):
            edges: dict[int, None] = {}
            self.edges.append(edges)
            if budget.left < 0:
                continue  # which is a fault already
            own_id = self.ids[position]
            for index, name in enumerate(names):
                if name is None:
                    continue
                needed = position_of.get(name)
                if needed is None or needed in edges or name == own_id:
                    self._report_dependency(position, index, name)
                else:
                    edges[needed] = None
            if self.sources[position] or self.named[position]:
                self._connect_implied(position, edges)
            budget.left -= len(edges)
            if budget.left < 0:
                self.faults.append(too_many_dependencies(_at(position, "depends_on")))

    def _report_dependency(self, position: int, index: int, name: str) -> None:
        place: Loc = (*_at(position, "depends_on"), index)
        if name not in self.position_of:
            self.faults.append(Fault(place, self.unknown_step(name), "unknown_step"))
        elif name == self.ids[position]:
            self.faults.append(Fault(place, _SELF, "self_dependency"))
        else:
            self.faults.append(Fault(place, f"{quoted(name)} is listed already", "repeated_dependency"))

    def _connect_implied(self, position: int, edges: dict[int, None]) -> None:
        for implied, place in self._implied(position):
            if implied == self.ids[position]:
                self.faults.append(Fault(place, _SELF, "self_dependency"))
            else:
                edges[self.position_of[implied]] = None

    def _implied(self, position: int) -> Iterator[tuple[str, Loc]]:
        """Yield the steps that expressions and mappings of the step name, each with the location of the name."""
        yield from self.named[position].items()
        for index, name in enumerate(self.sources[position]):
            if name is not None and name in self.position_of:
                yield name, _source_place(position, index)

    def unknown_step(self, name: str) -> str:
        """Return the message about *name*, which is no step's id."""
        # Each search visits every id, so a few unknown names get one.
        self._searches += 1
        similar = similar_name(name, self.position_of) if self._searches <= _MAX_SEARCHES else None
        if similar is not None:
            return f"There is no step {quoted(name)}; did you mean {quoted(similar)}?"
        some = ", ".join(map(quoted, islice(self.position_of, _MAX_LISTED)))
        more = ", …" if len(self.position_of) > _MAX_LISTED else ""
        return f"There is no step {quoted(name)}; there is {some or 'none'}{more}"

    def _sort(self) -> list[int]:
        if all(needed < position for position, edges in enumerate(self.edges) for needed in edges):
            return list(range(len(self.edges)))  # as most clients write them
        sorter = TopologicalSorter(dict(enumerate(self.edges)))
        with suppress(CycleError):  # the sorter still yields the steps that no cycle blocks
            sorter.prepare()
        order: list[int] = []
        while ready := sorter.get_ready():
            order += ready
            sorter.done(*ready)
        return order

    def _report_cycles(self) -> None:
        """Report up to 20 cycles. One edge of each cycle is removed, so that the next search returns another one."""
        edges = dict(enumerate(self.edges))
        for _ in range(_MAX_CYCLES):
            try:
                TopologicalSorter(edges).prepare()
            except CycleError as error:
                # graphlib lists a dependency before its dependant, and repeats the first step at the end.
                cycle: list[int] = error.args[1][:0:-1]
                start = cycle.index(min(cycle))
                cycle = cycle[start:] + cycle[:start]
                self._report_cycle(cycle)
                edges[cycle[0]] = {needed: None for needed in edges[cycle[0]] if needed != cycle[1]}
            else:
                return

    def _report_cycle(self, cycle: list[int]) -> None:
        names = [self.ids[position] or "" for position in cycle]
        declared = self.dependencies[cycle[0]]
        if names[1] in declared:
            place: Loc = (*_at(cycle[0], "depends_on"), declared.index(names[1]))
        elif names[1] in self.sources[cycle[0]]:
            place = _source_place(cycle[0], self.sources[cycle[0]].index(names[1]))
        else:
            place = self.named[cycle[0]][names[1]]
        listed = [quoted(name) for name in (*names[:_MAX_NAMED], *(["…"] if len(names) > _MAX_NAMED else []), names[0])]
        message = f"Dependencies form a cycle: {' needs '.join(listed)}; remove one of them"
        self.faults.append(Fault(place, message, "dependency_cycle"))


def _at(position: int, member: str) -> Loc:
    return ("body", "steps", position, member)


def _source_place(position: int, index: int) -> Loc:
    return (*_at(position, "input_mappings"), index, "from_step")
