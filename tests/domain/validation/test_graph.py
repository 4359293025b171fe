from graphlib import TopologicalSorter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.domain.strict_json.schema_faults import Loc
from stepwell.domain.validation.graph import Graph
from support.workflows.definitions import body, faults, join, mapped


def graph(**dependencies: list[str | None]) -> Graph:
    return Graph(list(dependencies), list(dependencies.values()))


def fault_places(built: Graph) -> list[tuple[Loc, str]]:
    assert all(fault.loc[:2] == ("body", "steps") for fault in built.faults)
    return [(fault.loc[2:], fault.type) for fault in built.faults]


def test_a_valid_graph_has_edges_and_an_order() -> None:
    built = graph(a=[], b=["a"], c=["a"], d=["c", "b"])
    assert built.faults == []
    assert [list(needed) for needed in built.edges] == [[], [0], [0], [2, 1]]
    assert built.order[0] == 0
    assert built.order[-1] == 3


@pytest.mark.parametrize(
    ("built", "expected"),
    [
        (
            Graph(["a", "b", "a", "a"], [[], [], [], []]),
            [((n, "id"), "duplicate_step_id") for n in (2, 3)],
        ),
        (graph(a=[], b=["a", "x"]), [((1, "depends_on", 1), "unknown_step")]),
        (graph(a=[], b=["A"]), [((1, "depends_on", 0), "unknown_step")]),
        (
            graph(a=[], b=["a", "a", "a"]),
            [((1, "depends_on", n), "repeated_dependency") for n in (1, 2)],
        ),
        (graph(a=["a"]), [((0, "depends_on", 0), "self_dependency")]),
        (graph(a=["b"], b=["a"]), [((0, "depends_on", 0), "dependency_cycle")]),
        (graph(a=[], b=[None, "a", "d"], c=["b"], d=["c"]), [((1, "depends_on", 2), "dependency_cycle")]),
        (Graph([None, "b", None], [["b"], [None], ["b"]]), []),
        # é composed and decomposed: ids are unique as given
        (Graph(["\u00e9", "e\u0301"], [[], ["\u00e9"]]), []),
    ],
)
def test_each_fault_of_a_graph_has_its_place(built: Graph, expected: list[tuple[Loc, str]]) -> None:
    assert fault_places(built) == expected


def test_the_message_names_the_cycle_and_a_real_dependency() -> None:
    built = graph(x=["a"], a=["c"], b=["a"], c=["y", "b"], y=[])
    [fault] = built.faults
    assert fault.loc == ("body", "steps", 1, "depends_on", 0)
    assert fault.msg == "Dependencies form a cycle: 'a' needs 'c' needs 'b' needs 'a'; remove one of them"
    assert built.cyclic
    assert built.order == [4]


def test_each_of_several_cycles_is_reported() -> None:
    built = graph(a=["b"], b=["a"], c=["d"], d=["c"], e=["a"])
    assert sorted(fault_places(built)) == [
        ((0, "depends_on", 0), "dependency_cycle"),
        ((2, "depends_on", 0), "dependency_cycle"),
    ]


def test_only_what_is_on_or_behind_a_cycle_has_unknown_ancestors() -> None:
    built = graph(c=["d"], d=["c"], behind=["c"], a=[], b=[], m=["a"], n=["m"], far=["behind", "a"])
    assert built.cyclic
    assert sorted(built.order) == [3, 4, 5, 6]
    ancestors = {own: {n for n in range(8) if built.is_ancestor(n, own)} for own in range(8)}
    assert ancestors == {3: set(), 4: set(), 5: {3}, 6: {3, 5}} | {own: set(range(8)) for own in (0, 1, 2, 7)}


def test_a_cycle_hides_no_fault_elsewhere() -> None:
    mapping = join("m", "a", input_mappings=[mapped("b")])
    assert faults(body(join("c", "d"), join("d", "c"), join("a"), join("b"), mapping)) == [
        (("steps", 0, "depends_on", 0), "dependency_cycle"),
        (("steps", 4, "input_mappings", 0, "from_step"), "not_an_ancestor"),
    ]


def test_the_message_of_a_long_cycle_is_short() -> None:
    names = [f"{n:0>200}" for n in range(3000)]
    built = Graph(names, [[names[n - 1]] for n in range(3000)])
    assert len(built.faults) == 1
    assert len(built.faults[0].msg) < 2_000


@st.composite
def dags(draw: st.DrawFn) -> list[list[int]]:
    """Dependencies by position, in an order of definition that needn't be topological."""
    size = draw(st.integers(1, 12))
    rank = draw(st.permutations(range(size)))
    return [[other for other in range(size) if rank[other] < rank[own] and draw(st.booleans())] for own in range(size)]


@given(dags())
def test_ancestors_are_those_of_a_naive_search(dependencies: list[list[int]]) -> None:
    built = Graph([str(n) for n in range(len(dependencies))], [[str(n) for n in needed] for needed in dependencies])
    assert built.faults == []
    closure: dict[int, set[int]] = {}
    for position in TopologicalSorter(dict(enumerate(dependencies))).static_order():
        needed = dependencies[position]
        closure[position] = set(needed).union(*(closure[other] for other in needed))
    for position, ancestors in closure.items():
        assert {other for other in closure if built.is_ancestor(other, position)} == ancestors


@given(st.lists(st.lists(st.integers(0, 6), max_size=4, unique=True), min_size=7, max_size=7))
def test_a_cycle_is_reported_exactly_if_there_is_one(dependencies: list[list[int]]) -> None:
    dependencies = [[n for n in needed if n != own] for own, needed in enumerate(dependencies)]
    built = Graph([str(n) for n in range(7)], [[str(n) for n in needed] for needed in dependencies])
    assert built.cyclic == bool(built.faults)
    assert built.cyclic == (len(built.order) < 7)
    for index, own in enumerate(built.order):
        assert set(dependencies[own]) <= set(built.order[:index])
    assert all(not set(dependencies[own]) <= set(built.order) for own in range(7) if own not in built.order)
    for fault in built.faults:
        listed = fault.msg.removeprefix("Dependencies form a cycle: ").removesuffix("; remove one of them")
        names = listed.replace("'", "").split(" needs ")
        assert names[0] == names[-1]
        assert all(int(needed) in dependencies[int(own)] for own, needed in pairwise(names))
