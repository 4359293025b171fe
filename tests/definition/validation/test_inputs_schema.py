"""`inputs` and their schema: every fault has its place, and none contains a value of the inputs."""

from typing import Any

import pytest
from msgspec import json

from stepwell.basics.errors import Fault
from stepwell.definition.validation.inputs_schema import InputsToCheck, check_inputs
from support.workflows.definitions import body, faults, join, validate

SIZE = {"type": "integer", "minimum": 1}


def checked(schema: dict[str, Any], inputs: dict[str, Any]) -> list[tuple[tuple[str | int, ...], str, str]]:
    found = json.decode(check_inputs(json.encode(InputsToCheck(schema, inputs))), type=list[Fault])
    return [(fault.loc[1:], fault.type, fault.msg) for fault in found]


@pytest.mark.parametrize(
    ("schema", "inputs", "expected"),
    [
        ({"properties": {"n": SIZE}}, {"n": 3}, []),
        ({"properties": {"n": SIZE}}, {"n": 3.0}, []),
        ({"properties": {"n": SIZE}}, {"n": "s"}, [(("inputs", "n"), "schema_mismatch", 'Expected type "integer"')]),
        ({"properties": {"n": SIZE}}, {"n": 0}, [(("inputs", "n"), "schema_mismatch", "Expected minimum 1")]),
        ({"required": ["a", "b"]}, {"b": 1}, [(("inputs", "a"), "missing", "Field required")]),
        (
            {"properties": {"a": {}}, "additionalProperties": False, "patternProperties": {"^x": {}}},
            {"a": 1, "x1": 1, "b": 1, "c": 2},
            [
                (("inputs", "b"), "extra_forbidden", "The schema knows no member of this name"),
                (("inputs", "c"), "extra_forbidden", "The schema knows no member of this name"),
            ],
        ),
        (
            {"properties": {"l": {"items": {"enum": ["a", "b"]}}}},
            {"l": ["a", "secret"]},
            [(("inputs", "l", 1), "schema_mismatch", 'Expected enum ["a","b"]')],
        ),
        (
            {"properties": {"a": False}},
            {"a": 1},
            [(("inputs",), "schema_mismatch", "The schema permits no value here")],
        ),
        ({"$defs": {"s": SIZE}, "properties": {"n": {"$ref": "#/$defs/s"}}}, {"n": 1}, []),
        (
            {
                "$schema": "http://json-schema.org/draft-07/schema#",
                "definitions": {"s": SIZE},
                "properties": {"n": {"$ref": "#/definitions/s"}},
            },
            {"n": 0},
            [(("inputs", "n"), "schema_mismatch", "Expected minimum 1")],
        ),
    ],
)
def test_inputs_fit_their_schema_or_have_faults(
    schema: dict[str, Any], inputs: dict[str, Any], expected: list[Any]
) -> None:
    assert checked(schema, inputs) == expected


@pytest.mark.parametrize(
    ("schema", "place", "message"),
    [
        ({"type": "intger"}, ("inputs_schema", "type"), "Not a JSON Schema: expected one of array, boolean, int"),
        ({"properties": {"a": {"minimum": "1"}}}, ("inputs_schema", "properties", "a", "minimum"), "Not a JSON Schema"),
        ({"properties": {"a": {"pattern": "("}}}, ("inputs_schema", "properties", "a", "pattern"), "Not a JSON Schema"),
        ({"properties": {"a": {"$ref": "#/nope"}}}, ("inputs_schema",), "A reference in it leads to nothing"),
        ({"properties": {"a": {"$ref": "#/properties/a"}}}, ("inputs_schema",), "It refers to itself without end"),
    ],
)
def test_what_is_no_schema_is_refused_at_its_place(schema: Any, place: Any, message: str) -> None:
    ((loc, type_, found),) = checked(schema, {"a": 1})
    assert (loc, type_) == (place, "bad_schema")
    assert message in found


DRAFT_3 = "http://json-schema.org/draft-03/schema#"


@pytest.mark.parametrize(
    "schema",
    [
        {"$schema": ["x"]},
        {"$schema": 3},
        {"properties": {"a": {"pattern": "a{99999999999999999999}"}}},
        {"patternProperties": {"a{99999999999999999999}": {}}},
        {"properties": {"a": {"pattern": "(" * 5_000 + ")" * 5_000}}},
        {"properties": {"a": {"$ref": "#/const"}}, "const": {"type": "nosuch"}},
        {"properties": {"a": {"$ref": "#/const"}}, "const": {"additionalProperties": False, "properties": 3}},
    ],
)
def test_a_schema_that_the_validator_fails_over_is_refused(schema: dict[str, Any]) -> None:
    ((loc, type_, _),) = checked(schema, {"a": {"b": 1}})
    assert (loc[0], type_) == ("inputs_schema", "bad_schema")


