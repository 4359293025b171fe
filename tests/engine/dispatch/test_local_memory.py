"""A service with little memory refuses images that never fit: at create if their size is known, else when they run."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from providers.image_files import empty_png
from stepwell.testing import MemoryDatabase
from support.providers.configured_by_steps import WORKFLOWS
from support.service.live_service import Service, running_service

MIB = 1024 * 1024
NEEDS_LESS = "and LOCAL has 320 MiB for one step: use smaller images, or raise STEPWELL_LOCAL_MEMORY_MAX_BYTES"


@pytest.fixture
async def service(memory: MemoryDatabase, tmp_path: Path) -> AsyncIterator[Service]:
    """As in a container of 1 GiB."""
    async with running_service(memory, tmp_path, local_memory_max_bytes=512 * MIB) as service:
        yield service


def step(step_id: str, task_type: str, **config: Any) -> dict[str, Any]:
    return {"id": step_id, "task_type": task_type, "config": config}


def mapped(to_field: str) -> dict[str, Any]:
    """Members of a step that gets *to_field* from the step `first`."""
    mapping = {"from_step": "first", "from_field": "width", "to_field": to_field}
    return {"depends_on": ["first"], "input_mappings": [mapping]}


LARGE = step("large", "GENERATION", prompt="x", width=8_000, height=8_000)


@pytest.mark.parametrize("members", [{}, mapped("style_lora_weight")], ids=["alone", "with an unknown input"])
async def test_an_image_of_a_known_size_that_never_fits_is_refused_at_create(
    service: Service, members: dict[str, Any]
) -> None:
    first = step("first", "GENERATION", prompt="x", width=64, height=64)
    body = {"name": "n", "origin_instance": "o", "steps": [first, LARGE | members]}
    response = await service.client.post(WORKFLOWS, json=body)
    assert response.status_code == 422
    (error,) = response.json()["detail"]
    assert error["loc"] == ["body", "steps", 1, "config"]
    assert error["msg"].startswith("the step needs ")
    assert error["msg"].endswith(NEEDS_LESS)


async def test_an_image_whose_size_is_known_later_fails_its_step_without_a_retry(service: Service) -> None:
    uri = f"data:image/png;base64,{base64.b64encode(empty_png(8_000, 8_000)).decode()}"
    ended = await service.until_ended(
        (await service.create(step("adjust", "IMAGE_ADJUSTER", base_image_url=uri)))["id"]
    )
    assert (ended["status"], ended["steps"][0]["retry_count"]) == ("FAILED", 0)
    assert ended["error_message"].startswith("adjust: the step needs ")
    assert ended["error_message"].endswith(NEEDS_LESS)


async def test_an_image_whose_size_is_mapped_is_accepted_at_create(service: Service) -> None:
    first = step("first", "GENERATION", prompt="x", width=64, height=64)
    ended = await service.until_ended((await service.create(first, LARGE | mapped("width")))["id"])
    assert (ended["status"], ended["errors"]) == ("COMPLETED", [])
