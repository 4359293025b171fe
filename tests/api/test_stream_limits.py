"""A tenant has as many event streams at once as it may, and takes none from others."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from stepwell.testing import MemoryDatabase
from support.providers.configured_by_steps import WORKFLOWS, passthrough_step
from support.service.live_service import Service, running_service, token
from support.service.sse_client import AsgiStream, streaming

FEED = "/api/v1/events"
MOST = 2


async def open_stream(stack: AsyncExitStack, service: Service, tenant: str, path: str = FEED) -> AsgiStream:
    return await stack.enter_async_context(streaming(service.app.api, path, token(tenant, every=False)))


async def test_one_stream_too_many_is_a_429_for_its_tenant_alone(tmp_path: Path) -> None:
    async with running_service(MemoryDatabase(), tmp_path, max_streams_per_tenant=MOST) as service:
        async with AsyncExitStack() as stack:
            streams = [await open_stream(stack, service, "acme") for _ in range(MOST + 3)]
            assert [stream.status for stream in streams] == [200] * MOST + [429] * 3
            assert int(streams[-1].headers["retry-after"]) > 0
            assert (await open_stream(stack, service, "other")).status == 200
            assert service.app.metrics.value("stepwell_event_streams_refused_total") == 3
            async with service.as_tenant("acme") as client:
                assert (await client.get(FEED)).status_code == 200  # JSON is no stream
        assert service.app.metrics.value("stepwell_event_streams") == 0
        async with AsyncExitStack() as stack:
            assert (await open_stream(stack, service, "acme")).status == 200


@pytest.mark.parametrize("reached_by", ["feed", "workflow"])
async def test_streams_of_workflows_and_of_the_feed_count_together(tmp_path: Path, reached_by: str) -> None:
    async with running_service(MemoryDatabase(), tmp_path, max_streams_per_tenant=1) as service:
        async with service.as_tenant("acme") as client:
            body = {"name": "a", "origin_instance": "tests", "steps": [passthrough_step("a")]}
            response = await client.post(WORKFLOWS, params={"start": False}, json=body)
            assert response.status_code == 201, response.text
        of_workflow = f"{WORKFLOWS}{response.json()['id']}/events"
        paths = [FEED, of_workflow] if reached_by == "feed" else [of_workflow, FEED]
        async with AsyncExitStack() as stack:
            statuses = [(await open_stream(stack, service, "acme", path)).status for path in paths]
            assert statuses == [200, 429]
