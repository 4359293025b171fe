import sys
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import json

from stepwell.basics.errors import AttemptError
from stepwell.contract.definition import FieldMapping, WorkflowConfig, WorkflowStepDefinition
from stepwell.contract.enums import TaskType, TransformType
from stepwell.contract.enums import TransformType as X
from stepwell.definition.mapping.expressions import Expressions
from stepwell.definition.mapping.input_mapping import (
    DeferredTransform,
    checked_inputs,
    effective_config,
    mapped_values,
    put_input,
    resolve_inputs,
)
from stepwell.definition.mapping.work_budget import StepResults, WorkBudget


def step(*mappings: FieldMapping, **config: Any) -> WorkflowStepDefinition:
    return WorkflowStepDefinition(
        id="s", task_type=TaskType.REFINE, config=config, depends_on=["a"], input_mappings=list(mappings)
    )


def mapping(from_field: str, to_field: str = "x", transform: TransformType | None = None) -> FieldMapping:
    return FieldMapping(from_step="a", from_field=from_field, to_field=to_field, transform=transform)


def resolve(definition: WorkflowStepDefinition, base: dict[str, Any], results: dict[str, Any]) -> Any:
    """Return the inputs and deferred transforms of a step, whose mappings may take any work."""
    budget = WorkBudget(sys.maxsize)
    encoded = {step_id: json.encode(result) for step_id, result in results.items()}
    return resolve_inputs(
        definition, base, mapped_values(definition.input_mappings, StepResults(encoded, budget), budget)
    )


def mapped(from_field: str, result: Any, transform: TransformType | None = None) -> Any:
    inputs, deferred = resolve(step(mapping(from_field, transform=transform)), {}, {"a": result})
    assert deferred == []
    return inputs["x"]


def failure(from_field: str, result: Any, transform: TransformType | None = None) -> str:
    with pytest.raises(AttemptError) as caught:
        mapped(from_field, result, transform)
    assert not caught.value.retryable
    assert not caught.value.provider_fault
    return str(caught.value)


def test_the_step_takes_precedence_over_its_types_defaults_and_these_over_all_others() -> None:
    config = WorkflowConfig(
        step_defaults={"*": {"a": 1, "b": 1, "c": 1}, "REFINE": {"b": 2, "c": 2}, "EDITING": {"d": 9}}
    )
    assert effective_config(config, step(c=3, e=None)) == {"a": 1, "b": 2, "c": 3, "e": None}
    assert config.step_defaults["*"] == {"a": 1, "b": 1, "c": 1}


@pytest.mark.parametrize(
    ("from_field", "value"),
    [
        ("path", "media/1"),
        ("a.b", "exact"),
        ("c.d", "nested"),
        ("with space", 1),
        ("with-dash", 2),
        ("ключ", 3),
        ("items[0].url", "u0"),
        ("items[].url", ["u0", "u1"]),
        ("items[?n > `1`].url | [0]", "u1"),
        ("length(items)", 2),
        ("{first: items[0].url, p: path}", {"first": "u0", "p": "media/1"}),
        ('"with-dash"', 2),
        ("@.path", "media/1"),
        ("join(', ', items[].url)", "u0, u1"),
        ("zero", 0),
        ("no", False),
        ("empty", []),
    ],
)
def test_an_exact_key_takes_precedence_over_the_expression(from_field: str, value: Any) -> None:
    result = {
        "path": "media/1",
        "a.b": "exact",
        "a": {"b": "nested"},
        "c": {"d": "nested"},
        "with space": 1,
        "with-dash": 2,
        "ключ": 3,
        "items": [{"url": "u0", "n": 1}, {"url": "u1", "n": 2}],
        "zero": 0,
        "no": False,
        "empty": [],
    }
    assert Expressions().check(from_field) is None
    assert mapped(from_field, result) == value


@pytest.mark.parametrize("from_field", ["nope", "a b", "1", "a.", ".", "-", "path.deeper", "null", "items[7]", "a-b.c"])
def test_finding_nothing_fails_and_lists_the_fields(from_field: str) -> None:
    assert Expressions().check(from_field) is None
    message = failure(from_field, {"path": "x", "null": None, "items": []})
    assert f"'{from_field}' of step 'a' to 'x'" in message
    assert "finds nothing" in message
    assert "the result has path, null, items" in message


def test_finding_nothing_describes_results_without_fields() -> None:
    assert "no fields" in failure("x", {})
    assert "no object" in failure("x", [1])
    assert "no object" in failure("x", None)
    assert "and 70 more" in failure("x", {f"f{n}": n for n in range(100)})


