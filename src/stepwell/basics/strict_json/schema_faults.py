"""Finds all faults of a JSON value against a msgspec type, each with its exact place.

`msgspec.convert` decides what is accepted. It stops at the first fault; this module finds the others. A fault never
contains the value, because a value may be a secret.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from functools import lru_cache
from itertools import islice
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, Union, get_args, get_origin

from msgspec import Meta, Struct, UnsetType, ValidationError, convert
from msgspec.structs import FieldInfo, fields

from stepwell.basics.errors import Fault
from stepwell.basics.spelling import did_you_mean
from stepwell.contract.enums import ProviderType

Loc: TypeAlias = tuple[str | int, ...]
DecHook: TypeAlias = Callable[[type, Any], Any] | None

_MAX_KEY = 255
_MAX_COUNTED = 10_000  # faults beyond those that are listed
_NOUNS = {
    "int": "an integer",
    "float": "a number",
    "str": "a string",
    "bool": "a boolean",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_TYPE_WORDS = {
    "int": "int_type",
    "float": "float_type",
    "str": "string_type",
    "bool": "bool_type",
    "array": "list_type",
    "object": "dict_type",
    "null": "none_required",
}
_BOUND_WORDS = {
    ">=": "greater_than_equal",
    ">": "greater_than",
    "<=": "less_than_equal",
    "<": "less_than",
    "of length >=": "too_short",
    "of length <=": "too_long",
}
_PLACE = re.compile(r" - at (?:`key` in )?`(\$.*)`$", re.DOTALL)
_PLACE_PART = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
_WRONG_KIND = re.compile(r"Expected `([^`]+)`, got `(\w+)`")
_OUT_OF_BOUNDS = re.compile(r"Expected `(\w+)` (>=|>|<=|<|of length >=|of length <=) (\S+)")
_NO_MATCH = re.compile(r"Expected `str` matching regex (.*)", re.DOTALL)


def printable_key(key: str) -> str:
    """Return *key* as it may stand in a `loc`: cut at 255 characters, with lone surrogates escaped."""
    if len(key) > _MAX_KEY:
        key = key[:_MAX_KEY] + "…"
    return key.encode("utf-8", "backslashreplace").decode()


def printable_place(place: Iterable[str | int]) -> Loc:
    """Return *place* with the keys in it as `printable_key` shows them."""
    return tuple(printable_key(part) if isinstance(part, str) else part for part in place)


def collect(type_: Any, value: Any, loc: Loc, *, strict: bool = True, dec_hook: DecHook = None) -> list[Fault]:
    """Return all faults of *value* as a *type_*, with *loc* before each place.

    The list is empty exactly if `msgspec.convert` accepts the value. *strict* and *dec_hook* are those of
    `msgspec.convert`.
    """
    return list(iter_faults(type_, value, loc, strict=strict, dec_hook=dec_hook))


def iter_faults(type_: Any, value: Any, loc: Loc, *, strict: bool = True, dec_hook: DecHook = None) -> Iterator[Fault]:
    """Yield the faults that `collect` returns. A caller may stop early."""
    return _FaultSearch(strict=strict, dec_hook=dec_hook).faults(type_, value, loc)


def cap_faults(faults: Iterable[Fault], most: int) -> list[Fault]:
    """Return the first *most* faults. If there are more, a last one at ("body",) gives their number."""
    rest = iter(faults)
    first = list(islice(rest, most))
    more = sum(1 for _ in islice(rest, _MAX_COUNTED))
    if more:
        over = "more than " if more == _MAX_COUNTED else ""
        first.append(Fault(("body",), f"{over}{more} more fault{'s' if more > 1 else ''}", "too_many_faults"))
    return first


class TypeShape(NamedTuple):
    """A type without its wrappers. `bare` has no constraints; `type` may be Annotated with them, and holds no union."""

    type: Any
    bare: Any
    nullable: bool


def shape_of(type_: Any) -> TypeShape | None:
    """Return the shape of *type_*; None for a union of several types, which only msgspec can check."""
    metas: tuple[Meta, ...] = ()
    nullable = False
    while True:
        origin = get_origin(type_)
        if origin is Annotated:
            type_, *inner = get_args(type_)
            metas = (*(meta for meta in inner if isinstance(meta, Meta)), *metas)
        elif origin in (Union, UnionType):
            members = [member for member in get_args(type_) if member is not UnsetType]
            others = [member for member in members if member is not type(None)]
            nullable = nullable or len(others) < len(members)
            if len(others) != 1:
                return None
            type_ = others[0]
        else:
            return TypeShape(_constrained(type_, metas), type_, nullable)


def _constrained(type_: Any, metas: tuple[Meta, ...]) -> Any:
    for meta in metas:
        type_ = Annotated[type_, meta]
    return type_


@lru_cache(maxsize=256)
def struct_fields(struct: type[Struct]) -> tuple[FieldInfo, ...]:
    return fields(struct)


@lru_cache(maxsize=256)
def _unknown_field(struct: type[Struct]) -> str:
    return f"Unknown field; known are {', '.join(f.encode_name for f in struct_fields(struct))}"


class _FaultSearch:
    """A search that walks a value and its type in parallel."""

    def __init__(self, *, strict: bool, dec_hook: DecHook) -> None:
        self.strict, self.dec_hook = strict, dec_hook

    def error(self, type_: Any, value: Any) -> str | None:
        """Return the message with which msgspec refuses *value*; None if it accepts the value."""
        try:
            convert(value, type_, strict=self.strict, dec_hook=self.dec_hook)
        except ValidationError as error:
            return str(error)
        return None

    def faults(self, type_: Any, value: Any, loc: Loc) -> Iterator[Fault]:
        """Yield the faults of *value* and of its parts."""
        error = self.error(type_, value)
        if error is None:
            return
        has_inner_faults = False
        for fault in self._faults_inside(type_, value, loc):
            has_inner_faults = True
            yield fault
        if not has_inner_faults:
            yield _fault(error, type_, value, loc)

    def _faults_inside(self, type_: Any, value: Any, loc: Loc) -> Iterator[Fault]:
        """Yield the faults of the parts of *value*; none if the fault is the value's own."""
        shape = shape_of(type_)
        if shape is None or value is None:
            return
        container = get_origin(shape.bare) or shape.bare
        arguments = get_args(shape.bare)
        if isinstance(container, type) and issubclass(container, Struct) and isinstance(value, Mapping):
            yield from self._members(container, value, loc)
        elif isinstance(value, list) and (container is list or (container is tuple and arguments[1:] == (...,))):
            own = self.error(_constrained(list, _metas(shape.type)), value)
            if own is not None:
                yield _fault(own, type_, value, loc)
            for index, item in enumerate(value):
                yield from self.faults(arguments[0] if arguments else Any, item, (*loc, index))
        elif container is dict and arguments and isinstance(value, Mapping):
            for key, item in value.items():
                place = (*loc, printable_key(str(key)))
                yield from self.faults(arguments[0], key, place)
                yield from self.faults(arguments[1], item, place)

    def _members(self, struct: type[Struct], value: Mapping[str, Any], loc: Loc) -> Iterator[Fault]:
        names = set()
        for member in struct_fields(struct):
            name = member.encode_name
            names.add(name)
            if name in value:
                yield from self.faults(member.type, value[name], (*loc, name))
            elif member.required:
                yield Fault((*loc, name), "Field required", "missing")
        if struct.__struct_config__.forbid_unknown_fields:
            for key in value:
                if key not in names:
                    meant = did_you_mean(str(key), (f.encode_name for f in struct_fields(struct)))
                    yield Fault((*loc, printable_key(str(key))), _unknown_field(struct) + meant, "extra_forbidden")


