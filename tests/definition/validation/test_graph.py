from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.basics.strict_json.schema_faults import Loc
from stepwell.definition.validation.graph import Graph
from support.workflows.definitions import body, faults, join, mapped


def graph(**dependencies: list[str | None]) -> Graph:
    return graph_of(list(dependencies), list(dependencies.values()))


def graph_of(ids: Sequence[str | None], dependencies: Sequence[Sequence[str | None]]) -> Graph:
    return Graph(ids, dependencies, [()] * len(ids))


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
            graph_of(["a", "b", "a", "a"], [[], [], [], []]),
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
        (graph_of([None, "b", None], [["b"], [None], ["b"]]), []),
        # é composed and decomposed: ids are unique as given
        (graph_of(["\u00e9", "e\u0301"], [[], ["\u00e9"]]), []),
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


def test_a_mapping_implies_a_dependency_after_the_declared_ones() -> None:
    built = Graph(["a", "b", "c", "d"], [[], [], [], ["c"]], [[], [], [], ["b", "c", "a", "b", None]])
    assert built.faults == []
    assert [list(needed) for needed in built.edges] == [[], [], [], [2, 1, 0]]


@pytest.mark.parametrize(
    ("built", "expected"),
    [
        (Graph(["a"], [[]], [["a"]]), [((0, "input_mappings", 0, "from_step"), "self_dependency")]),
        (Graph(["a"], [[]], [["x"]]), []),  # the check of mappings reports it
        (
            Graph(["a", "b", "c"], [["b"], [], []], [[], [None, "c"], ["a"]]),
            [((0, "depends_on", 0), "dependency_cycle")],
        ),
        (
            Graph(["a", "b"], [[], ["a"]], [["b"], []]),
            [((0, "input_mappings", 0, "from_step"), "dependency_cycle")],
        ),
    ],
)
def test_a_fault_of_an_implied_dependency_has_the_place_of_the_mapping(
    built: Graph, expected: list[tuple[Loc, str]]
) -> None:
    assert fault_places(built) == expected
    for fault in built.faults:
        if fault.type == "dependency_cycle":
            assert "'a' needs 'b' needs" in fault.msg


def test_a_cycle_hides_no_fault_elsewhere() -> None:
    mapping = join("m", "a", input_mappings=[mapped("x")])
    assert faults(body(join("c", "d"), join("d", "c"), join("a"), mapping)) == [
        (("steps", 0, "depends_on", 0), "dependency_cycle"),
        (("steps", 3, "input_mappings", 0, "from_step"), "unknown_step"),
    ]


def test_the_message_of_a_long_cycle_is_short() -> None:
    names = [f"{n:0>200}" for n in range(3000)]
    built = graph_of(names, [[names[n - 1]] for n in range(3000)])
    assert len(built.faults) == 1
    assert len(built.faults[0].msg) < 2_000


@given(st.lists(st.lists(st.integers(0, 6), max_size=4, unique=True), min_size=7, max_size=7))
def test_a_cycle_is_reported_exactly_if_there_is_one(dependencies: list[list[int]]) -> None:
    dependencies = [[n for n in needed if n != own] for own, needed in enumerate(dependencies)]
    built = graph_of([str(n) for n in range(7)], [[str(n) for n in needed] for needed in dependencies])
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


def test_the_dependencies_of_all_steps_together_are_bounded() -> None:
    ids = [f"s{number}" for number in range(1_003)]
    mapped_twice = [[], [], *([ids[1:2]] * 500), *([ids[2:102]] * 501)]
    built = Graph(ids, [[], [], *([ids[:1]] * 500), *([ids[102:202]] * 501)], mapped_twice)
    assert fault_places(built) == [((997, "depends_on"), "too_many_dependencies")]
    assert sum(map(len, built.edges[:997])) == 100_000
    assert not any(built.edges[998:])
