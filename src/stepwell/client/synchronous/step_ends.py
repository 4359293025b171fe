# Generated from the asynchronous client by `poe generate`: don't change it.
"""The operations that end steps and items: decisions, signals, results by hand, and skips."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from stepwell.client.concurrency import Items
from stepwell.client.filters import filter_query
from stepwell.client.requests import ChangeOptions, Id, change, json_body, post_read, segment
from stepwell.client.requests import workflow_path as path_of
from stepwell.client.responses import decode
from stepwell.client.synchronous.connection import Connection
from stepwell.contract.forecasts import DryRun
from stepwell.contract.workflows import DecisionListResponse, ItemPublic, OpenDecision, WorkflowStepPublic

_DECISIONS = "/api/v1/decisions"


class StepCalls(Connection):
    """The operations that end steps and items.

    By hand, people end them while the workflow is FAILED or PAUSED, and nothing starts.
    """

    def decisions(
        self,
        workflow_id: Id | None = None,
        *,
        step_id: str | None = None,
        labels: Mapping[str, str] | None = None,
        definition: str | None = None,
        page_size: int = 50,
    ) -> Items[OpenDecision]:
        """Yield the steps that wait for a decision, the longest waiting first.

        *workflow_id*: only those of this workflow and its sub-workflows. *step_id*: only steps with this id. *labels*:
        only in runs with all of them. *definition*: only in runs of this stored definition, a name or name@version. A
        page of *page_size* is read when it is needed.
        """
        filters = {"workflow_id": workflow_id, "step_id": step_id, "labels": labels, "definition": definition}
        for response in self._pages(_DECISIONS, filter_query({"limit": page_size, **filters})):
            yield from decode(response, DecisionListResponse).decisions

    def decide(
        self,
        workflow_id: Id,
        step_id: str,
        choice: str,
        *,
        note: str | None = None,
        data: Any = None,
        **options: Unpack[ChangeOptions],
    ) -> WorkflowStepPublic:
        """Decide for a step that waits for it, and return the step. A step is decided once."""
        path = path_of(workflow_id, f"/steps/{segment(step_id)}/decision")
        content = json_body({"choice": choice, "note": note, "data": data})
        return self._fetch(WorkflowStepPublic, change("POST", path, options, content=content))

    def signal(
        self, workflow_id: Id, name: str, data: Any = None, **options: Unpack[ChangeOptions]
    ) -> WorkflowStepPublic:
        """Send a signal, and return the step that takes it. One that comes early is stored for the step."""
        path = path_of(workflow_id, f"/signals/{segment(name)}")
        return self._fetch(WorkflowStepPublic, change("POST", path, options, content=json_body({"data": data})))

    def give_result(
        self, workflow_id: Id, step_id: str, result: Mapping[str, Any], **options: Unpack[ChangeOptions]
    ) -> WorkflowStepPublic:
        """Complete a step with a *result*, and return the step. Files are named by the paths of uploads."""
        request = change("POST", _path(workflow_id, step_id, None, result), options, content=_body(result))
        return self._fetch(WorkflowStepPublic, request)

    def skip_step(self, workflow_id: Id, step_id: str, **options: Unpack[ChangeOptions]) -> WorkflowStepPublic:
        """Skip a step, and return it. It counts as done, and resume leaves it."""
        return self._fetch(WorkflowStepPublic, change("POST", _path(workflow_id, step_id), options))

    def give_item_result(
        self, workflow_id: Id, step_id: str, item: int, result: Mapping[str, Any], **options: Unpack[ChangeOptions]
    ) -> ItemPublic:
        """Complete an item of a step with a *result*, and return the item."""
        request = change("POST", _path(workflow_id, step_id, item, result), options, content=_body(result))
        return self._fetch(ItemPublic, request)

    def skip_item(self, workflow_id: Id, step_id: str, item: int, **options: Unpack[ChangeOptions]) -> ItemPublic:
        """Skip an item of a step, and return the item. Its result is null."""
        return self._fetch(ItemPublic, change("POST", _path(workflow_id, step_id, item), options))

    def dry_run_by_hand(
        self, workflow_id: Id, step_id: str, result: Mapping[str, Any] | None = None, *, item: int | None = None
    ) -> DryRun:
        """Return what it would change to give a step, or an *item* of it, this *result*; without one, to skip it."""
        request = post_read(_path(workflow_id, step_id, item, result), _body(result), {"dry_run": True})
        return self._fetch(DryRun, request)


def _path(workflow_id: Id, step_id: str, item: int | None = None, result: Mapping[str, Any] | None = None) -> str:
    of_item = "" if item is None else f"/items/{item}"
    return path_of(workflow_id, f"/steps/{segment(step_id)}{of_item}/{'skip' if result is None else 'result'}")


def _body(result: Mapping[str, Any] | None) -> bytes:
    return json_body({} if result is None else {"result": result})
