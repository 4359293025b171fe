"""The transforms that a mapping can apply to its value. Each charges its work before it does it."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from stepwell.basics.errors import InvalidRequest
from stepwell.basics.strict_json.decode import MAX_INT, MIN_INT, decode_body
from stepwell.basics.strict_json.size import MAX_RESULT_BYTES
from stepwell.contract.enums import TransformType
from stepwell.definition.mapping.work_budget import WorkBudget

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,20}", re.ASCII)
_STRICT = 9  # times as long as a decoder that accepts everything takes the one that finds each fault
_BOOLS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class TransformError(Exception):
    """The value isn't of the kind that the transform needs. The text says what was needed, without the value."""


def transform(type_: TransformType, value: Any, budget: WorkBudget) -> Any:
    """Transform *value*. PATH_TO_URL and PATH_TO_DATA_URI only check it, because the engine finishes them with I/O.

    Raises `TransformError` and `WorkExceeded`.
    """
    if isinstance(value, str):
        budget.spend_new_text(len(value))
    elif isinstance(value, (list, dict)):
        budget.spend_elements(len(value))
    return _TRANSFORMS[type_](value, budget)


def is_deferred(type_: TransformType) -> bool:
    """Return whether the transform needs I/O, so that the engine finishes it."""
    return type_ in (TransformType.PATH_TO_URL, TransformType.PATH_TO_DATA_URI)


def _items(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TransformError(f"needs a list, got {kind_of(value)}")
    return value


def _one_of(value: Any, index: int) -> Any:
    items = _items(value)
    if not items:
        raise TransformError("needs a list that isn't empty")
    return items[index]


def _flatten(value: Any, budget: WorkBudget) -> list[Any]:
    flat: list[Any] = []
    for item in _items(value):
        if isinstance(item, list):
            budget.spend_elements(len(item))
            flat += item
        else:
            flat.append(item)
    return flat


def _to_string(value: Any, budget: WorkBudget) -> str:
    return value if isinstance(value, str) else _json_encode(value, budget)


def _number(value: Any) -> int | float:
    if isinstance(value, (int, float)):  # true and false are 1 and 0
        return value
    text = value.strip() if isinstance(value, str) else None
    if text is None or not _NUMBER.fullmatch(text):
        raise TransformError(f"needs a number or a text that is one, got {kind_of(value)}")
    return int(text) if _INTEGER.fullmatch(text) else float(text)


def _to_int(value: Any) -> int:
    """Return the integer, rounded towards zero."""
    number = _number(value)
    if not math.isfinite(number) or not MIN_INT <= number <= MAX_INT or not MIN_INT <= int(number) <= MAX_INT:
        raise TransformError("needs a number within 64 bits")
    return int(number)


def _to_float(value: Any) -> float:
    number = float(_number(value))
    if not math.isfinite(number):
        raise TransformError("needs a finite number")
    return number


def _to_bool(value: Any) -> bool:
    text = value.strip().lower() if isinstance(value, str) else None
    is_known = value in (0, 1) if isinstance(value, (int, float)) else text in _BOOLS
    if not is_known:
        raise TransformError(f"needs true or false, yes or no, 1 or 0, got {kind_of(value)}")
    return bool(value) if text is None else _BOOLS[text]


def _json_encode(value: Any, budget: WorkBudget) -> str:
    if budget.spend_value(value) > MAX_RESULT_BYTES:
        raise TransformError(f"makes a text of over {MAX_RESULT_BYTES:,} bytes")
    return msgspec.json.encode(value).decode()


def _json_decode(value: Any, budget: WorkBudget) -> Any:
    if not isinstance(value, str):
        raise TransformError(f"needs a text, got {kind_of(value)}")
    try:
        data = value.encode()
        budget.spend(_STRICT * budget.spend_parse(data))
        return decode_body(data)
    except InvalidRequest as error:
        raise TransformError(f"needs JSON: {error.faults[0].msg}") from None
    except UnicodeEncodeError:
        raise TransformError("needs JSON: lone surrogate") from None


def _paths(value: Any) -> Any:
    paths = value if isinstance(value, list) else [value]
    if not paths or not all(isinstance(path, str) and path for path in paths):
        raise TransformError(f"needs the path of a file, or a list of them, got {kind_of(value)}")
    return value


def kind_of(value: Any) -> str:
    """Return a noun for the kind of the value, for messages."""
    if value is None:
        return "null"
    nouns = {bool: "a boolean", int: "a number", float: "a number", str: "a text", list: "a list", dict: "an object"}
    noun = nouns.get(type(value), type(value).__name__)
    return f"an empty {noun[2:]}" if noun in ("a text", "a list") and not value else noun


def _free(call: Callable[[Any], Any]) -> Callable[[Any, WorkBudget], Any]:
    """Return *call* in the form of a transform that charges nothing more than the size of its value."""
    return lambda value, _: call(value)


_TRANSFORMS: Mapping[TransformType, Callable[[Any, WorkBudget], Any]] = {
    TransformType.FIRST: _free(lambda value: _one_of(value, 0)),
    TransformType.LAST: _free(lambda value: _one_of(value, -1)),
    TransformType.TO_LIST: _free(lambda value: value if isinstance(value, list) else [value]),
    TransformType.FLATTEN: _flatten,
    TransformType.TO_STRING: _to_string,
    TransformType.TO_INT: _free(_to_int),
    TransformType.TO_FLOAT: _free(_to_float),
    TransformType.TO_BOOL: _free(_to_bool),
    TransformType.JSON_ENCODE: _json_encode,
    TransformType.JSON_DECODE: _json_decode,
    TransformType.PATH_TO_URL: _free(_paths),
    TransformType.PATH_TO_DATA_URI: _free(_paths),
}
