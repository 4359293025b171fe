"""The work of expressions is charged before it is done: attacks end at the budget, and small ones cost little."""

import sys
from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jmespath.exceptions import JMESPathError
from msgspec import json

from stepwell.basics.errors import AttemptError
from stepwell.contract.definition import FieldMapping
from stepwell.contract.enums import TransformType
from stepwell.definition.mapping.evaluation import Evaluation, evaluate_inputs, evaluation_request
from stepwell.definition.mapping.expressions import Expressions, NothingFound, expressions_of, find
from stepwell.definition.mapping.input_mapping import mapped_values
from stepwell.definition.mapping.interpreter import evaluate
from stepwell.definition.mapping.work_budget import MAX_STEP_WORK, StepResults, WorkBudget, WorkExceeded

LIST = list(range(60_000))
PEOPLE = [{"name": f"n{n}", "age": n % 90, "tags": ["a", "b"]} for n in range(200)]
LONG = "x" * 850
ROW = "[" + "0," * 199 + "0]"  # the same list wherever it stands


def work_of(expression: str, value: Any, limit: int = sys.maxsize) -> int:
    budget = WorkBudget(limit)
    find(value, expression, budget)
    return budget.spent


def evaluated(mappings: list[FieldMapping], result: Any, *, decoded: bool = False) -> Evaluation:
    request = evaluation_request(mappings, [decoded] * len(mappings), {"a": json.encode(result)}, MAX_STEP_WORK)
    return json.decode(evaluate_inputs(b"".join(request)), type=Evaluation)


@pytest.mark.parametrize(
    "expression",
    [
        "v" + "|[*]" * 240,
        pytest.param("v" + "|[?@ != `-1`]" * 70, marks=pytest.mark.extended),
        "v[*].[@,@][]" + "|[].[@,@][]" * 5,
        f"v[*].not_null(`{ROW}`)[]",
        f"v[*].not_null(`{ROW}`) | map(&reverse(@), @)",
        f"v[*].not_null(`{ROW}`) | map(&sort(@), @)",
        f"v[*].not_null(`{ROW}`) | [?@ == `{ROW}`]",
        f"contains(v[*].not_null(`{ROW}`), `{ROW}`)",
        f"to_string(v[*].not_null(`{ROW}`))",
        f"map(&map(&@, `{ROW}`), v)",
        pytest.param(f"map(&sum(`{ROW}`), v)" + f" | map(&sum(`{ROW}`), @)", marks=pytest.mark.extended),
        f"sort(v[*].not_null('{LONG}')) | sort(@)",
        f"sort_by(v[*].{{k: '{LONG}'}}, &k) | sort_by(@, &k)",
        f"join('', v[*].not_null('{LONG}')) | [@] | map(&reverse(@), @) | map(&reverse(@), @)",
        f"join('', v[*].not_null('{LONG}')) | [@] | [?contains(@, 'xxxxxxxxxxxxxxxxxxxxy')]",
    ],
)
def test_an_expression_that_multiplies_its_work_ends_at_the_budget(expression: str) -> None:
    assert len(expression) <= 1_000
    assert Expressions().check(expression) is None
    with pytest.raises(WorkExceeded):
        work_of(expression, {"v": LIST}, MAX_STEP_WORK)


@pytest.mark.parametrize(
    ("expression", "most"),
    [
        ("path", 10),
        ("people[0].name", 100),
        ("people[*].name", 1_000),
        ("people[?age > `30`].name | [0]", 2_500),
        ("sort_by(people, &age)[*].name", 2_500),
        ("join(', ', people[*].tags[])", 1_500),
        ("to_string(people)", 5_000),
    ],
)
def test_an_ordinary_expression_costs_little(expression: str, most: int) -> None:
    assert work_of(expression, {"path": "media/1", "people": PEOPLE}) <= most


def test_the_text_of_an_error_does_not_quote_a_long_value() -> None:
    with pytest.raises(NothingFound) as caught:
        find({"v": LIST}, "abs(v[*].not_null(`$`))".replace("$", ROW), WorkBudget(sys.maxsize))
    assert str(caught.value) == "abs() takes number, got array"


@pytest.mark.parametrize("expression", ["[v[0] == v[1]]", "contains(v[0:1], v[1])", "merge(v[0], v[1])"])
def test_the_comparison_of_long_keys_is_charged(expression: str) -> None:
    assert work_of(expression, {"v": [{"k" * 500_000: 1}, {"k" * 500_000: 1}]}) > 400


@pytest.mark.parametrize(
    ("expression", "value"),
    [("sum(v)", 2.0**63), ("to_number(t)", 1e30), ("ceil(f)", 1e300), ("abs(v[0])", 2**62), ("floor(f)", 1e300)],
)
def test_an_integer_over_64_bits_becomes_a_float(expression: str, value: float) -> None:
    result = find({"v": [2**62, 2**62], "t": "1" + "0" * 30, "f": 1e300}, expression, WorkBudget(MAX_STEP_WORK))
    assert (result, type(result)) == (value, type(value))


def test_a_literal_has_no_integer_over_64_bits() -> None:
    assert Expressions().check(f"`{2**63 - 1}`") is None
    for literal in (2**63, [{"a": -(2**63) - 1}]):
        assert (
            Expressions().check(f"a || `{json.encode(literal).decode()}`")
            == "An integer in a literal has at most 64 bits"
        )


