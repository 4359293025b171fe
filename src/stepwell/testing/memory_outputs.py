"""The files of the results of a run and its sub-workflows in memory, as `persistence.stores.output_pages` has them."""

import re
from collections.abc import Iterator
from uuid import UUID

from msgspec import Struct, json, structs

from stepwell.basics.artifacts import PATH_IN_JSON, artifact_path
from stepwell.basics.folder_names import DefinitionKey, StepOrItem, StepPaths
from stepwell.contract.enums import StepStatus, TaskStatus, TaskType
from stepwell.contract.tasks import Output
from stepwell.lifecycle.model import NO_FLOW, ItemState, StepState, Task
from stepwell.lifecycle.records import StepRecord
from stepwell.ports.uploads import UploadStatus
from stepwell.rules.list_records import OutputCursor, StoredOutput, TaskCursor
from stepwell.testing.memory_tables import Tables, WorkflowRow


class _Member(Struct):
    """A workflow of a run, and the steps that lead to it from the root. `path` has the cursors of their attempts.

    `named` are the files that the final results of the workflows above name.
    """

    row: WorkflowRow
    path: tuple[int, ...]
    steps: list[StepOrItem]
    is_final: bool
    named: set[str]

    def __post_init__(self) -> None:
        final, position = self.row.steps[self.row.final_position], self.row.final_position
        is_done = final.state.status is StepStatus.COMPLETED and final.resolved.task_type is not TaskType.SUBWORKFLOW
        if self.is_final and is_done:
            items = [item for key, item in self.row.items.items() if key.step == position]
            results = b" ".join(unit.result or b"" for unit in (final.state, *items))
            self.named = self.named | set(re.findall(PATH_IN_JSON, results.decode()))

    @property
    def key(self) -> DefinitionKey:
        return tuple(step.step_id for step in self.steps)

    def unit(self, task: Task) -> StepState:
        """Return the step or item that *task* is an attempt at."""
        return self.step(task).state if task.item_key is None else self.row.items[task.item_key]

    def repeats(self, task: Task) -> bool:
        flow = self.step(task).resolved.flow
        return flow is not None and flow.repeat is not None

    def is_by_hand(self, task: Task) -> bool:
        """Return whether a person has given the result of the step or the item."""
        states = self.unit(task), self.step(task).state
        return any((state.flow or NO_FLOW).given_by is not None for state in states)

    def step_of(self, task: Task) -> StepOrItem:
        return StepOrItem(self.step(task).resolved.step_id, None if task.item_key is None else task.item_key.item)

    def is_final_file(self, task: Task, output: Output) -> bool:
        return self.is_final_task(task) or output.path in self.named

    def is_final_task(self, task: Task) -> bool:
        return self.is_final and task.position == self.row.final_position

    def step(self, task: Task) -> StepRecord:
        return self.row.steps[task.position]


def outputs_of(tables: Tables, root: WorkflowRow, after: OutputCursor | None) -> list[StoredOutput]:
    """Return the files behind *after*, in the order of the list."""
    members = list(_tree(tables, _Member(root, (), [], is_final=True, named=set())))
    paths = StepPaths({each.key: [step.resolved.step_id for step in each.row.steps] for each in members})
    above = None if after is None else _path(tables, root, after.workflow_id)
    if after is None or above is None:
        return [output for member in members if after is None for output in _files(tables, member, paths)]
    behind = (above, *after[1:])
    files = ((member.path, output) for member in members for output in _files(tables, member, paths))
    return [output for path, output in files if (path, *output.cursor[1:]) > behind]


def _path(tables: Tables, root: WorkflowRow, workflow_id: UUID) -> tuple[int, ...] | None:
    """Return the path of a workflow below *root*, whether it counts or not; None if it isn't there."""
    path: tuple[int, ...] = ()
    while workflow_id != root.record.id:
        row = tables.workflows.get(workflow_id)
        parent = None if row is None else tables.workflows.get(row.record.state.parent_id or workflow_id)
        if parent is None or parent is row:
            return None
        path, workflow_id = (*TaskCursor.of(parent.tasks[workflow_id].task), *path), parent.record.id
    return path


