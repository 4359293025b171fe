"""The reads that the API offers: workflows, events, tasks and files.

What must hold:
- What is read is what the database has committed, never the state in memory.
- A read changes nothing, and also works while the database accepts no writes.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple, TypeVar
from uuid import UUID

import anyio.lowlevel

from stepwell.basics.artifacts import named_files, parse_artifact_path
from stepwell.basics.errors import Fault, InvalidRequest, NotFound, ResultTooLarge
from stepwell.basics.strict_json.schema_faults import printable_key
from stepwell.basics.tenancy import EVERY_TENANT, FileScope, TenantScope
from stepwell.contract.enums import EventType
from stepwell.engine.files.task_files import OwnedFile, TaskFiles
from stepwell.lifecycle.allowed_verbs import is_allowed
from stepwell.lifecycle.model import HistoryEvent, ReuseRule
from stepwell.lifecycle.preconditions import ReadVersion
from stepwell.lifecycle.records import WHOLE, ItemRecord, StepRecord, TaskRecord, WorkflowParts, WorkflowRecord
from stepwell.ports.storage import WorkflowReader
from stepwell.rules.large_workflow_records import FoundWorkflow, ResponseSize
from stepwell.rules.list_records import (
    DecisionFilter,
    ItemFilter,
    ItemSlice,
    OutputCursor,
    StoredDecision,
    StoredOutput,
    TaskFilter,
    TaskSlice,
)

T = TypeVar("T")


class ShownDecision(NamedTuple):
    """A step that waits for a decision, and the files of its tenant that its inputs and choices name.

    Each file is the input (`choices` for a choice), and the path.
    """

    stored: StoredDecision
    files: Sequence[tuple[str, str]]


class ReadService:
    """Reads the workflows, events, tasks and files that a scope may see.

    Methods raise `NotFound` for a thing that the scope doesn't cover, and `Unavailable` while the database is away.
    Reads that find nothing in that case are those of `store`.
    """

    def __init__(self, store: WorkflowReader, task_files: TaskFiles) -> None:
        self.store, self._task_files = store, task_files

    async def get(self, scope: TenantScope, workflow_id: UUID) -> WorkflowRecord:
        """Return the workflow without its steps, however large it is."""
        return _require(await self.store.get(scope, workflow_id), "workflow")

    async def find(self, scope: TenantScope, workflow_id: UUID, parts: WorkflowParts = WHOLE) -> FoundWorkflow:
        """Return the workflow with *parts*, or that it is large."""
        workflow: FoundWorkflow | None = await self.store.find(scope, workflow_id, parts)
        if workflow is None:
            raise NotFound("workflow")
        return workflow

    async def check_reuse(self, tenant: str | None, reuse: ReuseRule | None) -> None:
        """Raise `InvalidRequest` unless a run of *tenant* may take over results of the run that *reuse* names."""
        if reuse is None:
            return
        earlier = await self.store.get(TenantScope(tenant), reuse.from_)
        if earlier is None:
            why = "There is no such run of this tenant"
        elif earlier.state.deleted_at is not None:
            why = "The run is deleted, and its files may be"
        elif not is_allowed("rerun", earlier.state):
            why = f"The run is {earlier.status}. It must have ended, or be PAUSED"
        else:
            return
        raise InvalidRequest([Fault(("body", "reuse", "from"), why, "reuse_invalid")])

    async def size(
        self, scope: TenantScope, workflow_ids: Sequence[UUID], parts: WorkflowParts, stop_at: int
    ) -> ResponseSize:
        """Return the size of a response with these workflows. It stops once the total exceeds *stop_at*."""
        return _require(await self.store.size(scope, workflow_ids, parts, stop_at), "workflow")

    async def step(self, scope: TenantScope, workflow_id: UUID, step_id: str) -> StepRecord:
        """Return one step of the workflow, with its result and its attempts.

        Raises `InvalidRequest` if the result, which is built from its items, is too large.
        """
        try:
            return _require(await self.store.step(scope, workflow_id, step_id), "step")
        except ResultTooLarge as error:
            why = f"The result of all items is over {error.max_bytes:,} bytes: get the items of the step, page by page"
            raise InvalidRequest([Fault(("path", "step_id"), why, "too_large")]) from None

    async def item_slice(
        self, scope: TenantScope, workflow_id: UUID, query: ItemFilter, count: int, max_bytes: int
    ) -> ItemSlice:
        """Return up to *count* items of a step, see `WorkflowReader`. Raises `NotFound` if the step has no items."""
        found = _require(await self.store.item_slice(scope, workflow_id, query, count, max_bytes), "step")
        if not found.has_items:
            raise NotFound("items (the step has no for_each)")
        return found

    async def item(self, scope: TenantScope, workflow_id: UUID, step_id: str, number: int) -> ItemRecord:
        """Return an item of a step."""
        found = await self.item_slice(scope, workflow_id, ItemFilter(step_id, after=number - 1), 1, 1)
        item = found.items[0] if found.items else None
        return _require(item if item is not None and item.state.item_key.item == number else None, "item")

    async def step_at(self, scope: TenantScope, workflow_id: UUID, position: int) -> StepRecord:
        return _require(await self.store.step_at(scope, workflow_id, position), "step")

    async def outputs(
        self, scope: TenantScope, workflow_id: UUID, after: OutputCursor | None, limit: int
    ) -> list[StoredOutput]:
        """Return up to *limit* files of the results of the workflow and its sub-workflows, those behind *after*."""
        return _require(await self.store.outputs(scope, workflow_id, after, limit), "workflow")

    async def decisions(self, scope: TenantScope, query: DecisionFilter) -> list[ShownDecision]:
        """Return a page of the steps that wait for a decision."""
        return await self._shown(await self.store.decisions(scope, query))

    async def decision(self, scope: TenantScope, workflow_id: UUID, position: int) -> ShownDecision | None:
        """Return the step at *position* if it waits for a decision; else None."""
        stored = await self.store.decision(scope, workflow_id, position)
        return None if stored is None else (await self._shown([stored]))[0]

    async def _shown(self, stored: Sequence[StoredDecision]) -> list[ShownDecision]:
        """Add the files that the inputs and choices name. A file that the workflow may not read stays a text."""
        named: list[list[tuple[str, str]]] = []
        for each in stored:
            named.append(_named_files(each))
            await anyio.lowlevel.checkpoint()  # each takes up to 2 ms
        paths: dict[str | None, set[str]] = defaultdict(set)
        for each, files in zip(stored, named, strict=True):
            paths[each.tenant].update(path for _, path in files)
        own = {
            tenant: await self._task_files.owned(TenantScope(tenant), wanted) if wanted else frozenset[str]()
            for tenant, wanted in paths.items()
        }
        shown = list[ShownDecision]()
        for each, files in zip(stored, named, strict=True):
            of_tenant = [file for file in files if file[1] in own[each.tenant]]
            shown.append(ShownDecision(each, await self._readable(each.files, of_tenant)))
        return shown

    async def _readable(self, run: FileScope, files: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return those of the tenant's *files* that the run may read."""
        if run.named is None:
            return files
        return [file for file in files if await self._task_files.find_for_run(run, file[1]) is not None]

    async def step_of_signal(self, scope: TenantScope, workflow_id: UUID, name: str) -> StepRecord:
        what = f"step that waits for the signal '{printable_key(name)}'"
        return _require(await self.store.step_of_signal(scope, workflow_id, name), what)

    async def version(self, scope: TenantScope, workflow_id: UUID) -> ReadVersion:
        """Return the version of the workflow, for its ETag."""
        return _require(await self.store.version(scope, workflow_id), "workflow")

    async def owner(self, workflow_id: UUID) -> TenantScope | None:
        """Return the tenant of the workflow; None if it is unknown."""
        return await self.store.owner(EVERY_TENANT, workflow_id)

    async def runs_elsewhere(self, scope: TenantScope, workflow_id: UUID, owner: UUID) -> bool:
        """Return whether a live process other than *owner* runs the workflow."""
        ownership = await self.store.ownership(scope, workflow_id)
        return ownership is not None and ownership.alive and ownership.owner not in (None, owner)

    async def events(
        self,
        scope: TenantScope,
        workflow_id: UUID,
        *,
        after: int,
        limit: int,
        types: frozenset[EventType] | None = None,
    ) -> Sequence[HistoryEvent]:
        """Return up to *limit* events of the workflow, of these *types*, from number *after* + 1 on."""
        return _require(await self.store.events(scope, workflow_id, after, limit, types), "workflow")

    async def task_slice(self, scope: TenantScope, workflow_id: UUID, query: TaskFilter) -> TaskSlice:
        """Return tasks of the workflow, see `WorkflowReader`."""
        return _require(await self.store.task_slice(scope, workflow_id, query), "workflow")

    async def task(self, scope: TenantScope, task_id: UUID) -> TaskRecord:
        return _require(await self.store.task(scope, task_id), "task")

    async def artifact(self, scope: TenantScope, path: str) -> OwnedFile:
        """Return a stored file, by the exact path that results contain."""
        return _require(await self._task_files.find(scope, path), "artifact")


def _named_files(decision: StoredDecision) -> list[tuple[str, str]]:
    files = named_files(decision.shown)
    paths = {path for _, path in files}
    return files + [
        ("choices", choice)
        for choice in dict.fromkeys(decision.wait.choices)
        if choice not in paths and parse_artifact_path(choice) is not None
    ]


def _require(value: T | None, what: str) -> T:
    if value is None:
        raise NotFound(what)
    return value
