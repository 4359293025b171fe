"""The member `repeat` of a step: what is refused, and at which place."""

from typing import Any

import pytest
from msgspec import structs

from stepwell.contract.definition import Repeat
from stepwell.contract.enums import ProviderType
from stepwell.definition.mapping.expressions import expressions_of
from stepwell.lifecycle.steps import FlowControl, RepeatRule, StepMembers
from support.workflows.definitions import CATALOG, body, draw, faults_of, join, validate

REPEAT = ("body", "steps", 0, "repeat")


def repeating(**repeat: Any) -> dict[str, Any]:
    return body(join("a", repeat={"until": "score > `1`", "max": 3} | repeat))


def test_a_step_that_repeats_is_planned_with_its_repetition() -> None:
    validated = validate(repeating(best="score"))
    assert validated.steps[0].flow == FlowControl(repeat=RepeatRule(3, has_best=True))
    assert validated.request.steps[0].repeat == Repeat(until="score > `1`", max=3, best="score")


@pytest.mark.parametrize(
    ("repeat", "place", "type_", "message"),
    [
        ({"until": "score >"}, "until", "bad_expression", "score >"),
        ({"best": "sum("}, "best", "bad_expression", "sum("),
        ({"until": "'x'.y"}, "until", "bad_expression", "so this is always null"),
        ({"best": "length(score).x"}, "best", "bad_expression", "so this is always null"),
        ({"until": "${score}"}, "until", "bad_expression", "until is one whole expression: write it without ${ and }"),
        ({"until": ""}, "until", "too_short", "Expected a string of length >= 1"),
        ({"until": 5}, "until", "string_type", ""),
        ({"max": 0}, "max", "", ""),
        ({"max": 21}, "max", "", ""),
        ({"while": "x"}, "while", "", ""),
    ],
)
def test_a_faulty_repetition_is_refused(repeat: dict[str, Any], place: str, type_: str, message: str) -> None:
    (fault,) = faults_of(repeating(**repeat))
    assert fault.loc == (*REPEAT, place)
    assert type_ in ("", fault.type)
    assert message in fault.msg


@pytest.mark.parametrize("missing", ["until", "max"])
def test_until_and_max_are_needed(missing: str) -> None:
    sent = repeating()
    del sent["steps"][0]["repeat"][missing]
    (fault,) = faults_of(sent)
    assert fault.loc == (*REPEAT, missing)


@pytest.mark.parametrize(
    ("until", "refused"),
    [
        ("seed > `7`", False),
        ("seedd > `7`", True),
        ("seedd > `7` || seed", False),
        ("keys(@)", False),
        ("`true`", False),
    ],
)
def test_an_expression_that_reads_nothing_of_the_result_is_refused(until: str, *, refused: bool) -> None:
    outputs = {ProviderType.LOCAL: lambda *_: StepMembers(outputs=frozenset({"seed", "result_image_path"}))}
    catalog = structs.replace(CATALOG, members=outputs)
    sent = body(draw(repeat={"until": until, "max": 2}))
    if not refused:
        validate(sent, catalog)
        return
    (fault,) = faults_of(sent, catalog)
    assert (fault.loc, fault.type) == ((*REPEAT, "until"), "unknown_output")
    assert "has no seedd; did you mean seed?" in fault.msg


def test_expressions_of_repetitions_are_among_those_that_a_child_process_parses() -> None:
    assert expressions_of(repeating(best="score")) == ["score > `1`", "score"]
