"""The questions that a terminal asks for the inputs of a schema, and the values that texts mean."""

from typing import Any

import pytest
from msgspec import UNSET
from msgspec.json import decode

from stepwell.cli.workflow_commands.input_questions import Question, faults_of, questions_of, text_of, value_of
from stepwell.examples import read_examples

NAMES = {"$defs": {"name": {"type": "string", "title": "A name"}, "tree": {"type": "object"}}}


def question(schema: Any, inputs: dict[str, Any] | None = None, root: dict[str, Any] | None = None) -> Question:
    """The question for the property *a* that has this schema."""
    (found,) = questions_of({**(root or {}), "properties": {"a": schema}}, inputs or {})
    return found


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "string"}, "text"),
        ({"type": ["string", "null"]}, "text"),
        ({"anyOf": [{"type": "string", "maxLength": 3}, {"type": "null"}]}, "text"),
        ({"type": "number", "minimum": 0}, "number"),
        ({"type": "integer"}, "integer"),
        ({"type": "boolean"}, "yes or no"),
        ({"enum": ["red", 7, None]}, "choice"),
        ({"type": "string", "enum": ["red"]}, "choice"),
        ({"const": "red"}, "choice"),
        ({"type": "string", "format": "artifact", "contentMediaType": "image/*"}, "file"),
        ({"type": "string", "format": "date-time"}, "text"),
        ({"type": "array", "items": {"type": "string"}}, "list"),
        ({"type": "array"}, "JSON"),
        ({"type": "array", "items": True}, "JSON"),
        ({"type": "array", "prefixItems": [{}], "items": {}}, "JSON"),
        ({"type": "object", "properties": {"b": {}}}, "object"),
        ({"type": "object"}, "JSON"),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "JSON"),
        ({"type": ["string", "integer"]}, "JSON"),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, "JSON"),
        ({"$ref": "#/$defs/name"}, "text"),
        ({"$ref": "#/$defs/missing"}, "JSON"),
        ({"anyOf": [{"$ref": "#/$defs/name"}, {"type": "null"}]}, "text"),
        ({}, "JSON"),
        (True, "JSON"),
    ],
)
def test_a_schema_has_a_kind_of_question_and_else_json(schema: Any, kind: str) -> None:
    assert question(schema, root=NAMES).kind == kind


def test_a_question_has_the_words_of_the_schema_and_a_preset() -> None:
    root = {**NAMES, "required": ["a"]}
    found = question({"$ref": "#/$defs/name", "description": "Whose?", "default": "Ada"}, root=root)
    assert (found.title, found.description, found.preset, found.is_required) == ("A name", "Whose?", "Ada", True)
    assert question({"default": 7}, {"a": 8}).preset == 8
    assert question({"default": 7}, {"a": None}).preset == 7
    assert question({}).preset is UNSET
    assert (question({}).title, question({}).is_required) == ("a", False)
    file = {"type": "string", "format": "artifact", "contentMediaType": "image/png"}
    assert question(file).media_type == "image/png"


def test_the_members_of_an_object_and_the_items_of_a_list_are_questions() -> None:
    size = {"type": "object", "required": ["w"], "properties": {"w": {"type": "integer"}, "h": {"default": 1}}}
    found = question({"type": "array", "items": size})
    (item,) = found.parts
    assert [(each.name, each.kind, each.is_required, each.preset) for each in item.parts] == [
        ("w", "integer", True, UNSET),
        ("h", "JSON", False, 1),
    ]
    assert [each.preset for each in question(size, {"a": {"w": 2}}).parts] == [2, 1]


TEXT, TEXTS = {"type": "string"}, {"type": "array", "items": {"type": "string"}}
ADDRESS = {"type": "object", "properties": {"street": TEXT, "city": TEXT}}


