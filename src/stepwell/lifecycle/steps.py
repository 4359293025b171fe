"""A step with all defaults applied, and what is known before it runs: its inputs, and its provider's members."""

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET, Struct

from stepwell.contract.definition import WorkflowStepDefinition
from stepwell.contract.enums import WAITS_OF, OnItemFailure, ProviderType, RunIf, TaskType, WaitKind


class ForEachRule(Struct, frozen=True, gc=False):
    """The `for_each` of a step. `collect`: failed items don't fail the step."""

    max_concurrency: int = 10
    collect: bool = False


class RepeatRule(Struct, frozen=True, gc=False):
    """The repetition of a step: at most `max` runs.

    `has_best`: if none is good enough, the run with the highest number counts, otherwise the last one.
    """

    max: int
    has_best: bool = False


class FlowControl(Struct, frozen=True, kw_only=True, gc=False):
    """The flow control of a step, as far as the state machine needs it. The definition has the expressions.

    `waits_for` is None unless the step waits instead of making attempts. `signal` is the name of the signal that it
    waits for. `runs_workflow`: its attempts run a sub-workflow.
    """

    has_condition: bool = False
    for_each: ForEachRule | None = None
    repeat: RepeatRule | None = None
    waits_for: WaitKind | None = None
    signal: str | None = None
    runs_workflow: bool = False


_CONDITION_ONLY = FlowControl(has_condition=True)


def flow_control(step: WorkflowStepDefinition) -> FlowControl | None:
    """Return the flow control of a step; None without any."""
    has_condition, waits_for = step.when is not UNSET, WAITS_OF.get(step.task_type)
    if waits_for is None and step.repeat is UNSET and step.for_each is UNSET:  # hot path
        return _CONDITION_ONLY if has_condition else None
    if waits_for is None or waits_for is WaitKind.WORKFLOW:
        items, repeat, runs_workflow = _for_each_rule(step), _repeat_rule(step), waits_for is not None
        return FlowControl(has_condition=has_condition, for_each=items, repeat=repeat, runs_workflow=runs_workflow)
    name = step.config.get("name")
    signal = None if waits_for is not WaitKind.SIGNAL else step.id if name is None else str(name)
    return FlowControl(has_condition=has_condition, waits_for=waits_for, signal=signal)


def _for_each_rule(step: WorkflowStepDefinition) -> ForEachRule | None:
    if step.for_each is UNSET:
        return None
    collect = step.for_each.on_item_failure is OnItemFailure.COLLECT
    return ForEachRule(step.for_each.max_concurrency, collect)


def _repeat_rule(step: WorkflowStepDefinition) -> RepeatRule | None:
    if step.repeat is UNSET:
        return None
    return RepeatRule(step.repeat.max, step.repeat.best is not None)


class ResolvedStep(Struct, frozen=True, kw_only=True, gc=False):
    """A step as the engine runs it: defaults applied at create, so that later settings don't change it.

    `depends_on` holds positions. `provider` is None only for task types that need none. `optional`: its failure
    doesn't stop the workflow. `flow` is None for a step without flow control.
    """

    position: int
    step_id: str
    task_type: TaskType
    depends_on: tuple[int, ...] = ()
    max_retries: int = 3
    timeout_s: float = 600.0
    provider: ProviderType | None = None
    fallback: ProviderType | None = None
    run_if: RunIf = RunIf.ALL_COMPLETED
    optional: bool = False
    flow: FlowControl | None = None

    @property
    def runs_workflow(self) -> bool:
        """True if each attempt runs a sub-workflow."""
        return self.flow is not None and self.flow.runs_workflow


class KnownStep(Struct, frozen=True):
    """A step as far as its definition shows before it runs, for the checks of one provider.

    `provider_config` is that of this provider, which may be the fallback. `inputs` hold no None, and
    values of the right kind. `unresolved` names the inputs that are unknown until the step runs: they are mapped from
    results, invalid, or inherited from defaults too large to scan.
    """

    task_type: TaskType
    provider_config: Mapping[str, Any]
    inputs: Mapping[str, Any]
    unresolved: frozenset[str] = frozenset()

    def has(self, name: str) -> bool:
        """Return whether the step will have the input *name*."""
        return name in self.inputs or name in self.unresolved


class StepMembers(Struct, frozen=True):
    """The members that a provider knows for a task type and a `provider_config`. None stands for any member.

    `inputs` are the inputs that it may use, without those that it certainly ignores: `ignored`. `config` are the
    members of `provider_config` that it reads, and `outputs` the members that its result may have.
    """

    inputs: frozenset[str] | None = None
    ignored: frozenset[str] = frozenset()
    config: frozenset[str] | None = None
    outputs: frozenset[str] | None = None

    def ignores_input(self, name: str) -> bool:
        """Return whether the provider certainly doesn't use the input *name*."""
        return name in self.ignored or (self.inputs is not None and name not in self.inputs)
