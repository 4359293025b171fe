"""The requests to a child process: evaluate what the inputs of a step need, or check expressions.

Both are functions of bytes, so that they can run in another process. They raise nothing but MemoryError.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import Raw, Struct, json

from stepwell.basics.errors import AttemptError
from stepwell.basics.strict_json.size import count_values, most_values
from stepwell.contract.definition import FieldMapping
from stepwell.definition.mapping.config_expressions import (
    ExpressionData,
    StepExpressions,
    expression_values,
    place_label,
)
from stepwell.definition.mapping.expressions import analyse
from stepwell.definition.mapping.input_mapping import check_mapped_bytes, mapped_values, mapping_label, step_error
from stepwell.definition.mapping.templates import ConfigText
from stepwell.definition.mapping.work_budget import StepResults, WorkBudget, WorkExceeded

# The most values that one step may decode. The event loop needs some 40 ms to decode as many empty lists.
MAX_DECODED_VALUES: Final = 100_000
_FEW_VALUES = 1_000
_PART_BYTES = 256 * 1024


class EvaluationRequest(Struct, frozen=True):
    """The expressions and mappings of one step, and the results that they read, by step id.

    `limit` is the budget of all of them. `decoded`: for each expression, and then for each mapping, whether the step
    needs its value decoded. `texts`, `dependencies` and `own` are those of `StepExpressions`.
    """

    mappings: Sequence[FieldMapping]
    decoded: Sequence[bool]
    limit: int
    texts: Sequence[ConfigText]
    dependencies: Sequence[str]
    own: dict[str, Raw]
    results: dict[str, Raw]

    @property
    def expressions(self) -> StepExpressions:
        return StepExpressions(self.texts, self.dependencies, self.own)


class Evaluation(Struct, frozen=True):
    """The encoded value of each expression, and then of each mapping; or the `error` of the step.

    `spent` is the work that was done. `exceeded`: the error is that the work was over the limit.
    """

    spent: int
    values: list[Raw] = []
    error: str | None = None
    exceeded: bool = False


def evaluation_request(
    mappings: Sequence[FieldMapping],
    decoded: Sequence[bool],
    results: Mapping[str, bytes],
    limit: int,
    expressions: StepExpressions | None = None,
) -> list[bytes]:
    """Return the request for `evaluate_inputs`, in parts.

    The results of a workflow can take 64 MiB. To copy all of them at once would hold up the event loop.
    """
    has = StepExpressions() if expressions is None else expressions
    own = {name: Raw(value) for name, value in has.own.items()}
    head = json.encode(EvaluationRequest(mappings, decoded, limit, has.texts, has.dependencies, own, {}))
    return list(_join([head.removesuffix(b"}}"), *_members(results), b"}}"]))


def _members(results: Mapping[str, bytes]) -> Iterator[bytes]:
    for number, (step, result) in enumerate(results.items()):
        yield (b"," if number else b"") + json.encode(step) + b":"
        yield result


def _join(pieces: Sequence[bytes]) -> Iterator[bytes]:
    """Join *pieces* to parts that are large enough to be worth a system call each."""
    part, size = list[bytes](), 0
    for piece in pieces:
        part.append(piece)
        size += len(piece)
        if size >= _PART_BYTES:
            yield b"".join(part)
            part, size = [], 0
    yield b"".join(part)


def step_values(
    mappings: Sequence[FieldMapping],
    expressions: StepExpressions | None,
    results: Mapping[str, bytes | memoryview],
    budget: WorkBudget,
) -> list[Any]:
    """Return the value of each text with expressions, and then of each mapping.

    Raises `AttemptError`, not retryable, for the first that fails, and `WorkExceeded`, whose text names it. The budget
    is that of all together.
    """
    read, values, size = StepResults(results, budget), list[Any](), 0
    if expressions is not None:
        values, size = expression_values(expressions.texts, ExpressionData(expressions, read, budget), budget)
    return values + mapped_values(mappings, read, budget, size)


def evaluate_inputs(data: bytes) -> bytes:
    """Evaluate what *data* asks for, an encoded `EvaluationRequest`. Return an encoded `Evaluation`."""
    request = json.decode(data, type=EvaluationRequest)
    budget = WorkBudget(request.limit)
    try:
        values = step_values(request.mappings, request.expressions, request.results, budget)
        return json.encode(Evaluation(budget.spent, list(_encode(request, values))))
    except WorkExceeded as error:
        return json.encode(Evaluation(request.limit, error=_printable(error), exceeded=True))
    except AttemptError as error:
        return json.encode(Evaluation(budget.spent, error=_printable(error)))
    except (TypeError, ValueError, OverflowError) as error:
        return json.encode(Evaluation(budget.spent, error=_printable(not_json(error))))


def _encode(request: EvaluationRequest, values: Sequence[Any]) -> Iterator[Raw]:
    """Yield each encoded value. Raises `AttemptError` if the values together are too large.

    Their sizes are known only once they are encoded, because a character can take six bytes.
    """
    size = count = 0
    labels = [*map(place_label, request.texts), *map(mapping_label, request.mappings)]
    for label, value, is_decoded in zip(labels, values, request.decoded, strict=True):
        encoded = json.encode(value)
        check_mapped_bytes(label, size := size + len(encoded))
        if is_decoded:
            most = most_values(encoded)
            count += most if most < _FEW_VALUES else count_values(encoded).values
        if count > MAX_DECODED_VALUES:
            message = f"the mapped values of the step have over {MAX_DECODED_VALUES:,} elements and members"
            raise step_error(label, message)
        yield Raw(encoded)


def encode_value(value: Any) -> bytes:
    """Return *value* as JSON. Raises `AttemptError`, not retryable."""
    try:
        return json.encode(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise not_json(error) from error


def not_json(error: Exception) -> AttemptError:
    """Return the error of a value that JSON can't hold. No retry changes a literal with a lone surrogate."""
    return AttemptError(f"the result is no JSON: {error}", retryable=False, provider_fault=False)


def _printable(error: Exception) -> str:
    return str(error).encode("utf-8", "replace").decode()


def check_expressions(request: bytes) -> bytes:
    """Check an encoded list of expressions. Return the encoded list of their `ExpressionCheck`s."""
    return json.encode([analyse(expression) for expression in json.decode(request, type=list[str])])
