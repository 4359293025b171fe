"""The operations that end steps and items by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepwell.client.asynchronous.connection import AsyncConnection
from stepwell.client.requests import JSON_BODY, ClientRequest, Id, change, json_body, segment
from stepwell.client.requests import workflow_path as path_of
from stepwell.client.responses import decode
from stepwell.contract.forecasts import DryRun
from stepwell.contract.workflows import ItemPublic, WorkflowStepPublic


class AsyncByHandCalls(AsyncConnection):
    """The operations that end steps and items by hand, while the workflow is FAILED or PAUSED. Nothing starts."""

    async def give_result(
        self,
        workflow_id: Id,
        step_id: str,
        result: Mapping[str, Any],
        *,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> WorkflowStepPublic:
        """Complete a step with a *result*, and return the step. Files are named by the paths of uploads."""
        request = _end(workflow_id, step_id, None, result, key=idempotency_key, if_match=if_match)
        return decode(await self._send(request), WorkflowStepPublic)

    async def skip_step(
        self, workflow_id: Id, step_id: str, *, if_match: str | None = None, idempotency_key: str | None = None
    ) -> WorkflowStepPublic:
        """Skip a step, and return it. It counts as done, and resume leaves it."""
        request = _end(workflow_id, step_id, None, None, key=idempotency_key, if_match=if_match)
        return decode(await self._send(request), WorkflowStepPublic)

    async def give_item_result(
        self,
        workflow_id: Id,
        step_id: str,
        item: int,
        result: Mapping[str, Any],
        *,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> ItemPublic:
        """Complete an item of a step with a *result*, and return the item."""
        request = _end(workflow_id, step_id, item, result, key=idempotency_key, if_match=if_match)
        return decode(await self._send(request), ItemPublic)

    async def skip_item(
        self,
        workflow_id: Id,
        step_id: str,
        item: int,
        *,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> ItemPublic:
        """Skip an item of a step, and return the item. Its result is null."""
        request = _end(workflow_id, step_id, item, None, key=idempotency_key, if_match=if_match)
        return decode(await self._send(request), ItemPublic)

    async def dry_run_by_hand(
        self, workflow_id: Id, step_id: str, result: Mapping[str, Any] | None = None, *, item: int | None = None
    ) -> DryRun:
        """Return what it would change to give a step, or an *item* of it, this *result*; without one, to skip it."""
        request = ClientRequest(
            method="POST",
            path=_path(workflow_id, step_id, item, result),
            query={"dry_run": True},
            headers=JSON_BODY,
            content=_body(result),
            is_repeatable=True,
        )
        return decode(await self._send(request), DryRun)


def _end(
    workflow_id: Id,
    step_id: str,
    item: int | None,
    result: Mapping[str, Any] | None,
    *,
    key: str | None,
    if_match: str | None,
) -> ClientRequest:
    """Return the request that ends a step or its *item*. Without a *result*, it skips it."""
    path, body = _path(workflow_id, step_id, item, result), _body(result)
    return change("POST", path, key=key, if_match=if_match, headers=JSON_BODY, content=body)


def _path(workflow_id: Id, step_id: str, item: int | None, result: Mapping[str, Any] | None) -> str:
    of_item = "" if item is None else f"/items/{item}"
    return path_of(workflow_id, f"/steps/{segment(step_id)}{of_item}/{'skip' if result is None else 'result'}")


def _body(result: Mapping[str, Any] | None) -> bytes:
    return json_body({} if result is None else {"result": result})
