"""Counts the dependencies of a definition before its JSON is decoded.

Decoding a million of them would hold the interpreter's lock for a fifth of a second. Here each step is read by itself,
so that other threads run in between.

What must hold:
- A definition is refused only if it has more than `MAX_DEPENDENCIES`, or another fault: unknown steps and repeated
  dependencies count, too.
- At most `MAX_STEPS` steps are read, and no definition below `MAX_DEPTH`: a million empty steps would take seconds, and
  each level reads all below it once more.
- JSON that can't be read counts as no dependency. Validation reports it.
"""

from typing import Any, Final, TypeVar

from msgspec import DecodeError, Raw, Struct, field, json

from stepwell.basics.errors import InvalidRequest
from stepwell.basics.strict_json.schema_faults import Loc
from stepwell.basics.strict_json.size import count_values, most_values
from stepwell.contract.enums import TaskType
from stepwell.definition.mapping.templates import SUB_DEFINITION
from stepwell.definition.validation.graph import MAX_DEPENDENCIES, too_many_dependencies
from stepwell.definition.validation.sub_workflow_rules import MAX_DEPTH, too_deep
from stepwell.definition.validation.workflow import MAX_STEPS, too_many_steps

_T = TypeVar("_T")
_NOTHING: Final = Raw(b"null")
_SUBWORKFLOW: Final = json.encode(TaskType.SUBWORKFLOW)


class _Definition(Struct):
    steps: Raw = _NOTHING


class _Step(Struct):
    task_type: Raw = _NOTHING
    depends_on: Raw = _NOTHING
    input_mappings: Raw = _NOTHING
    config: Raw = _NOTHING


class _Mapping(Struct):
    from_step: str


class _Config(Struct):
    definition: Raw = field(default=_NOTHING, name=SUB_DEFINITION)


def check_dependency_count(data: bytes) -> None:
    """Raise `InvalidRequest` if the definition *data* has too many dependencies, with those of sub-workflows in it.

    Also if it has too many steps, or is nested too deep. Dependencies that expressions imply don't count here.
    """
    if most_values(data) <= MAX_DEPENDENCIES:
        return
    left, left_steps = MAX_DEPENDENCIES, MAX_STEPS
    rest: list[tuple[Any, Loc, int]] = [(data, ("body",), 0)]
    while rest:
        text, loc, depth = rest.pop()
        nested: list[tuple[Any, Loc, int]] = []
        steps = _steps(text)
        left_steps -= len(steps)
        if left_steps < 0:
            raise InvalidRequest([too_many_steps()])
        for position, raw in enumerate(steps):
            step, place = _read(raw, _Step) or _Step(), (*loc, "steps", position)
            left -= _count(step, left)
            if left < 0:
                raise InvalidRequest([too_many_dependencies((*place, "depends_on"))])
            if (definition := _definition(step)) is not None:
                below = (*place, "config", SUB_DEFINITION)
                if depth == MAX_DEPTH:
                    raise InvalidRequest([too_deep(below)])
                nested.append((definition, below, depth + 1))
        rest += reversed(nested)


def _steps(definition: Any) -> list[Raw]:
    head = _read(definition, _Definition)
    return (None if head is None else _read(head.steps, list[Raw])) or []


def _definition(step: _Step) -> Raw | None:
    """Return the definition of a sub-workflow; None if the step has none."""
    config = _read(step.config, _Config) if bytes(step.task_type) == _SUBWORKFLOW else None
    return None if config is None or bytes(config.definition) == bytes(_NOTHING) else config.definition


def _count(step: _Step, left: int) -> int:
    """Return the number of the step's dependencies. A number above *left* may be too high."""
    text = bytes(step.depends_on)
    if len(text) > left and (number := count_values(text).values - 1) > left:  # without the list itself
        return number
    declared = _read(text, list[str]) or []
    sources = _read(step.input_mappings, list[_Mapping]) or []
    return max(len(declared), len({*declared, *(each.from_step for each in sources)}))


def _read(text: Any, kind: type[_T]) -> _T | None:
    """Return the JSON *text* as a *kind*; None if it isn't one."""
    try:
        return json.decode(text, type=kind)
    except (DecodeError, RecursionError):
        return None
