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
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from functools import partial
from typing import Generic, TypeVar

from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.fail_fast_group import FailFastGroup
from stepwell.engine.execution.item_memory import ItemMemory
from stepwell.engine.execution.reuse_checks import ReuseFinder, batches
from stepwell.lifecycle.effects import CheckReuse, Evaluate
from stepwell.lifecycle.inputs import Input

R = TypeVar("R")

_AT_ONCE = 100  # evaluations in one iteration of the event loop: some 10 ms


class _Requests(Generic[R]):
    """The requests of workflows in memory, and an asyncio task for each workflow that has some.

    *handle* removes some requests of a workflow, and serves them. They are by position.
    """

    def __init__(
        self, group: FailFastGroup, name: str, handle: Callable[[ActiveWorkflow, dict[int, R]], Awaitable[None]]
    ) -> None:
        self._group, self._name, self._handle = group, name, handle
        self._open: dict[ActiveWorkflow, tuple[dict[int, R], asyncio.Task[None]]] = {}

    def add(self, workflow: ActiveWorkflow, position: int, request: R) -> None:
        """Add a request, which replaces the one of the position before."""
        if workflow not in self._open:
            waiting = dict[int, R]()
            work, name = self._run(workflow, waiting), f"{self._name} of {workflow.workflow_id}"
            self._open[workflow] = waiting, self._group.spawn(work, name)
        self._open[workflow][0][position] = request

    def discard(self, workflow: ActiveWorkflow, position: int) -> None:
        if workflow in self._open:
            self._open[workflow][0].pop(position, None)

    def end(self, workflow: ActiveWorkflow) -> None:
        """Drop the requests of a workflow. The next process that has it makes them again."""
        if workflow in self._open:
            self._open.pop(workflow)[1].cancel()

    async def _run(self, workflow: ActiveWorkflow, waiting: dict[int, R]) -> None:
        while waiting:
            await self._handle(workflow, waiting)
            await asyncio.sleep(0)
        self._open.pop(workflow, None)  # no request comes between the last check and this


class FlowEvaluations:
    """The open evaluations of all workflows in memory, and their checks for reuse.

    *apply* applies an input to a workflow, and *apply_and_start* also starts the steps that may start now.
    """

    def __init__(
        self,
        reuse: ReuseFinder,
        group: FailFastGroup,
        apply: Callable[[ActiveWorkflow, Input], bool],
        apply_and_start: Callable[[ActiveWorkflow, Input], bool],
        item_memory: ItemMemory,
    ) -> None:
        self._reuse, self._evaluator, self._item_memory = reuse, reuse.evaluator, item_memory
        self._apply, self._apply_and_start = apply, apply_and_start
        self._evaluations = _Requests[Evaluate](group, "evaluations", self._evaluate_next)
        self._reuse_checks = _Requests[CheckReuse](group, "reuse checks", self._check_next)
        self._evaluated = 0  # in this iteration of the event loop
        self.closed = False  # for good: nothing is evaluated any more

    def begin(self, workflow: ActiveWorkflow, request: Evaluate) -> None:
        """Evaluate at once if that is quick, otherwise in the workflow's asyncio task."""
        if self.closed:
            return
        self._evaluations.discard(workflow, request.position)
        waits = request.items and not self._item_memory.has_room(workflow)
        if self._may_evaluate_now() and not waits and (result := self._evaluator.evaluate_here(workflow, request)):
            self._apply(workflow, result)
        else:
            self._evaluations.add(workflow, request.position, request)

    def begin_reuse_check(self, workflow: ActiveWorkflow, check: CheckReuse) -> None:
        """Check in the workflow's asyncio task. Those that begin together are assigned together."""
        if not self.closed:
            self._reuse_checks.add(workflow, check.position, check)

    def end(self, workflow: ActiveWorkflow) -> None:
        """Drop the evaluations and checks of a workflow."""
        self._evaluations.end(workflow)
        self._reuse_checks.end(workflow)

    async def _evaluate_next(self, workflow: ActiveWorkflow, waiting: dict[int, Evaluate]) -> None:
        position = next(iter(waiting))
        if waiting[position].items and not self._item_memory.has_room(workflow):
            await self._item_memory.until_room(workflow)
        if (request := waiting.pop(position, None)) is None:  # a newer request was handled meanwhile
            return
        result = self._evaluator.evaluate_here(workflow, request)
        if result is None:
            with self._item_memory.evaluating(workflow) if request.items else nullcontext():
                result = await self._evaluator.evaluate(workflow, request)
        self._apply_and_start(workflow, result)

    async def _check_next(self, workflow: ActiveWorkflow, waiting: dict[int, CheckReuse]) -> None:
        some = next(batches(workflow, waiting.values()))
        for check in some:
            del waiting[check.position]
        await self._reuse.find(workflow, some, partial(self._apply_and_start, workflow))

    def _may_evaluate_now(self) -> bool:
        if not self._evaluated:
            asyncio.get_running_loop().call_soon(self._begin_iteration)
        self._evaluated += 1
        return self._evaluated <= _AT_ONCE

    def _begin_iteration(self) -> None:
        self._evaluated = 0
