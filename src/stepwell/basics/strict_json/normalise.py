"""Normalises a decoded JSON value for a type: forms that clients may send become the form that `convert` accepts.

What must hold:
- null for a member that may be absent, and whose type has no null, counts as absent.
- An integral float within 64 bits is an integer, wherever the type is an integer.
- With lenient handling, unknown members of a struct that forbids them are left out.
- Everything else stays as it is. So the faults of the normalised value have the places of the value itself.
- The value itself isn't changed. Its unchanged parts aren't copied.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import lru_cache, partial
from types import UnionType
from typing import Annotated, Any, TypeAlias, Union, get_args, get_origin

from msgspec import Struct

from stepwell.basics.strict_json.decode import MAX_INT, MIN_INT
from stepwell.basics.strict_json.schema_faults import shape_of, struct_fields


class Handling(StrEnum):
    """The handling of unknown members in a request (RFC 7240, 4.4): STRICT refuses them, LENIENT ignores them."""

    STRICT = "strict"
    LENIENT = "lenient"


_Rule: TypeAlias = Callable[[Any, Handling], Any]


def normalise(struct: type[Struct], value: Any, handling: Handling = Handling.STRICT) -> Any:
    """Return *value* in the form that `msgspec.convert` accepts for *struct*, if it is valid."""
    if not isinstance(value, Mapping):
        return value
    replacements: dict[str, Any] = {}
    absent_members: list[str] = []
    members = _members(struct)
    for name, item in value.items():
        member = members.get(name)
        if member is None:
            if handling is Handling.LENIENT and struct.__struct_config__.forbid_unknown_fields:
                absent_members.append(name)
            continue
        may_be_absent, rule = member
        if item is None and may_be_absent:
            absent_members.append(name)
        elif rule is not None and (new := rule(item, handling)) is not item:
            replacements[name] = new
    if not replacements and not absent_members:
        return value
    result = {**value, **replacements}
    for name in absent_members:
        del result[name]
    return result


@lru_cache(maxsize=256)
def _members(struct: type[Struct]) -> dict[str, tuple[bool, _Rule | None]]:
    """Return, by name, whether null counts as the member's absence, and the rule for its other values."""
    members = {}
    for member in struct_fields(struct):
        shape = shape_of(member.type)
        nullable = shape is None or shape.nullable
        members[member.encode_name] = (not member.required and not nullable, _rule(member.type))
    return members


def _rule(type_: Any) -> _Rule | None:
    """Return the rule for values of *type_*; None if they stay as they are."""
    shape = shape_of(type_)
    if shape is None:
        return _integer if _bare_types(type_) & {int, float} == {int} else None
    container = get_origin(shape.bare) or shape.bare
    if container is int:
        return _integer
    if container is list or container is dict:
        inner = _rule(get_args(shape.bare)[-1])
        return inner and (_items_rule(inner) if container is list else _values_rule(inner))
    if isinstance(container, type) and issubclass(container, Struct):
        return partial(normalise, container)
    return None


def _bare_types(union: Any) -> set[Any]:
    """Return the types of a union, without constraints."""
    if get_origin(union) is Annotated:
        return _bare_types(get_args(union)[0])
    members = get_args(union) if get_origin(union) in (Union, UnionType) else ()
    return {union} if not members else set().union(*map(_bare_types, members))


def _integer(value: Any, _handling: Handling) -> Any:
    integral = isinstance(value, float) and MIN_INT <= value <= MAX_INT and value.is_integer()
    return int(value) if integral else value


def _items_rule(rule: _Rule) -> _Rule:
    def items(value: Any, handling: Handling) -> Any:
        if not isinstance(value, list):
            return value
        result = [rule(item, handling) for item in value]
        return result if any(new is not old for new, old in zip(result, value, strict=True)) else value

    return items


def _values_rule(rule: _Rule) -> _Rule:
    def values(value: Any, handling: Handling) -> Any:
        if not isinstance(value, Mapping):
            return value
        result = {name: rule(item, handling) for name, item in value.items()}
        return result if any(result[name] is not item for name, item in value.items()) else value

    return values
