"""Checks `inputs_schema`, a JSON Schema that a tenant wrote, and `inputs` against it.

`inputs_faults` is cheap. `check_inputs` may take any time, because a `pattern` can be hostile: it is for a child
process. A fault never contains a value of `inputs`, because a value may be a secret.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from msgspec import Struct, json

from stepwell.basics.errors import Fault
from stepwell.basics.strict_json.schema_faults import Loc, printable_key, printable_place
from stepwell.basics.strict_json.size import MAX_RESULT_BYTES, is_larger_than

MAX_SCHEMA_BYTES: Final = 64 * 1024
MAX_INPUTS_BYTES: Final = MAX_RESULT_BYTES
INPUTS_LOC: Final[Loc] = ("body", "inputs")
SCHEMA_LOC: Final[Loc] = ("body", "inputs_schema")

_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_NO_SCHEMAS = frozenset(["const", "enum", "default", "examples"])  # words whose values are data
_WORDS_FOR_MISSING = frozenset(["required", "dependentRequired", "dependencies", "minProperties"])
_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")
_MAX_FAULTS = 50
_MAX_SEEN = 1_000  # of the errors that the validator yields, which may be the same one again
_LONGEST_SHOWN = 200  # characters of a word's value in a message


class InputsToCheck(Struct, frozen=True):
    """A request for `check_inputs`. `partial`: more members may follow, so none of `inputs` is missing."""

    schema: dict[str, Any]
    inputs: dict[str, Any]
    partial: bool = False


def inputs_faults(inputs: Any, schema: Any) -> Iterator[Fault]:
    """Yield the faults that need no check against the schema. A value that is no object is reported elsewhere."""
    if isinstance(inputs, dict) and is_larger_than(inputs, MAX_INPUTS_BYTES):
        message = f"Expected at most {MAX_INPUTS_BYTES:,} bytes: upload files, and name their paths here"
        yield Fault(INPUTS_LOC, message, "too_long")
    if not isinstance(schema, dict):
        return
    if is_larger_than(schema, MAX_SCHEMA_BYTES):
        yield Fault(SCHEMA_LOC, f"Expected at most {MAX_SCHEMA_BYTES:,} bytes", "too_long")
        return
    stack: list[tuple[Any, Loc]] = [(schema, SCHEMA_LOC)]
    while stack:
        node, loc = stack.pop()
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            place = (*loc, printable_key(key) if isinstance(key, str) else key)
            if isinstance(value, str) and key in _REFERENCES and not value.startswith("#"):
                yield Fault(place, "Expected a reference within this schema, which begins with #", "remote_reference")
            elif isinstance(value, dict | list) and not (isinstance(node, dict) and key in _NO_SCHEMAS):
                stack.append((value, place))


def input_names(inputs: Any, schema: Any) -> frozenset[str]:
    """Return the names of the inputs, and of those that the schema describes."""
    described = schema.get("properties") if isinstance(schema, dict) else None
    return frozenset(inputs or ()) | frozenset(described if isinstance(described, dict) else ())


def check_inputs(data: bytes) -> bytes:
    """Check encoded `InputsToCheck`. Return the encoded faults: those of the schema, or else those of the inputs."""
    request = json.decode(data, type=InputsToCheck)
    try:
        faults = list(islice(_unique(_faults(request)), _MAX_FAULTS))
    except RecursionError:
        faults = [Fault(SCHEMA_LOC, "It refers to itself without end, or is nested too deeply", "bad_schema")]
    except Exception:  # noqa: BLE001 - the validator raises anything for a schema of an unexpected form
        faults = [Fault(SCHEMA_LOC, "It can't be evaluated", "bad_schema")]
    return json.encode(faults)


def _faults(request: InputsToCheck) -> Iterator[Fault]:
    # Only child processes need the library, which takes a while to load.
    from jsonschema import Draft202012Validator, FormatChecker  # noqa: PLC0415
    from jsonschema.validators import validator_for  # noqa: PLC0415
    from referencing import Registry  # noqa: PLC0415
    from referencing.exceptions import Unresolvable  # noqa: PLC0415

    schema = request.schema
    kind = validator_for(schema, default=Draft202012Validator)
    meta = validator_for(kind.META_SCHEMA, default=kind)
    of_schema = list(
        islice(meta(kind.META_SCHEMA, format_checker=FormatChecker(["regex"])).iter_errors(schema), _MAX_SEEN)
    )
    if of_schema:
        yield from (
            Fault((*SCHEMA_LOC, *printable_place(error.absolute_path)), _schema_message(error), "bad_schema")
            for error in of_schema
        )
        return
    registry: Registry[Any] = Registry()  # without one, the library would fetch what a reference names
    try:
        errors = list(islice(kind(schema, registry=registry).iter_errors(request.inputs), _MAX_SEEN))
    except Unresolvable:
        yield Fault(SCHEMA_LOC, "A reference in it leads to nothing", "bad_schema")
        return
    for error in errors:
        if not (request.partial and _lacks_members(error)):
            yield from _input_faults(error)


def _lacks_members(error: Any) -> bool:
    """Return whether further members may remove the error.

    For a choice, they must be able to remove all errors of one branch.
    """
    if error.validator in _WORDS_FOR_MISSING:
        return True
    if error.validator not in ("anyOf", "oneOf"):
        return False
    branches: dict[Any, bool] = {}
    for each in error.context:
        branch = each.relative_schema_path[0]
        branches[branch] = branches.get(branch, True) and _lacks_members(each)
    return any(branches.values())


def _unique(faults: Iterable[Fault]) -> Iterator[Fault]:
    seen = set[Fault]()
    for fault in faults:
        if fault not in seen:
            seen.add(fault)
            yield fault


def _schema_message(error: Any) -> str:
    if error.validator == "anyOf" and error.absolute_path and error.absolute_path[-1] == "type":
        return f"Not a JSON Schema: expected one of {', '.join(_TYPES)}, or a list of these"
    return f"Not a JSON Schema: expected {error.validator} {_shown(error.validator_value)}"


def _input_faults(error: Any) -> Iterator[Fault]:
    loc: Loc = (*INPUTS_LOC, *printable_place(error.absolute_path))
    word, value, instance = error.validator, error.validator_value, error.instance
    if word == "required" and value is True:  # draft 3
        yield Fault(loc, "Field required", "missing")
    elif word == "required" and all(isinstance(name, str) for name in value):
        yield from (
            Fault((*loc, printable_key(name)), "Field required", "missing") for name in value if name not in instance
        )
    elif word == "additionalProperties" and value is False:
        for name in instance:
            if name not in error.schema.get("properties", {}) and not _is_matched(name, error.schema):
                yield Fault((*loc, printable_key(name)), "The schema knows no member of this name", "extra_forbidden")
    elif word is None:
        yield Fault(loc, "The schema permits no value here", "schema_mismatch")
    else:
        yield Fault(loc, f"Expected {word} {_shown(value)}", "schema_mismatch")


def _is_matched(name: str, schema: dict[str, Any]) -> bool:
    return any(re.search(pattern, name) for pattern in schema.get("patternProperties", {}))


def _shown(value: Any) -> str:
    """Return the value of a schema's word as JSON, cut if it is long."""
    text = json.encode(value).decode()
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
