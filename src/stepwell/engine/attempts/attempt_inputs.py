"""Resolves the inputs of an attempt: its step's config, the item over it, and the mapped values over both.

What must hold:
- Only values of the step's own config, results, inputs and item are read, and no text among them is evaluated again.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Protocol
from uuid import UUID

from msgspec import UNSET, json
from msgspec.structs import replace

from stepwell.basics.errors import AttemptError, ResultTooLarge
from stepwell.basics.strict_json.size import decoded_size
from stepwell.basics.tenancy import EVERY_TENANT, FileScope
from stepwell.contract.definition import FieldMapping, WorkflowConfig, WorkflowStepDefinition
from stepwell.contract.enums import WITHOUT_PROVIDER, RunIf, TaskType
from stepwell.definition.mapping.config_expressions import StepExpressions, StepPart
from stepwell.definition.mapping.input_mapping import (
    DeferredTransform,
    checked_inputs,
    effective_config,
    put_input,
    resolve_inputs,
)
from stepwell.definition.mapping.items import ItemInput, StepItem, reads_item
from stepwell.definition.mapping.templates import INPUTS, ITEM, ConfigText, with_values
from stepwell.lifecycle.steps import ResolvedStep
from stepwell.ports.storage import WorkflowStore
from stepwell.runtime.memory import FREE_BYTES
from stepwell.runtime.outages import until_available

_ALL_COMPLETED = RunIf.ALL_COMPLETED  # hot path: an attribute of an enum costs 0.1 µs in Python 3.11
_LEAST_DECODED, _MOST_DECODED = 2, 69  # bytes of memory for a byte of JSON, by `decoded_size`


class AttemptContext(Protocol):
    """The part of a workflow that an attempt reads. `mapping_work`: see `expression_evaluator.WorkAccount`.

    Positions are those of units: steps, and their items. `evaluates`: its steps have conditions, or expressions in
    their configs.
    """

    mapping_work: int
    evaluates: bool

    @property
    def workflow_id(self) -> Any: ...
    @property
    def tenant(self) -> str | None: ...
    @property
    def files(self) -> FileScope: ...
    @property
    def execution_id(self) -> UUID | None: ...
    @property
    def config(self) -> WorkflowConfig: ...

    @property
    def budget_root(self) -> UUID | None:
        """The workflow whose budget attempts at providers use: this one, or the one at the top. None: there is none."""

    @property
    def lost(self) -> bool:
        """True if another process may have the workflow now, and with it the files of the task."""

    def resolved_step(self, position: int) -> ResolvedStep: ...
    def definition(self, position: int) -> WorkflowStepDefinition:
        """Return the step's definition, without the mappings that its attempt leaves out."""

    def left_out_mappings(self, position: int) -> Sequence[FieldMapping]:
        """Return the mappings that the step's attempt leaves out, because they read from steps without a result.

        An `all_completed` step leaves out none.
        """

    def usable_mappings(self, position: int) -> Sequence[FieldMapping]:
        """Return the mappings that an attempt would use that began now: those from steps that have a result."""

    def on_fallback(self, position: int) -> bool: ...
    def has_sent(self, position: int) -> bool:
        """Return whether a request of the step's attempt was sent to a provider."""

    def run_number(self, position: int) -> int:
        """Return how many runs of a step or an item that repeats have ended."""

    def item(self, position: int) -> StepItem:
        """Return the item at the position, which has to be one."""

    def parse_work(self, position: int, part: StepPart = StepPart.CONFIG) -> int:
        """Return the work of parsing a *part* of the step, in the units of `work_budget`; 0 once it is parsed."""

    def expressions(self, position: int, part: StepPart = StepPart.CONFIG) -> StepExpressions | None:
        """Return the expressions in a *part* of the step; None if it has none."""

    def results(self, position: int, part: StepPart = StepPart.CONFIG) -> Mapping[str, bytes]: ...

    def max_result_bytes(self, positions: Sequence[int]) -> int:
        """Return how many bytes the stored results at these positions of steps may have together."""

    def stored_results(self, position: int, part: StepPart = StepPart.CONFIG) -> list[int]:
        """Return the positions of the results that a *part* of the step reads and that are only stored."""

    def lend_results(self, results: Mapping[int, bytes]) -> AbstractContextManager[None]:
        """Let `results` find these results, by position, within the context."""


