"""Decodes a JSON body, and refuses every value that the database or a client could not hold.

msgspec decodes the body. A few counts over its bytes are cheap, and show for almost every body that it has no fault.
The others are searched value by value, so that one response lists all faults. If an object may have a duplicate key,
Python's own parser reads the body again, because msgspec keeps only the last of equal keys.
"""

import json
from collections.abc import Iterator
from typing import Any, NoReturn

import msgspec

from stepwell.basics.errors import Fault, InvalidRequest
from stepwell.basics.strict_json.schema_faults import Loc, cap_faults, printable_key, printable_place
from stepwell.basics.strict_json.size import MAX_LEVELS, count_values, is_deeper

MAX_DEPTH = 64
MAX_FAULTS = 100
MAX_INT, MIN_INT = 2**63 - 1, -(2**63)

DETAILED_BYTES = 1024 * 1024
_DUPLICATE = "Key given more than once"
_UTF8_BOM = b"\xef\xbb\xbf"
_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
_SHORTEST_BIG_INT = b"0" * 19
_BLANKS_BEFORE_COLON = (b'":', b" :", b"\t:", b"\n:", b"\r:")


def decode_body(data: bytes) -> Any:
    """Return the value that *data* holds.

    Raises `InvalidRequest` with up to 100 faults, and a last one that counts the rest. Apart from malformed JSON, these
    are refused: any encoding but UTF-8, a byte order mark, NaN and infinities, more than 64 levels, NUL characters,
    lone surrogates, integers beyond signed 64 bits, and an object with a duplicate key. A body of more than
    `MAX_LEVELS` levels gets one fault, at ("body",), because the parsers of some versions of Python can't read it. So
    does one of more than `DETAILED_BYTES` that is malformed or has a duplicate key: the second parser would block all
    other threads for as long as a second.
    """
    _check_encoding(data)
    try:
        value = msgspec.json.decode(data)
    except RecursionError:
        _refuse([_too_deep(("body",))])
    except msgspec.MsgspecError as error:
        _refuse_malformed(data, error)
    within_depth, keys = _depth_and_keys(value)
    if not within_depth:
        _check_levels(value)
    # There may be a duplicate key. Or a string only looks like a key, and the body has no fault.
    looks_duplicate = keys < sum(map(data.count, _BLANKS_BEFORE_COLON))
    if looks_duplicate and len(data) > DETAILED_BYTES and keys < count_values(data).members:
        _refuse([Fault(("body",), _DUPLICATE, "duplicate_key")])
    if looks_duplicate and len(data) <= DETAILED_BYTES:
        _check_values(_read(data))
    elif not within_depth or b"\\u0000" in data or _SHORTEST_BIG_INT in data.translate(_TO_ZERO):
        _check_values(value)
    return value


def _refuse(faults: list[Fault]) -> NoReturn:
    raise InvalidRequest(faults)


def _check_encoding(data: bytes) -> None:
    if not data:
        _refuse([Fault(("body",), "Body required", "missing")])
    if data.startswith(_UTF8_BOM):
        _refuse([Fault(("body",), "Expected UTF-8 without a byte order mark", "json_invalid")])
    try:
        data.decode()
    except UnicodeDecodeError as error:
        _refuse([Fault(("body",), f"Expected UTF-8: {error.reason} at byte {error.start}", "json_invalid")])


def _depth_and_keys(value: Any) -> tuple[bool, int]:
    """Return whether *value* has at most 64 levels, and how many keys its objects have. Goes level by level."""
    level = [value] if type(value) in (dict, list) else []
    keys = 0
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for container in level:
            if type(container) is dict:
                keys += len(container)
                below += [item for item in container.values() if type(item) is dict or type(item) is list]
            else:
                below += [item for item in container if type(item) is dict or type(item) is list]
        level = below
        if not level:
            return True, keys
    return False, keys


def _refuse_malformed(data: bytes, error: msgspec.MsgspecError) -> NoReturn:
    """Raise `InvalidRequest` for the body that msgspec refused with *error*."""
    if len(data) <= DETAILED_BYTES:
        _check_values(_read(data))
    _refuse([Fault(("body",), f"Malformed JSON: {error}", "json_invalid")])


class _Refused:
    """A placeholder for a refused part of a value. It has the message and the type of the fault."""

    def __init__(self, msg: str, type_: str) -> None:
        self.msg, self.type = msg, type_


