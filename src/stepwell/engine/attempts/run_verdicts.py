"""Evaluates `until` and `best` of a step that repeats, over the result of a run that has succeeded.

What must hold:
- The run was paid for, so no evaluation is a reason to run it again: its errors aren't retryable.
- Whether an evaluation fails depends on the expressions and the result alone, not on how busy the machine is.
"""

from anyio import sleep
from msgspec import Raw, json

from stepwell.basics.errors import AttemptError
from stepwell.basics.strict_json.size import decoded_size
from stepwell.contract.definition import Repeat
from stepwell.definition.mapping.config_expressions import StepExpressions, is_true
from stepwell.definition.mapping.repeat_expressions import repeat_texts, score_of
from stepwell.engine.attempts.attempt_memory import AttemptMemory
from stepwell.engine.attempts.expression_evaluator import (
    EVALUATION_RETRY_S,
    EVALUATION_TRIES,
    ExpressionEvaluator,
    WorkAccount,
)
from stepwell.lifecycle.inputs import RunVerdict


class RunVerdicts:
    """Evaluates the `repeat` of steps over the results of their runs: was a run good enough, and how good was it?"""

    def __init__(self, expressions: ExpressionEvaluator) -> None:
        self._expressions = expressions

    async def of(self, account: WorkAccount, repeat: Repeat, result: bytes, memory: AttemptMemory) -> RunVerdict:
        """Return the verdict on a result. Raises `AttemptError`, not retryable, if an expression fails."""
        members = {name: bytes(value) for name, value in json.decode(result, type=dict[str, Raw]).items()}
        expressions = StepExpressions(repeat_texts(repeat), (), members)
        values = None
        if self._expressions.may_parse_here([result]):
            await memory.take(decoded_size(result))
            values = self._expressions.evaluate_here((), {}, expressions)
        if values is None:
            values = [json.decode(value) for value in await self._evaluate_on_worker(account, expressions)]
        return RunVerdict(is_true(values[0]), score_of(values[1]) if len(values) > 1 else None)

    async def _evaluate_on_worker(self, account: WorkAccount, expressions: StepExpressions) -> list[bytes]:
        decoded, tries = [True] * len(expressions.texts), EVALUATION_TRIES
        while True:
            tries -= 1
            try:
                return await self._expressions.evaluate(account, (), decoded, {}, expressions)
            except AttemptError as error:
                if not tries or not error.retryable:
                    raise AttemptError(str(error), retryable=False, provider_fault=False) from error
            await sleep(EVALUATION_RETRY_S)