@pytest.mark.parametrize("transform", TransformType)
@pytest.mark.parametrize("value", [LIST, "9" * 900_000, [[0] * 100] * 600, str([[]] * 300_000)])
def test_a_transform_of_a_long_value_is_charged(transform: TransformType, value: Any) -> None:
    mappings = [FieldMapping(from_step="a", from_field="v", to_field="x", transform=transform)]
    budget = WorkBudget(4_000)
    with pytest.raises((WorkExceeded, AttemptError)):
        mapped_values(mappings * 10, StepResults({"a": json.encode({"v": value})}, budget), budget)


def test_the_error_of_exceeded_work_names_the_mapping() -> None:
    mappings = [
        FieldMapping(from_step="a", from_field="v", to_field="first"),
        FieldMapping(from_step="a", from_field="v" + "|[*]" * 240, to_field="second"),
    ]
    evaluation = evaluated(mappings, {"v": LIST})
    assert evaluation.exceeded
    assert evaluation.spent == MAX_STEP_WORK
    shortened = ("v" + "|[*]" * 240)[:255] + "…"
    too_much = "takes more work than the limit of 2,000,000 visits and elements"
    assert evaluation.error == f"Mapping of '{shortened}' of step 'a' to 'second' {too_much}"


def test_the_mapped_values_of_a_step_are_bounded() -> None:
    mappings = [FieldMapping(from_step="a", from_field="v", to_field=f"x{n}") for n in range(100)]
    budget = WorkBudget(MAX_STEP_WORK)
    with pytest.raises(AttemptError, match="to 'x16': the mapped values of the step are over 16,777,216 bytes"):
        mapped_values(mappings, StepResults({"a": json.encode({"v": "x" * 1_000_000})}, budget), budget)


def test_the_mapped_values_are_bounded_as_they_are_sent() -> None:
    mapping = FieldMapping(from_step="a", from_field="[" + ",".join(["v"] * 100) + "]", to_field="x")
    evaluation = evaluated([mapping], {"v": "\x01" * 100_000})
    assert evaluation.error is not None
    assert evaluation.error.endswith("to 'x': the mapped values of the step are over 16,777,216 bytes")
    assert not evaluation.exceeded


def test_the_values_that_the_event_loop_decodes_are_bounded() -> None:
    mappings = [FieldMapping(from_step="a", from_field="v", to_field=to_field) for to_field in "xy"]
    assert evaluated(mappings, {"v": [{}] * 60_000}).error is None
    assert evaluated(mappings, {"v": "," * 600_000}, decoded=True).error is None
    error = evaluated(mappings, {"v": [{}] * 60_000}, decoded=True).error
    too_many = "the mapped values of the step have over 100,000 elements and members"
    assert error == f"Mapping of 'v' of step 'a' to 'y': {too_many}"


def test_a_request_of_many_results_comes_in_parts() -> None:
    results = {f"step {number}": json.encode({"v": "x" * 100_000}) for number in range(30)}
    mappings = [FieldMapping(from_step=step, from_field="v[0] || v", to_field=f"x{step[5:]}") for step in results]
    for some in (results, {}):
        parts = evaluation_request(mappings[: len(some)], [False] * len(some), some, MAX_STEP_WORK)
        assert max(map(len, parts)) < 400_000
        evaluation = json.decode(evaluate_inputs(b"".join(parts)), type=Evaluation)
        assert [json.decode(value) for value in evaluation.values] == ["x" * 100_000] * len(some)


def test_only_expressions_that_a_mapping_may_have_are_parsed() -> None:
    mappings = [{"from_field": "v[0]" + "|a" * count} for count in (498, 499)]
    assert expressions_of({"steps": [{"input_mappings": mappings}]}) == ["v[0]" + "|a" * 498]


LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b", "ab"])
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("ab"), inner), max_leaves=8
)
PARTS = """
a b @ [*] [] [0] [-1] [::2] [?a] [?@=='a'] [?a<`1`] [?@!=b] *.a {a:a} [a,@] length(@) keys(@) values(@) sort(@)
sort_by(@,&a) max_by(@,&a) min_by(@,&@) max(@) min(@) sum(@) avg(@) map(&a,@) reverse(@) to_string(@) to_number(@)
to_array(@) type(@) not_null(a,@) contains(@,'a') contains(@,`[1]`) join('-',@) merge(@,{b:a}) starts_with(@,'a')
ends_with(@,'b') abs(@) ceil(@) floor(@) !a a&&b a||b `[1]` 'b'
"""


@given(st.lists(st.sampled_from(PARTS.split()), min_size=1, max_size=4), VALUES)
def test_the_interpreter_finds_what_jmespath_finds(parts: list[str], value: Any) -> None:
    compiled = jmespath.compile("|".join(parts))
    errors = (JMESPathError, TypeError, ValueError)
    expected: Any = None
    failed = False
    try:
        expected = compiled.search(value)
    except errors:
        failed = True
    if failed:
        with pytest.raises(errors):
            evaluate(compiled.parsed, value, WorkBudget(sys.maxsize))
    else:
        result = evaluate(compiled.parsed, value, WorkBudget(sys.maxsize))
        assert (result, type(result)) == (expected, type(expected))