class _WithDuplicates(dict[str, Any]):
    """An object with duplicate keys. `duplicates` lists these keys."""

    duplicates: list[str]


_BIG_INT = _Refused("Expected an integer of at most 64 bits", "int_out_of_range")
_NOT_FINITE = _Refused("Expected a finite number", "finite_number")
_TOO_DEEP = f"Nested deeper than {MAX_DEPTH} levels"


def _too_deep(loc: Loc) -> Fault:
    return Fault(loc, _TOO_DEEP, "too_deep")


def _read(data: bytes) -> Any:
    """Return the value with a placeholder for each refused part. Raises `InvalidRequest` for malformed JSON."""
    try:
        value = _READER.decode(data.decode())
    except json.JSONDecodeError as error:
        at = len(error.doc[: error.pos].encode())
        position = f"line {error.lineno}, column {error.colno} (byte {at})"
        _refuse([Fault(("body",), f"Malformed JSON at {position}: {error.msg}", "json_invalid")])
    except RecursionError:
        _refuse([_too_deep(("body",))])
    _check_levels(value)
    return value


def _check_levels(value: Any) -> None:
    if is_deeper(value, MAX_LEVELS):
        _refuse([_too_deep(("body",))])


def _read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    marked, seen = _WithDuplicates(members), set[str]()
    marked.duplicates = [key for key, _ in pairs if key in seen or seen.add(key)]  # type: ignore[func-returns-value]
    return marked


def _read_int(digits: str) -> int | _Refused:
    # int() refuses some thousand digits with another error, so the length is checked first.
    if len(digits) > len(str(MIN_INT)):
        return _BIG_INT
    return int(digits)


def _read_float(digits: str) -> float | _Refused:
    number = float(digits)
    return _NOT_FINITE if number in (float("inf"), float("-inf")) else number


_READER = json.JSONDecoder(
    object_pairs_hook=_read_object, parse_int=_read_int, parse_float=_read_float, parse_constant=lambda _: _NOT_FINITE
)


def _check_values(value: Any) -> None:
    """Raise `InvalidRequest` with the faults of *value*, in the order of the document, if it has any."""
    faults = cap_faults(_walk(value), MAX_FAULTS)
    if faults:
        _refuse(faults)


def _walk(root: Any) -> Iterator[Fault]:
    """Yield all faults, depth first and without recursion."""
    path: list[str | int] = []  # the place of the current value
    # The values of each level that are still to be checked.
    rest: list[Iterator[tuple[str | int, Any]]] = [iter([("body", root)])]
    while rest:
        entry = next(rest[-1], None)
        if entry is None:
            rest.pop()
            if path:
                path.pop()
            continue
        key, value = entry
        path.append(key)
        yield from _own_faults(value, path)
        if isinstance(value, (dict, list)) and len(path) <= MAX_DEPTH:
            rest.append(iter(value.items() if isinstance(value, dict) else enumerate(value)))
        else:
            path.pop()


def _own_faults(value: Any, path: list[str | int]) -> Iterator[Fault]:
    """Yield the faults of a value and its key, without those of the values inside it."""
    if type(path[-1]) is str:
        yield from _text_faults(path[-1], path, "Key")
    if type(value) is str:
        yield from _text_faults(value, path, "String")
    elif isinstance(value, (dict, list)):
        if len(path) > MAX_DEPTH:
            yield _too_deep(printable_place(path))
        elif isinstance(value, _WithDuplicates):
            for key in value.duplicates:
                yield Fault((*printable_place(path), printable_key(key)), _DUPLICATE, "duplicate_key")
    elif isinstance(value, _Refused):
        yield Fault(printable_place(path), value.msg, value.type)
    elif type(value) is int and not MIN_INT <= value <= MAX_INT:
        yield Fault(printable_place(path), _BIG_INT.msg, _BIG_INT.type)


def _text_faults(text: str, path: list[str | int], noun: str) -> Iterator[Fault]:
    if "\0" in text:
        yield Fault(printable_place(path), f"{noun} contains a NUL character", "nul_character")
    if not text.isascii() and _has_lone_surrogate(text):
        yield Fault(printable_place(path), f"{noun} contains a lone surrogate", "lone_surrogate")


def _has_lone_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
