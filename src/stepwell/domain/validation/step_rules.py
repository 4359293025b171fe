"""What is refused about a step's config and its input mappings."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from stepwell.contract.enums import TaskType
from stepwell.domain.errors import Fault
from stepwell.domain.mapping.expressions import Expressions
from stepwell.domain.mapping.input_mapping import EVERY_TYPE, TIMEOUT, merged_config
from stepwell.domain.mapping.task_configs import config_faults, required_inputs, without_nulls
from stepwell.domain.strict_json.schema_faults import Loc
from stepwell.domain.strict_json.size import is_larger_than
from stepwell.domain.validation.graph import Graph, quoted
from stepwell.domain.validation.partial_step import PartialStep

MAX_FIELD_DEPTH = 16
_SMALL = 512  # bytes
_NO_NAMES: frozenset[str] = frozenset()


class KnownInputs(NamedTuple):
    """Of a step: the inputs that its definition has, and the names of those that come by mappings, are broken, or stand
    in defaults that are too big to be looked through for each step.
    """

    inputs: dict[str, Any]
    unresolved: frozenset[str]


def input_faults(
    draft: PartialStep, task_type: TaskType, defaults: Mapping[str, Mapping[str, Any]], loc: Loc
) -> Iterator[Fault]:
    """Known config fields of the wrong kind or range, and a required input that nothing gives."""
    if draft.config is None:
        return
    own = list(config_faults(task_type, draft.config, (*loc, "config")))
    yield from own
    config = merged_config(defaults, task_type, draft.config) if defaults else draft.config
    if defaults and not own and draft.config:
        # Defaults are told at their own place; here only what comes of both together, like too many pixels.
        alone = merged_config(defaults, task_type, {})
        if not any(config_faults(task_type, alone, ())):
            yield from config_faults(task_type, config, (*loc, "config"))
    alternatives = required_inputs(task_type)
    mappings = draft.input_mappings
    if not alternatives or mappings is None or None in mappings:
        return
    mapped = {mapping.to_field.partition(".")[0] for mapping in mappings if mapping}
    if (without_nulls(config).keys() | mapped).isdisjoint(alternatives):
        names = " or ".join(alternatives)
        message = f"{task_type} needs {names}, from config or from an input mapping"
        yield Fault((*loc, "config", alternatives[0]), message, "missing")


class Defaults:
    """`step_defaults`, as far as each step looks through them anew: a type's are `small`, or only the names are known.
    Else they would be looked through as often as there are steps, whatever their size.
    """

    def __init__(self, defaults: Mapping[str, Mapping[str, Any]]) -> None:
        big = {key for key, members in defaults.items() if is_larger_than(members, _SMALL)}
        self.small = {key: members for key, members in defaults.items() if key not in big}
        self._names = {key: frozenset(defaults[key]) for key in big}

    def unresolved(self, task_type: TaskType, own: Mapping[str, Any]) -> frozenset[str]:
        """Inputs that a step has by big ones: its *own* go before them."""
        names = self._names.get(EVERY_TYPE, _NO_NAMES) | self._names.get(task_type, _NO_NAMES)
        return names.difference(own) if names else names


def known_inputs(draft: PartialStep, defaults: Defaults, task_type: TaskType, *, sound: bool) -> KnownInputs | None:
    """*sound*: `input_faults` tells none. Null where it can't be said, for the structure is broken."""
    if draft.config is None or draft.input_mappings is None or None in draft.input_mappings:
        return None
    names = {mapping.to_field.partition(".")[0] for mapping in draft.input_mappings if mapping}
    inputs = without_nulls(merged_config(defaults.small, task_type, draft.config))
    if defaults.small or not sound:
        names.update(str(fault.loc[0]) for fault in config_faults(task_type, inputs, ()))
    names |= defaults.unresolved(task_type, draft.config)
    for name in (TIMEOUT, *names):
        inputs.pop(name, None)
    return KnownInputs(inputs, frozenset(names))


def mapping_faults(
    draft: PartialStep, position: int, graph: Graph, expressions: Expressions, loc: Loc
) -> Iterator[Fault]:
    targets = _Targets()
    for index, mapping in enumerate(draft.input_mappings or ()):
        if mapping is None:
            continue
        place: Loc = (*loc, "input_mappings", index)
        source = graph.position_of.get(mapping.from_step)
        if source is None:
            yield Fault((*place, "from_step"), f"There is no step {quoted(mapping.from_step)}", "unknown_step")
        elif not graph.is_ancestor(source, position):
            message = f"The step doesn't depend on {quoted(mapping.from_step)}, directly or through others"
            yield Fault((*place, "from_step"), message, "not_an_ancestor")
        if bad := expressions.check(mapping.from_field):
            yield Fault((*place, "from_field"), bad, "bad_expression")
        if fault := targets.add(mapping.to_field):
            yield Fault((*place, "to_field"), *fault)


class _Targets:
    """The fields that the mappings of one step write: two may not write the same one, nor one inside the other."""

    def __init__(self) -> None:
        self.written: set[str] = set()
        self.parents: set[str] = set()

    def add(self, field: str) -> tuple[str, str] | None:
        """Message and type of the fault, if there is one."""
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
