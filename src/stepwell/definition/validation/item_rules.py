"""Validates the member `for_each` of a step. `expression_checks` checks its expressions, and `graph` the dependency.

What must hold:
- Each item of a list in the definition is checked here. Other items are checked when the step runs.
- The checks take time in proportion to the definition: no item is encoded.
"""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, Final, NamedTuple

from msgspec import structs

from stepwell.basics.errors import Fault
from stepwell.basics.strict_json.schema_faults import Loc
from stepwell.basics.strict_json.size import MAX_RESULT_BYTES, is_larger_than
from stepwell.contract.definition import MAX_ITEMS, ForEach
from stepwell.contract.enums import WITHOUT_ATTEMPTS, TaskType
from stepwell.contract.problems import DefinitionWarning
from stepwell.contract.task_configs import CONFIGS
from stepwell.definition.mapping.expressions import Expressions
from stepwell.definition.mapping.input_mapping import TIMEOUT
from stepwell.definition.mapping.task_configs import NO_PLACES, config_faults
from stepwell.definition.mapping.templates import OPENING, TemplateError, parse_template
from stepwell.definition.mapping.transforms import is_deferred
from stepwell.definition.validation.graph import Graph
from stepwell.definition.validation.partial_step import PartialItems, PartialStep
from stepwell.definition.validation.step_rules import OutputRefusal
from stepwell.lifecycle.items import MAX_WORKFLOW_ITEMS

FOR_EACH: Final = "for_each"
_DEFAULT_CONCURRENCY = ForEach().max_concurrency
_KNOWN = {task_type: frozenset(CONFIGS[task_type].__struct_fields__) for task_type in CONFIGS}
_FROM_STEP, _FROM_FIELD, _ITEMS, _COUNT = "from_step", "from_field", "items", "count"


class ItemRules:
    """The rules of one definition. *refusal* says which fields the results of its steps can't have."""

    def __init__(self, graph: Graph, expressions: Expressions, refusal: OutputRefusal) -> None:
        self._graph, self._expressions, self._refusal = graph, expressions, refusal
        self._left = MAX_WORKFLOW_ITEMS

    def faults(
        self, step: PartialStep, items: PartialItems, loc: Loc, evaluated: Mapping[Loc, bool] = NO_PLACES
    ) -> Iterator[Fault]:
        """Yield the faults of *items*, which are `for_each` of the step at *loc*.

        *evaluated* are as in `config_faults`.
        """
        place = (*loc, FOR_EACH)
        if step.task_type in WITHOUT_ATTEMPTS:
            yield Fault(place, f"{step.task_type} has no items: leave this out", "unused_member")
            return
        yield from _source_faults(items, place)
        yield from self._result_faults(items.valid, place)
        yield from _name_faults(items.valid.as_, step, place)
        yield from _literal_faults(items.valid, place)
        yield from _value_faults(step, items.valid, place, evaluated)
        yield from self._count_items(items.valid, place)

    def warnings(self, items: PartialItems, loc: Loc) -> Iterator[DefinitionWarning]:
        """Yield the warnings about *items*, which are `for_each` of the step at *loc*."""
        if (number := known_count(items.valid)) is None:
            return
        most = items.valid.max_concurrency
        if not number:
            message = "There are no items: the step completes at once, and does nothing"
            yield DefinitionWarning((*loc, FOR_EACH, _ITEMS), message, "no_items")
        elif most > max(number, _DEFAULT_CONCURRENCY):
            yield DefinitionWarning(
                (*loc, FOR_EACH, "max_concurrency"), f"There are only {number:,} items", "few_items"
            )

    def _result_faults(self, items: ForEach, place: Loc) -> Iterator[Fault]:
        """Yield the faults of a source that is the result of another step."""
        source = None if items.from_step is None else self._graph.position_of.get(items.from_step)
        if items.from_step is not None and source is None:
            yield Fault((*place, _FROM_STEP), self._graph.unknown_step(items.from_step), "unknown_step")
        if items.from_field is not None and (bad := self._expressions.check(items.from_field)):
            yield Fault((*place, _FROM_FIELD), bad, "bad_expression")
        elif items.from_field is not None and source is not None and (why := self._refusal(source, items.from_field)):
            yield Fault((*place, _FROM_FIELD), why, "unknown_output")
        if items.transform is not None and is_deferred(items.transform):
            message = f"{items.transform} reads files, which isn't possible before the items are known"
            yield Fault((*place, "transform"), message, "bad_transform")

    def _count_items(self, items: ForEach, place: Loc) -> Iterator[Fault]:
        """Count the items for the limit of the workflow. Yield a fault for the step that exceeds it."""
        number, before = known_count(items), self._left
        self._left -= number or 0
        if self._left < 0 <= before:
            message = f"The steps of a workflow have at most {MAX_WORKFLOW_ITEMS:,} items together"
            yield Fault((*place, _COUNT if items.items is None else _ITEMS), message, "too_many_items")


def known_count(items: ForEach) -> int | None:
    """Return how many items the definition gives the step; None if only the run knows."""
    if isinstance(items.items, list):
        return len(items.items)
    return items.count if isinstance(items.count, int) else None


