"""The definition that a command sends: the file, and the changes that the options `--set`, `--label` and `--upload`
make to it.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NamedTuple

from msgspec import DecodeError, json

from stepwell.basics.errors import Fault, InvalidRequest
from stepwell.basics.strict_json.decode import decode_body
from stepwell.cli.errors import MISUSED, Refused
from stepwell.cli.outcome import invalid_definition
from stepwell.cli.output import print_message
from stepwell.cli.workflow_commands.input_questions import alternatives, properties, resolved, type_names
from stepwell.contract.stored_definitions import DEFINITION

_MEMBERS: Final = ("config", "provider_config", "fallback_provider_config")
_INPUTS, _SCHEMA = "inputs", "inputs_schema"
_PART = r'(?:"(?:[^"\\]|\\.)*"|[^."=]+)'
_CHANGE = re.compile(rf"({_PART}(?:\.{_PART})*)=(.*)", re.DOTALL)
_FORM = "Expected STEP.config.KEY={0} or inputs.KEY={0}; a step id with dots stands in double quotes"
_LIST: Final = "[]"
_READ_INPUT: Final = re.compile(r'\binputs\.(?:\\"([^"\\]+)\\"|(\w+))')  # in JSON, where quotes are escaped
_MAX_LISTED: Final = 10


class _Change(NamedTuple):
    """A value for the member at `path` of a step; of the definition if `step_id` is None.

    `is_list`: the option says by "[]" that the member is a list.
    """

    place: str
    step_id: str | None
    path: tuple[str, ...]
    text: str
    is_list: bool


def read_definition(data: bytes) -> dict[str, Any]:
    """Return the definition in *data*. Raises `Refused`."""
    try:
        definition = decode_body(data)
    except InvalidRequest as error:
        raise invalid_definition(error.faults) from error
    if not isinstance(definition, dict):
        raise invalid_definition([Fault(("body",), "Expected an object", "type")])
    return definition


def set_values(definition: dict[str, Any], options: Iterable[str], stored: Mapping[str, Any] | None = None) -> None:
    """Set values in the configs of steps, or inputs. A value is JSON, or else a text. Raises `Refused`.

    *stored* is the stored definition, if *definition* is the body of a run of it.
    """
    for change in [_read(option, "--set", "VALUE") for option in options]:
        _warn_of_unknown_input(definition if stored is None else stored, change, "--set")
        _set(definition, change, "--set", _value(change.text, f"--set {change.place}"))


def read_changes(options: Iterable[str]) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Return the changes of a rerun: members of the configs of steps, by step, and inputs. Raises `Refused`."""
    changes = [_read(option, "--set", "VALUE") for option in options]
    ids = dict.fromkeys(change.step_id for change in changes if change.step_id is not None)
    changed: dict[str, Any] = {"steps": [{"id": step_id} for step_id in ids], _INPUTS: {}}
    for change in changes:
        if change.step_id is not None and change.path[0] != _MEMBERS[0]:
            raise Refused(f"--set {change.place}: a rerun changes only config and inputs", code=MISUSED)
        _set(changed, change, "--set", _value(change.text, f"--set {change.place}"))
    return {step["id"]: step[_MEMBERS[0]] for step in changed["steps"]}, changed[_INPUTS]


def set_uploads(
    definition: dict[str, Any],
    options: Iterable[str],
    upload: Callable[[Path], str],
    stored: Mapping[str, Any] | None = None,
) -> None:
    """Set the paths of files, which *upload* sends and names. All options are checked first. Raises `Refused`.

    Options for the same member make a list in their order, if the schema of the inputs, the value in the definition or
    "[]" says that the member is a list. *stored* is that of `set_values`.
    """
    changes = [_read(option, "--upload", "FILE") for option in options]
    by_member: dict[tuple[str | None, tuple[str, ...]], list[_Change]] = {}
    for change in changes:
        if not Path(change.text).is_file():
            raise Refused(f"--upload {change.place}: there is no file {change.text}", code=MISUSED)
        by_member.setdefault((change.step_id, change.path), []).append(change)
    known = definition if stored is None else stored
    lists = {member for member, group in by_member.items() if _is_list(known, group)}
    for change in changes:
        _warn_of_unknown_input(known, change, "--upload")
        _set(definition, change, "--upload", "")
    paths: dict[str, str] = {}
    for change in changes:
        if change.text not in paths:
            paths[change.text] = upload(Path(change.text))
    for member, group in by_member.items():
        files = [paths[change.text] for change in group]
        _set(definition, group[0], "--upload", files if member in lists else files[0])


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
    is_list = name == "--upload" and parts[-1].endswith(_LIST) and parts[-1] != _LIST
    if is_list:
        parts[-1] = parts[-1].removesuffix(_LIST)
    return _Change(match[1], step_id, tuple(_unquoted(part) for part in parts[is_step:]), match[2], is_list)


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


def _step(definition: Mapping[str, Any], step_id: str, source: str) -> dict[str, Any]:
    if DEFINITION in definition:
        raise Refused(f"{source}: a run of a stored definition changes no step; set inputs.KEY", code=MISUSED)
    listed = definition.get("steps")
    steps = [step for step in listed if isinstance(step, dict)] if isinstance(listed, list) else []
    for step in steps:
        if step.get("id") == step_id:
            return step
    hint = _similar(step_id, [str(step.get("id")) for step in steps])
    raise Refused(f"{source}: the definition has no step {step_id}{hint}", code=MISUSED)


def _similar(name: str, candidates: Collection[str]) -> str:
    similar = get_close_matches(name, candidates, n=1)
    return f"; did you mean {similar[0]}?" if similar else ""


def _is_list(definition: Mapping[str, Any], group: Sequence[_Change]) -> bool:
    """Return whether the member that *group* sets is a list. Raises `Refused` if it isn't, and has several files."""
    (place, step_id, path, *_), several = group[0], len(group) > 1
    if any(each.is_list for each in group):
        return True
    value: object = definition if step_id is None else _step(definition, step_id, f"--upload {place}")
    schema: Mapping[str, Any] = {"properties": {_INPUTS: definition.get(_SCHEMA)}} if step_id is None else {}
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
        schema = resolved(properties(schema).get(part), definition.get(_SCHEMA))
    types = {name for each in (schema, *alternatives(schema)) for name in type_names(each)}
    if isinstance(value, list) or ("array" in types and (several or types <= {"array", "null"})):
        return True
    if several:
        options = " ".join(f"--upload {place}{_LIST}={each.text}" for each in group)
        raise Refused(f"--upload {place}: several files for what is no list; for a list, write {options}", code=MISUSED)
    return False


def _warn_of_unknown_input(definition: Mapping[str, Any], change: _Change, option: str) -> None:
    """Warn of an input that is neither in `inputs` nor in `inputs_schema`, and that no expression reads."""
    if change.step_id is not None:
        return
    root = definition.get(_SCHEMA)
    value, schema = definition.get(_INPUTS), resolved(root, root)
    read = {quoted or name for quoted, name in _READ_INPUT.findall(json.encode(definition.get("steps")).decode())}
    for part in change.path[1:]:
        known = {*(value if isinstance(value, dict) else ()), *properties(schema), *read}
        if part not in known:
            if known:
                hint = _similar(part, known) or f"; it has {', '.join(sorted(known)[:_MAX_LISTED])}"
                print_message(f"warning: {option} {change.place}: the definition has no input {part}{hint}")
            return
        value = value.get(part) if isinstance(value, dict) else None
        schema, read = resolved(properties(schema).get(part), root), set()
