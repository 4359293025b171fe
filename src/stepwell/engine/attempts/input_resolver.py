"""Resolves the inputs of attempts: at once, or with more work in this process or in a child process."""

import asyncio
from collections.abc import Sequence
from typing import Any

from anyio import to_thread
from msgspec import UNSET, Raw, Struct, json

from stepwell.basics.artifacts import media_type_of
from stepwell.basics.data_uris import data_uri
from stepwell.basics.errors import AttemptError
from stepwell.basics.strict_json.size import MAX_RESULT_BYTES, decoded_size
from stepwell.contract.definition import WorkflowStepDefinition
from stepwell.contract.enums import TransformType
from stepwell.definition.mapping.config_expressions import StepExpressions
from stepwell.definition.mapping.input_mapping import DeferredTransform, put_input
from stepwell.definition.mapping.transforms import is_deferred
from stepwell.engine.attempts.attempt_answers import AttemptAnswers
from stepwell.engine.attempts.attempt_control import AttemptControl
from stepwell.engine.attempts.attempt_inputs import (
    AttemptContext,
    are_small,
    data_of,
    decoded_item,
    final_inputs,
    resolved_inputs,
    with_paths,
)
from stepwell.engine.attempts.attempt_io import BoundAttemptIO
from stepwell.engine.attempts.attempt_memory import AttemptMemory
from stepwell.engine.attempts.expression_evaluator import ExpressionEvaluator
from stepwell.lifecycle.model import Task


class AttemptResources(Struct, frozen=True):
    """A running attempt: its workflow (`context`), its task, and the resources that are its own."""

    context: AttemptContext
    task: Task
    io: BoundAttemptIO
    memory: AttemptMemory
    answers: AttemptAnswers
    control: AttemptControl


_UNTYPED = "application/octet-stream"