def _tree(tables: Tables, member: _Member) -> Iterator[_Member]:
    """Yield the workflow, and the sub-workflows at any depth whose results count."""
    yield member
    for stored in member.row.ordered_tasks:
        task = stored.task
        child = tables.workflows.get(task.id)  # it has the id of the attempt that created it
        if child is not None and _child_that_counts(member, task) == task.id:
            path, steps = (*member.path, *TaskCursor.of(task)), [*member.steps, member.step_of(task)]
            yield from _tree(tables, _Member(child, path, steps, member.is_final_task(task), member.named))


def _child_that_counts(member: _Member, task: Task) -> UUID | None:
    unit = member.unit(task)
    if member.repeats(task) and unit.status is StepStatus.COMPLETED:
        return UUID(json.decode(unit.result or b"{}")["workflow_id"])
    return (unit.flow or NO_FLOW).child


def _files(tables: Tables, member: _Member, paths: StepPaths) -> list[StoredOutput]:
    """Return the files of the workflow in the order of their cursors."""
    files = [
        StoredOutput(
            cursor=OutputCursor(member.row.record.id, *TaskCursor.of(task), number),
            output=output,
            task_id=task.id,
            step_path=paths.path([*member.steps, member.step_of(task)]),
            is_final=member.is_final_file(task, output),
        )
        for task, number, output in (*_made(member), *_given(tables, member), *_reused(member))
    ]
    return sorted(files, key=lambda each: each.cursor[1:])


def _made(member: _Member) -> Iterator[tuple[Task, int, Output]]:
    """Yield the files of the attempts whose results count."""
    for stored in member.row.ordered_tasks:
        task, unit = stored.task, member.unit(stored.task)
        if stored.deleted_at is not None or task.status is not TaskStatus.COMPLETED:
            continue
        if unit.status is not StepStatus.COMPLETED or member.is_by_hand(task):
            continue
        if member.repeats(task):
            counts = artifact_path(task.id, "").encode() in (unit.result or b"")
        else:
            counts = task.id == unit.task_id
        yield from ((task, number, output) for number, output in enumerate(task.outputs if counts else (), 1))


def _reused(member: _Member) -> Iterator[tuple[Task, int, Output]]:
    """Yield the files of results that were taken over."""
    for unit in member.row.units:
        reused = (unit.flow or NO_FLOW).reused
        if reused is not None and reused.task_id is not None:
            task = _as_task(reused.task_id, unit, 0)
            yield from ((task, number, output) for number, output in enumerate(reused.outputs, 1))


def _given(tables: Tables, member: _Member) -> Iterator[tuple[Task, int, Output]]:
    """Yield the files of results that people have given."""
    for unit in member.row.units:
        task = _as_task(UUID(int=0), unit, unit.attempt + 1)
        if unit.status is not StepStatus.COMPLETED or (unit.flow or NO_FLOW).given_by is None:
            continue
        if task.item_key is not None and (member.step(task).state.flow or NO_FLOW).given_by is not None:
            continue
        named = dict.fromkeys(re.findall(PATH_IN_JSON, (unit.result or b"").decode()))
        for number, path in enumerate(named, 1):
            owner = UUID(path.split("/")[1])
            if (output := _stored(tables, owner, path)) is not None:
                yield structs.replace(task, id=owner), number, output


def _as_task(task_id: UUID, unit: StepState, attempt: int) -> Task:
    """Return the task that has the place in the list of a result which no attempt of the unit has made."""
    key = unit.item_key if isinstance(unit, ItemState) else None
    return Task(task_id, unit.position if key is None else key.step, attempt, None, item_key=key)


def _stored(tables: Tables, owner: UUID, path: str) -> Output | None:
    """Return the file of an upload or of a task; None if it is gone."""
    if (upload := tables.uploads.get(owner)) is not None:
        is_stored = upload.status is UploadStatus.STORED
        return Output(path, upload.new.size, upload.new.sha256) if is_stored else None
    stored = tables.task_of_any(owner)
    outputs = () if stored is None or stored.deleted_at is not None else stored.task.outputs
    return next((output for output in outputs if output.path == path), None)
