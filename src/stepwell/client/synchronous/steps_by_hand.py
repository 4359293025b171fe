# Generated from the asynchronous client by `poe generate`: don't change it.
"""The operations that end steps and items by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from stepwell.client.requests import ChangeOptions, Id, change, json_body, post_read, segment
from stepwell.client.requests import workflow_path as path_of
from stepwell.client.responses import decode
from stepwell.client.synchronous.connection import Connection
from stepwell.contract.forecasts import DryRun
from stepwell.contract.workflows import ItemPublic, WorkflowStepPublic


class ByHandCalls(Connection):
    """The operations that end steps and items by hand, while the workflow is FAILED or PAUSED. Nothing starts."""

    def give_result(
        self, workflow_id: Id, step_id: str, result: Mapping[str, Any], **options: Unpack[ChangeOptions]
    ) -> WorkflowStepPublic:
        """Complete a step with a *result*, and return the step. Files are named by the paths of uploads."""
        request = change("POST", _path(workflow_id, step_id, None, result), options, content=_body(result))
        return decode(self._send(request), WorkflowStepPublic)

    def skip_step(self, workflow_id: Id, step_id: str, **options: Unpack[ChangeOptions]) -> WorkflowStepPublic:
        """Skip a step, and return it. It counts as done, and resume leaves it."""
        request = change("POST", _path(workflow_id, step_id), options)
        return decode(self._send(request), WorkflowStepPublic)

    def give_item_result(
        self, workflow_id: Id, step_id: str, item: int, result: Mapping[str, Any], **options: Unpack[ChangeOptions]
    ) -> ItemPublic:
        """Complete an item of a step with a *result*, and return the item."""
        request = change("POST", _path(workflow_id, step_id, item, result), options, content=_body(result))
        return decode(self._send(request), ItemPublic)

    def skip_item(self, workflow_id: Id, step_id: str, item: int, **options: Unpack[ChangeOptions]) -> ItemPublic:
        """Skip an item of a step, and return the item. Its result is null."""
        return decode(self._send(change("POST", _path(workflow_id, step_id, item), options)), ItemPublic)

    def dry_run_by_hand(
        self, workflow_id: Id, step_id: str, result: Mapping[str, Any] | None = None, *, item: int | None = None
    ) -> DryRun:
        """Return what it would change to give a step, or an *item* of it, this *result*; without one, to skip it."""
        request = post_read(_path(workflow_id, step_id, item, result), _body(result), {"dry_run": True})
        return decode(self._send(request), DryRun)


def _path(workflow_id: Id, step_id: str, item: int | None = None, result: Mapping[str, Any] | None = None) -> str:
    of_item = "" if item is None else f"/items/{item}"
    return path_of(workflow_id, f"/steps/{segment(step_id)}{of_item}/{'skip' if result is None else 'result'}")


def _body(result: Mapping[str, Any] | None) -> bytes:
    return json_body({} if result is None else {"result": result})
