"""The results in memory that a later run may take over."""

from msgspec import UNSET, to_builtins

from stepwell.contract.enums import StepStatus, TaskStatus
from stepwell.lifecycle.model import StepState, UnitKey
from stepwell.lifecycle.records import EarlierResult, StepRecord
from stepwell.rules.earlier_results import CompletedUnit, earlier_results
from stepwell.testing.memory_tables import WorkflowRow


def completed_units(row: WorkflowRow) -> dict[UnitKey, tuple[StepRecord, StepState]]:
    """Return the COMPLETED steps and items that have results of their own, in their order."""
    units: list[tuple[UnitKey, StepState]] = [(UnitKey(step.resolved.position, None), step.state) for step in row.steps]
    units += [(UnitKey(*key), item) for key, item in row.items.items()]
    units.sort(key=lambda unit: (unit[0].step, -1 if unit[0].item is None else unit[0].item))
    return {
        key: (row.steps[key.step], state)
        for key, state in units
        if state.status is StepStatus.COMPLETED and state.result is not None
    }


def earlier_results_of(row: WorkflowRow) -> list[EarlierResult]:
    tasks = [stored.task for stored in row.ordered_tasks]
    completed = [task for task in tasks if task.status is TaskStatus.COMPLETED and task.fingerprint is not None]
    units = [
        CompletedUnit(
            key=key,
            step_id=step.resolved.step_id,
            task_id=state.task_id,
            size=len(state.result or b""),
            repeat=None if step.definition.repeat is UNSET else to_builtins(step.definition.repeat),
            flow=state.flow,
        )
        for key, (step, state) in completed_units(row).items()
    ]
    return earlier_results(row.record.id, units, completed)