class TransformFinisher:
    """Finishes the deferred transforms of one attempt.

    *max_text* bounds the texts together, in bytes; None if the attempt's memory alone bounds them.
    """

    def __init__(self, io: BoundAttemptIO, max_text: int | None) -> None:
        self._io, self._max_text = io, max_text
        self._text = 0
        self._sizes: dict[str, int | None] = {}

    async def finish(self, transform: DeferredTransform) -> Any:
        """Return the value: the text of one path, or those of each path in a list. Raises `AttemptError`."""
        if isinstance(transform.value, list):
            return [await self._finish_one(transform, path) for path in transform.value]
        return await self._finish_one(transform, transform.value)

    async def _finish_one(self, transform: DeferredTransform, path: Any) -> str:
        size = await self._size_of(path) if isinstance(path, str) else None
        if size is None:
            message = f"{transform.label}: {transform.transform} needs the path of an artifact, and there is none such"
            raise AttemptError(message, retryable=False, provider_fault=False)
        if transform.transform is TransformType.PATH_TO_URL:
            url = await self._io.address(path)
            self._count(transform, len(url))
            return url
        self._count(transform, (size + 2) // 3 * 4)
        blob = await self._io.fetch(path, transform.to_field)
        return await to_thread.run_sync(data_uri, blob.data, media_type_of(path) or _UNTYPED)

    async def _size_of(self, path: str) -> int | None:
        """Return the size of the tenant's file, None if there is none such. Each path is looked up once."""
        if path not in self._sizes:
            self._sizes[path] = await self._io.size_of(path)
        return self._sizes[path]

    def _count(self, transform: DeferredTransform, size: int) -> None:
        """Count a text of *size*, before it is made if it is a data URI. Raises `AttemptError` beyond the bound."""
        self._text += size
        if self._max_text is not None and self._text > self._max_text:
            kind = "URLs" if transform.transform is TransformType.PATH_TO_URL else "data URIs"
            message = f"{transform.label}: the {kind} are over {self._max_text:,} bytes, and the result may not be"
            raise AttemptError(message, retryable=False, provider_fault=False)


_NULL = b"null"


class PreparedAttempt(Struct):
    """An attempt that must wait for something: for its mappings, for deferred transforms or for its provider.

    `values` has the value of each mapping. It is None if the results must have memory before they are decoded,
    if the attempt's own result needs memory, or, with `heavy`, if a child process must evaluate the mappings.
    """

    values: Sequence[Any] | None
    heavy: bool = False


class InputResolver:
    def __init__(self, expressions: ExpressionEvaluator) -> None:
        self._expressions = expressions

    def evaluate_at_once(
        self, context: AttemptContext, position: int, definition: WorkflowStepDefinition
    ) -> tuple[StepExpressions | None, list[Any] | None] | None:
        """Return the step's expressions, and the values of these and its mappings.

        Returns None if that needs results which aren't in memory, or a reservation. The values are None if a child
        process must evaluate them.
        """
        expressions = None
        if context.evaluates:
            if (work := context.parse_work(position)) and not self._expressions.may_work_here(work):
                return None
            expressions = context.expressions(position)
        if not definition.input_mappings and expressions is None:
            return None, []
        results = context.results(position)
        complete = expressions is None and len(results) == len(definition.input_mappings)
        missing = not complete and context.stored_results(position)
        if missing or not are_small(data_of(results, expressions)):
            return None
        return expressions, self._expressions.evaluate_here(definition.input_mappings, results, expressions)

    async def resolve(self, attempt: AttemptResources, work: PreparedAttempt) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the inputs of the attempt, and those with paths where it gets URLs or data URIs.

        Raises `AttemptError`.
        """
        context, task, values = attempt.context, attempt.task, work.values
        definition = context.definition(task.position)
        expressions = context.expressions(task.position)
        if values is None and not work.heavy:
            values = await self._evaluate_here(attempt, expressions)
        if values is None:
            values = await self._evaluate_elsewhere(attempt, expressions)
        decoded = None
        if definition.for_each is not UNSET:
            item = context.item(task.position)
            await attempt.memory.take(decoded_size(item.value))
            decoded = decoded_item(item)
        inputs, deferred = resolved_inputs(context, definition, expressions, values, decoded)
        max_text = MAX_RESULT_BYTES if task.provider is None else None  # the inputs are the result then
        finisher = TransformFinisher(attempt.io, max_text)
        for transform in deferred:
            put_input(inputs, transform.to_field, await finisher.finish(transform))
        inputs = final_inputs(context, task.position, definition, inputs, decoded)
        return inputs, with_paths(inputs, deferred) if deferred else inputs

    async def _evaluate_here(self, attempt: AttemptResources, expressions: StepExpressions | None) -> list[Any] | None:
        """Evaluate what reads large results. Return None if that is too heavy for the event loop now."""
        context, position = attempt.context, attempt.task.position
        results = context.results(position)
        data = data_of(results, expressions)
        if not self._expressions.may_parse_here(data):
            return None
        await attempt.memory.take(sum(map(decoded_size, data)))
        return self._expressions.evaluate_here(context.definition(position).input_mappings, results, expressions)

    async def _evaluate_elsewhere(self, attempt: AttemptResources, expressions: StepExpressions | None) -> list[Any]:
        """Evaluate expressions and mappings in a child process. When the service stops, that ends at once.

        If no provider needs the values, those that only go into the result stay encoded.
        """
        context, position, decode = attempt.context, attempt.task.position, attempt.task.provider is not None
        mappings = context.definition(position).input_mappings
        decoded = [] if expressions is None else [decode] * len(expressions.texts)
        decoded += [decode or (each.transform is not None and is_deferred(each.transform)) for each in mappings]
        reserved = await attempt.memory.take_results(MAX_RESULT_BYTES)  # the values arrive all at once
        with attempt.control.evaluating_mappings():
            results = context.results(position)
            values = await self._expressions.evaluate(context, mappings, decoded, results, expressions)
        sizes = [decoded_size(value) if read else len(value) for value, read in zip(values, decoded, strict=True)]
        attempt.memory.give_back(max(reserved - sum(sizes), 0))
        await attempt.memory.take(max(sum(sizes) - reserved, 0))
        return [await _value_of(value, read) for value, read in zip(values, decoded, strict=True)]


async def _value_of(value: bytes, is_decoded: bool) -> Any:  # noqa: FBT001
    """Return the value, encoded unless *is_decoded*. Others on the event loop run in between."""
    if not is_decoded:
        return None if value == _NULL else Raw(value)
    await asyncio.sleep(0)
    return json.decode(value)
