"""Validates a step's config, its input mappings and its member `repeat`. `expression_checks` checks expressions."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from stepwell.basics.errors import Fault
from stepwell.basics.strict_json.schema_faults import Loc
from stepwell.basics.strict_json.size import is_larger_than
from stepwell.contract.definition import Repeat
from stepwell.contract.enums import WITHOUT_ATTEMPTS, TaskType
from stepwell.contract.task_configs import CONFIGS, TASK_TYPES
from stepwell.definition.mapping.expressions import Expressions
from stepwell.definition.mapping.input_mapping import EVERY_TYPE, TIMEOUT, merged_config
from stepwell.definition.mapping.task_configs import NO_PLACES, config_faults, normalise_inputs, without_nulls
from stepwell.definition.validation.graph import Graph
from stepwell.definition.validation.partial_step import PartialStep

MAX_FIELD_DEPTH = 16
_SMALL = 512  # bytes
_NO_NAMES: frozenset[str] = frozenset()

# Takes the position of a step and a `from_field`. Returns why no result of the step has it, or None.
OutputRefusal: TypeAlias = Callable[[int, str], str | None]


class KnownInputs(NamedTuple):
    """The inputs of a step that are known from its definition, and the names of those that aren't.

    An input is `unresolved` if a mapping or an expression provides it, if it is invalid, or if it is inherited from
    defaults that are too large to scan for each step.
    """

    inputs: dict[str, Any]
    unresolved: frozenset[str]


def known_defaults(defaults: Mapping[str, Mapping[str, Any]], task_type: TaskType) -> dict[str, dict[str, Any]]:
    """Return the known members of the *defaults* for the type.

    There may be many thousands of others, and each step is examined together with its defaults.
    """
    names = (*CONFIGS[task_type].__struct_fields__, *TASK_TYPES[task_type].inputs)
    return {
        key: {name: members[name] for name in names if name in members}
        for key, members in defaults.items()
        if key in (EVERY_TYPE, task_type)
    }


def input_faults(
    step: PartialStep,
    task_type: TaskType,
    defaults: Mapping[str, Mapping[str, Any]],
    loc: Loc,
    evaluated: Mapping[Loc, bool] = NO_PLACES,
    of_item: frozenset[str] | None = _NO_NAMES,
) -> Iterator[Fault]:
    """Yield the faults of known config fields, and of a required input that neither config nor a mapping provides.

    *defaults* are the `known_defaults` for the type. *evaluated* are as in `config_faults`.
    *of_item* are the inputs that each item of the step provides; None if they aren't known.
    """
    if step.config is None:
        return
    own = list(config_faults(task_type, step.config, (*loc, "config"), evaluated)) if step.config else []
    yield from own
    config = merged_config(defaults, task_type, step.config) if defaults else step.config
    if defaults and not own and step.config:
        # The faults of the defaults alone are reported at `step_defaults`. Only both together may have too many pixels.
        alone = merged_config(defaults, task_type, {})
        if not any(config_faults(task_type, alone, ())):
            yield from config_faults(task_type, config, (*loc, "config"), evaluated)
    alternatives = TASK_TYPES[task_type].inputs
    mappings = step.input_mappings
    if not alternatives or mappings is None or None in mappings or of_item is None:
        return
    mapped = {mapping.to_field.partition(".")[0] for mapping in mappings if mapping}
    if (without_nulls(config).keys() | mapped | of_item).isdisjoint(alternatives):
        names = " or ".join(alternatives)
        others = "config or from an input mapping" if step.for_each is None else "config, a mapping or each item"
        message = f"{task_type} needs {names}, from {others}"
        yield Fault((*loc, "config", alternatives[0]), message, "missing")


class Defaults:
    """`step_defaults`, divided by size, because each step scans the defaults for its type.

    `small` holds the defaults of at most 512 bytes. Of larger ones, only the names of the members are known.
    """

    def __init__(self, defaults: Mapping[str, Mapping[str, Any]]) -> None:
        big = {key for key, members in defaults.items() if is_larger_than(members, _SMALL)}
        self.small = {key: members for key, members in defaults.items() if key not in big}
        self._names = {key: frozenset(defaults[key]) for key in big}

    def unresolved(self, task_type: TaskType, own: Mapping[str, Any]) -> frozenset[str]:
        """Return the names of the inputs that a step inherits from large defaults. Its *own* inputs replace these."""
        names = self._names.get(EVERY_TYPE, _NO_NAMES) | self._names.get(task_type, _NO_NAMES)
        return names.difference(own) if names else names


def known_inputs(
    step: PartialStep,
    defaults: Defaults,
    task_type: TaskType,
    *,
    sound: bool,
    evaluated: frozenset[str] = frozenset(),
    of_items: frozenset[str] | None = _NO_NAMES,
) -> KnownInputs | None:
    """Return the known inputs; None if the config or a mapping is broken, or if items may provide any input.

    *sound*: the config has no faults. *evaluated* are the names of the inputs that have expressions, and *of_items* of
    those that items provide; None if any may be among them.
    """
    if step.config is None or step.input_mappings is None or None in step.input_mappings or of_items is None:
        return None
    names = {mapping.to_field.partition(".")[0] for mapping in step.input_mappings if mapping}
    inputs = normalise_inputs(task_type, without_nulls(merged_config(defaults.small, task_type, step.config)))
    if defaults.small or not sound:
        names.update(str(fault.loc[0]) for fault in config_faults(task_type, inputs, ()))
    names |= evaluated | of_items | defaults.unresolved(task_type, step.config)
    for name in [TIMEOUT, *(name for name in inputs if name in names)]:
        inputs.pop(name, None)
    return KnownInputs(inputs, frozenset(names))


def mapping_faults(
    step: PartialStep, graph: Graph, expressions: Expressions, output_refusal: OutputRefusal, loc: Loc
) -> Iterator[Fault]:
    targets = _Targets()
    for index, mapping in enumerate(step.input_mappings or ()):
        if mapping is None:
            continue
        place: Loc = (*loc, "input_mappings", index)
        source = graph.position_of.get(mapping.from_step)
        if source is None:
            yield Fault((*place, "from_step"), graph.unknown_step(mapping.from_step), "unknown_step")
        if bad := expressions.check(mapping.from_field):
            yield Fault((*place, "from_field"), bad, "bad_expression")
        elif source is not None and (absent := output_refusal(source, mapping.from_field)):
            yield Fault((*place, "from_field"), absent, "unknown_output")
        if fault := targets.add(mapping.to_field):
            yield Fault((*place, "to_field"), *fault)


class _Targets:
    """The fields that the mappings of one step write. No two may write the same field, or one inside the other."""

    def __init__(self) -> None:
        self.written: set[str] = set()
        self.parents: set[str] = set()

    def add(self, field: str) -> tuple[str, str] | None:
        """Add *field*. Return message and type of the fault, or None."""
        names = field.split(".")
        if not all(names) or len(names) > MAX_FIELD_DEPTH:
            return f"Expected up to {MAX_FIELD_DEPTH} names with a dot between them", "bad_field"
        if names[0] == TIMEOUT:
            return f"{TIMEOUT} is no input: set it in config", "bad_field"
        parents = {".".join(names[:count]) for count in range(1, len(names))}
        if field in self.written or field in self.parents or not parents.isdisjoint(self.written):
            return "Another mapping writes this field, or one inside or around it", "conflicting_mappings"
        self.written.add(field)
        self.parents |= parents
        return None


def repeat_faults(
    step: PartialStep, repeat: Repeat, expressions: Expressions, refusal: Callable[[str], str | None], loc: Loc
) -> Iterator[Fault]:
    """Yield the faults of *repeat* of the step at *loc*.

    *refusal* returns why a field can't be in the result of the step; None if it may be.
    """
    if step.task_type in WITHOUT_ATTEMPTS:
        yield Fault((*loc, "repeat"), f"{step.task_type} is never repeated: leave this out", "unused_member")
        return
    for name, expression in (("until", repeat.until), ("best", repeat.best)):
        if expression is not None and (why := _refusal(expression, expressions, refusal)) is not None:
            yield Fault((*loc, "repeat", name), why, "unknown_output")


def _refusal(expression: str, expressions: Expressions, refusal: Callable[[str], str | None]) -> str | None:
    """Return why the expression reads nothing that can be in the result; None if it may."""
    read = expressions.analyse(expression)
    if read.fault is not None or read.reads_all:
        return None
    refusals = [refusal(name) for name in sorted(read.names)]
    return refusals[0] if refusals and None not in refusals else refusal(expression)