@pytest.mark.parametrize(
    ("schema", "kinds"),
    [
        (
            {"properties": {"firstName": TEXT, "lastName": TEXT, "age": {"type": "integer", "minimum": 0}}},
            "text text integer",
        ),
        (
            {
                "properties": {"fruits": TEXTS, "vegetables": {"type": "array", "items": {"$ref": "#/$defs/veggie"}}},
                "$defs": {"veggie": {"required": ["veggieName"], "properties": {"veggieName": TEXT}, "type": "object"}},
            },
            "list(text) list(object(text))",
        ),
        ({"properties": {"data": {"enum": [42, True, "hello", None, [1, 2, 3]]}}}, "choice"),
        ({"properties": {"code": {"type": "string", "pattern": "^[A-Z]{3}-\\d{3}$"}}}, "text"),
        ({"properties": {"name": TEXT, "address": ADDRESS, "hobbies": TEXTS}}, "text object(text text) list(text)"),
        (
            {
                "properties": {"name": TEXT, "credit_card": {"type": "number"}, "billing_address": TEXT},
                "dependentRequired": {"credit_card": ["billing_address"]},
            },
            "text number text",
        ),
        (
            {
                "properties": {"isMember": {"type": "boolean"}, "membershipNumber": TEXT},
                "if": {"properties": {"isMember": {"const": True}}},
                "then": {"properties": {"membershipNumber": {"minLength": 10, "maxLength": 10}}},
            },
            "yes or no text",
        ),
        (
            {
                "properties": {
                    "latitude": {"type": "number", "minimum": -90, "maximum": 90},
                    "longitude": {"type": "number"},
                }
            },
            "number number",
        ),
        (
            {
                "properties": {"title": TEXT, "genre": {"type": "string", "enum": ["Action", "Comedy"]}, "cast": TEXTS},
                "additionalProperties": False,
            },
            "text choice list(text)",
        ),
        (
            {
                "properties": {"items": {"type": "array", "items": {"$ref": "#ProductSchema"}}},
                "$defs": {"product": {"$anchor": "ProductSchema", "type": "object"}},
            },
            "list(JSON)",
        ),
        ({"required": ["unlisted"], "properties": {"tags": {**TEXTS, "uniqueItems": True}}}, "list(text) JSON"),
        ({"properties": {"contact": {"oneOf": [ADDRESS, TEXT]}}}, "JSON"),
        ({"$ref": "#/$defs/all", "$defs": {"all": ADDRESS}}, "text text"),
        ({"$ref": "https://example.com/smartphone.schema.json"}, ""),
        ({}, ""),
    ],
)
def test_schemas_as_json_schema_shows_them_are_forms(schema: dict[str, Any], kinds: str) -> None:
    assert shape(questions_of(schema, {})) == kinds


def shape(found: tuple[Question, ...]) -> str:
    """The kinds of the questions, with those of their parts."""
    return " ".join(f"{each.kind}({shape(each.parts)})" if each.parts else each.kind for each in found)


def test_a_schema_that_refers_to_itself_ends_in_json() -> None:
    tree = {"type": "object", "properties": {"below": {"$ref": "#/$defs/tree"}}}
    found, depth = question({"$ref": "#/$defs/tree"}, root={"$defs": {"tree": tree}}), 0
    while found.parts:
        (found,), depth = found.parts, depth + 1
    assert (found.kind, depth) == ("JSON", 4)


@pytest.mark.parametrize(
    ("schema", "text", "expected"),
    [
        ({"type": "string"}, "7", "7"),
        ({"type": "number"}, "1.5", 1.5),
        ({"type": "number"}, "2", 2),
        ({"type": "number"}, "x", ValueError("Expected a number")),
        ({"type": "integer"}, "-3", -3),
        ({"type": "integer"}, "1.5", ValueError("Expected an integer")),
        ({"type": "integer"}, "1_0", ValueError("Expected an integer")),
        ({"type": "boolean"}, "Y", True),
        ({"type": "boolean"}, "no", False),
        ({"type": "boolean"}, "0", ValueError("Expected yes or no")),
        ({"enum": ["red", 7, None]}, "red", "red"),
        ({"enum": ["red", 7, None]}, "2", 7),
        ({"enum": ["red", 7, None]}, "7", 7),
        ({"enum": ["red", 7, None]}, "null", None),
        ({"enum": ["2", "1"]}, "2", "2"),
        ({"enum": ["red", 7, None]}, "4", ValueError("Expected a choice, or its number from 1 to 3")),
        ({"enum": ["red"]}, "0", ValueError("Expected a choice, or its number from 1 to 1")),
        ({}, '{"a": [1]}', {"a": [1]}),
        ({}, "red", ValueError('Expected JSON, like 5, "a text" or {"a": [1, 2]}')),
        ({}, "[" * 5_000, ValueError('Expected JSON, like 5, "a text" or {"a": [1, 2]}')),
        ({"type": "string", "format": "artifact"}, "a.png", "a.png"),
    ],
)
def test_a_text_means_a_value_or_is_refused(schema: Any, text: str, expected: Any) -> None:
    found = question(schema)
    if isinstance(expected, ValueError):
        with pytest.raises(ValueError) as refused:  # noqa: PT011 - the whole message is compared
            value_of(found, text)
        assert str(refused.value) == str(expected)
    else:
        value = value_of(found, text)
        assert (value, type(value)) == (expected, type(expected))
        assert value_of(found, text_of(value)) == value


def test_an_answer_is_checked_by_its_schema_alone() -> None:
    schema = {"required": ["a", "b"], "properties": {"a": {"type": "string", "minLength": 2}}}
    assert faults_of(schema, "a", "xy") == []
    (fault,) = faults_of(schema, "a", "x")
    assert (fault.loc, fault.msg) == (("body", "inputs", "a"), "Expected minLength 2")


@pytest.mark.parametrize("name", ["backgrounds", "better-prompt", "quality-gate", "styles"])
def test_a_form_shows_all_inputs_of_the_examples_that_are_to_be_stored(name: str) -> None:
    definition = decode(read_examples()[name].text)
    found = questions_of(definition["inputs_schema"], definition["inputs"])
    assert {each.name for each in found} == set(definition["inputs"])
    every = [*found, *(part for each in found for part in each.parts)]
    assert [each for each in every if each.kind == "JSON" or each.title == ""] == []
