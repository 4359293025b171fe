"""A part of an expression that is always null is found, and no part that may have a value."""

from typing import Any

import pytest

from stepwell.definition.mapping.expressions import Compiled, NothingFound, analyse, compile_expression, value_of
from stepwell.definition.mapping.work_budget import WorkBudget

DATA: dict[str, Any] = {
    "draw": {"files": ["a", "b"], "nested": [["a"], ["b"]], "size": {"w": 1}, "text": "x"},
    "sub": {"results": {"draw": {"file": "a"}}, "items": [{"results": {"draw": {"file": "a"}}}]},
    "inputs": {"names": ["a"], "by_name": {"a": {"x": 1}}},
    "workflow": {"id": "1", "name": "n", "labels": {"a": "b"}, "config": {"x": [1]}},
    "item": [[1], {"x": 1}],
}


def value(expression: str) -> Any:
    compiled = compile_expression(expression)
    assert isinstance(compiled, Compiled), compiled
    try:
        return value_of(compiled, DATA, WorkBudget(10_000))
    except NothingFound:
        return None


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("'x'.y", "A text, a number"),
        ("'x'[0]", "A text, a number"),
        ("'x'[*]", "A text, a number"),
        ("'x'[]", "A text, a number"),
        ("'x'[?y]", "A text, a number"),
        ("'x'[1:]", "A text, a number"),
        ("'x'.*", "A text, a number"),
        ("'x' | y", "A text, a number"),
        ("`1`.a", "A text, a number"),
        ("`[1]`.a", "A list"),
        ('`{"a": 1}`[0]', "This is an object"),
        ("length(draw.files).x", "A text, a number"),
        ("to_string(draw)[0]", "A text, a number"),
        ("keys(draw).x", "A list"),
        ("[draw.text, draw.size].w", "A list"),
        ("draw.files[*].x | y", "A list"),
        ("{a: draw}[0]", "This is an object"),
        ("(draw.text == 'x').y", "A text, a number"),
        ("!draw.text", "! binds tighter"),
        ('"draw"[0]', "'draw' is an object"),
        ("draw[*].files", "'draw' is an object"),
        ("(draw || sub)[0]", "This is an object"),
        ("[0]", "This is an object"),
        ("@[]", "This is an object"),
        ("workflow.name.x", "A text, a number"),
        ("workflow.labels[0]", "This is an object"),
        ("draw.files[?'x'.y]", "A text, a number"),
        ("sort_by(sub.items, &'x'.y)", "A text, a number"),
    ],
)
def test_a_part_that_is_always_null_is_found(expression: str, why: str) -> None:
    found = analyse(expression).null_part
    assert found is not None
    assert found.startswith(why)
    assert value(expression) in (None, [])


@pytest.mark.parametrize(
    "expression",
    [
        "item[0][0]",
        "item[*].x",
        "item[]",
        "draw.files[0]",
        "draw.nested[].x || draw.nested[][0]",
        "draw.nested[*][0]",
        "draw.size.*",
        "*.text",
        "values(@)[0].text",
        "[draw, sub][0].text",
        "{a: draw}.a.text",
        "(draw.text || 'x')",
        "(inputs.none || draw.files)[0]",
        "(inputs.none || draw.size).w",
        "not_null(inputs.none, draw.files)[0]",
        "max_by(sub.items, &results.draw.file).results",
        "reverse(draw.files)[0]",
        "merge(draw, sub).text",
        "map(&results, sub.items)[0].draw",
        "to_array(draw.text)[0]",
        "workflow.labels.a",
        "workflow.config.x[0]",
        "inputs.by_name.*.x | [0]",
        '`{"a": [1]}`.a[0]',
        "`[{}]`[0]",
    ],
)
def test_a_part_that_may_have_a_value_is_accepted(expression: str) -> None:
    assert analyse(expression).null_part is None
    assert value(expression) is not None


def test_the_result_of_a_step_has_values_of_any_kind() -> None:
    for expression in ("files[0]", "size.w", "text", "[0]"):
        assert analyse(expression).null_in_result is None
    assert analyse("length(files).x").null_in_result is not None


@pytest.mark.parametrize(
    ("expression", "reads"),
    [
        ("draw.files[0]", [("draw", "files")]),
        ("[draw.files, draw.size.w]", [("draw", "files"), ("draw", "size.w")]),
        ("{a: draw.text, b: [sub.results.draw]}", [("draw", "text"), ("sub", "results.draw")]),
        ("draw.{a: text}", [("draw", "text")]),
        ("draw | text", [("draw", "text")]),
        ("draw.score > `5` && !(draw.text)", [("draw", "score"), ("draw", "text")]),
        ("contains(draw.files, inputs.name)", [("draw", "files"), ("inputs", "name")]),
        ('sub.items[*].results."a-b".file', [("sub", 'items[*].results."a-b".file')]),
        ("sub.items[].results.draw", [("sub", "items[*].results.draw")]),
        ("draw.nope || draw.text", [("draw", "text")]),
        ("not_null(draw.nope, draw.text)", []),
        ("draw", []),
        ("item.x", []),
        ("*.text", []),
    ],
)
def test_the_fields_without_a_default_that_an_expression_reads(expression: str, reads: list[tuple[str, str]]) -> None:
    assert sorted(_fields(expression)) == reads


def _fields(expression: str) -> list[tuple[str, str]]:
    """The longest of those that are read."""
    found = analyse(expression).reads
    return [each for each in found if not any(other != each and other[1].startswith(each[1]) for other in found)]