@pytest.mark.parametrize(
    "from_field",
    ["sum(path)", "items[::0]", "max_by(items, &n)", "sort_by(items, &n)", "abs(path)"],
)
def test_an_expression_that_cannot_be_evaluated_fails(from_field: str) -> None:
    assert Expressions().check(from_field) is None
    assert "finds nothing" in failure(from_field, {"path": "S" * 5000, "items": [{"n": 1}, {"n": "x"}]})[:200]
    assert len(failure(from_field, {"path": "S" * 5000, "items": [{"n": 1}, {"n": "x"}]})) < 500


@pytest.mark.parametrize(
    ("from_field", "words"),
    [
        ("items[", "it ends too early; write the name of a field"),
        ("a||", "JMESPath"),
        ("'open", "Unclosed ' delimiter at character 1"),
        ("$.a", "JMESPath"),
        ("a[0]]", "unexpected text at character 5"),
        ("(" * 900, "JMESPath"),
        ("!" * 999 + "a", "JMESPath"),
        ("nope(a)", "no function nope()"),
        ("a[?length()]", "length() takes 1"),
        ("abs(a, b)", "abs() takes 1"),
        ("[@,@][]" + "|[@,@][]" * 20, "combinations"),
        ("to_string([to_string([to_string([@])])])", "to_string()"),
        ("join(a, b)", "join() takes a literal"),
    ],
)
def test_an_invalid_expression_is_refused(from_field: str, words: str) -> None:
    message = Expressions().check(from_field)
    assert message is not None
    assert words in message
    assert message in failure(from_field, {"a": 1})


@pytest.mark.parametrize("from_field", ["'x'.y", "!a.b", "to_number(path).x", "[a.b, length(c).d]"])
def test_an_expression_of_which_a_part_is_always_null_is_refused(from_field: str) -> None:
    assert "always null" in (Expressions().check(from_field) or "")


@pytest.mark.parametrize(
    ("transform", "value", "expected"),
    [
        (X.FIRST, [1, 2], 1),
        (X.LAST, [1, 2], 2),
        (X.TO_LIST, 1, [1]),
        (X.TO_LIST, [1], [1]),
        (X.TO_LIST, {"a": 1}, [{"a": 1}]),
        (X.FLATTEN, [1, [2, [3]], []], [1, 2, [3]]),
        (X.TO_STRING, "x", "x"),
        (X.TO_STRING, 1.5, "1.5"),
        (X.TO_STRING, True, "true"),
        (X.TO_STRING, {"ä": [1]}, '{"ä":[1]}'),
        (X.TO_INT, 5, 5),
        (X.TO_INT, "-7", -7),
        (X.TO_INT, " 42 ", 42),
        (X.TO_INT, 2.9, 2),
        (X.TO_INT, "-2.9", -2),
        (X.TO_INT, "1e3", 1000),
        (X.TO_INT, True, 1),
        (X.TO_INT, str(2**63 - 1), 2**63 - 1),
        (X.TO_FLOAT, 1, 1.0),
        (X.TO_FLOAT, "2.5", 2.5),
        (X.TO_FLOAT, ".5", 0.5),
        (X.TO_BOOL, True, True),
        (X.TO_BOOL, "YES", True),
        (X.TO_BOOL, "False", False),
        (X.TO_BOOL, "no", False),
        (X.TO_BOOL, "1", True),
        (X.TO_BOOL, 0, False),
        (X.TO_BOOL, 1.0, True),
        (X.JSON_ENCODE, {"a": [1, None]}, '{"a":[1,null]}'),
        (X.JSON_ENCODE, "x", '"x"'),
        (X.JSON_DECODE, '{"a": [1]}', {"a": [1]}),
        (X.JSON_DECODE, "null", None),
    ],
)
def test_a_transform_returns_the_transformed_value(transform: TransformType, value: Any, expected: Any) -> None:
    result = mapped("v", {"v": value}, transform)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("transform", "value", "words"),
    [
        (X.FIRST, [], "isn't empty"),
        (X.LAST, [], "isn't empty"),
        (X.FIRST, "abc", "a list, got a text"),
        (X.FLATTEN, {"a": 1}, "a list, got an object"),
        (X.TO_INT, "x", "got a text"),
        (X.TO_INT, "", "got an empty text"),
        (X.TO_INT, "1_000", "a number"),
        (X.TO_INT, "٣", "a number"),
        (X.TO_INT, [1], "got a list"),
        (X.TO_INT, 1e300, "64 bits"),
        (X.TO_INT, "9" * 5000, "64 bits"),
        (X.TO_INT, 2**63, "64 bits"),
        (X.TO_INT, float(2**63), "64 bits"),
        (X.TO_FLOAT, "nan", "a number"),
        (X.TO_FLOAT, "1e999", "finite"),
        (X.TO_BOOL, "maybe", "got a text"),
        (X.TO_BOOL, 2, "got a number"),
        (X.TO_BOOL, [], "got an empty list"),
        (X.JSON_DECODE, "{", "JSON"),
        (X.JSON_DECODE, "[" * 100 + "]" * 100, "64 levels"),
        (X.JSON_DECODE, '"\\u0000"', "NUL"),
        (X.JSON_DECODE, {"a": 1}, "got an object"),
        (X.PATH_TO_URL, 5, "path"),
        (X.PATH_TO_URL, "", "path"),
        (X.PATH_TO_DATA_URI, [], "path"),
        (X.PATH_TO_DATA_URI, ["a", 1], "path"),
    ],
)
def test_a_value_that_does_not_fit_a_transform_is_refused(transform: TransformType, value: Any, words: str) -> None:
    message = failure("v", {"v": value, "other": 1}, transform)
    assert f"'v' of step 'a' to 'x': {transform} needs" in message
    assert words in message
    assert "the result has v, other" in message


