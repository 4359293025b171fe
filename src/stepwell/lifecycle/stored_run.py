"""The data from which the state machine of a workflow is built: a new workflow, or one loaded from its rows."""

from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct, field

from stepwell.contract.definition import WorkflowConfig
from stepwell.lifecycle.model import ItemState, ReuseRule, StepState, StoredSignal, Task, WorkflowState
from stepwell.lifecycle.steps import ResolvedStep


class StoredRun(Struct):
    """A workflow as it was created or loaded.

    *resolved_steps* and *steps* are in the order of the definition. *items* are those of all steps, in any order.
    *open_tasks* are the attempts of RUNNING steps and items, and those that are followed up. *sources* lists for each
    step the positions that its mappings read from; by default there are none. *in_process* are the positions whose open
    attempt worked in the process that ran it. *signals* are those that have arrived and that no step has taken, by
    name. *result_bytes* is the size of the stored results. *reuse* is None unless it takes over results of an earlier
    run; the steps of *always_run* run all the same, by position.
    """

    state: WorkflowState
    config: WorkflowConfig
    resolved_steps: Sequence[ResolvedStep]
    steps: Sequence[StepState]
    items: Sequence[ItemState] = ()
    open_tasks: Sequence[Task] = ()
    sources: Sequence[Sequence[int]] | None = None
    in_process: Collection[int] = ()
    signals: Mapping[str, StoredSignal] = field(default_factory=dict)
    result_bytes: int = 0
    suppress_subtask_events: bool = True
    tenant: str | None = None
    reuse: ReuseRule | None = None
    always_run: Collection[int] = ()
