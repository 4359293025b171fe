"""Steps that run sub-workflows, and these sub-workflows in a running service."""

import asyncio
from typing import Any

from support.service.live_service import Service


def runs(*steps: dict[str, Any], step_id: str = "sub", inputs: Any = None, **members: Any) -> dict[str, Any]:
    """A step that runs a sub-workflow of these steps."""
    config: dict[str, Any] = {"workflow": {"name": "a child", "steps": list(steps)}}
    if inputs is not None:
        config["inputs"] = inputs
    return {"id": step_id, "task_type": "SUBWORKFLOW", "config": config, **members}


async def child_of(service: Service, workflow: dict[str, Any], item: int | None = None) -> str:
    """Return the id of the first sub-workflow that the only such step runs, or of that of *item*, once it exists."""
    async with asyncio.timeout(60):
        while True:
            for event in await service.events(workflow["id"]):
                data = event["data"]
                if event["type"] == "step.waiting" and "workflow_id" in data and item in (None, data.get("item")):
                    return str(data["workflow_id"])
            await asyncio.sleep(0.01)
