"""Evaluates what runs request: whether the condition of a step is true, and what a step waits for.

    effect `Evaluate` ──► small: at once on the event loop ────────────────────────┐
                     └──► otherwise: the workflow's task, one evaluation at a time ─┴──► input `Evaluated`

What must hold:
- Nothing of an evaluation is stored: if its result is lost, this process or another one evaluates again.
- A result is applied only to a workflow that is in memory. The run ignores one that it doesn't wait for any more.
- A workflow has at most one asyncio task for its evaluations, and none once it has left memory.
- One iteration of the event loop runs few evaluations, however many steps wait for the same result.
- An evaluation of items waits while there are too many items in memory. Those behind it wait with it.
"""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

from msgspec import Struct, field

from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.item_memory import ItemMemory
from stepwell.engine.execution.reuse_checks import OpenReuseChecks, ReuseFinder
from stepwell.engine.execution.supervised_tasks import SupervisedTasks
from stepwell.lifecycle.effects import CheckReuse, Evaluate
from stepwell.lifecycle.inputs import Input

_AT_ONCE = 100  # evaluations in one iteration of the event loop: some 10 ms


class _Requests(Struct):
    """The requests of one workflow that wait for its asyncio task, by position: a later one replaces the one before."""

    waiting: dict[int, Evaluate] = field(default_factory=dict)
    asyncio_task: asyncio.Task[None] | None = None


class FlowEvaluations:
    """The open evaluations of all workflows in memory.

    *apply* applies an input to a workflow, and *apply_and_start* also starts the steps that may start now.
    The checks of *reuse* end with the evaluations.
    """

    def __init__(
        self,
        reuse: ReuseFinder,
        tasks: SupervisedTasks,
        apply: Callable[[ActiveWorkflow, Input], bool],
        apply_and_start: Callable[[ActiveWorkflow, Input], bool],
        item_memory: ItemMemory,
    ) -> None:
        self._item_memory = item_memory
        self._evaluator, self._reuse_checks = reuse.evaluator, OpenReuseChecks(reuse, tasks, apply_and_start)
        self._tasks, self._apply, self._apply_and_start = tasks, apply, apply_and_start
        self._open: dict[ActiveWorkflow, _Requests] = {}
        self._evaluated = 0  # in this iteration of the event loop
        self.closed = False  # for good: nothing is evaluated any more

    def begin(self, workflow: ActiveWorkflow, request: Evaluate) -> None:
        """Evaluate at once if that is quick, otherwise in the workflow's asyncio task."""
        if self.closed:
            return
        requests = self._open.get(workflow)
        if requests is not None:
            requests.waiting.pop(request.position, None)
        waits = request.items and not self._item_memory.has_room(workflow)
        if self._may_evaluate_now() and not waits and (result := self._evaluator.evaluate_here(workflow, request)):
            self._apply(workflow, result)
            return
        if requests is None:
            requests = self._open[workflow] = _Requests()
            work, name = self._run(workflow, requests), f"evaluations of {workflow.workflow_id}"
            requests.asyncio_task = self._tasks.spawn(work, name, partial(self._ended, workflow, requests))
        requests.waiting[request.position] = request

    def begin_reuse_check(self, workflow: ActiveWorkflow, check: CheckReuse) -> None:
        if not self.closed:
            self._reuse_checks.begin(workflow, check)

    def end(self, workflow: ActiveWorkflow) -> None:
        """Drop the evaluations of a workflow. The next process that has it begins them again."""
        self._reuse_checks.end(workflow)
        if (requests := self._open.pop(workflow, None)) is not None and requests.asyncio_task is not None:
            requests.asyncio_task.cancel()

    async def _run(self, workflow: ActiveWorkflow, requests: _Requests) -> None:
        while requests.waiting:
            position = next(iter(requests.waiting))
            if requests.waiting[position].items and not self._item_memory.has_room(workflow):
                await self._item_memory.until_room(workflow)
            if (request := requests.waiting.pop(position, None)) is None:  # a newer request was handled meanwhile
                continue
            result = self._evaluator.evaluate_here(workflow, request)
            if result is None:
                with self._item_memory.evaluating(workflow) if request.items else nullcontext():
                    result = await self._evaluator.evaluate(workflow, request)
            self._apply_and_start(workflow, result)
            await asyncio.sleep(0)
        if self._open.get(workflow) is requests:  # no request comes between the last check and this
            del self._open[workflow]

    def _ended(self, workflow: ActiveWorkflow, requests: _Requests, asyncio_task: asyncio.Task[None]) -> None:
        if self._open.get(workflow) is requests:
            del self._open[workflow]
        if not asyncio_task.cancelled():
            asyncio_task.result()

    def _may_evaluate_now(self) -> bool:
        if not self._evaluated:
            asyncio.get_running_loop().call_soon(self._begin_iteration)
        self._evaluated += 1
        return self._evaluated <= _AT_ONCE

    def _begin_iteration(self) -> None:
        self._evaluated = 0
