"""Steps with flow control for tests, and how they end.

`predict` is the reference: it says by the definition alone how each step ends if nobody interferes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from stepwell.contract.enums import ProviderType, RunIf, SkipReason, StepStatus, TaskType, WaitKind
from stepwell.lifecycle.steps import FlowControl, ForEachRule, RepeatRule, ResolvedStep

MAX_RETRIES = 2


class Script(Struct, frozen=True):
    """The attempts of one run of a step: so many fail first, then one ends for good."""

    flaky: int = 0
    succeeds: bool = True
    score: float | None = None


class RepeatSpec(Struct, frozen=True):
    """`until` is the number of the first run that is good enough, None if none is."""

    max: int
    until: int | None
    has_best: bool


class StepSpec(Struct, frozen=True, kw_only=True):
    """A step of a random definition, and all that its world does. `condition` is None without one.

    `items` is None unless it is a `for_each`. `child`: it runs a sub-workflow, which ends as the script says. `scripts`
    are by the number of the run, or of the item and the run, as far as they aren't the usual one. `answer`: how a wait
    ends, "decide", "reject", "early" (a signal that comes before its step waits) or "timeout".
    """

    depends_on: tuple[int, ...] = ()
    run_if: RunIf = RunIf.ALL_COMPLETED
    optional: bool = False
    condition: bool | str | None = None
    waits_for: WaitKind | None = None
    on_timeout: str = "fail"
    answer: str = "decide"
    child: bool = False
    items: int | None = None
    collect: bool = False
    concurrency: int = 2
    repeat: RepeatSpec | None = None
    scripts: Mapping[Any, Script] = field(default_factory=dict)

    def script(self, item: int | None, run: int) -> Script:
        return self.scripts.get(run if item is None else (item, run), Script())


def resolved_step_of(position: int, spec: StepSpec) -> ResolvedStep:
    flow = FlowControl(
        has_condition=spec.condition is not None,
        for_each=None if spec.items is None else ForEachRule(spec.concurrency, spec.collect),
        repeat=None if spec.repeat is None else RepeatRule(spec.repeat.max, spec.repeat.has_best),
        waits_for=spec.waits_for,
        signal=f"signal {position}" if spec.waits_for is WaitKind.SIGNAL else None,
        runs_workflow=spec.child,
    )
    return ResolvedStep(
        position=position,
        step_id=f"s{position}",
        task_type=TaskType.GENERATION,
        depends_on=spec.depends_on,
        max_retries=0 if spec.waits_for or spec.child else MAX_RETRIES,
        provider=None if spec.waits_for or spec.child else ProviderType.LOCAL,
        run_if=spec.run_if,
        optional=spec.optional,
        flow=None if flow == FlowControl() else flow,
    )


class Predicted(Struct):
    """How a step ends. `reasons` are the possible ones of a skip. `runs` are the numbers of the runs that count, by
    item, None for a step without items.
    """

    status: StepStatus
    reasons: set[SkipReason] = field(default_factory=set)
    items: list[StepStatus] = field(default_factory=list)
    runs: dict[int | None, int] = field(default_factory=dict)


def predict(specs: Sequence[StepSpec]) -> list[Predicted]:
    """Return how each step ends under `on_failure: continue`, from the definition and the scripts alone."""
    ends: dict[int, Predicted] = {}
    while len(ends) < len(specs):
        for position, spec in enumerate(specs):
            if position not in ends and all(each in ends for each in spec.depends_on):
                ends[position] = _predict_step(spec, [ends[each] for each in spec.depends_on])
    return [ends[position] for position in range(len(specs))]


def _predict_step(spec: StepSpec, needed: Sequence[Predicted]) -> Predicted:
    bad = [each for each in needed if each.status is not StepStatus.COMPLETED]
    causes = set().union(*(_causes(each) for each in bad)) if bad else set()
    if spec.run_if is RunIf.ALL_COMPLETED and bad:
        return Predicted(StepStatus.SKIPPED, causes)
    if spec.run_if is RunIf.ANY_COMPLETED and needed and len(bad) == len(needed):
        return Predicted(StepStatus.SKIPPED, causes)
    if spec.condition == "error":
        return Predicted(StepStatus.FAILED)
    if spec.condition is False:
        return Predicted(StepStatus.SKIPPED, {SkipReason.WHEN})
    if spec.waits_for is not None:
        return Predicted(StepStatus.FAILED if _wait_fails(spec) else StepStatus.COMPLETED)
    units: list[int | None] = [None] if spec.items is None else list(range(spec.items))
    runs = {item: _run_that_counts(spec, item) for item in units}
    ends = [StepStatus.FAILED if run is None else StepStatus.COMPLETED for run in runs.values()]
    fails = StepStatus.FAILED in ends and not (spec.items is not None and spec.collect)
    counting = {item: run for item, run in runs.items() if run is not None}
    status = StepStatus.FAILED if fails else StepStatus.COMPLETED
    return Predicted(status, set(), [] if spec.items is None else ends, counting)


def _causes(end: Predicted) -> set[SkipReason]:
    if end.status is StepStatus.FAILED:
        return {SkipReason.FAILURE}
    return {SkipReason.FAILURE if each is SkipReason.FAILURE else SkipReason.DEPENDENCY for each in end.reasons}


def _wait_fails(spec: StepSpec) -> bool:
    if spec.waits_for is WaitKind.DELAY:
        return False
    if spec.answer == "reject":
        return spec.waits_for is WaitKind.DECISION
    return spec.answer == "timeout" and spec.on_timeout in ("fail", "reject")


def _run_that_counts(spec: StepSpec, item: int | None) -> int | None:
    """Return the number of the run whose result counts; None if the step, or its item, fails."""
    if spec.repeat is None:
        return 0 if spec.script(item, 0).succeeds else None
    best: tuple[float, int] | None = None
    for run in range(spec.repeat.max):
        script = spec.script(item, run)
        if not script.succeeds:
            break
        if run == spec.repeat.until:
            return run
        score = -1e9 if script.score is None else script.score
        if best is None or not spec.repeat.has_best or score > best[0]:
            best = (score, run)
    return None if best is None else best[1]