def _metas(type_: Any) -> tuple[Meta, ...]:
    return tuple(getattr(type_, "__metadata__", ()))


def _fault(error: str, type_: Any, value: Any, loc: Loc) -> Fault:
    """Return the fault of *value* that the message *error* of msgspec describes, without any value that it quotes."""
    place = _PLACE.search(error)
    if place:
        error = error[: place.start()]
        for name, index in _PLACE_PART.findall(place[1]):
            loc = (*loc, name or int(index))
    shape = shape_of(type_)
    allowed = _allowed(shape.bare) if shape else None
    or_null = " or null" if shape and shape.nullable else ""
    if allowed is not None and not place:
        meant = did_you_mean(value, allowed) if isinstance(value, str) else ""
        return Fault(loc, f"Expected one of {', '.join(allowed)}{or_null}{meant}", "enum")
    if kinds := _WRONG_KIND.fullmatch(error):
        expected = " or ".join(_NOUNS.get(kind, kind) for kind in kinds[1].split(" | "))
        expected += or_null if "null" not in expected else ""
        word = _TYPE_WORDS.get(kinds[1].removesuffix(" | null"), "value_error")
        # A decoded 1.0 is refused as an integer. "got a number" would puzzle its author.
        got = "a number with a decimal point" if kinds[2] == "float" else _NOUNS.get(kinds[2], kinds[2])
        return Fault(loc, f"Expected {expected}, got {got}", word)
    if bound := _OUT_OF_BOUNDS.fullmatch(error):
        number = bound[3].removesuffix(".0")
        return Fault(loc, f"Expected {_NOUNS[bound[1]]} {bound[2]} {number}{or_null}", _BOUND_WORDS[bound[2]])
    if pattern := _NO_MATCH.fullmatch(error):
        return Fault(loc, f"Expected a string matching the pattern {pattern[1]}", "string_pattern_mismatch")
    return Fault(loc, "Value not allowed" if error.startswith("Invalid enum") else error, "value_error")


def _allowed(type_: Any) -> list[str] | None:
    """Return the values of a Literal or an enum; None for other types, and for an enum that takes any string."""
    if get_origin(type_) is Literal:
        return [str(member) for member in get_args(type_)]
    if isinstance(type_, type) and issubclass(type_, Enum) and type_ is not ProviderType:
        return [str(member.value) for member in type_]
    return None
