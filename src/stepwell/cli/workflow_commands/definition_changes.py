"""The definition that a command sends: the file, and the changes that the options `--set`, `--label` and `--upload`
make to it.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NamedTuple

from msgspec import DecodeError, json

from stepwell.basics.errors import Fault, InvalidRequest
from stepwell.basics.strict_json.decode import decode_body
from stepwell.cli.errors import MISUSED, Refused
from stepwell.cli.outcome import invalid_definition

_MEMBERS: Final = ("config", "provider_config", "fallback_provider_config")
_INPUTS: Final = "inputs"
_PART = r'(?:"(?:[^"\\]|\\.)*"|[^."=]+)'
_CHANGE = re.compile(rf"({_PART}(?:\.{_PART})*)=(.*)", re.DOTALL)
_FORM = "Expected STEP.config.KEY={0} or inputs.KEY={0}; a step id with dots stands in double quotes"


class _Change(NamedTuple):
    """A value for the member at `path` of a step; of the definition if `step_id` is None."""

    place: str
    step_id: str | None
    path: Sequence[str]
    text: str


def read_definition(data: bytes) -> dict[str, Any]:
    """Return the definition in *data*. Raises `Refused`."""
    try:
        definition = decode_body(data)
    except InvalidRequest as error:
        raise invalid_definition(error.faults) from error
    if not isinstance(definition, dict):
        raise invalid_definition([Fault(("body",), "Expected an object", "type")])
    return definition


def set_values(definition: dict[str, Any], options: Iterable[str]) -> None:
    """Set values in the configs of steps, or inputs. A value is JSON, or else a text. Raises `Refused`."""
    for change in [_read(option, "--set", "VALUE") for option in options]:
        _set(definition, change, "--set", _value(change.text, f"--set {change.place}"))


def set_uploads(definition: dict[str, Any], options: Iterable[str], upload: Callable[[Path], str]) -> None:
    """Set the paths of files, which *upload* sends and names. All options are checked first. Raises `Refused`."""
    changes = [_read(option, "--upload", "FILE") for option in options]
    for change in changes:
        if not Path(change.text).is_file():
            raise Refused(f"--upload {change.place}: there is no file {change.text}", code=MISUSED)
        _set(definition, change, "--upload", "")
    paths: dict[str, str] = {}
    for change in changes:
        if change.text not in paths:
            paths[change.text] = upload(Path(change.text))
        _set(definition, change, "--upload", paths[change.text])


def set_labels(definition: dict[str, Any], options: Iterable[str]) -> None:
    """Add labels, each like key=value. Raises `Refused`."""
    if labels := read_labels(options):
        present = definition.get("labels")
        definition["labels"] = {**(present if isinstance(present, dict) else {}), **labels}


def read_labels(options: Iterable[str]) -> dict[str, str]:
    """Return the labels that the options name, each like key=value. Raises `Refused`."""
    labels = {}
    for option in options:
        key, separator, value = option.partition("=")
        if not (key and separator):
            raise Refused(f"--label {option}: Expected KEY=VALUE", code=MISUSED)
        labels[key] = value
    return labels


def _read(option: str, name: str, value: str) -> _Change:
    match = _CHANGE.fullmatch(option)
    parts = [] if match is None else re.findall(_PART, match[1])
    is_step = len(parts) > 2 and parts[1] in _MEMBERS  # noqa: PLR2004 - step, member, key
    if match is None or not (is_step or (len(parts) > 1 and parts[0] == _INPUTS)):
        raise Refused(f"{name} {option}: {_FORM.format(value)}", code=MISUSED)
    step_id = _unquoted(parts[0]) if is_step else None
    return _Change(match[1], step_id, [_unquoted(part) for part in parts[is_step:]], match[2])


def _unquoted(part: str) -> str:
    if not part.startswith('"'):
        return part
    try:
        return json.decode(part, type=str)
    except DecodeError:
        return part[1:-1]


def _value(text: str, source: str) -> Any:
    try:
        return json.decode(text)
    except DecodeError:
        return text
    except RecursionError:
        raise Refused(f"{source}: the value has too many levels", code=MISUSED) from None


def _set(definition: dict[str, Any], change: _Change, name: str, value: object) -> None:
    *path, last = change.path
    step_id, source = change.step_id, f"{name} {change.place}"
    target = definition if step_id is None else _step(definition, step_id, source)
    for part in path:
        if target.get(part) is None:
            target[part] = {}
        target = target[part]
        if not isinstance(target, dict):
            raise Refused(f"{source}: {part} is no object in the definition", code=MISUSED)
    target[last] = value


def _step(definition: dict[str, Any], step_id: str, source: str) -> dict[str, Any]:
    listed = definition.get("steps")
    steps = [step for step in listed if isinstance(step, dict)] if isinstance(listed, list) else []
    for step in steps:
        if step.get("id") == step_id:
            return step
    similar = get_close_matches(step_id, [str(step.get("id")) for step in steps], n=1)
    hint = f"; did you mean {similar[0]}?" if similar else ""
    raise Refused(f"{source}: the definition has no step {step_id}{hint}", code=MISUSED)