def test_required_has_the_meaning_of_each_draft() -> None:
    missing = [(("inputs", "a"), "missing", "Field required")]
    assert checked({"$schema": DRAFT_3, "properties": {"a": {"required": True}}}, {}) == missing
    no_names = {"properties": {"a": {"$ref": "#/default"}}, "default": {"required": [1, None]}}
    assert checked(no_names, {"a": {}}) == [(("inputs", "a"), "schema_mismatch", "Expected required [1,null]")]


def test_a_fault_shows_the_beginning_of_a_long_name_only() -> None:
    inputs = {"k" * 500_000: [1] * 100}
    schema = {"additionalProperties": {"items": {"type": "string"}}}
    assert len(check_inputs(json.encode(InputsToCheck(schema, inputs)))) < 50_000
    assert len(check_inputs(json.encode(InputsToCheck({"required": ["k" * 60_000]}, {})))) < 1_000


def test_faults_are_bounded() -> None:
    assert len(checked({"properties": {"l": {"items": {"type": "string"}}}}, {"l": list(range(5_000))})) == 50


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"inputs": [1]}, [(("inputs",), "dict_type")]),
        ({"inputs_schema": True}, [(("inputs_schema",), "dict_type")]),
        ({"inputs": {"x": "y" * 1_100_000}}, [(("inputs",), "too_long")]),
        ({"inputs_schema": {"description": "y" * 66_000}}, [(("inputs_schema",), "too_long")]),
        (
            {"inputs_schema": {"allOf": [{"$ref": "http://127.0.0.1/x"}], "items": {"$dynamicRef": "x#y"}}},
            [
                (("inputs_schema", "items", "$dynamicRef"), "remote_reference"),
                (("inputs_schema", "allOf", 0, "$ref"), "remote_reference"),
            ],
        ),
    ],
)
def test_inputs_and_schemas_of_another_form_are_refused(members: dict[str, Any], expected: Any) -> None:
    assert faults(body(join("a"), **members)) == expected


def test_null_means_that_there_are_no_inputs() -> None:
    request = validate(body(join("a"), inputs=None, inputs_schema=None)).request
    assert (request.inputs, request.inputs_schema) == ({}, None)


def test_a_member_named_ref_and_data_are_no_references() -> None:
    schema = {"properties": {"$ref": {"type": "string"}}, "const": {"$ref": "http://x"}, "default": {"$ref": "y"}}
    assert validate(body(join("a"), inputs_schema=schema)).request.inputs_schema == schema


@pytest.mark.parametrize(
    ("schema", "inputs"),
    [
        ({"required": ["a"]}, {}),
        ({"minProperties": 2}, {"a": 1}),
        ({"dependentRequired": {"a": ["b"]}}, {"a": 1}),
        ({"properties": {"a": {"required": ["b"]}}}, {"a": {}}),
        ({"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, {}),
        ({"oneOf": [{"required": ["a"]}, {"properties": {"b": {"type": "string"}}}]}, {"b": 1}),
        ({"allOf": [{"required": ["a"]}, {"anyOf": [{"oneOf": [{"required": ["b"]}]}]}]}, {}),
        ({"if": {"required": ["a"]}, "then": {"required": ["b"]}}, {"a": 1}),
    ],
)
def test_inputs_that_lack_members_fit_as_long_as_more_may_follow(
    schema: dict[str, Any], inputs: dict[str, Any]
) -> None:
    assert json.decode(check_inputs(json.encode(InputsToCheck(schema, inputs))))
    assert json.decode(check_inputs(json.encode(InputsToCheck(schema, inputs, partial=True)))) == []


@pytest.mark.parametrize(
    ("schema", "inputs"),
    [
        ({"properties": {"a": {"type": "string"}}, "required": ["b"]}, {"a": 1}),
        ({"anyOf": [{"properties": {"a": {"type": "string"}}, "required": ["b"]}]}, {"a": 1}),
        ({"properties": {"a": {"minItems": 1}}}, {"a": []}),
        ({"additionalProperties": False, "required": ["a"]}, {"b": 1}),
        ({"type": "nothing", "required": ["a"]}, {}),
    ],
)
def test_what_is_there_must_fit_also_if_more_may_follow(schema: dict[str, Any], inputs: dict[str, Any]) -> None:
    faults = json.decode(check_inputs(json.encode(InputsToCheck(schema, inputs, partial=True))), type=list[Fault])
    assert faults
    assert "missing" not in {fault.type for fault in faults}