def test_every_transform_has_a_case_here() -> None:
    for transform in TransformType:
        definition = step(mapping("v", transform=transform))
        with pytest.raises(AttemptError):
            resolve(definition, {}, {"a": {}})


def test_deferred_transforms_are_left_to_the_engine() -> None:
    definition = step(mapping("p", "base_image_url", X.PATH_TO_URL), mapping("l", "u.v", X.PATH_TO_DATA_URI))
    inputs, deferred = resolve(definition, {"k": 1}, {"a": {"p": "media/1", "l": ["media/1", "media/2"]}})
    assert inputs == {"k": 1}
    assert deferred == [
        DeferredTransform("base_image_url", X.PATH_TO_URL, "media/1", "Mapping of 'p' of step 'a' to 'base_image_url'"),
        DeferredTransform("u.v", X.PATH_TO_DATA_URI, ["media/1", "media/2"], "Mapping of 'l' of step 'a' to 'u.v'"),
    ]


def test_mapped_values_override_config_and_change_nothing_else() -> None:
    definition = step(mapping("p", "a.b.c"), mapping("p", "a.d"), mapping("p", "flat"), mapping("p", "scalar.x"))
    base = {"a": {"b": {"c": 0, "keep": 1}}, "flat": 0, "scalar": 5, "timeout_s": 9}
    results = {"a": {"p": {"v": [1]}}}
    before = deepcopy((base, definition))
    inputs, _ = resolve(definition, base, results)
    assert inputs == {
        "a": {"b": {"c": {"v": [1]}, "keep": 1}, "d": {"v": [1]}},
        "flat": {"v": [1]},
        "scalar": {"x": {"v": [1]}},
    }
    put_input(inputs, "flat.v", 2)
    assert (base, definition) == before


def test_mapped_inputs_are_checked() -> None:
    inputs: dict[str, Any]
    for task_type, inputs in (
        (TaskType.REFINE, {"base_image_url": "media/1", "anything": object()}),
        (TaskType.LLM_INTERACTION, {"messages": [{"role": "user"}]}),
        (TaskType.PASSTHROUGH, {}),
    ):
        assert checked_inputs(task_type, inputs) == inputs
    with pytest.raises(AttemptError) as caught:
        checked_inputs(TaskType.REFINE, {"upscale_factor": 9, "base_image_url": None})
    assert str(caught.value) == "Refused inputs: upscale_factor: Expected a number <= 8; base_image_url: required"
    assert not caught.value.retryable
    assert not caught.value.provider_fault


def test_an_integral_float_of_an_integer_field_reaches_the_provider_as_an_integer() -> None:
    mapped_inputs = {"prompt": "x", "width": 512.0, "seed": 7.0, "num_steps": 30.0, "style_lora_weight": 1.0}
    inputs = checked_inputs(TaskType.GENERATION, mapped_inputs)
    assert {name: (value, type(value)) for name, value in inputs.items() if name != "prompt"} == {
        "width": (512, int),
        "seed": (7, int),
        "num_steps": (30.0, float),  # not a field that Stepwell knows
        "style_lora_weight": (1.0, float),
    }


LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=9)
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner), max_leaves=5)


@example("``", {}, None)
@given(
    st.text(min_size=1, max_size=30),
    st.dictionaries(st.text(max_size=5), JSON),
    st.sampled_from([None, *TransformType]),
)
def test_any_from_field_is_refused_or_fails_the_attempt(from_field: str, result: Any, transform: Any) -> None:
    Expressions().check(from_field)
    before = deepcopy(result)
    try:
        resolve(step(mapping(from_field, transform=transform)), {}, {"a": result})
    except AttemptError as error:
        assert not error.retryable  # noqa: PT017
    assert result == before
