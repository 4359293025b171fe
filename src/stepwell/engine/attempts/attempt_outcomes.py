"""Makes the outcomes of attempts: encodes their results, and converts their errors.

What must hold:
- A bug in a provider, or here, fails the attempt. Its text may contain anything, so the error shows only its type.
"""

import random
from typing import Any

import structlog
from msgspec.structs import replace

from stepwell.basics.errors import AttemptError, MissingProvider
from stepwell.basics.strict_json.size import MAX_LEVELS, MAX_RESULT_BYTES, is_deeper, is_larger_than
from stepwell.contract.tasks import Cost
from stepwell.definition.mapping.evaluation import encode_value
from stepwell.lifecycle.inputs import AttemptFailed
from stepwell.lifecycle.model import Task
from stepwell.lifecycle.steps import ResolvedStep

log = structlog.get_logger()

_ERROR_CAP = 2_000  # characters of a stored error


def encoded_inputs(inputs: dict[str, Any]) -> bytes:
    """Return the result of a step whose result is its *inputs*, and whose members were checked one by one.

    Raises `AttemptError` if they are too large together.
    """
    encoded = encode_value(inputs)
    if len(encoded) > MAX_RESULT_BYTES:
        raise result_too_large()
    return encoded


def encoded_result(result: dict[str, Any]) -> bytes:
    if is_larger_than(result, MAX_RESULT_BYTES):
        raise result_too_large()
    if is_deeper(result, MAX_LEVELS):
        message = f"the result is nested deeper than {MAX_LEVELS} levels"
        raise AttemptError(message, retryable=False, provider_fault=False)
    return encode_value(result)


def result_too_large() -> AttemptError:
    message = f"the result is over {MAX_RESULT_BYTES:,} bytes: files belong into artifacts, their paths into results"
    return AttemptError(message, retryable=False, provider_fault=False)


def outcome_of_error(error: BaseException, task: Task, step: ResolvedStep, cost: Cost | None = None) -> AttemptFailed:
    """Convert the error. *cost* is that of work which was done, but whose result can't be used."""
    if isinstance(error, AttemptError):
        error.cost = error.cost or cost
        return replace(failure(task, error), broken=isinstance(error, MissingProvider))
    # A bug here or in a provider: its text may contain anything, so the error shows only its type.
    log.error("attempt.crashed", action="attempt", task_id=str(task.id), step_id=step.step_id, exc_info=error)
    return replace(failure(task, AttemptError(f"internal error: {type(error).__name__}", retryable=True)), broken=True)


def failure(task: Task, error: AttemptError) -> AttemptFailed:
    return AttemptFailed(
        task.position,
        task.id,
        error_text(error),
        retryable=error.retryable,
        provider_fault=error.provider_fault,
        jitter=random.random(),  # noqa: S311 - jitter
        retry_after_s=error.retry_after_s,
        cost=error.cost,
        request_fault=error.request_fault,
        provider_away=error.provider_away,
    )


def error_text(error: AttemptError) -> str:
    clean = str(error).replace("\x00", "").encode("utf-8", "replace").decode()
    return clean if len(clean) <= _ERROR_CAP else clean[: _ERROR_CAP - 1] + "…"
