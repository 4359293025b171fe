"""The requests that a worker process answers: evaluate the mappings of a step, or check expressions.

Both are functions of bytes, so that they can run in a process of their own. They raise nothing but MemoryError.
"""

from collections.abc import Mapping, Sequence

from msgspec import Raw, Struct, json

from stepwell.contract.definition import FieldMapping
from stepwell.domain.errors import AttemptError
from stepwell.domain.mapping.expressions import check_expression
from stepwell.domain.mapping.input_mapping import mapped_values
from stepwell.domain.mapping.step_results import StepResults
from stepwell.domain.mapping.work_budget import WorkBudget, WorkExceeded


class EvaluationRequest(Struct, frozen=True):
    """The mappings of one step, and the results that they read, by step id. `limit` is the budget of all of them."""

    mappings: Sequence[FieldMapping]
    results: dict[str, Raw]
    limit: int


class Evaluation(Struct, frozen=True):
    """The encoded value of each mapping, or the `error` for which the step fails.

    `spent` is the work that was done. `exceeded`: the error is that this was over the limit.
    """

    spent: int
    values: list[Raw] = []
    error: str | None = None
    exceeded: bool = False


def evaluation_request(mappings: Sequence[FieldMapping], results: Mapping[str, bytes], limit: int) -> bytes:
    """Return the request for `evaluate_mappings`."""
    return json.encode(EvaluationRequest(mappings, {step: Raw(result) for step, result in results.items()}, limit))


def evaluate_mappings(request: bytes) -> bytes:
    """Evaluate the mappings of an encoded `EvaluationRequest`. Return an encoded `Evaluation`."""
    asked = json.decode(request, type=EvaluationRequest)
    budget = WorkBudget(asked.limit)
    try:
        values = mapped_values(asked.mappings, StepResults(asked.results, budget), budget)
        return json.encode(Evaluation(budget.spent, [Raw(json.encode(value)) for value in values]))
    except WorkExceeded as error:
        return json.encode(Evaluation(asked.limit, error=_printable(error), exceeded=True))
    except AttemptError as error:
        return json.encode(Evaluation(budget.spent, error=_printable(error)))
    except (TypeError, ValueError, OverflowError) as error:
        return json.encode(Evaluation(budget.spent, error=_printable(not_json(error))))


def not_json(error: Exception) -> AttemptError:
    """Return the error of a value that JSON can't hold. No retry changes a literal with a lone surrogate."""
    return AttemptError(f"the result is no JSON: {error}", retryable=False, provider_fault=False)


def _printable(error: Exception) -> str:
    return str(error).encode("utf-8", "replace").decode()


def check_expressions(request: bytes) -> bytes:
    """Check an encoded list of expressions. Return the encoded list of what is wrong with each, or null."""
    return json.encode([check_expression(expression) for expression in json.decode(request, type=list[str])])
