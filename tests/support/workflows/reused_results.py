"""Runs in tests that take over results of earlier ones."""

from typing import Any

from support.service.live_service import Service

WORKFLOWS = "/api/v1/workflows/"


def image(step_id: str, prompt: str = "a vase", **members: Any) -> dict[str, Any]:
    config = {"prompt": prompt, "width": 16, "height": 16, **members.pop("config", {})}
    return {"id": step_id, "task_type": "GENERATION", "config": config, **members}


def sharper(step_id: str, source: str, **config: Any) -> dict[str, Any]:
    mapping = {"from_step": source, "from_field": "result_image_path", "to_field": "base_image_url"}
    return {
        "id": step_id,
        "task_type": "REFINE",
        "config": {"upscale_factor": 1, **config},
        "input_mappings": [mapping],
    }


async def run(service: Service, *steps: dict[str, Any], **members: Any) -> dict[str, Any]:
    created = await service.create(*steps, **members)
    return await service.until_ended(created["id"])


async def rerun(service: Service, workflow: dict[str, Any], **changes: Any) -> dict[str, Any]:
    response = await service.client.post(f"{WORKFLOWS}{workflow['id']}/rerun", json=changes)
    assert response.status_code == 201, response.text
    return await service.until_ended(response.json()["id"])


def reused(workflow: dict[str, Any]) -> list[str]:
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    return [step["step_id"] for step in workflow["steps"] if step["reused_from"] is not None]
