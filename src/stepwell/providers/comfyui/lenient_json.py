"""ComfyUI's answers: JSON as Python writes it, which may contain NaN, and the messages of errors.

The form of errors: `post_prompt` in server.py and `validate_prompt` in execution.py of
https://github.com/Comfy-Org/ComfyUI.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from msgspec import Struct, convert

from stepwell.basics.strict_json.size import MAX_LEVELS, is_deeper
from stepwell.providers.shared.bounded_json import read_json

T = TypeVar("T")

_MAX_NODES = 10


class _Error(Struct):
    message: str
    details: Any = ""


class _Refusal(Struct):
    error: _Error | str
    node_errors: Any = None


def read_lenient_json(body: bytes, kind: type[T]) -> T | None:
    """Decode *body* as JSON of *kind*, with NaN and infinities allowed; None if it is anything else."""
    content = read_json(body, kind)
    if content is not None:
        return content
    try:
        value = json.loads(body)
        return None if is_deeper(value, MAX_LEVELS) else convert(value, kind)
    except (ValueError, RecursionError):
        return None


def error_text(body: bytes) -> str | None:
    """Return the message of an error, with its nodes; None if the body isn't an error of ComfyUI's."""
    refusal = read_lenient_json(body, _Refusal)
    if refusal is None:
        return None
    if isinstance(refusal.error, str):
        return refusal.error or None
    nodes = list(node_words(refusal.node_errors))
    # The details repeat those of the nodes, without the nodes' names.
    details = refusal.error.details if isinstance(refusal.error.details, str) and not nodes else ""
    return "; ".join([_join(refusal.error.message, details), *nodes]) or None


def lacks_output(errors: Any, output: str | None) -> bool:
    """Return whether a job that was accepted with *errors* may lack *output*; None stands for any output."""
    if not errors:
        return False
    entries = errors.values() if isinstance(errors, Mapping) else ()
    lists = [entry.get("dependent_outputs") if isinstance(entry, Mapping) else None for entry in entries]
    return output is None or not lists or any(not isinstance(each, list) or output in each for each in lists)


def node_words(errors: Any) -> Iterator[str]:
    """Yield a message for each node error."""
    for node_id, entry in list(errors.items())[:_MAX_NODES] if isinstance(errors, Mapping) else ():
        node_errors = entry.get("errors") if isinstance(entry, Mapping) else None
        for error in node_errors[:_MAX_NODES] if isinstance(node_errors, list) else ():
            if isinstance(error, Mapping):
                words = _join(str(error.get("message", "")), str(error.get("details", "")))
                yield f"node {node_id} ({entry.get('class_type', '?')}): {words}"


def _join(message: str, details: str) -> str:
    return f"{message}: {details}" if message and details else message or details
