"""The numbers of items that the steps of a definition may have, as far as they follow from the definition.

What must hold:
- No run has more items than `most`, because the price of a plan is computed from it.
- Nothing is evaluated here. A source is understood if it is a path into `inputs` or to the result of another step,
  perhaps with one filter or projection. Any other source counts as 0 to `MAX_ITEMS` items.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import UNSET

from stepwell.contract.definition import MAX_ITEMS, ForEach, WorkflowStepDefinition
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.contract.forecasts import PlannedCount
from stepwell.contract.task_configs import MAX_IMAGES
from stepwell.definition.mapping.input_mapping import effective_config
from stepwell.definition.mapping.templates import INPUTS, parse_template
from stepwell.definition.validation.item_rules import known_count
from stepwell.definition.validation.workflow import ValidatedWorkflow

_UNKNOWN: Final = PlannedCount(0, MAX_ITEMS)
_ONE: Final = PlannedCount(1, 1)
_NUM_IMAGES: Final = "num_images"
_NAME = r'(?:[A-Za-z_]\w*|"[^"\\]*")'
# A path, and perhaps a filter or a projection of its list, which gives at most as many elements.
_SOURCE = re.compile(rf"({_NAME})((?:\.{_NAME})*)(\[(?:\*|\?[^\[\]]*)\](?:\.{_NAME})*)?", re.ASCII)


def item_counts(planned: ValidatedWorkflow, order: Sequence[int]) -> dict[int, PlannedCount]:
    """Return the least and the highest number of items of each step that has items, by position.

    *order* has the positions of all steps, each after those that its step depends on.
    """
    counts = dict[int, PlannedCount]()
    positions = {step.step_id: step.position for step in planned.steps}
    for position in order:
        for_each = planned.request.steps[position].for_each
        if for_each is not UNSET:
            known = known_count(for_each)
            own = PlannedCount(known, known) if known is not None else _of_source(planned, for_each, positions, counts)
            counts[position] = own if own.most <= MAX_ITEMS else _UNKNOWN
    return counts


def _of_source(
    planned: ValidatedWorkflow, for_each: ForEach, positions: Mapping[str, int], counts: Mapping[int, PlannedCount]
) -> PlannedCount:
    """Return how many items come from a source that the definition only names: an input, or the result of a step."""
    if for_each.from_step is not None and for_each.transform is not None:
        return _UNKNOWN
    if (read := _SOURCE.fullmatch(_text(for_each))) is None:
        return _UNKNOWN
    owner, path, is_part = read[1].strip('"'), re.findall(_NAME, read[2]), read[3] is not None
    names = [name.strip('"') for name in path]
    if owner == INPUTS and for_each.from_step is None:
        found = _of_input(planned.request.inputs, names, is_number=for_each.count is not None)
    elif (position := positions.get(owner)) is not None:
        found = _of_result(planned, position, names, counts, is_number=for_each.count is not None)
    else:
        return _UNKNOWN
    return PlannedCount(0, found.most) if is_part else found


def _text(for_each: ForEach) -> str:
    """Return the expression that gives the items or their number."""
    if for_each.from_step is not None:
        return f'"{for_each.from_step}".{for_each.from_field}'
    template = parse_template(str(for_each.items if for_each.count is None else for_each.count))
    return template.expressions[0].text if template.is_expression else ""


def _of_input(inputs: Any, names: Sequence[str], *, is_number: bool) -> PlannedCount:
    value = inputs
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    if is_number and isinstance(value, int) and not isinstance(value, bool):
        return PlannedCount(value, value) if value > 0 else _UNKNOWN
    if not is_number and isinstance(value, list):
        return PlannedCount(len(value), len(value))
    return _UNKNOWN


def _of_result(
    planned: ValidatedWorkflow,
    position: int,
    names: Sequence[str],
    counts: Mapping[int, PlannedCount],
    *,
    is_number: bool,
) -> PlannedCount:
    """Return how many items a member of the result of the step at *position* gives."""
    items = counts.get(position)
    if items is not None and names == (["count"] if is_number else ["items"]):
        return items
    if is_number or names != ["result_image_paths"] or (images := _images(planned, position)) is None:
        return _UNKNOWN
    return PlannedCount(0, images * (_ONE if items is None else items).most)


def _images(planned: ValidatedWorkflow, position: int) -> int | None:
    """Return how many images a run of the step at *position* makes at most; None if its provider decides that."""
    step, definition = planned.steps[position], planned.request.steps[position]
    if step.provider is not ProviderType.LOCAL or step.fallback not in (None, ProviderType.LOCAL):
        return None
    if step.task_type is not TaskType.GENERATION:
        return 1
    number = effective_config(planned.config, definition).get(_NUM_IMAGES, 1)
    return number if isinstance(number, int) and not _is_replaced(definition) else MAX_IMAGES


def _is_replaced(definition: WorkflowStepDefinition) -> bool:
    """Return whether a mapping or an item may give the number of images."""
    for_each = definition.for_each
    of_item = for_each is not UNSET and for_each.as_ in (None, _NUM_IMAGES)
    return of_item or any(mapping.to_field == _NUM_IMAGES for mapping in definition.input_mappings)
