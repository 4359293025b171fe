"""The operations on workflows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil, inf
from time import monotonic
from typing import Any, Unpack

from msgspec import UNSET, UnsetType

from stepwell.client.asynchronous.connection import AsyncConnection
from stepwell.client.concurrency import AsyncItems, async_sleep
from stepwell.client.definition_text import Definition, RerunChanges, definition_json, rerun_body, run_body
from stepwell.client.errors import StepwellError, WaitTimeout
from stepwell.client.filters import CountFilters, ListFilters, PageOptions, filter_query
from stepwell.client.requests import (
    WORKFLOWS,
    ChangeOptions,
    ClientRequest,
    Id,
    change,
    json_body,
    post_read,
    preferences,
    read,
    segment,
)
from stepwell.client.requests import workflow_path as path_of
from stepwell.client.responses import ListPage, decode
from stepwell.client.retries import Retries
from stepwell.contract.enums import TERMINAL_STATUSES, StepStatus
from stepwell.contract.forecasts import ControlVerb, DryRun, WorkflowPlan
from stepwell.contract.reasons import Explanation
from stepwell.contract.workflows import (
    ItemListResponse,
    ItemPublic,
    WorkflowCleanupResponse,
    WorkflowCountsResponse,
    WorkflowDataDeletion,
    WorkflowListResponse,
    WorkflowPublic,
    WorkflowStepPublic,
)

_SLICE_S = 30  # of a wait, in one request: proxies end requests that take a minute
_RESTART_S = 600.0  # a service that is away for longer doesn't come back
_FIRST_RESPONSE_S = 30.0  # an address that gives no response for longer is a wrong one
_ITEMS_A_PAGE = 100
_PLAN = f"{WORKFLOWS}plan"


class AsyncWorkflowCalls(AsyncConnection):
    """The operations on workflows.

    Requests that change something have an idempotency key, so that they have their effect once although they are
    repeated. `idempotency_key` sets it, and `if_match` is the tag that the workflow must still have.
    """

    async def create(
        self,
        definition: Definition,
        *,
        start: bool = True,
        wait: float | None = None,
        idempotency_key: str | None = None,
        lenient: bool = False,
    ) -> WorkflowPublic:
        """Create a workflow, and start it. *definition* may also be the body of a run of a stored one, see `run`.

        - *wait*: return it when it has ended, at the latest after so many seconds.
        - *lenient*: unknown members of the definition are ignored.
        """
        query, content = {} if start else {"start": False}, definition_json(definition)
        key: ChangeOptions = {"idempotency_key": idempotency_key}
        return await self._change(WORKFLOWS, wait, key, query=query, content=content, lenient=lenient)

    async def run(
        self,
        definition: str,
        /,
        inputs: Mapping[str, Any] | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        start: bool = True,
        wait: float | None = None,
        idempotency_key: str | None = None,
        **members: Any,
    ) -> WorkflowPublic:
        """Create a workflow from a stored definition, named like "photo-set" or "photo-set@3", and start it.

        *inputs* are merged over those of the definition. *members* are others of the body, like `name` and `config`.
        The rest is that of `create`.
        """
        body = run_body(definition, {"inputs": inputs, "labels": labels, **members})
        return await self.create(body, start=start, wait=wait, idempotency_key=idempotency_key)

    async def rerun(
        self,
        workflow_id: Id,
        *,
        start: bool = True,
        wait: float | None = None,
        idempotency_key: str | None = None,
        **changes: Unpack[RerunChanges],
    ) -> WorkflowPublic:
        """Run a workflow again that has ended or is PAUSED. What the *changes* don't concern is taken over.

        The rest is that of `create`.
        """
        query, content = {} if start else {"start": False}, rerun_body(changes)
        key: ChangeOptions = {"idempotency_key": idempotency_key}
        return await self._change(path_of(workflow_id, "/rerun"), wait, key, query=query, content=content)

    async def plan_rerun(self, workflow_id: Id, **changes: Unpack[RerunChanges]) -> WorkflowPlan:
        """Return what `rerun` would take over, what would run, and what that costs. Nothing is stored."""
        request = post_read(path_of(workflow_id, "/rerun"), rerun_body(changes), {"dry_run": True})
        return await self._fetch(WorkflowPlan, request)

    async def get(
        self, workflow_id: Id, *, include_steps: bool | None = None, include_results: bool | None = None
    ) -> WorkflowPublic:
        """Return a workflow as it is now."""
        query = {"include_steps": include_steps, "include_results": include_results}
        return await self._workflow(read(path_of(workflow_id), query))

    async def step(self, workflow_id: Id, step_id: str) -> WorkflowStepPublic:
        """Return one step of a workflow, with its result."""
        return await self._fetch(WorkflowStepPublic, read(path_of(workflow_id, f"/steps/{segment(step_id)}")))

    async def items(
        self, workflow_id: Id, step_id: str, *, status: Iterable[StepStatus | str] = ()
    ) -> AsyncItems[ItemPublic]:
        """Yield the items of a step with `for_each`, in their order; only those in one of these statuses, if any.

        Raises `NotFound` for a step without items.
        """
        skip = 0
        while True:
            page = await self.item_page(workflow_id, step_id, status=status, skip=skip, limit=_ITEMS_A_PAGE)
            for item in page.items:
                yield item
            skip += len(page.items)
            if not page.items or skip >= page.total:
                return

    async def item_page(
        self,
        workflow_id: Id,
        step_id: str,
        *,
        status: Iterable[StepStatus | str] = (),
        skip: int | None = None,
        limit: int | None = None,
    ) -> ItemListResponse:
        """Return up to *limit* (50) items of a step with `for_each`, behind the first *skip* ones."""
        query = {"status": ",".join(status) or None, "skip": skip, "limit": limit}
        path = path_of(workflow_id, f"/steps/{segment(step_id)}/items")
        return await self._fetch(ItemListResponse, read(path, query))

    async def wait(self, workflow_id: Id, timeout_s: float | None = None) -> WorkflowPublic:
        """Return the workflow when it has ended, whatever its status then. It survives restarts of the service.

        Raises `WaitTimeout` if it hasn't ended after *timeout_s*. Without *timeout_s*, it gives up when the service is
        away for ten minutes, or after 30 seconds if this client never had a response from it.
        """
        deadline = None if timeout_s is None else monotonic() + timeout_s
        workflow = await self._wait(workflow_id, deadline)
        if workflow.status not in TERMINAL_STATUSES:
            raise WaitTimeout(f"workflow {workflow.id} is {workflow.status} after {timeout_s:g} s", workflow)
        return workflow

    async def definition(self, workflow_id: Id) -> dict[str, Any]:
        """Return the definition of a workflow. Creating it again creates the same workflow."""
        return await self._fetch(dict[str, Any], read(path_of(workflow_id, "/definition")))

    async def tag(self, workflow_id: Id) -> str:
        """Return the tag of the workflow as it is now, for `if_match`. Read the workflow after its tag."""
        return await self._tag(path_of(workflow_id))

    async def update(
        self,
        workflow_id: Id,
        *,
        name: str | UnsetType = UNSET,
        description: str | UnsetType | None = UNSET,
        webhook_url: str | UnsetType | None = UNSET,
        labels: dict[str, str] | UnsetType | None = UNSET,
        budget: Mapping[str, Any] | UnsetType = UNSET,
        **options: Unpack[ChangeOptions],
    ) -> WorkflowPublic:
        """Change members of a workflow. None clears a member, except the name. *budget* replaces `config.budget`."""
        config = UNSET if budget is UNSET else {"budget": dict(budget)}
        members: dict[str, Any] = {"name": name, "description": description, "webhook_url": webhook_url}
        members |= {"labels": labels, "config": config}
        content = json_body({key: value for key, value in members.items() if value is not UNSET})
        return await self._workflow(change("PATCH", path_of(workflow_id), options, content=content))

    async def start(
        self, workflow_id: Id, *, wait: float | None = None, **options: Unpack[ChangeOptions]
    ) -> WorkflowPublic:
        """Start a PENDING workflow. *wait* is that of `create`."""
        return await self._change(path_of(workflow_id, "/start"), wait, options)

    async def resume(
        self, workflow_id: Id, *, wait: float | None = None, **options: Unpack[ChangeOptions]
    ) -> WorkflowPublic:
        """Continue a PAUSED or FAILED workflow. *wait* is that of `create`."""
        return await self._change(path_of(workflow_id, "/resume"), wait, options)

    async def pause(self, workflow_id: Id, **options: Unpack[ChangeOptions]) -> WorkflowPublic:
        """Pause a RUNNING workflow: nothing new starts, and running steps end."""
        return await self._workflow(change("POST", path_of(workflow_id, "/pause"), options))

    async def cancel(self, workflow_id: Id, **options: Unpack[ChangeOptions]) -> WorkflowPublic:
        """Cancel a workflow with its running tasks. It can't be resumed."""
        return await self._workflow(change("DELETE", path_of(workflow_id), options))

    async def cleanup(
        self, workflow_id: Id, *, cleanup_tasks: bool | None = None, **options: Unpack[ChangeOptions]
    ) -> WorkflowCleanupResponse:
        """Delete the workflow softly, and with *cleanup_tasks* (default: true) the files of its tasks."""
        path, query = path_of(workflow_id, "/cleanup"), {"cleanup_tasks": cleanup_tasks}
        return await self._fetch(WorkflowCleanupResponse, change("POST", path, options, query=query))

    async def delete_data(self, workflow_id: Id) -> WorkflowDataDeletion:
        """Delete all data of the workflow for good. The request isn't repeated. Afterwards the id is unknown."""
        request = ClientRequest(method="DELETE", path=path_of(workflow_id, "/data"))
        return await self._fetch(WorkflowDataDeletion, request)

    async def dry_run(self, verb: ControlVerb, workflow_id: Id, *, cleanup_tasks: bool | None = None) -> DryRun:
        """Return what *verb* would do. Nothing changes. *cleanup_tasks* is that of `cleanup`."""
        method, rest = ("DELETE", "") if verb == "cancel" else ("POST", f"/{verb}")
        query = {"dry_run": True, "cleanup_tasks": cleanup_tasks}
        request = ClientRequest(method=method, path=path_of(workflow_id, rest), query=query, is_repeatable=True)
        return await self._fetch(DryRun, request)

    async def plan(self, definition: Definition, *, lenient: bool = False) -> WorkflowPlan:
        """Return what a workflow of *definition*, as `create` takes it, would do and cost. Nothing is stored."""
        request = post_read(_PLAN, definition_json(definition), headers=preferences(lenient=lenient))
        return await self._fetch(WorkflowPlan, request)

    async def explain(self, workflow_id: Id) -> Explanation:
        """Return the reasons why the workflow and its steps don't progress."""
        return await self._fetch(Explanation, read(path_of(workflow_id, "/explain")))

    async def count(self, **filters: Unpack[CountFilters]) -> WorkflowCountsResponse:
        """Return the number of workflows in each status."""
        return await self._fetch(WorkflowCountsResponse, read(f"{WORKFLOWS}counts", filter_query(filters)))

    async def page(self, **options: Unpack[PageOptions]) -> ListPage:
        """Return one page of workflows. `cursor`, the page's `next_cursor`, leads to the next one."""
        response = await self._send(read(WORKFLOWS, filter_query(options)))
        return ListPage.of(decode(response, WorkflowListResponse), response.links.get("next", {}).get("url"))

    async def list(self, *, page_size: int = 100, **filters: Unpack[ListFilters]) -> AsyncItems[WorkflowPublic]:
        """Yield all workflows that match, the newest first. A page of *page_size* is read when it is needed."""
        async for response in self._pages(WORKFLOWS, filter_query({"limit": page_size, "total": False, **filters})):
            for workflow in decode(response, WorkflowListResponse).workflows:
                yield workflow

    async def _change(
        self, path: str, wait: float | None, options: ChangeOptions, *, lenient: bool = False, **rest: Any
    ) -> WorkflowPublic:
        """Change a workflow by a POST, and return it when it has ended, or after *wait* seconds."""
        deadline, wait_s = monotonic() + (wait or 0), None if wait is None else _slice_s(wait)
        headers = preferences(wait_s=wait_s, lenient=lenient)
        workflow = await self._workflow(change("POST", path, options, headers=headers, wait_s=wait_s or 0, **rest))
        if workflow.status in TERMINAL_STATUSES or monotonic() >= deadline:
            return workflow
        warnings = workflow.warnings
        try:
            workflow = await self._wait(workflow.id, deadline)
        except StepwellError as error:
            error.workflow = workflow
            raise
        workflow.warnings = warnings
        return workflow

    async def _wait(self, workflow_id: Id, deadline: float | None) -> WorkflowPublic:
        """Return the workflow when it has ended, or as it is at the time *deadline*."""
        retries = Retries(inf)
        while True:
            started = monotonic()
            wait_s = _SLICE_S if deadline is None else _slice_s(deadline - started)
            request = read(path_of(workflow_id), headers=preferences(wait_s=wait_s), wait_s=wait_s)
            try:
                workflow = await self._workflow(request, retry_s=0)
            except StepwellError as failure:
                if deadline is None:
                    retries.within_s = _RESTART_S if self._had_response else max(_FIRST_RESPONSE_S, self._retry_s)
                pause = retries.pause_after(failure, is_repeatable=True)
                if deadline is not None and monotonic() + pause > deadline:
                    raise
            else:
                retries.reset()
                now = monotonic()
                rest_s = inf if deadline is None else deadline - now
                if workflow.status in TERMINAL_STATUSES or rest_s <= 0:
                    return workflow
                pause = min(1.0, rest_s) if now - started < 1 else 0.0  # if the service didn't wait itself
            await async_sleep(pause)

    async def _workflow(self, request: ClientRequest, *, retry_s: float | None = None) -> WorkflowPublic:
        return await self._fetch(WorkflowPublic, request, retry_s=retry_s)


def _slice_s(rest_s: float) -> int:
    """Return the seconds that one request of a wait waits if *rest_s* are left."""
    return ceil(min(_SLICE_S, max(0.0, rest_s)))
