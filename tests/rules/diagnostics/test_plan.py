"""What a definition would come to: its layers, its longest chain, whom it asks, and what that costs."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.contract.enums import ProviderType
from stepwell.contract.forecasts import PlannedCount, WorkflowPlan
from stepwell.contract.tasks import Money
from stepwell.rules.costs import PriceList
from stepwell.rules.diagnostics.plan import NO_PROVIDER, PlannedCall, build_plan
from support.workflows.definitions import body, draw, join, mapped, validate

FAL, LOCAL = ProviderType.FAL, ProviderType.LOCAL
PRICES = PriceList({FAL: {"flux": 0.5, "*": 0.1}}, "EUR")
DIAMOND = body(join("a"), join("b", "a"), join("c", "a"), join("d", "b", "c"))
DRAWING = draw("x", max_retries=1)


def planned(
    definition: dict[str, Any],
    asked: dict[int, PlannedCall] | None = None,
    fallbacks: dict[int, PlannedCall] | None = None,
    expected: dict[int, float] | None = None,
) -> WorkflowPlan:
    """The plan of a definition in which steps ask nobody, unless *asked* says whom."""
    validated = validate(definition)
    calls = [(asked or {}).get(step.position, NO_PROVIDER) for step in validated.steps]
    return build_plan(validated, calls, fallbacks or {}, expected or {}, PRICES, {})


def test_a_layer_holds_the_steps_at_one_distance_from_the_start() -> None:
    forecast = planned(DIAMOND)
    assert forecast.layers == [["a"], ["b", "c"], ["d"]]
    assert [step.layer for step in forecast.steps] == [0, 1, 1, 2]


def test_the_longest_chain_counts_steps_where_not_all_times_are_known() -> None:
    forecast = planned(DIAMOND, expected={0: 1.0, 2: 100.0})
    assert (forecast.critical_path, forecast.critical_path_by, forecast.critical_path_s) == (
        ["a", "b", "d"],
        "steps",
        None,
    )
    assert [step.expected_s for step in forecast.steps] == [1.0, None, 100.0, None]


def test_the_longest_chain_goes_by_time_where_all_times_are_known() -> None:
    forecast = planned(DIAMOND, expected={0: 1.0, 1: 2.0, 2: 5.5, 3: 0.25})
    assert (forecast.critical_path, forecast.critical_path_by) == (["a", "c", "d"], "expected_s")
    assert forecast.critical_path_s == 6.75


@pytest.mark.parametrize(
    ("call", "price"),
    [
        (PlannedCall(FAL, "flux", in_process=False), Money(0.5, "EUR")),
        (PlannedCall(FAL, "another", in_process=False), Money(0.1, "EUR")),
        (PlannedCall(FAL, None, in_process=False), None),
        (PlannedCall(ProviderType.OPENAI, "gpt", in_process=False), None),
        (PlannedCall(LOCAL, "GENERATION", in_process=True), Money(0.0, "EUR")),
        (NO_PROVIDER, Money(0.0, "EUR")),
    ],
)
def test_a_step_has_the_price_of_one_attempt(call: PlannedCall, price: Money | None) -> None:
    (step,) = planned(body(DRAWING), {0: call}).steps
    assert (step.provider, step.model, step.price, step.attempts) == (call.provider, call.model, price, 2)
    assert step.fallback is None


def test_the_worst_case_pays_every_attempt_and_fallback() -> None:
    flux, other = PlannedCall(FAL, "flux", in_process=False), PlannedCall(FAL, "other", in_process=False)
    forecast = planned(body(DRAWING, DRAWING | {"id": "y"}), {0: flux, 1: other}, {0: other})
    assert forecast.steps[0].fallback is not None
    assert (forecast.steps[0].fallback.model, forecast.steps[0].fallback.price) == ("other", Money(0.1, "EUR"))
    assert list(forecast.price.known) == [Money(0.6, "EUR")]
    assert (forecast.price.unknown_steps, forecast.price.worst_case) == (0, Money(1.4, "EUR"))


def test_conditions_make_the_price_and_the_number_of_steps_a_range() -> None:
    flux = PlannedCall(FAL, "flux", in_process=False)
    steps = [
        join("a"),
        join("b", when="a.ok"),
        join("c", "b"),
        join("d", "b", run_if="all_ended"),
        join("e", "b", "d", run_if="any_completed"),
        join("f", "b", "c", run_if="any_completed"),
    ]
    forecast = planned(body(*steps), dict.fromkeys(range(6), flux))
    assert [step.step_id for step in forecast.steps if step.uncertain] == ["b", "c", "f"]
    assert [step.when for step in forecast.steps[:2]] == [None, "a.ok"]
    assert (forecast.runs.least, forecast.runs.most) == (3, 6)
    assert [list(sums) for sums in (forecast.price.known_least, forecast.price.known)] == [
        [Money(1.5, "EUR")],
        [Money(3.0, "EUR")],
    ]


def test_items_that_only_the_run_knows_make_the_price_a_range() -> None:
    flux = PlannedCall(FAL, "flux", in_process=False)
    steps = [
        join("a", max_retries=1, for_each={"items": ["x", "y", "z"], "as": "word"}),
        join("b", max_retries=0, for_each={"items": "${a.items[*].word}"}, repeat={"until": "ok", "max": 2}),
        join("c", for_each={"items": []}),
    ]
    forecast = planned(body(*steps), {0: flux, 1: flux, 2: PlannedCall(ProviderType.OPENAI, "gpt", in_process=False)})
    assert [step.items for step in forecast.steps] == [PlannedCount(3, 3), PlannedCount(0, 3), PlannedCount(0, 0)]
    assert forecast.steps[0].config == {"word": {"from_item": True}}
    assert list(forecast.price.known_least) == [Money(1.5, "EUR")]
    assert list(forecast.price.known) == [Money(1.5 + 3 * 2 * 0.5, "EUR")]
    assert (forecast.price.unknown_steps, forecast.price.worst_case) == (0, Money(3.0 + 3.0, "EUR"))


@pytest.mark.parametrize(
    ("for_each", "least", "most"),
    [
        ({"items": "${inputs.styles}"}, 3, 3),
        ({"items": '${ "inputs"."deep".list }'}, 2, 2),
        ({"items": "${inputs.styles[?wanted]}"}, 0, 3),
        ({"items": "${inputs.styles[*].name}"}, 0, 3),
        ({"items": "${inputs.styles[].names[]}"}, 0, 1000),
        ({"items": "${inputs.styles || inputs.deep.list}"}, 0, 1000),
        ({"items": "${inputs.absent}"}, 0, 1000),
        ({"count": "${inputs.number}"}, 7, 7),
        ({"count": "${inputs.styles}"}, 0, 1000),
        ({"count": "${four.count}"}, 4, 4),
        ({"items": "${four.items}"}, 4, 4),
        ({"items": "${four.items[?width > `9`].result_image_path}"}, 0, 4),
        ({"items": "${four.result_image_paths}"}, 0, 8),
        ({"from_step": "four", "from_field": "items"}, 4, 4),
        ({"from_step": "four", "from_field": "result_image_paths"}, 0, 8),
        ({"from_step": "four", "from_field": "items", "transform": "FLATTEN"}, 0, 1000),
        ({"items": "${three.result_image_paths}"}, 0, 3),
        ({"items": "${mapped.result_image_paths}"}, 0, 8),
        ({"items": "${joined.list}"}, 0, 1000),
    ],
)
def test_the_number_of_items_is_as_near_as_the_definition_says(for_each: dict[str, Any], least: int, most: int) -> None:
    inputs = {"styles": [{"name": "a"}, {"name": "b"}, {"name": "c"}], "deep": {"list": [1, 2]}, "number": 7}
    steps = [
        draw("four", config={"prompt": "x", "num_images": 2}, for_each={"count": 4}),
        draw("three", config={"prompt": "x", "num_images": 3}),
        draw("mapped", input_mappings=[mapped("joined", "n", "num_images")]),
        join("joined", config={"list": [1], "n": 1}),
        join("b", for_each=for_each),
    ]
    assert planned(body(*steps, inputs=inputs)).steps[-1].items == PlannedCount(least, most)


def test_prices_are_of_no_more_items_than_a_workflow_may_have() -> None:
    calls = {0: PlannedCall(ProviderType.LOCAL, None, in_process=True)}
    calls |= dict.fromkeys(range(1, 13), PlannedCall(FAL, "flux", in_process=False))
    from_a = {"from_step": "a", "from_field": "items"}
    steps = [join("a"), join("fixed", max_retries=0, for_each={"count": 500})]
    steps += [join(f"open{n}", max_retries=0, for_each=from_a) for n in range(10)]
    dear = join("dear", max_retries=0, for_each=from_a, repeat={"until": "ok", "max": 3})
    forecast = planned(body(*steps, dear), calls)
    assert list(forecast.price.known_least) == [Money(500 * 0.5, "EUR")]
    most = 500 * 0.5 + 1000 * 3 * 0.5 + 8500 * 0.5
    assert (list(forecast.price.known), forecast.price.worst_case) == ([Money(most, "EUR")], Money(most, "EUR"))


def test_prices_are_of_the_dearest_items_even_if_others_are_certain_to_be_cheaper() -> None:
    flux = PlannedCall(FAL, "flux", in_process=False)
    calls = {0: PlannedCall(ProviderType.LOCAL, None, in_process=True)} | dict.fromkeys(range(11, 13), flux)
    steps = [join("a"), *(join(f"skipped{n}", for_each={"count": 1000}, when="a.n") for n in range(10))]
    steps += [join(f"open{n}", max_retries=0, for_each={"from_step": "a", "from_field": "items"}) for n in range(2)]
    most = [Money(2000 * 0.5, "EUR")]
    forecast = planned(body(*steps), calls)
    assert (list(forecast.price.known), [forecast.price.worst_case]) == (most, most)


def test_items_take_as_long_as_their_turns() -> None:
    steps = [join("a", for_each={"count": 25}), join("b", for_each={"count": 3, "max_concurrency": 1})]
    forecast = planned(body(*steps), expected={0: 2.0, 1: 4.0})
    assert (list(forecast.critical_path), forecast.critical_path_s) == (["b"], 12.0)
    unknown = planned(body(*steps, join("c", for_each={"count": "${inputs.n}"})), expected={0: 2.0, 1: 4.0, 2: 1.0})
    assert (unknown.critical_path_by, unknown.critical_path_s) == ("steps", None)


def test_an_unknown_price_leaves_the_worst_case_unknown() -> None:
    unknown = PlannedCall(ProviderType.OPENAI, "gpt", in_process=False)
    forecast = planned(
        body(DRAWING, DRAWING | {"id": "y"}), {0: PlannedCall(FAL, "flux", in_process=False)}, {1: unknown}
    )
    assert (list(forecast.price.known), forecast.price.unknown_steps, forecast.price.worst_case) == (
        [Money(0.5, "EUR")],
        1,
        None,
    )


def test_mapped_inputs_stand_as_references_and_the_timeout_is_no_input() -> None:
    mapping = mapped("a", "f", "nested.t", transform="FIRST")
    forecast = planned(
        body(join("a", config={"f": [1]}), join("b", "a", input_mappings=[mapping], config={"k": 1, "timeout_s": 5}))
    )
    reference = {"from_step": "a", "from_field": "f", "transform": "FIRST"}
    assert forecast.steps[1].config == {"k": 1, "nested": {"t": reference}}
    assert (forecast.steps[1].timeout_s, forecast.layers) == (5, [["a"], ["b"]])


@st.composite
def graphs(draw: st.DrawFn) -> list[set[int]]:
    """For each step those before it that it depends on."""
    return [draw(st.sets(st.integers(0, at - 1), max_size=3)) if at else set() for at in range(draw(st.integers(1, 8)))]


@given(graphs(), st.lists(st.integers(0, 9), min_size=8, max_size=8))
def test_no_chain_is_longer_than_the_critical_path(graph: list[set[int]], times: list[int]) -> None:
    steps = [join(str(at), *map(str, sorted(needed))) for at, needed in enumerate(graph)]
    expected = {at: float(times[at]) for at in range(len(graph))}
    forecast = planned(body(*steps), expected=expected)
    chain = [int(name) for name in forecast.critical_path]
    assert all(before in graph[after] for before, after in pairwise(chain))
    longest: list[float] = []
    for at, needed in enumerate(graph):
        longest.append(expected[at] + max((longest[before] for before in needed), default=0.0))
    assert sum(expected[at] for at in chain) == forecast.critical_path_s == max(longest)
    assert sorted(name for layer in forecast.layers for name in layer) == sorted(str(at) for at in range(len(graph)))
