"""A definition with too many dependencies is refused before it is decoded, and no other definition is."""

from typing import Any

import pytest
from msgspec import json

from stepwell.basics.errors import InvalidRequest
from stepwell.basics.strict_json.decode import decode_body
from stepwell.definition.validation.dependency_count import check_dependency_count
from stepwell.definition.validation.graph import MAX_DEPENDENCIES
from stepwell.definition.validation.sub_workflow_rules import MAX_DEPTH
from support.workflows.definitions import body, faults, join, mapped, validate

SOURCES = [f"s{number}" for number in range(1_000)]


def many(readers: int, *, by_mapping: bool = False) -> list[dict[str, Any]]:
    """So many steps that each need 1,000 others."""
    mappings = [mapped(each, "x", each) for each in SOURCES]
    needs: dict[str, Any] = {"input_mappings": mappings} if by_mapping else {"depends_on": SOURCES}
    return [*map(join, SOURCES), *({**join(f"r{number}"), **needs} for number in range(readers))]


def sub(step_id: str, steps: list[dict[str, Any]], *needs: str) -> dict[str, Any]:
    definition = {"name": "n", "steps": steps}
    return {"id": step_id, "task_type": "SUBWORKFLOW", "depends_on": list(needs), "config": {"workflow": definition}}


def refusals(definition: object) -> list[tuple[Any, ...]]:
    """The faults that are found before decoding, without `body`."""
    try:
        check_dependency_count(definition if isinstance(definition, bytes) else json.encode(definition))
    except InvalidRequest as error:
        return [(fault.loc[1:], fault.type) for fault in error.faults]
    return []


@pytest.mark.parametrize(
    ("definition", "place"),
    [
        (body(*many(101)), ("steps", 1_100)),
        (body(*many(101, by_mapping=True)), ("steps", 1_100)),
        (
            body(*many(50), sub("a", many(50)), sub("b", [join("x"), join("y", "x")])),
            ("steps", 1_051, "config", "workflow", "steps", 1),
        ),
        (
            body(*many(1), sub("a", [sub("deep", many(100))])),
            ("steps", 1_001, "config", "workflow", "steps", 0, "config", "workflow", "steps", 1_099),
        ),
    ],
    ids=["declared", "mapped", "of sub-workflows", "of a sub-workflow in one"],
)
def test_more_dependencies_than_allowed_are_refused_at_their_place(
    definition: dict[str, Any], place: tuple[Any, ...]
) -> None:
    expected = [((*place, "depends_on"), "too_many_dependencies")]
    assert refusals(definition) == expected
    assert faults(definition) == expected


def nested(levels: int) -> dict[str, Any]:
    inner = join("a", config={"text": "," * MAX_DEPENDENCIES})
    return inner if levels == 0 else sub("a", [nested(levels - 1)])


def test_steps_beyond_the_most_and_definitions_that_are_too_deep_are_refused_unread() -> None:
    large = {"inputs": {"text": "," * MAX_DEPENDENCIES}}
    subs = [sub(f"s{number}", [join("a")] * 2_500) for number in range(4)]
    assert refusals(body(*subs[:3], **large)) == []
    assert refusals(body(*subs, **large)) == faults(body(*subs)) == [(("steps",), "too_long")]
    assert refusals(body(nested(MAX_DEPTH))) == []
    place = ("steps", 0, "config", "workflow") * (MAX_DEPTH + 1)
    assert refusals(body(nested(MAX_DEPTH + 1))) == faults(body(nested(MAX_DEPTH + 1))) == [(place, "too_deep")]


def test_as_many_as_allowed_are_accepted() -> None:
    twice = {**join("twice", *SOURCES), "input_mappings": [mapped(each, "x", each) for each in SOURCES]}
    for definition in (body(*many(99), twice), body(*many(50), sub("a", many(50)))):
        assert refusals(definition) == []
        validate(definition)


def test_a_list_that_is_no_list_of_dependencies_is_not_counted() -> None:
    names = ["x"] * (MAX_DEPENDENCIES + 1)
    data = {"depends_on": names, "steps": [{"depends_on": names}]}
    assert refusals(body(join("a", config=data))) == []
    assert refusals(body(join("a", config={"workflow": data}))) == []


def test_faulty_dependencies_count_too() -> None:
    """Each of them is a fault, and a million messages would take longer than one."""
    assert refusals(body(join("a", *["a"] * (MAX_DEPENDENCIES + 1)))) == [
        (("steps", 0, "depends_on"), "too_many_dependencies")
    ]


@pytest.mark.parametrize(
    "text",
    [
        b"[%s]" % b",".join([b"1"] * 200_000),
        b'{"steps":%s}' % (b"[" * 200_000),
        b'{"steps":{"a":[%s]}}' % b",".join([b'""'] * 200_000),
        b'{"steps":[null,1,{"depends_on":{"a":[%s]}}]}' % b",".join([b'""'] * 50_000),
        b'{"steps":[{"depends_on":["%s]}' % (b"," * 200_000),
    ],
    ids=["list", "deep", "object", "odd steps", "cut off"],
)
def test_what_can_not_be_read_is_left_to_validation(text: bytes) -> None:
    assert refusals(text) == []


def test_a_name_may_have_commas_and_brackets() -> None:
    definition = body(join("a", "," * 200_000))
    assert refusals(definition) == []
    assert decode_body(json.encode(definition)) == definition
