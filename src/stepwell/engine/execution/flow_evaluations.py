"""Answers the questions of runs: whether the condition of a step is true, and what a step waits for.

    effect `Evaluate` ──► small: evaluated at once on the event loop ──────────────┐
                     └──► otherwise: the workflow's task, one question at a time ──┴──► input `Evaluated`

What must hold:
- Nothing of a question is stored: if its answer is lost, this process or another one asks it again.
- An answer is applied only to a workflow that is in memory. The run ignores one that it doesn't wait for any more.
- A workflow has at most one task for its questions, and none once it has left memory.
- One turn of the event loop answers few questions, however many steps wait for the same one.
- A question about items waits while there are too many items in memory, and those behind it with it.
"""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

from msgspec import Struct, field

from stepwell.engine.attempts.flow_evaluator import FlowEvaluator
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.follow_up_tasks import Spawn
from stepwell.engine.execution.item_memory import ItemMemory
from stepwell.lifecycle.effects import Evaluate
from stepwell.lifecycle.inputs import Input

_AT_ONCE = 100  # questions in one turn of the event loop: some 10 ms


class _Questions(Struct):
    """The questions of one workflow that wait for its task, by position: a later one replaces the one before."""

    waiting: dict[int, Evaluate] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None


class FlowEvaluations:
    """The open questions of all workflows in memory.

    *spawn* runs a coroutine in a task with a name, and calls a function at its end. *apply* applies an input to a
    workflow, and *apply_and_start* also starts the steps that may start now.
    """

    def __init__(
        self,
        evaluator: FlowEvaluator,
        spawn: Spawn,
        apply: Callable[[ActiveWorkflow, Input], bool],
        apply_and_start: Callable[[ActiveWorkflow, Input], bool],
        item_memory: ItemMemory,
    ) -> None:
        self._item_memory = item_memory
        self._evaluator, self._spawn, self._apply, self._apply_and_start = evaluator, spawn, apply, apply_and_start
        self._open: dict[ActiveWorkflow, _Questions] = {}
        self._answered = 0  # in this turn of the event loop
        self.closed = False  # for good: no question is answered any more

    def ask(self, workflow: ActiveWorkflow, question: Evaluate) -> None:
        """Answer the question: at once if that is quick, otherwise in the workflow's task."""
        if self.closed:
            return
        questions = self._open.get(workflow)
        if questions is not None:
            questions.waiting.pop(question.position, None)
        waits = question.items and not self._item_memory.has_room(workflow)
        if self._may_answer_now() and not waits and (answer := self._evaluator.answer_here(workflow, question)):
            self._apply(workflow, answer)
            return
        if questions is None:
            questions = self._open[workflow] = _Questions()
            work, name = self._run(workflow, questions), f"questions of {workflow.workflow_id}"
            questions.task = self._spawn(work, name, partial(self._ended, workflow, questions))
        questions.waiting[question.position] = question

    def end(self, workflow: ActiveWorkflow) -> None:
        """Drop the questions of a workflow. The next process that has it asks them again."""
        if (questions := self._open.pop(workflow, None)) is not None and questions.task is not None:
            questions.task.cancel()

    async def _run(self, workflow: ActiveWorkflow, questions: _Questions) -> None:
        while questions.waiting:
            position = next(iter(questions.waiting))
            if questions.waiting[position].items and not self._item_memory.has_room(workflow):
                await self._item_memory.until_room(workflow)
            if (question := questions.waiting.pop(position, None)) is None:  # it was asked anew and answered meanwhile
                continue
            answer = self._evaluator.answer_here(workflow, question)
            if answer is None:
                with self._item_memory.evaluating(workflow) if question.items else nullcontext():
                    answer = await self._evaluator.answer(workflow, question)
            self._apply_and_start(workflow, answer)
            await asyncio.sleep(0)
        if self._open.get(workflow) is questions:  # no question comes between the last check and this
            del self._open[workflow]

    def _ended(self, workflow: ActiveWorkflow, questions: _Questions, task: asyncio.Task[None]) -> None:
        if self._open.get(workflow) is questions:
            del self._open[workflow]
        if not task.cancelled():
            task.result()

    def _may_answer_now(self) -> bool:
        if not self._answered:
            asyncio.get_running_loop().call_soon(self._begin_turn)
        self._answered += 1
        return self._answered <= _AT_ONCE

    def _begin_turn(self) -> None:
        self._answered = 0
