"""Requests for explanations of workflows, over HTTP."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx

from support.service.live_service import Service


async def explain(service: Service, workflow_id: str, client: httpx.AsyncClient | None = None) -> dict[str, Any]:
    """Return the explanation of a workflow, with its steps by their ids."""
    client = client or service.client
    response = await client.get(f"/api/v1/workflows/{workflow_id}/explain")
    assert response.status_code == 200, response.text
    content: dict[str, Any] = response.json()
    assert content["workflow_id"] == workflow_id
    assert all(step["reason"]["detail"] for step in content["steps"])
    return content | {"steps": {step["step_id"]: step for step in content["steps"]}}


async def reason_of(service: Service, workflow_id: str, step_id: str) -> dict[str, Any]:
    """Return why the step isn't moving."""
    reason: dict[str, Any] = (await explain(service, workflow_id))["steps"][step_id]["reason"]
    return reason


async def wait_for_reason(
    service: Service, workflow_id: str, step_id: str, wanted: Callable[[dict[str, Any]], bool], within_s: float = 30
) -> dict[str, Any]:
    """Return the step's reason once *wanted* accepts it."""
    reason: dict[str, Any] = {}
    try:
        async with asyncio.timeout(within_s):
            while not (reason and wanted(reason)):
                await asyncio.sleep(0.005)
                step = (await explain(service, workflow_id))["steps"].get(step_id)
                reason = {} if step is None else step["reason"]
    except TimeoutError:
        raise AssertionError(f"not within {within_s} s: {reason}") from None
    return reason


async def wait_for_code(service: Service, workflow_id: str, step_id: str, code: str) -> dict[str, Any]:
    """Return the step's reason once it has that code."""
    return await wait_for_reason(service, workflow_id, step_id, lambda reason: reason["code"] == code)
