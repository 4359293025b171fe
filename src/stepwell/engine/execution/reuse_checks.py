"""Finds results of earlier runs for the steps and items that are about to start.

    effect `CheckReuse` ──► the workflow's task, up to 100 units at a time ──► input `ReuseChecked`
                                │ fingerprints ─► results assigned ─► results read, files referenced ─► files there?

What must hold:
- Nothing of a check is stored but references to files: if its result is lost, another check finds the same.
- The files of a result are referenced before they are looked at, and that before the result is taken over. So what was
  there then is there as long as the run isn't deleted, unless somebody deletes the data of the earlier run for good.
- A workflow has at most one asyncio task for its checks, and none once it has left memory.
- A unit whose check fails runs: its attempt reports the error.
- However many units do equal work, the event loop gets its turn: a batch passes each result once, and pauses meanwhile.
- A check outlasts outages of the database and of the artifact store: to run a step that is paid for costs more.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial

import structlog
from anyio import CapacityLimiter, sleep
from msgspec import UNSET, Struct, field, to_builtins
from msgspec.structs import replace

from stepwell.basics.artifacts import named_paths
from stepwell.basics.errors import ArtifactError, ArtifactGone, AttemptError
from stepwell.basics.tenancy import TenantScope
from stepwell.contract.tasks import Output
from stepwell.engine.attempts.expression_evaluator import with_tries
from stepwell.engine.attempts.fingerprints import Fingerprints
from stepwell.engine.attempts.flow_evaluator import FlowEvaluator
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.effects import CheckReuse
from stepwell.lifecycle.inputs import ReuseChecked
from stepwell.lifecycle.model import ItemState, UnitKey
from stepwell.lifecycle.records import EarlierResult
from stepwell.ports.artifacts import Artifacts
from stepwell.ports.storage import WorkflowStore
from stepwell.rules.earlier_results import EarlierResults, WantedResult, work_of_unit
from stepwell.runtime.memory import MemoryGovernor
from stepwell.runtime.outages import OUTAGE_RETRY_S, until_available

log = structlog.get_logger()

_AT_ONCE, _EVALUATIONS_AT_ONCE = 100, 10  # units
_BYTES_AT_ONCE = 4 * 1024 * 1024  # of results
_FILES_AT_ONCE = 8
_FILE_S = 30.0


class ReuseFinder(Struct, eq=False):
    """Finds results for units of a workflow."""

    evaluator: FlowEvaluator
    _fingerprints: Fingerprints
    _store: WorkflowStore
    _artifacts: Artifacts
    _memory: MemoryGovernor
    _files: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(_FILES_AT_ONCE))

    async def find(
        self,
        workflow: ActiveWorkflow,
        checks: Sequence[CheckReuse],
        report: Callable[[ReuseChecked], object],
        *,
        missing: list[str] | None = None,
    ) -> None:
        """Report the result of each of the *checks*.

        With *missing*, this is a forecast: no file is referenced, and the paths of absent ones are added there.
        """
        left = {check.position: check.number for check in checks}
        try:
            decisions = {check.position: check.decision for check in checks if check.decision is not None}
            await self._find(workflow, left, decisions, report, missing)
        except Exception:  # a bug must not keep the units from running
            log.exception("reuse.broken", action="reuse", workflow_id=str(workflow.workflow_id))
        for position, number in left.items():
            report(ReuseChecked(position, number))

    async def _find(
        self,
        workflow: ActiveWorkflow,
        left: dict[int, int],
        decisions: Mapping[int, str],
        report: Callable[[ReuseChecked], object],
        missing: list[str] | None,
    ) -> None:
        """Report the checks that find a result, and remove them from *left*: numbers by position.

        *decisions* are the fingerprints of the waits among them.
        """
        earlier, gone = await self._earlier(workflow), set[UnitKey]()
        wanted = dict[int, WantedResult]()
        for number, position in enumerate(left):
            if number % _EVALUATIONS_AT_ONCE == 0:
                await asyncio.sleep(0)
            if (work := decisions.get(position) or await self._work(workflow, position)) is not None:
                wanted[position] = WantedResult(
                    _key(workflow, position), workflow.resolved_step(position).step_id, work
                )
        while wanted:
            assert workflow.run.reuse is not None
            taken = workflow.run.reuse.taken() | gone
            assigned = await self._assign(workflow, earlier, list(wanted.values()), taken)
            for position in [position for position, work in wanted.items() if work.key not in assigned]:
                del wanted[position]
                report(ReuseChecked(position, left.pop(position)))
            some = _some({position: assigned[work.key] for position, work in wanted.items()})
            with self._memory.reservation(workflow.tenant) as memory:
                await memory.grow_up_to(sum(each.size for each in some.values()))
                results = await self._take(workflow, some, takes=missing is None)
                absent = await self._absent_files(some, results)
                for position, result in some.items():
                    if position in results and not absent[position]:
                        del wanted[position]
                        reused = replace(result.reused, outputs=_named_outputs(result, results[position]))
                        report(ReuseChecked(position, left.pop(position), reused, results[position]))
                    else:
                        gone.add(result.key)
                        if missing is not None:
                            missing += absent.get(position, [])

    async def _earlier(self, workflow: ActiveWorkflow) -> EarlierResults:
        if workflow.earlier is None:
            assert workflow.run.reuse is not None
            scope, earlier_id = TenantScope(workflow.tenant), workflow.run.reuse.rule.from_
            read = partial(self._store.earlier_results, scope, earlier_id)
            workflow.earlier = EarlierResults(await until_available(read))
        return workflow.earlier

    async def _work(self, workflow: ActiveWorkflow, position: int) -> str | None:
        """Return the fingerprint of all runs of the unit.

        None if its inputs can't be evaluated, or if there is nothing to take over.
        """
        provider, definition = workflow.provider(position), workflow.definition(position)
        if provider is None or not workflow.earlier:
            return None
        try:
            inputs = await with_tries(partial(self.evaluator.inputs, workflow, position))
        except AttemptError:
            return None
        fallback = workflow.on_fallback(position)
        fingerprint = await self._fingerprints.of(workflow, position, provider, inputs, fallback=fallback)
        repeat = None if definition.repeat is UNSET else to_builtins(definition.repeat)
        return work_of_unit(fingerprint, repeat)

    async def _assign(
        self,
        workflow: ActiveWorkflow,
        earlier: EarlierResults,
        wanted: Sequence[WantedResult],
        taken: Collection[UnitKey],
    ) -> dict[UnitKey, EarlierResult]:
        """Return the result for each of the *wanted* units that there is one for, by the key of the unit."""
        assert workflow.run.reuse is not None
        assigned = earlier.own(wanted, taken)
        given = {*taken, *(each.key for each in assigned.values())}
        others = defaultdict[str, list[WantedResult]](list)
        for each in sorted(wanted, key=lambda unit: (unit.key.step, unit.key.item or 0)):
            if each.key not in assigned:
                others[each.fingerprint].append(each)
        names, behind = {each.name for each in wanted}, workflow.run.reuse.behind_attempts() if others else set[int]()
        for fingerprint, units in others.items():
            waiting = iter(units)
            for number, result in enumerate(earlier.others(fingerprint)):
                if number % _AT_ONCE == 0:
                    await asyncio.sleep(0)
                if result.key in given or (
                    result.name not in names and await self._is_claimed(workflow, earlier, result, behind)
                ):
                    continue
                if (unit := next(waiting, None)) is None:
                    break
                assigned[unit.key] = result
        return assigned

    async def _is_claimed(
        self, workflow: ActiveWorkflow, earlier: EarlierResults, result: EarlierResult, behind: Collection[int]
    ) -> bool:
        """Return whether the same step or item, which is yet to be checked, is going to take the result.

        If its inputs aren't known yet, it is assumed to do the same work as then, unless it is *behind* a step that
        runs.
        """
        assert workflow.run.reuse is not None
        position = workflow.open_unit(*result.name)
        if position is None or (step := workflow.run.resolved_units[position].position) in workflow.run.reuse.never:
            return False
        if not workflow.has_sources(position):
            return step not in behind
        key = position, workflow.on_fallback(position)
        if key not in earlier.works:
            await asyncio.sleep(0)
            earlier.works[key] = await self._work(workflow, position)
        return earlier.works[key] == result.reused.fingerprint

    async def _take(
        self, workflow: ActiveWorkflow, some: Mapping[int, EarlierResult], *, takes: bool
    ) -> dict[int, bytes]:
        """Return the results by position. Deleted ones are absent. *takes*: the workflow references their files."""
        assert workflow.run.reuse is not None
        scope, earlier_id = TenantScope(workflow.tenant), workflow.run.reuse.rule.from_
        keys = [each.key for each in some.values()]
        take = partial(self._store.take_results, scope, earlier_id, keys, workflow.workflow_id if takes else None)
        results = await until_available(take)
        return {position: results[each.key] for position, each in some.items() if each.key in results}

    async def _absent_files(
        self, some: Mapping[int, EarlierResult], results: Mapping[int, bytes]
    ) -> dict[int, list[str]]:
        """Return the files of each result that are gone, or have another size."""
        async with asyncio.TaskGroup() as group:
            found = {
                position: group.create_task(self._absent(some[position], result), name="files of a reused result")
                for position, result in results.items()
            }
        return {position: each.result() for position, each in found.items()}

    async def _absent(self, earlier: EarlierResult, result: bytes) -> list[str]:
        absent = []
        for output in _named_outputs(earlier, result):
            async with self._files:
                if await self._size_of(output.path) != output.size:
                    absent.append(output.path)
        return absent

    async def _size_of(self, path: str) -> int | None:
        while True:
            try:
                async with asyncio.timeout(_FILE_S):
                    return await self._artifacts.size(path)
            except ArtifactGone:
                return None
            except (ArtifactError, TimeoutError) as error:
                log.warning("reuse.store_away", action="reuse", path=path, error=str(error))
            await sleep(OUTAGE_RETRY_S)


def _key(workflow: ActiveWorkflow, position: int) -> UnitKey:
    unit = workflow.run.units[position]
    return UnitKey(*unit.item_key) if isinstance(unit, ItemState) else UnitKey(position, None)


def _some(assigned: Mapping[int, EarlierResult]) -> dict[int, EarlierResult]:
    """Return the first of the results, so many that they aren't too large together."""
    some, size = dict[int, EarlierResult](), 0
    for position, each in assigned.items():
        size += each.size
        if some and size > _BYTES_AT_ONCE:
            break
        some[position] = each
    return some


def _named_outputs(earlier: EarlierResult, result: bytes) -> tuple[Output, ...]:
    named = named_paths(result)
    return tuple(output for output in earlier.reused.outputs if output.path in named)


def batches(workflow: ActiveWorkflow, checks: Iterable[CheckReuse]) -> Iterator[Sequence[CheckReuse]]:
    """Yield the *checks* in the order of the definition, so many at a time as are made together."""
    ordered = sorted(checks, key=lambda check: (workflow.resolved_step(check.position).position, check.position))
    for start in range(0, len(ordered), _AT_ONCE):
        yield ordered[start : start + _AT_ONCE]
