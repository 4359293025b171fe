"""Forecasts which results a new run would take over: the state machine plays the run, and nothing is stored or sent.

What must hold:
- The checks and their rules are those of a run. So a run takes over what was forecast, unless something changes before.
- A step at a provider, or one that waits, never ends here. What depends on it stays undecided.
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from uuid import UUID

from msgspec import Struct, field, structs

from stepwell.contract.definition import MAX_ITEMS
from stepwell.contract.enums import StepStatus
from stepwell.contract.forecasts import ForecastItems, StepForecast
from stepwell.definition.mapping.items import result_of_items
from stepwell.definition.validation.workflow import ValidatedWorkflow
from stepwell.engine.attempts.input_resolver import PreparedAttempt
from stepwell.engine.attempts.runner import AttemptRunner
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.new_workflow import Creation, build_workflow
from stepwell.engine.execution.reuse_checks import ReuseFinder, batches
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.effects import CheckReuse, Evaluate, StartAttempt
from stepwell.lifecycle.inputs import SERVICE, Dispatched, Input, Start
from stepwell.lifecycle.items import ItemGroup
from stepwell.lifecycle.model import ItemState
from stepwell.lifecycle.run_if import has_ended
from stepwell.ports.clock import Clock, NewId
from stepwell.rules.diagnostics.plan import PlannedReuse
from stepwell.runtime.memory import MemoryGovernor, MemoryReservation
from stepwell.runtime.offloop import off_loop

_OWNER = UUID(int=1)


class ReuseForecaster(Struct, eq=False):
    _runner: AttemptRunner
    _finder: ReuseFinder
    _memory: MemoryGovernor
    _clock: Clock
    _new_id: NewId

    async def forecast(self, tenant: str | None, validated: ValidatedWorkflow) -> PlannedReuse | None:
        """Return what a run of *tenant* would take over; None if it reuses nothing. Raises `Unavailable`."""
        if validated.reuse is None:
            return None
        now = self._clock.now()
        creation = Creation(self._new_id(now), tenant, SERVICE, SERVICE, now, named_files=validated.named_files)
        start = Start(SERVICE, self._new_id(now), _OWNER)
        build = partial(build_workflow, _with_all_items_at_once(validated), creation, start, self._new_id)
        workflow = (await off_loop(build, steps=len(validated.steps))).workflow
        with self._memory.reservation(tenant) as memory, ExitStack() as lent:
            simulation = _Simulation(self._runner, self._finder, self._clock, self._new_id, workflow, memory, lent)
            await simulation.play()
        return simulation.forecast()


def _with_all_items_at_once(validated: ValidatedWorkflow) -> ValidatedWorkflow:
    steps = []
    for step in validated.steps:
        flow = step.flow
        if flow is not None and flow.for_each is not None:
            flow = structs.replace(flow, for_each=structs.replace(flow.for_each, max_concurrency=MAX_ITEMS))
        steps.append(structs.replace(step, flow=flow))
    return structs.replace(validated, steps=tuple(steps))


class _Simulation(Struct, eq=False):
    """A run that is played. *lent* holds its results, for which *memory* is reserved."""

    runner: AttemptRunner
    finder: ReuseFinder
    clock: Clock
    new_id: NewId
    workflow: ActiveWorkflow
    memory: MemoryReservation
    lent: ExitStack
    gone: list[str] = field(default_factory=list)
    of_items: dict[int, dict[int, bytes]] = field(default_factory=dict)  # by step and item

    async def play(self) -> None:
        decisions = [self.workflow.run.pending_work()]
        while decisions:
            effects = [effect for decision in decisions for effect in decision.effects]
            ready = [position for decision in decisions for position in decision.ready]
            decisions = []
            apply: Callable[[Input], None] = partial(self._apply, decisions)
            for position in dict.fromkeys(ready):
                self._start(position, apply)
            for effect in effects:
                if isinstance(effect, Evaluate):
                    apply(await self.finder.evaluator.evaluate(self.workflow, effect))
            for checks in batches(self.workflow, (effect for effect in effects if isinstance(effect, CheckReuse))):
                await self.finder.find(self.workflow, checks, apply, missing=self.gone)
            await self._lend(decisions)

    def _apply(self, decisions: list[Decision], input_: Input) -> None:
        decisions.append(self.workflow.run.apply(input_, self.clock.now()))

    def _start(self, position: int, apply: Callable[[Input], None]) -> None:
        """Let a step without a provider end whose result is known at once."""
        run, now = self.workflow.run, self.clock.now()
        resolved = run.resolved_units[position]
        if resolved.provider is not None or resolved.runs_workflow or not run.wants_new_attempt(position):
            return
        decision = run.apply(Dispatched(position, self.new_id(now), None, in_process=True), now)
        for effect in decision.effects:
            if isinstance(effect, StartAttempt):
                outcome = self.runner.prepare(self.workflow, effect.task)
                if not isinstance(outcome, PreparedAttempt):
                    apply(outcome)

    async def _lend(self, decisions: Iterable[Decision]) -> None:
        """Let the steps that follow read the results of *decisions*."""
        results = dict[int, bytes]()
        states = [state for decision in decisions for state in decision.steps.values()]
        for state in states:
            if state.status is not StepStatus.COMPLETED:
                continue
            if isinstance(state, ItemState):
                self.of_items.setdefault(state.item_key.step, {})[state.item_key.item] = state.result or b"null"
            elif (group := self.workflow.run.item_group(state.position)) is not None:
                own = self.of_items.get(state.position, {})
                results[state.position] = result_of_items([own.get(each.item_key.item) for each in group.items])
            elif state.result is not None:
                results[state.position] = state.result
        await self.memory.grow_up_to(sum(map(len, results.values())))
        self.lent.enter_context(self.workflow.lend_results(results))

    def forecast(self) -> PlannedReuse:
        run = self.workflow.run
        ended = [
            has_ended(resolved, step, run.config.on_failure)
            for resolved, step in zip(run.resolved_steps, run.steps, strict=True)
        ]
        steps, items = list[StepForecast](), dict[int, ForecastItems]()
        for resolved, step in zip(run.resolved_steps, run.steps, strict=True):
            group = run.item_group(resolved.position)
            if group is not None:
                items[resolved.position] = counts = _counts(group)
                steps.append("reused" if counts.reused and not counts.runs else "runs")
            elif step.flow is not None and step.flow.reused is not None:
                steps.append("reused")
            elif step.status is StepStatus.SKIPPED:
                steps.append("skipped")
            elif all(ended[each] for each in resolved.depends_on):
                steps.append("runs")
            else:
                steps.append("depends")
        return PlannedReuse(tuple(steps), items, tuple(sorted(set(self.gone))))


def _counts(group: ItemGroup) -> ForecastItems:
    reused = sum(item.flow is not None and item.flow.reused is not None for item in group.items)
    return ForecastItems(reused=reused, runs=len(group.items) - reused)
