"""The work of expressions is charged before it is done: attacks end at the budget, and small ones cost little."""

import sys
from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jmespath.exceptions import JMESPathError
from msgspec import json

from stepwell.contract.definition import FieldMapping
from stepwell.contract.enums import TransformType
from stepwell.domain.errors import AttemptError
from stepwell.domain.mapping.evaluation import Evaluation, evaluate_mappings, evaluation_request
from stepwell.domain.mapping.expressions import NothingFound, check_expression, find
from stepwell.domain.mapping.input_mapping import mapped_values
from stepwell.domain.mapping.interpreter import evaluate
from stepwell.domain.mapping.step_results import StepResults
from stepwell.domain.mapping.work_budget import MAX_STEP_WORK, WorkBudget, WorkExceeded

LIST = list(range(60_000))
PEOPLE = [{"name": f"n{n}", "age": n % 90, "tags": ["a", "b"]} for n in range(200)]
LONG = "x" * 850
ROW = "[" + "0," * 199 + "0]"  # the same list wherever it stands


def work_of(expression: str, value: Any, limit: int = sys.maxsize) -> int:
    budget = WorkBudget(limit)
    find(value, expression, budget)
    return budget.spent


@pytest.mark.parametrize(
    "expression",
    [
        "v" + "|[*]" * 240,
        "v" + "|[?@ != `-1`]" * 70,
        "v[*].[@,@][]" + "|[].[@,@][]" * 5,
        f"v[*].not_null(`{ROW}`)[]",
        f"v[*].not_null(`{ROW}`) | map(&reverse(@), @)",
        f"v[*].not_null(`{ROW}`) | map(&sort(@), @)",
        f"v[*].not_null(`{ROW}`) | [?@ == `{ROW}`]",
        f"contains(v[*].not_null(`{ROW}`), `{ROW}`)",
        f"to_string(v[*].not_null(`{ROW}`))",
        f"map(&map(&@, `{ROW}`), v)",
        f"map(&sum(`{ROW}`), v)" + f" | map(&sum(`{ROW}`), @)",
        f"sort(v[*].not_null('{LONG}')) | sort(@)",
        f"sort_by(v[*].{{k: '{LONG}'}}, &k) | sort_by(@, &k)",
        f"join('', v[*].not_null('{LONG}')) | [@] | map(&reverse(@), @) | map(&reverse(@), @)",
        f"join('', v[*].not_null('{LONG}')) | [@] | [?contains(@, 'xxxxxxxxxxxxxxxxxxxxy')]",
    ],
)
def test_an_expression_that_multiplies_its_work_ends_at_the_budget(expression: str) -> None:
    assert len(expression) <= 1_000
    assert check_expression(expression) is None
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
    answer = json.decode(
        evaluate_mappings(evaluation_request(mappings, {"a": json.encode({"v": LIST})}, MAX_STEP_WORK)), type=Evaluation
    )
    assert answer.exceeded
    assert answer.spent == MAX_STEP_WORK
    shortened = ("v" + "|[*]" * 240)[:255] + "…"
    too_much = "takes more work than the limit of 2,000,000 visits and elements"
    assert answer.error == f"Mapping of '{shortened}' of step 'a' to 'second' {too_much}"


def test_the_mapped_values_of_a_step_are_bounded() -> None:
    mappings = [FieldMapping(from_step="a", from_field="v", to_field=f"x{n}") for n in range(100)]
    budget = WorkBudget(MAX_STEP_WORK)
    with pytest.raises(AttemptError, match="to 'x16': the mapped values of the step are over 16,777,216 bytes"):
        mapped_values(mappings, StepResults({"a": json.encode({"v": "x" * 1_000_000})}, budget), budget)


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
        found = evaluate(compiled.parsed, value, WorkBudget(sys.maxsize))
        assert (found, type(found)) == (expected, type(expected))
