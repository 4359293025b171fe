"""Evaluates the expressions and mappings of steps: small ones at once on the event loop, others in child processes.

    loop ──► light process ──► heavy process ──► the step fails
         over 2 ms        over 50 ms       over about a second

Nobody knows what an expression costs before it is evaluated. So each starts with a small budget, and starts again with
a larger one if that isn't enough. A light process never waits for a heavy evaluation.

What must hold:
- On the loop, evaluations that cost more than a step costs anyway take at most a fifth of the time, and at most 10 ms
  in a row, however many attempts start at once. The others go to a child process.
- Whether an evaluation fails depends on its expressions, its mappings and their data alone, not on how busy the
  machine is. Only the processor time and the memory of a child process are bounded as well.
- An evaluation that waits for a child process holds no data. A step without a provider lends its slot to others.
- An attempt that waits for its evaluation has sent nothing. After a crash, another process evaluates anew.
- All evaluations of one workflow in child processes are bounded together.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from anyio import Lock, fail_after, sleep
from anyio.lowlevel import checkpoint
from msgspec import json

from stepwell.basics.errors import AttemptError, Unavailable
from stepwell.basics.tenancy import Account
from stepwell.contract.definition import FieldMapping
from stepwell.definition.mapping.config_expressions import StepExpressions, place_label
from stepwell.definition.mapping.evaluation import (
    Evaluation,
    check_expressions,
    evaluate_inputs,
    evaluation_request,
    step_values,
)
from stepwell.definition.mapping.expressions import ExpressionCheck
from stepwell.definition.mapping.input_mapping import mapping_label
from stepwell.definition.mapping.work_budget import MAX_STEP_WORK, MAX_WORKFLOW_WORK, WorkBudget, WorkExceeded
from stepwell.runtime.child_processes import ChildProcessFailed, ChildProcessPool

T = TypeVar("T")

_TRIES, _RETRY_S = 3, 0.5  # if a child process dies or has no result in time
_LOOP_WORK = 4_000  # for the mappings of one step, at most about 2 ms
_FREE_WORK = 100  # no more than the rest of a step costs, so nobody counts it
_LIGHT_WORK = 100_000
_UNITS_PER_S = 500_000  # a fifth of what the loop could do
_MOST_SAVED = 25_000  # 10 ms
_CHECKED_AT_ONCE = 20_000  # characters, which take some 50 ms: others wait no longer
_WAIT_S, _WAITS = 0.005, 20
_CHECK_S = 10.0
_LABELS = 3  # the most mappings that an error names


class WorkAccount(Protocol):
    """The workflow that the work is charged to."""

    mapping_work: int

    @property
    def tenant(self) -> str | None: ...


class LoopAllowance:
    """The units of work that the event loop may spend on expressions now: a token bucket. *now* returns seconds.

    `total` is the work that was done on the loop so far.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.now, self.total = now, 0
        self._level, self._at = float(_MOST_SAVED), now()

    def budget(self) -> WorkBudget:
        if self._level < _MOST_SAVED:
            now = self.now()
            self._level = min(self._level + (now - self._at) * _UNITS_PER_S, _MOST_SAVED)
            self._at = now
        return WorkBudget(min(max(int(self._level), _FREE_WORK), _LOOP_WORK))

    def spent(self, units: int) -> None:
        self.total += units
        if units > _FREE_WORK:
            if self._level == _MOST_SAVED:
                self._at = self.now()
            self._level -= units


