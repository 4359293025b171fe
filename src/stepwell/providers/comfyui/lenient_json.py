"""What ComfyUI answers, as JSON that Python writes: it may hold NaN, which JSON hasn't.

The form of errors: `post_prompt` in server.py and `validate_prompt` in execution.py of
https://github.com/Comfy-Org/ComfyUI.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from msgspec import Struct, convert

from stepwell.domain.strict_json.size import MAX_LEVELS, is_deeper
from stepwell.providers.shared.bounded_json import read_json

T = TypeVar("T")

_MOST_NODES = 10


class _Error(Struct):
    message: str
    details: Any = ""


class _Refusal(Struct):
    error: _Error | str
    node_errors: Any = None


def read_loosely(body: bytes, kind: type[T]) -> T | None:
    """*body* as JSON of that kind, NaN and infinities allowed; None if it is anything else."""
    found = read_json(body, kind)
    if found is None:
        try:
            value = json.loads(body)
            found = None if is_deeper(value, MAX_LEVELS) else convert(value, kind)
        except (ValueError, RecursionError):
            return None
    return found


def error_text(body: bytes) -> str | None:
    """The words of an error, with the nodes that it names; None if the body is none of ComfyUI's."""
    told = read_loosely(body, _Refusal)
    if told is None:
        return None
    if isinstance(told.error, str):
        return told.error or None
    nodes = node_words(told.node_errors)
    # The details are those of the nodes, without their names.
    details = told.error.details if isinstance(told.error.details, str) and not nodes else ""
    return "; ".join([_joined(told.error.message, details), *nodes]) or None


def node_words(errors: Any) -> list[str]:
    """What *errors* says of each node."""
    return list(_nodes(errors))


def leaves_out(errors: Any, output: str | None) -> bool:
    """Whether a job that was taken with these *errors* may lack that output; null: any one."""
    if not errors:
        return False
    entries = errors.values() if isinstance(errors, Mapping) else ()
    lists = [entry.get("dependent_outputs") if isinstance(entry, Mapping) else None for entry in entries]
    return output is None or not lists or any(not isinstance(each, list) or output in each for each in lists)


def _nodes(errors: Any) -> Iterator[str]:
    for node_id, entry in list(errors.items())[:_MOST_NODES] if isinstance(errors, Mapping) else ():
        found = entry.get("errors") if isinstance(entry, Mapping) else None
        for error in found[:_MOST_NODES] if isinstance(found, list) else ():
            if isinstance(error, Mapping):
                words = _joined(str(error.get("message", "")), str(error.get("details", "")))
                yield f"node {node_id} ({entry.get('class_type', '?')}): {words}"


def _joined(message: str, details: str) -> str:
    return f"{message}: {details}" if message and details else message or details
