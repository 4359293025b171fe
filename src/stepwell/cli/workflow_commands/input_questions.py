"""The questions of a form: what a terminal asks for the inputs that a JSON Schema describes.

What must hold:
- Each property has one question. What no other kind of question fits, like alternatives of two types, is asked as JSON.
- A value of the stored inputs is the question's preset, or else the `default` of the schema. null is no preset.
- The check of a value is that of the service, so a form refuses nothing that the service accepts.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

from msgspec import UNSET, DecodeError, Struct, ValidationError, json

from stepwell.basics.errors import Fault
from stepwell.definition.validation.inputs_schema import InputsToCheck, check_inputs

_MAX_DEPTH: Final = 4  # of objects and lists in each other: a schema may refer to itself
_YES_NO: Final = {"yes": True, "y": True, "true": True, "no": False, "n": False, "false": False}


class Kind(StrEnum):
    TEXT = "text"
    NUMBER = "number"
    INTEGER = "integer"
    CHOICE = "choice"
    YES_NO = "yes or no"
    FILE = "file"
    LIST = "list"
    OBJECT = "object"
    JSON = "JSON"


_KINDS: Final = {
    "string": Kind.TEXT,
    "number": Kind.NUMBER,
    "integer": Kind.INTEGER,
    "boolean": Kind.YES_NO,
    "array": Kind.LIST,
    "object": Kind.OBJECT,
}
_DECODED: Final = {Kind.NUMBER: (int | float, "a number"), Kind.INTEGER: (int, "an integer")}


class Question(Struct, frozen=True, kw_only=True):
    """A question for the value *name*. `parts` are those for the members of an object, or the one for a list's items.

    `preset` is UNSET without one.
    """

    name: str
    title: str
    description: str
    kind: Kind
    is_required: bool
    preset: Any = UNSET
    choices: tuple[Any, ...] = ()
    media_type: str | None = None
    parts: tuple["Question", ...] = ()


def questions_of(schema: Mapping[str, Any], inputs: Mapping[str, Any]) -> tuple[Question, ...]:
    """Return a question for each property of *schema*. *inputs* are the stored ones."""
    return _members({**resolved(schema, schema), **schema}, schema, inputs, 0)


def value_of(question: Question, text: str) -> Any:
    """Return the value that *text* means. Raises ValueError, which says what was expected."""
    match question.kind:
        case Kind.TEXT | Kind.FILE:
            return text
        case Kind.CHOICE:
            texts = [*map(text_of, question.choices)]
            number = int(text) - 1 if text.isascii() and text.isdecimal() else -1
            index = texts.index(text) if text in texts else number
            if not 0 <= index < len(texts):
                raise ValueError(f"Expected a choice, or its number from 1 to {len(texts)}")
            return question.choices[index]
        case Kind.YES_NO:
            if text.lower() not in _YES_NO:
                raise ValueError("Expected yes or no")
            return _YES_NO[text.lower()]
    kind, expected = _DECODED.get(question.kind, (Any, 'JSON, like 5, "a text" or {"a": [1, 2]}'))
    try:
        return json.decode(text, type=kind)
    except (DecodeError, ValidationError, RecursionError):
        raise ValueError(f"Expected {expected}") from None


def text_of(value: Any) -> str:
    """Return the text that `value_of` reads as *value*."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.encode(value).decode()


def faults_of(schema: Mapping[str, Any], name: str, value: Any) -> list[Fault]:
    """Return the faults of one input by *schema*."""
    checked = check_inputs(json.encode(InputsToCheck(dict(schema), {name: value}, partial=True)))
    return json.decode(checked, type=list[Fault])


def resolved(schema: object, root: object) -> Mapping[str, Any]:
    """Return *schema*, or what its `$ref` names in the schema *root*. One reference is resolved."""
    reference = schema.get("$ref") if isinstance(schema, dict) else None
    if isinstance(reference, str) and reference.startswith("#/"):
        schema = root
        for part in reference[2:].split("/"):
            schema = schema.get(part) if isinstance(schema, dict) else None
    return schema if isinstance(schema, dict) else {}


def properties(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    members = schema.get("properties")
    return members if isinstance(members, dict) else {}


def alternatives(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    listed = [each for key in ("anyOf", "oneOf") if isinstance(schema.get(key), list) for each in schema[key]]
    return [each for each in listed if isinstance(each, dict)]


def type_names(schema: Mapping[str, Any]) -> Iterable[str]:
    value = schema.get("type")
    return [value] if isinstance(value, str) else value if isinstance(value, list) else ()


def _members(schema: Mapping[str, Any], root: Mapping[str, Any], values: object, depth: int) -> tuple[Question, ...]:
    required, known = schema.get("required") or (), values if isinstance(values, dict) else {}
    described = {**properties(schema), **{name: True for name in required if name not in properties(schema)}}
    return tuple(
        _question(name, each, root, known.get(name), depth, is_required=name in required)
        for name, each in described.items()
    )


def _question(
    name: str, definition: object, root: Mapping[str, Any], value: Any, depth: int, *, is_required: bool
) -> Question:
    own = definition if isinstance(definition, dict) else {}
    schema = {**resolved(own, root), **own}
    branches = [each for each in (resolved(each, root) for each in alternatives(schema)) if each.get("type") != "null"]
    if len(branches) == 1:  # beside null
        schema = {**branches[0], **schema}
    choices = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
    value = schema.get("default") if value is None else value
    kind = Kind.CHOICE if choices else _kind(schema, depth)
    parts: tuple[Question, ...] = ()
    if kind is Kind.OBJECT:
        parts = _members(schema, root, value, depth + 1)
    elif kind is Kind.LIST:
        parts = (_question(name, schema["items"], root, None, depth + 1, is_required=False),)
    return Question(
        name=name,
        title=str(schema.get("title") or name),
        description=" ".join(str(schema.get("description") or "").split()),
        kind=kind,
        is_required=is_required,
        preset=UNSET if value is None else value,
        choices=tuple(choices),
        media_type=schema.get("contentMediaType"),
        parts=parts,
    )


def _kind(schema: Mapping[str, Any], depth: int) -> Kind:
    names = [name for name in type_names(schema) if name != "null"]
    kind = _KINDS.get(names[0], Kind.JSON) if len(names) == 1 else Kind.JSON
    if kind is Kind.TEXT and schema.get("format") == "artifact":
        return Kind.FILE
    is_list = isinstance(schema.get("items"), dict) and "prefixItems" not in schema
    has_parts = {Kind.LIST: is_list, Kind.OBJECT: bool(properties(schema))}.get(kind)
    return Kind.JSON if has_parts is False or (has_parts and depth >= _MAX_DEPTH) else kind