class ExpressionEvaluator:
    """Evaluates mappings and checks expressions. *light* and *heavy* are the pools of child processes."""

    def __init__(self, light: ChildProcessPool, heavy: ChildProcessPool, now: Callable[[], float]) -> None:
        self.light, self.heavy = light, heavy
        self.allowance = LoopAllowance(now)
        self._working = Lock()

    def may_parse_here(self, data: Iterable[bytes]) -> bool:
        """Return whether the event loop may decode *data* now."""
        budget = self.allowance.budget()
        try:
            for each in data:
                budget.spend_parse(each)
        except WorkExceeded:
            return False
        finally:
            self.allowance.spent(min(budget.spent, budget.limit))
        return True

    def may_work_here(self, units: int) -> bool:
        """Return whether the event loop may do so much other work for expressions now, and charge it then."""
        if units > self.allowance.budget().limit:
            return False
        self.allowance.spent(units)
        return True

    async def until_work_here(self, units: int) -> None:
        """Wait until the event loop may do so much other work for expressions, and charge it.

        Those who wait do their work one after the other. Between them, all others on the event loop get a time slice.
        """
        async with self._working:
            for _ in range(_WAITS):  # and no more, so that others who work all the time don't keep it waiting
                if self.allowance.budget().limit >= min(units, _LOOP_WORK):
                    break
                await sleep(_WAIT_S)
            self.allowance.spent(units)
            await checkpoint()

    def evaluate_here(
        self, mappings: Sequence[FieldMapping], results: Mapping[str, bytes], expressions: StepExpressions | None = None
    ) -> list[Any] | None:
        """Return the value of each text with expressions, and then of each mapping.

        Returns None if they are too heavy for the event loop now. *results* are encoded, by step id. Raises
        `AttemptError`.
        """
        if not mappings and expressions is None:
            return []
        budget = self.allowance.budget()
        try:
            return step_values(mappings, expressions, results, budget)
        except WorkExceeded:
            return None
        finally:
            self.allowance.spent(min(budget.spent, budget.limit))

    async def evaluate(
        self,
        account: WorkAccount,
        mappings: Sequence[FieldMapping],
        decoded: Sequence[bool],
        results: Mapping[str, bytes],
        expressions: StepExpressions | None = None,
    ) -> list[bytes]:
        """Return the encoded values that `evaluate_here` returns, from a child process. Raises `AttemptError`.

        *decoded*: for each of them, whether the caller decodes it.
        """
        evaluation = Evaluation(0)
        for pool, limit in ((self.light, _LIGHT_WORK), (self.heavy, MAX_STEP_WORK)):

            def request(limit: int = limit) -> list[bytes]:  # called when a process is free
                if account.mapping_work >= MAX_WORKFLOW_WORK:
                    limit_text = f"the limit of {MAX_WORKFLOW_WORK:,} visits and elements"
                    raise _failed(f"The mappings of this workflow have taken more work than {limit_text}")
                return evaluation_request(mappings, decoded, results, limit, expressions)

            try:
                result = await pool.run(account.tenant, evaluate_inputs, request)
            except ChildProcessFailed as error:
                account.mapping_work += limit
                raise _failed(f"{_labels(mappings, expressions)}: {error}", retryable=error.repeatable) from error
            evaluation = json.decode(result, type=Evaluation)
            account.mapping_work += evaluation.spent
            if not evaluation.exceeded:
                break
        if evaluation.error is not None:
            raise _failed(evaluation.error)
        return [bytes(value) for value in evaluation.values]

    async def check(self, account: Account, expressions: Sequence[str]) -> dict[str, ExpressionCheck]:
        """Check each expression. Raises `Unavailable`."""
        checked: dict[str, ExpressionCheck] = {}
        try:
            with fail_after(_CHECK_S):
                for some in _slices(expressions, _CHECKED_AT_ONCE):
                    request = partial(_check_request, some)
                    result = await self.light.run(("check", account), check_expressions, request)
                    checked |= zip(some, json.decode(result, type=list[ExpressionCheck]), strict=True)
        except TimeoutError:
            raise Unavailable("Too many expressions wait to be checked.") from None
        except ChildProcessFailed as error:
            raise Unavailable(f"The expressions could not be checked: {error}.") from error
        return checked


async def with_tries(evaluate: Callable[[], Awaitable[T]]) -> T:
    """Return the result of *evaluate*, which may fail because a child process dies. Then it is called again."""
    tries = _TRIES
    while True:
        tries -= 1
        try:
            return await evaluate()
        except AttemptError as error:
            if not tries or not error.retryable:
                raise
        await sleep(_RETRY_S)


def _check_request(expressions: Sequence[str]) -> list[bytes]:
    return [json.encode(expressions)]


def _slices(texts: Sequence[str], characters: int) -> Iterator[list[str]]:
    """Yield *texts* in lists of about so many *characters*."""
    some, length = list[str](), 0
    for text in texts:
        some.append(text)
        length += len(text)
        if length >= characters:
            yield some
            some, length = [], 0
    if some:
        yield some


def _labels(mappings: Sequence[FieldMapping], expressions: StepExpressions | None) -> str:
    """Return the labels of what was evaluated, for an error: one is at fault, and it is unknown which."""
    labels = [] if expressions is None else [place_label(text) for text in expressions.texts]
    labels += [mapping_label(mapping) for mapping in mappings]
    more = [f"{len(labels) - _LABELS} more"] if len(labels) > _LABELS else []
    return "; or ".join([*labels[:_LABELS], *more])


def _failed(message: str, *, retryable: bool = False) -> AttemptError:
    return AttemptError(message, retryable=retryable, provider_fault=False)
