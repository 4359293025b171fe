"""Evaluates the condition of a step, its items, or the config of one that waits, over the results of its dependencies.

It also evaluates `until` and `best` of a step that repeats, over the result of a run that has succeeded.

What must hold:
- Only committed data is read: results of the step's dependencies, `inputs` and `workflow`.
- Whether an evaluation fails doesn't depend on how busy the machine is, nor on where the results are that it reads.
- The items of a step, or the config of one that waits, are evaluated only if its condition is true.
- The results that one evaluation reads are at most `MAX_MAPPED_BYTES` together. They have their part of the memory
  governor before they are read from the database. An outage of it doesn't fail the step.
- A run of a step that repeats was paid for, so an error of its `until` or `best` isn't retryable.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from msgspec import UNSET, Raw, Struct, json
from msgspec.structs import replace

from stepwell.basics.errors import AttemptError
from stepwell.basics.strict_json.size import MAX_RESULT_BYTES, decoded_size
from stepwell.contract.definition import FieldMapping, ForEach, Repeat
from stepwell.definition.mapping.config_expressions import (
    StepExpressions,
    StepPart,
    is_true,
    place_label,
    repeat_texts,
    score_of,
)
from stepwell.definition.mapping.input_mapping import MAX_MAPPED_BYTES, checked_inputs, mapping_label, step_error
from stepwell.definition.mapping.items import item_mappings, items_of
from stepwell.definition.wait_terms import wait_terms
from stepwell.engine.attempts.attempt_inputs import (
    AttemptContext,
    are_small,
    data_of,
    decoded_item,
    final_inputs,
    read_results,
    resolved_inputs,
    with_paths,
)
from stepwell.engine.attempts.attempt_memory import AttemptMemory, grow_for_inputs
from stepwell.engine.attempts.attempt_outcomes import error_text
from stepwell.engine.attempts.expression_evaluator import ExpressionEvaluator, WorkAccount, with_tries
from stepwell.lifecycle.effects import Evaluate
from stepwell.lifecycle.inputs import Evaluated, RunVerdict
from stepwell.ports.clock import Clock, NewId
from stepwell.ports.storage import WorkflowStore
from stepwell.runtime.memory import MemoryGovernor, MemoryReservation

log = structlog.get_logger()

_READ_AT_ONCE = MAX_MAPPED_BYTES // MAX_RESULT_BYTES
_LONGEST_FALSE = len(b"false")


class FlowEvaluator(Struct, eq=False):
    """Evaluates what runs request. *new_id* makes the ids of waits."""

    _expressions: ExpressionEvaluator
    _store: WorkflowStore
    _memory: MemoryGovernor
    _clock: Clock
    _new_id: NewId

    def evaluate_here(self, context: AttemptContext, request: Evaluate) -> Evaluated | None:
        """Return the result; None if it needs stored results, or is too heavy for the event loop now."""
        position = request.position
        flow = context.resolved_step(position).flow
        assert flow is not None
        try:
            if flow.has_condition:
                condition = self._values_here(context, position, (), StepPart.CONDITION)
                if condition is None:
                    return None
                if not is_true(condition[0]):
                    return Evaluated(position, request.number, runs=False)
            part = StepPart.ITEMS if request.items else StepPart.CONFIG
            if part is StepPart.CONFIG and flow.waits_for is None:
                return Evaluated(position, request.number)
            if (work := context.parse_work(position, part)) and not self._expressions.may_work_here(work):
                return None
            values = self._values_here(context, position, _mappings(context, position, part), part)
            return None if values is None else self._result_from(context, request, values)
        except Exception as error:  # noqa: BLE001 - the result reports it
            return _failed_by(error, context, request)

    async def evaluate(self, context: AttemptContext, request: Evaluate) -> Evaluated:
        """Return the result. It may take a child process, which is tried again if that dies."""

        async def evaluate() -> Evaluated:
            with self._memory.reservation(context.tenant) as reservation:
                return await self._evaluate(context, request, reservation)

        try:
            return await with_tries(evaluate)
        except Exception as error:  # noqa: BLE001 - the result reports it
            return _failed_by(error, context, request)

    async def _evaluate(self, context: AttemptContext, request: Evaluate, memory: MemoryReservation) -> Evaluated:
        position = request.position
        flow = context.resolved_step(position).flow
        assert flow is not None
        if flow.has_condition:
            (value,) = await self._values(context, position, (), memory, StepPart.CONDITION)
            if not is_true(value):
                return Evaluated(position, request.number, runs=False)
        part = StepPart.ITEMS if request.items else StepPart.CONFIG
        if part is StepPart.CONFIG and flow.waits_for is None:
            return Evaluated(position, request.number)
        if units := context.parse_work(position, part):
            await self._expressions.until_work_here(units)
        mappings = _mappings(context, position, part)
        return self._result_from(context, request, await self._values(context, position, mappings, memory, part))

    async def inputs(self, context: AttemptContext, position: int) -> dict[str, Any]:
        """Return the inputs of an attempt that began now, with paths where it gets URLs or data URIs.

        Raises `AttemptError`.
        """
        with self._memory.reservation(context.tenant) as memory:
            if units := context.parse_work(position):
                await self._expressions.until_work_here(units)
            definition, mappings = context.definition(position), context.usable_mappings(position)
            values = await self._values(context, position, mappings, memory, StepPart.CONFIG)
            item = None
            if definition.for_each is not UNSET:
                await grow_for_inputs(memory, decoded_size((stored := context.item(position)).value))
                item = decoded_item(stored)
            definition = replace(definition, input_mappings=list(mappings))
            inputs, deferred = resolved_inputs(context, definition, context.expressions(position), values, item)
            inputs = with_paths(inputs, deferred)
            return final_inputs(context, position, definition, inputs, item)

    def _values_here(
        self, context: AttemptContext, position: int, mappings: Sequence[FieldMapping], part: StepPart
    ) -> list[Any] | None:
        if context.stored_results(position, part):
            return None
        results = context.results(position, part)
        expressions = context.expressions(position, part)
        if not are_small(data_of(results, expressions)):
            return None
        _check_source(mappings, results, part)
        return self._expressions.evaluate_here(mappings, results, expressions)

    async def _values(
        self,
        context: AttemptContext,
        position: int,
        mappings: Sequence[FieldMapping],
        memory: MemoryReservation,
        part: StepPart,
    ) -> list[Any]:
        """Return the value of each text, and then of each mapping.

        True stands for a long value of a condition. The source of items may stay encoded (`Raw`).
        """
        expressions = context.expressions(position, part)
        if not mappings and expressions is None:
            return []
        stored = await self._read_results(context, position, memory, part)
        with context.lend_results(stored):
            results = context.results(position, part)
            _check_source(mappings, results, part)
            if sum(map(len, results.values())) > MAX_MAPPED_BYTES:
                label = mapping_label(mappings[0]) if expressions is None else place_label(expressions.texts[0])
                raise step_error(label, f"the results that it reads are over {MAX_MAPPED_BYTES:,} bytes")
            if self._expressions.may_parse_here(data := data_of(results, expressions)):
                await grow_for_inputs(memory, sum(map(decoded_size, data)))
                values = self._expressions.evaluate_here(mappings, results, expressions)
                if values is not None:
                    return values
            count = len(mappings) + (0 if expressions is None else len(expressions.texts))
            decoded = [part is StepPart.CONFIG] * count
            encoded = await self._expressions.evaluate(context, mappings, decoded, results, expressions)
        if part is StepPart.CONDITION:
            return [len(value) > _LONGEST_FALSE or json.decode(value) for value in encoded]
        if part is StepPart.ITEMS:
            await grow_for_inputs(memory, sum(map(len, encoded)))
            return [Raw(value) for value in encoded]
        await grow_for_inputs(memory, sum(map(decoded_size, encoded)))
        return [json.decode(value) for value in encoded]

    async def _read_results(
        self, context: AttemptContext, position: int, memory: MemoryReservation, part: StepPart
    ) -> Mapping[int, bytes]:
        """Return the stored results that the *part* reads, by position. Stop once they are too large together."""
        positions, read, size = context.stored_results(position, part), dict[int, bytes](), 0
        while positions and size <= MAX_MAPPED_BYTES:
            at_once = 1 if context.max_result_bytes(positions[:_READ_AT_ONCE]) > MAX_MAPPED_BYTES else _READ_AT_ONCE
            some, positions = positions[:at_once], positions[at_once:]
            reserved = await memory.grow_up_to(context.max_result_bytes(some))
            results = await read_results(self._store, context.workflow_id, some)
            read |= results
            size += (more := sum(map(len, results.values())))
            memory.shrink(max(reserved - more, 0))
        return read

    def _result_from(self, context: AttemptContext, request: Evaluate, values: Sequence[Any]) -> Evaluated:
        """Return the result. *values*: those of the expressions, and then of the mappings."""
        if not request.items:
            return self._wait_result(context, request, values)
        expressions = context.expressions(request.position, StepPart.ITEMS)
        texts = () if expressions is None else expressions.texts
        items = items_of(_for_each(context, request.position), texts, values)
        return Evaluated(request.position, request.number, items=items)

    def _wait_result(self, context: AttemptContext, request: Evaluate, values: Sequence[Any]) -> Evaluated:
        """Return the result for a step that waits: the terms of its wait."""
        position, now = request.position, self._clock.now()
        resolved, definition = context.resolved_step(position), context.definition(position)
        assert resolved.flow is not None
        assert resolved.flow.waits_for is not None
        inputs, deferred = resolved_inputs(context, definition, context.expressions(position), values)
        for each in deferred:
            raise step_error(each.label, f"{each.transform} reads files, which a step that waits can't do")
        inputs = checked_inputs(resolved.task_type, inputs, context.left_out_mappings(position))
        terms = wait_terms(resolved.flow.waits_for, inputs, self._new_id(now), now)
        return Evaluated(position, request.number, terms=terms)


def _for_each(context: AttemptContext, position: int) -> ForEach:
    for_each = context.definition(position).for_each
    assert for_each is not UNSET
    return for_each


def _mappings(context: AttemptContext, position: int, part: StepPart) -> Sequence[FieldMapping]:
    if part is StepPart.ITEMS:
        return item_mappings(_for_each(context, position))
    return context.definition(position).input_mappings


def _check_source(mappings: Sequence[FieldMapping], results: Mapping[str, bytes], part: StepPart) -> None:
    """Raise `AttemptError`, not retryable, if the step from whose result the items are read has none."""
    for mapping in mappings if part is StepPart.ITEMS else ():
        if mapping.from_step not in results:
            raise step_error(mapping_label(mapping), f"step '{mapping.from_step}' has no result")


def _failed_by(error: Exception, context: AttemptContext, request: Evaluate) -> Evaluated:
    if isinstance(error, AttemptError):
        return Evaluated(request.position, request.number, error=error_text(error))
    # A bug: its text may contain anything, so the error shows only its type.
    step_id = context.resolved_step(request.position).step_id
    log.error("evaluation.crashed", action="evaluate", step_id=step_id, exc_info=error)
    return Evaluated(request.position, request.number, error=f"internal error: {type(error).__name__}")


async def verdict_of_run(
    evaluator: ExpressionEvaluator, account: WorkAccount, repeat: Repeat, result: bytes, memory: AttemptMemory
) -> RunVerdict:
    """Return the verdict on the result of a run: was it good enough, and how good was it?

    Raises `AttemptError`, not retryable, if an expression fails.
    """
    members = {name: bytes(value) for name, value in json.decode(result, type=dict[str, Raw]).items()}
    expressions = StepExpressions(repeat_texts(repeat), (), members)
    values = None
    if evaluator.may_parse_here([result]):
        await memory.take(decoded_size(result))
        values = evaluator.evaluate_here((), {}, expressions)
    if values is None:
        decoded = [True] * len(expressions.texts)
        try:
            encoded = await with_tries(lambda: evaluator.evaluate(account, (), decoded, {}, expressions))
        except AttemptError as error:
            raise AttemptError(str(error), retryable=False, provider_fault=False) from error
        values = [json.decode(value) for value in encoded]
    return RunVerdict(is_true(values[0]), score_of(values[1]) if len(values) > 1 else None)