def _source_faults(items: PartialItems, place: Loc) -> Iterator[Fault]:
    """Yield the faults of the choice of the source: there must be exactly one."""
    named = items.sources
    if _FROM_FIELD in named and _FROM_STEP not in named:
        yield Fault((*place, _FROM_STEP), "from_field needs a from_step, whose result it reads", "missing")
    elif _FROM_STEP in named and _FROM_FIELD not in named:
        yield Fault((*place, _FROM_FIELD), "from_step needs a from_field: the name of its list of items", "missing")
    sources = [each for each in (_ITEMS, _COUNT) if each in named]
    if _FROM_STEP in named or _FROM_FIELD in named:
        sources.append(_FROM_STEP)
    elif items.valid.transform is not None:
        yield Fault((*place, "transform"), "Only a value of from_step can be transformed: leave this out", "conflict")
    expected = "Items come from one source: items, count, or from_step with from_field"
    if not sources:
        yield Fault(place, f"{expected}; name one of them", "missing")
    elif len(sources) > 1:
        yield Fault(place, f"{expected}; this names {' and '.join(sources)}", "conflict")


def _name_faults(name: str | None, step: PartialStep, place: Loc) -> Iterator[Fault]:
    if name is None:
        return
    is_sub_workflow = step.task_type is TaskType.SUBWORKFLOW  # the item is one of its inputs, as mapped values are
    written = [mapping.to_field.split(".") for mapping in step.input_mappings or () if mapping is not None]
    if name == TIMEOUT and not is_sub_workflow:
        yield Fault((*place, "as"), f"{TIMEOUT} is no input: set it in config", "bad_field")
    elif "." in name:
        yield Fault((*place, "as"), "Expected the name of an input, without dots", "bad_field")
    elif any(names[is_sub_workflow:][:1] == [name] for names in written):
        message = "A mapping writes this input, too: name another one, or remove the mapping"
        yield Fault((*place, "as"), message, "conflicting_mappings")


def _literal_faults(items: ForEach, place: Loc) -> Iterator[Fault]:
    """Yield the faults of a source that stands in the definition."""
    for name, value in ((_ITEMS, items.items), (_COUNT, items.count)):
        if isinstance(value, str) and not _is_expression(value):
            kind = "a list" if name == _ITEMS else "an integer"
            message = f"Expected {kind}, or one expression that gives it: {OPENING}…}}"
            yield Fault((*place, name), message, "bad_expression")
    if items.count is not None and items.as_ is None:
        yield Fault((*place, "as"), "Numbers have no members: name the input that gets the number", "conflict")
    if not isinstance(items.items, list):
        return
    if len(items.items) > MAX_ITEMS:
        yield Fault((*place, _ITEMS), f"Expected at most {MAX_ITEMS:,} items", "too_long")
        return
    for number, item in enumerate(items.items):
        if items.as_ is None and not isinstance(item, dict) and not _may_be_object(item):
            message = "Expected an object: as is null, so the members of the item are inputs"
            yield Fault((*place, _ITEMS, number), message, "dict_type")
        elif is_larger_than(item, MAX_RESULT_BYTES):
            yield Fault((*place, _ITEMS, number), f"An item has at most {MAX_RESULT_BYTES:,} bytes", "too_long")


def _is_expression(text: str) -> bool:
    """Return whether the text may be one whole expression. Another check reports one that is broken."""
    try:
        return parse_template(text).is_expression
    except TemplateError:
        return OPENING in text


def _may_be_object(item: Any) -> bool:
    return isinstance(item, str) and OPENING in item and _is_expression(item)


def _value_faults(step: PartialStep, items: ForEach, place: Loc, evaluated: Mapping[Loc, bool]) -> Iterator[Fault]:
    """Yield the faults of the inputs that items in the definition provide, each by itself."""
    task_type = step.task_type
    if task_type in (None, TaskType.SUBWORKFLOW) or not isinstance(items.items, list):
        return
    known = _KNOWN[task_type]
    if items.as_ is not None and items.as_ not in known:
        return
    for number, item in enumerate(items.items[:MAX_ITEMS]):
        loc = (*place, _ITEMS, number)
        if items.as_ is None:
            members = item if isinstance(item, dict) else {}
            yield from config_faults(task_type, members, loc, evaluated)
        elif loc not in evaluated:
            for fault in config_faults(task_type, {items.as_: item}, ()):
                if (where := (*loc, *fault.loc[1:])) not in evaluated:
                    yield structs.replace(fault, loc=where)


class ItemInputs(NamedTuple):
    """The names of the inputs that each item of a step provides, and of those that some do.

    None if only the run knows them.
    """

    in_each: frozenset[str] | None = frozenset()
    in_any: frozenset[str] | None = frozenset()


NO_INPUTS = ItemInputs()


def item_inputs(task_type: TaskType | None, items: ForEach) -> ItemInputs:
    """Return the inputs of a step that its *items* provide. Those of a sub-workflow aren't the step's own."""
    return NO_INPUTS if task_type is TaskType.SUBWORKFLOW else inputs_of_items(items)


def inputs_of_items(items: ForEach) -> ItemInputs:
    if items.as_ is not None:
        return ItemInputs(frozenset([items.as_]), frozenset([items.as_]))
    members = [_members(item) for item in items.items[:MAX_ITEMS]] if isinstance(items.items, list) else []
    known = [each for each in members if each is not None]
    if not members or len(known) < len(members):
        return ItemInputs(None, None)
    return ItemInputs(frozenset.intersection(*known), frozenset(chain.from_iterable(known)))


def _members(item: Any) -> frozenset[str] | None:
    """Return the names of the inputs that an item with members provides; None if it isn't known."""
    if not isinstance(item, dict):
        return None
    return frozenset(name for name, value in item.items() if value is not None)
