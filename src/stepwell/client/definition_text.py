"""The definitions that the client accepts."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from math import isfinite
from typing import Any, Final, TypeAlias, TypedDict

from msgspec import json, to_builtins

from stepwell.client.builder import Workflow
from stepwell.client.requests import json_body
from stepwell.contract.definition import CreateWorkflow
from stepwell.contract.stored_definitions import DefinitionContent

RUN_MEMBERS: Final = frozenset(CreateWorkflow.__struct_fields__) - frozenset(DefinitionContent.__struct_fields__)
Definition: TypeAlias = Mapping[str, Any] | Workflow | CreateWorkflow | bytes | str


def definition_json(definition: Definition) -> bytes:
    """Return the JSON text of *definition*: an object, a built workflow, or JSON text.

    Raises ValueError, with the place, for a number that JSON can't express, which would become null.
    """
    if isinstance(definition, str):
        return definition.encode()
    value = definition.definition() if isinstance(definition, Workflow) else definition
    text = json_body(value)  # it refuses a value that contains itself
    if not isinstance(value, bytes):
        _check_numbers(to_builtins(value) if isinstance(value, CreateWorkflow) else value)
    return text


def run_body(name: str, members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a run of the stored definition *name*, which may have a version, like "photo-set@3"."""
    name, at, version = name.partition("@")
    if at and not (version.isascii() and version.isdecimal()):
        raise ValueError(f"the version of {name} is a number, not {version!r}")
    return {"definition": {"name": name, "version": int(version) if at else None}, **members}


class RerunChanges(TypedDict, total=False):
    """The changes of a rerun. `steps` run in any case.

    `config` has members for the configs of steps, by step. They are merged over those of the old run, and so are
    `inputs`; None removes a member. `definition` is a stored one, like "photo-set" or "photo-set@3".
    """

    steps: Iterable[str]
    config: Mapping[str, Mapping[str, Any]]
    inputs: Mapping[str, Any]
    definition: str


def rerun_body(changes: RerunChanges) -> bytes:
    members: dict[str, Any] = {**changes, "steps": list(changes.get("steps", ()))}
    if (definition := changes.get("definition")) is not None:
        members |= run_body(definition, {})
    return json_body(members)


def content_json(definition: Definition) -> bytes:
    """Return the JSON text of *definition* as it is stored by name, without the members that belong to a run.

    JSON text stays as it is. Raises as `definition_json`.
    """
    if isinstance(definition, str | bytes):
        return definition_json(definition)
    members = json.decode(definition_json(definition), type=dict[str, Any])
    return json_body({name: value for name, value in members.items() if name not in RUN_MEMBERS and value is not None})


def _check_numbers(definition: Any) -> None:
    rest: list[tuple[str, Any]] = [("", definition)]
    while rest:
        place, value = rest.pop()
        if isinstance(value, float | Decimal) and not isfinite(value):
            raise ValueError(f"{place.removeprefix('.')} is {value}, which JSON can't express: use a number or None")
        rest += ((f"{place}{part}", each) for part, each in _parts(value))


def _parts(value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return ((f".{key}", each) for key, each in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return ((f"[{i}]", each) for i, each in enumerate(value))
    return ()
