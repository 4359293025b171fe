"""The service of a test session, on a real port: for sync code, and for any event loop."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from stepwell.client import AsyncStepwell, NotFound
from stepwell.testing import png
from stepwell.testing.listening_server import StepwellServer, running_server
from support.processes.stepwell_process import until

DRAW: dict[str, Any] = {
    "name": "a test",
    "origin_instance": "tests",
    "steps": [
        {
            "id": "draw",
            "task_type": "GENERATION",
            "config": {"prompt": "a boat"},
            "provider_config": {"provider_type": "FAL", "fal_app_id": "fal-ai/flux/dev"},
        }
    ],
}


@pytest.fixture(scope="module")
def server() -> Iterator[StepwellServer]:
    with running_server(None, {}) as running:
        yield running


@pytest.fixture(autouse=True)
def no_scripts(server: StepwellServer) -> None:
    server.providers.reset()


def test_sync_code_uses_it(server: StepwellServer) -> None:
    picture = png(8, 8)
    server.providers.fal.on("GENERATION").fails("busy").then.returns({"result_image_path": picture}, delay_s=500)
    client = server.tenant_client()
    workflow = server.finish(client.create(DRAW).id)
    assert workflow.status == "COMPLETED"
    assert client.download(workflow.final_step_result["result_image_path"]) == picture
    assert len(server.providers.fal.calls) == 2


def test_several_event_loops_use_it(server: StepwellServer) -> None:
    server.providers.fal.on("GENERATION").returns({})

    async def statuses() -> list[str]:
        async with AsyncStepwell(server.url, token=server.token) as client:
            return [(await client.create(DRAW, wait=10)).status]

    assert asyncio.run(statuses()) + asyncio.run(statuses()) == ["COMPLETED", "COMPLETED"]


def test_its_clock_can_be_moved(server: StepwellServer) -> None:
    server.providers.fal.on("GENERATION").returns({}, delay_s=300)
    workflow = server.client.create(DRAW)
    until(lambda: any(task.remote_id for task in server.client.tasks(workflow.id)), 30)
    server.advance(301)
    assert server.client.wait(workflow.id, timeout_s=30).status == "COMPLETED"


def test_a_tenant_sees_nothing_of_another(server: StepwellServer) -> None:
    server.providers.fal.on("GENERATION").returns({})
    one, other = server.tenant_client(), server.tenant_client()
    workflow = one.create(DRAW, wait=10)
    assert [each.id for each in one.list()] == [workflow.id]
    assert [each.id for each in other.list()] == []
    with pytest.raises(NotFound):
        other.get(workflow.id)


def test_a_service_that_cannot_start_says_why() -> None:
    with pytest.raises(TypeError, match="unknown_setting"), running_server(None, {"unknown_setting": 1}):
        pass