def data_of(results: Mapping[str, bytes], expressions: StepExpressions | None) -> list[bytes]:
    """Return all that an evaluation decodes: the *results*, and what the expressions read of the workflow."""
    return [*results.values(), *(() if expressions is None else expressions.own.values())]


def resolved_inputs(
    context: AttemptContext,
    definition: WorkflowStepDefinition,
    expressions: StepExpressions | None,
    values: Sequence[Any],
    item: ItemInput | None = None,
) -> tuple[dict[str, Any], list[DeferredTransform]]:
    """Return the inputs and the deferred transforms. *values*: those of the expressions, and then of the mappings."""
    if expressions is not None or item is not None:
        config, texts = definition.config, () if expressions is None else expressions.texts
        places = [text.place for text in texts]
        config, values = with_values(config, dict(zip(places, values, strict=False))), values[len(places) :]
        if item is not None:
            config = _with_item(definition.task_type, config, item, texts)
        definition = replace(definition, config=config)
    return resolve_inputs(definition, effective_config(context.config, definition), values)


def with_paths(inputs: Mapping[str, Any], deferred: Sequence[DeferredTransform]) -> dict[str, Any]:
    """Return the *inputs* with the paths that the *deferred* transforms make something else of."""
    result = dict(inputs)
    for each in deferred:
        put_input(result, each.to_field, each.value)
    return result


def _with_item(
    task_type: TaskType, config: dict[str, Any], item: ItemInput, texts: Sequence[ConfigText]
) -> dict[str, Any]:
    """Return the evaluated *config* with the item over it. That of a sub-workflow is one of its inputs.

    Providers refuse inputs that they don't know. So they don't get an item as the input `item`, which is the default
    name, if one of the *texts* reads it.
    """
    if item.name == ITEM and task_type not in WITHOUT_PROVIDER and any(reads_item(text.text) for text in texts):
        return config
    if task_type is not TaskType.SUBWORKFLOW:
        return item.put_into(config)
    inputs = config.get(INPUTS)
    if inputs is not None and not isinstance(inputs, dict):
        return config  # the check of the config refuses it
    return {**config, INPUTS: item.put_into(inputs or {})}


def decoded_item(item: StepItem) -> ItemInput:
    return ItemInput(item.number, json.decode(item.value), item.name)


def final_inputs(
    context: AttemptContext,
    position: int,
    definition: WorkflowStepDefinition,
    inputs: dict[str, Any],
    item: ItemInput | None,
) -> dict[str, Any]:
    """Check the resolved *inputs*. Their seed is another one for each item, and for each run of a step that repeats.

    *definition* is the one that the context returns for the position.
    """
    uses_all = context.resolved_step(position).run_if is _ALL_COMPLETED
    inputs = checked_inputs(definition.task_type, inputs, () if uses_all else context.left_out_mappings(position))
    seed_step = 0 if definition.repeat is UNSET else context.run_number(position)
    if item is not None:
        seed_step += item.seed_step(definition.config, definition.input_mappings)
    if seed_step and isinstance(seed := inputs.get("seed"), int):
        inputs["seed"] = seed + seed_step
    return inputs


def provider_config(context: AttemptContext, position: int, *, on_fallback: bool) -> dict[str, Any]:
    """Return the config of the provider, or of the fallback, of an attempt at the position."""
    definition = context.definition(position)
    return (definition.fallback_provider_config if on_fallback else definition.provider_config) or {}


def are_small(data: Sequence[bytes]) -> bool:
    """Return whether the data may be decoded without a reservation of memory."""
    size = sum(map(len, data))
    if size * _MOST_DECODED <= FREE_BYTES or size * _LEAST_DECODED > FREE_BYTES:
        return size * _MOST_DECODED <= FREE_BYTES
    return sum(map(decoded_size, data)) <= FREE_BYTES


async def read_results(store: WorkflowStore, workflow_id: UUID, positions: Sequence[int]) -> Mapping[int, bytes]:
    """Return the results of the workflow at these positions. Raises `AttemptError`, not retryable, for a huge one."""
    try:
        results = await until_available(partial(store.results, EVERY_TENANT, {workflow_id: positions}))
    except ResultTooLarge as error:
        raise AttemptError(str(error), retryable=False, provider_fault=False) from error
    return results.get(workflow_id, {})
