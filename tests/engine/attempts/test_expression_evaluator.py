"""Who evaluates what: the loop, the light processes or the heavy ones, each within its bounds."""

from collections.abc import Callable
from typing import Any, cast

import pytest
from anyio import create_task_group
from anyio.lowlevel import checkpoint
from msgspec import Struct, json

from stepwell.basics.errors import AttemptError, Unavailable
from stepwell.contract.definition import FieldMapping
from stepwell.definition.mapping.work_budget import MAX_STEP_WORK, MAX_WORKFLOW_WORK
from stepwell.engine.attempts.expression_evaluator import ExpressionEvaluator, LoopAllowance
from stepwell.runtime.child_processes import ChildProcessFailed, ChildProcessPool

RESULTS = {"a": json.encode({"v": list(range(3_000)), "k": 1})}


class Account(Struct):
    tenant: str | None = "t"
    mapping_work: int = 0


class HerePool:
    """Calls the function of a request in this process, or raises *error*."""

    def __init__(self, error: ChildProcessFailed | None = None) -> None:
        self.sizes: list[int] = []
        self.error = error

    async def run(
        self, _: str | None, function: Callable[[bytes], bytes], make_request: Callable[[], list[bytes]]
    ) -> bytes:
        request = b"".join(make_request())
        self.sizes.append(len(request))
        if self.error is not None:
            raise self.error
        return function(request)


def evaluator(light: HerePool, heavy: HerePool) -> ExpressionEvaluator:
    return ExpressionEvaluator(cast("ChildProcessPool", light), cast("ChildProcessPool", heavy), lambda: 0.0)


def mapping(expression: str) -> list[FieldMapping]:
    return [FieldMapping(from_step="a", from_field=expression, to_field="x")]


LIGHT = mapping("v[*]|[0:2]")
HEAVY = mapping("v" + "|[?@ != `-1`]" * 20 + "|[0:2]")
ENDLESS = mapping("v[*]" + "|[].[@,@][]" * 8)


async def test_a_light_evaluation_needs_no_heavy_process() -> None:
    light, heavy, account = HerePool(), HerePool(), Account()
    assert await evaluator(light, heavy).evaluate(account, LIGHT, [False], RESULTS) == [b"[0,1]"]
    assert (len(light.sizes), len(heavy.sizes)) == (1, 0)
    assert 3_000 < account.mapping_work < 20_000


async def test_what_is_too_much_for_the_light_process_goes_to_the_heavy_one() -> None:
    light, heavy, account = HerePool(), HerePool(), Account()
    assert await evaluator(light, heavy).evaluate(account, HEAVY, [False], RESULTS) == [b"[0,1]"]
    assert (len(light.sizes), len(heavy.sizes)) == (1, 1)


async def test_the_evaluations_of_one_workflow_are_bounded_together() -> None:
    light, heavy, account = HerePool(), HerePool(), Account(mapping_work=MAX_WORKFLOW_WORK - 150_000)
    tested = evaluator(light, heavy)
    with pytest.raises(AttemptError, match="takes more work than the limit of 2,000,000"):
        await tested.evaluate(account, ENDLESS, [False], RESULTS)
    with pytest.raises(AttemptError, match="have taken more work than the limit of 200,000,000") as caught:
        await tested.evaluate(account, LIGHT, [False], RESULTS)
    assert not caught.value.retryable
    assert (len(light.sizes), len(heavy.sizes)) == (1, 1)
    assert account.mapping_work == MAX_WORKFLOW_WORK - 150_000 + 100_000 + MAX_STEP_WORK


@pytest.mark.parametrize("repeatable", [True, False])
async def test_a_child_process_that_fails_fails_the_attempt(repeatable: Any) -> None:
    light = HerePool(ChildProcessFailed("the child process died", repeatable=repeatable))
    with pytest.raises(AttemptError, match="to 'x': the child process died") as caught:
        await evaluator(light, HerePool()).evaluate(Account(), LIGHT, [False], RESULTS)
    assert (caught.value.retryable, caught.value.provider_fault) == (repeatable, False)


async def test_expressions_are_checked_a_few_at_a_time() -> None:
    light = HerePool()
    expressions = [f"a[{number}]" + "|b" * 100 for number in range(500)] + ["a["]
    checked = await evaluator(light, HerePool()).check("t", expressions)
    assert list(checked) == expressions
    assert [expression for expression, check in checked.items() if check.fault] == ["a["]
    assert len(light.sizes) == 6
    assert max(light.sizes) < 25_000


async def test_a_check_without_a_result_says_nothing_about_the_expressions() -> None:
    light = HerePool(ChildProcessFailed("the child process died", repeatable=True))
    with pytest.raises(Unavailable):
        await evaluator(light, HerePool()).check("t", ["a[0]"])


async def test_attempts_parse_one_after_the_other_and_let_others_work_between() -> None:
    tested, order = evaluator(HerePool(), HerePool()), list[str]()

    async def parse(name: str) -> None:
        await tested.until_work_here(10_000)
        order.append(name)

    async def others() -> None:
        while "c" not in order:
            if order and order[-1] != "others":
                order.append("others")
            await checkpoint()

    async with create_task_group() as tasks:
        for name in "abc":
            tasks.start_soon(parse, name)
        tasks.start_soon(others)
    assert order == ["a", "others", "b", "others", "c"]
    assert tested.allowance.total == 30_000


def test_the_loop_spends_a_fifth_of_its_time() -> None:
    now = 0.0
    allowance = LoopAllowance(lambda: now)
    spent = 0
    for millisecond in range(1_000):
        now = millisecond / 1_000
        for _ in range(10):
            budget = allowance.budget()
            allowance.spent(budget.limit)
            spent += budget.limit if budget.limit > 100 else 0
    assert spent <= 25_000 + 500_000


def test_small_evaluations_always_get_a_time_slice() -> None:
    allowance = LoopAllowance(lambda: 0.0)
    for _ in range(10_000):
        allowance.spent(100)
    assert allowance.budget().limit == 4_000
    while allowance.budget().limit > 100:
        allowance.spent(4_000)
    assert allowance.budget().limit == 100
