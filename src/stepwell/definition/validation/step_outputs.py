"""Checks that the output fields which mappings read can exist, before the step that gives them has run.

Only a field that certainly never exists is refused. So nothing is refused if the source's provider, or its fallback,
doesn't declare its results, nor if the expression may read the whole result.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from stepwell.basics.spelling import similar_names
from stepwell.basics.strict_json.schema_faults import printable_key
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.definition.mapping.items import RESULT_LISTS
from stepwell.definition.mapping.templates import SUB_DEFINITION
from stepwell.definition.validation.partial_step import PartialStep
from stepwell.definition.validation.provider_rules import ProviderCatalog, providers_of

# A name with the letters, digits, `_ - .` and space that are always accepted: it may be the name of a field.
_PLAIN = re.compile(r"([\w\- ]*)[\w.\- ]*")
# A path whose first name is that of a field: a.b[0].c[*], and slices.
_PATH = re.compile(r"([A-Za-z_]\w*)(?:\.[A-Za-z_]\w*|\[(?:\*|-?\d*|-?\d*:-?\d*)\])*", re.ASCII)

# A path to the result of a step of a sub-workflow, perhaps to that of each item: results.a.b, items[*].results."a-b".
_BELOW = re.compile(
    r"""(items\[(?:\*|-?\d+)\]\.)?results\.(?:([A-Za-z_]\w*)|"([^"\\]*)")(?:\.(?:[A-Za-z_]\w*|"[^"\\]*")|\[[^\[\]]*\])*""",
    re.ASCII,
)
_MOST_NAMED = 10  # ids of steps in a message

_WAIT_OUTPUTS = {
    TaskType.APPROVAL: frozenset({"choice", "approved", "note", "data", "by", "at"}),
    TaskType.SIGNAL: frozenset({"data", "by", "at"}),
    TaskType.DELAY: frozenset({"until"}),
    TaskType.SUBWORKFLOW: frozenset({"workflow_id", "status", "results", "final"}),
}
_OF_ITEMS = frozenset({"items", "count", "failed"})


class StepOutputs:
    """The fields that the results of a definition's *steps* may have, by the position of the step."""

    def __init__(self, steps: Sequence[PartialStep], catalog: ProviderCatalog) -> None:
        self._steps, self._catalog = steps, catalog
        # By position; and by type, for the steps that name no provider.
        self._fields: dict[int | TaskType | None, frozenset[str] | None] = {}
        self._ids_below: dict[int, dict[str, None] | None] = {}  # of the steps of sub-workflows, by position

    def refusal(self, position: int, from_field: str) -> str | None:
        """Return why *from_field* can't find anything in a result of the step at *position*; None if it may."""
        if self._steps[position].for_each is not None:
            return self._refusal(position, from_field, self._of_items(position), "The result of all items")
        return self.run_refusal(position, from_field)

    def run_refusal(self, position: int, from_field: str) -> str | None:
        """Return why *from_field* can't find anything in the result of one run of the step, or of one of its items."""
        return self._refusal(position, from_field, self._of(position), "The result")

    def _refusal(self, position: int, from_field: str, fields: frozenset[str] | None, what: str) -> str | None:
        if fields is None or from_field in fields:
            return None
        if (absent := self._absent_below(position, from_field, has_items=fields >= _OF_ITEMS)) is not None:
            return absent
        path = _PLAIN.fullmatch(from_field) or _PATH.fullmatch(from_field)
        if path is None or path[1] in fields:
            return None
        near = similar_names(fields).of(path[1])
        hint = f"did you mean {' or '.join(near)}?" if near else f"it may have {', '.join(sorted(fields))}"
        return f"{what} of {self._name(position)} has no {printable_key(path[1])}; {hint}"

    def _absent_below(self, position: int, from_field: str, *, has_items: bool) -> str | None:
        """Return why *from_field* names no step of the sub-workflow; None if it does, or reads something else."""
        if self._steps[position].task_type is not TaskType.SUBWORKFLOW:
            return None
        path = _BELOW.fullmatch(from_field)
        if path is None or (path[1] is not None) is not has_items:
            return None
        if position not in self._ids_below:
            self._ids_below[position] = _ids_of_sub_workflow(self._steps[position])
        name, ids = path[2] or path[3], self._ids_below[position]
        if ids is None or name in ids:
            return None
        known = ", ".join(printable_key(each) for each in islice(ids, _MOST_NAMED))
        more = ", …" if len(ids) > _MOST_NAMED else ""
        return f"The sub-workflow has no step {printable_key(name)}; it has {known}{more}"

    def _of_items(self, position: int) -> frozenset[str]:
        """Return the fields that the result of a step with items may have."""
        fields = self._of(position)
        if fields is None:
            return _OF_ITEMS.union(RESULT_LISTS)
        return _OF_ITEMS.union(name for name, member in RESULT_LISTS.items() if not fields.isdisjoint((name, member)))

    def _of(self, position: int) -> frozenset[str] | None:
        """Return the fields that the step's result may have; None if it may have any."""
        if position not in self._fields:
            step = self._steps[position]
            names_none = not step.provider_config and step.fallback is None and step.provider_known
            key = step.task_type if names_none and step.fallback_known else position
            if key not in self._fields:
                self._fields[key] = self._union(step)
            self._fields[position] = self._fields[key]
        return self._fields[position]

    def _union(self, step: PartialStep) -> frozenset[str] | None:
        if step.task_type is None or not step.provider_known or not step.fallback_known:
            return None
        if (fields := _WAIT_OUTPUTS.get(step.task_type)) is not None:
            return fields
        return declared_outputs(step.task_type, providers_of(step, self._catalog), self._catalog)

    def _name(self, position: int) -> str:
        step = self._steps[position]
        providers = " or ".join(provider for provider, _ in providers_of(step, self._catalog))
        return f"{step.task_type} by {providers}" if providers else str(step.task_type)


def declared_outputs(
    task_type: TaskType, used: Iterable[tuple[ProviderType, Mapping[str, Any]]], catalog: ProviderCatalog
) -> frozenset[str] | None:
    """Return the members that a result of the *used* providers with their configs may have; None if it may have any."""
    union = frozenset[str]()
    for provider, config in used:
        members = catalog.members.get(provider)
        fields = None if members is None else members(task_type, config).outputs
        if fields is None:
            return None
        union |= fields
    return union or None


def _ids_of_sub_workflow(step: PartialStep) -> dict[str, None] | None:
    """Return the ids of the steps of its sub-workflow; None if one is broken."""
    definition = (step.config or {}).get(SUB_DEFINITION)
    steps = definition.get("steps") if isinstance(definition, dict) else None
    if not isinstance(steps, list):
        return None
    ids: list[Any] = [each.get("id") if isinstance(each, dict) else None for each in steps]
    return dict.fromkeys(ids) if all(isinstance(each, str) for each in ids) else None
