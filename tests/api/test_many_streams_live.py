"""A thousand open streams in one process, over real sockets."""

import asyncio
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from support.database.postgres import TestServer, database
from support.providers.configured_by_steps import WORKFLOWS, ConfiguredProvider, configured_step
from support.providers.scripted import eventually
from support.service.listening_service import listening
from support.service.live_service import Service, running_service, token
from support.service.sse_client import SocketStream, connected, numbers

pytestmark = pytest.mark.asyncio(loop_scope="module")

STREAMS, WORKFLOW_COUNT = 1_000, 10
OPEN_FILES = 4 * STREAMS


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    """Both ends of each connection are here."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before, enough), most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def live(
    server: TestServer, template: str, scripted: ConfiguredProvider, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """The whole service, for one tenant with that many streams."""
    folder = tmp_path_factory.mktemp("live")
    async with (
        database(server, template) as dsn,
        running_service(dsn, folder, providers=[scripted], max_streams_per_tenant=STREAMS) as service,
    ):
        yield service


@pytest.mark.extended
async def test_a_thousand_streams_get_the_last_event(live: Service, scripted: ConfiguredProvider) -> None:
    created = [await live.create(configured_step("a", wait=True)) for _ in range(WORKFLOW_COUNT)]
    ids = [workflow["id"] for workflow in created]
    await eventually(lambda: len(scripted.running) == WORKFLOW_COUNT)
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(listening(live))
        streams: list[tuple[str, SocketStream]] = []
        for begin in range(0, STREAMS, 100):
            opened = [ids[number % WORKFLOW_COUNT] for number in range(begin, begin + 100)]
            clients = [connected(port, f"{WORKFLOWS}{workflow_id}/events", token()) for workflow_id in opened]
            entered = await asyncio.gather(*map(stack.enter_async_context, clients))
            streams += zip(opened, entered, strict=True)
        assert {stream.status for _, stream in streams} == {200}
        # Half of them have read all there was, the other half have it waiting for them.
        for _, stream in streams[::2]:
            assert numbers(await stream.frames(3)) == [1, 2, 3]
        assert live.app.metrics.value("stepwell_event_streams") == STREAMS
        for workflow_id in ids:
            scripted.release(workflow_id, "a")
        histories: dict[str, list[Any]] = {}
        for workflow_id in ids:
            await live.until_ended(workflow_id)
            histories[workflow_id] = await live.events(workflow_id)
        for number, (workflow_id, stream) in enumerate(streams):
            rest = await stream.rest()
            expected = histories[workflow_id]
            assert expected[-1]["type"] == "workflow.completed"
            assert [frame.data for frame in rest] == (expected if number % 2 else expected[3:])
        await eventually(lambda: live.app.metrics.value("stepwell_event_streams") == 0)


async def test_a_connection_that_breaks_is_noticed_at_once(live: Service, scripted: ConfiguredProvider) -> None:
    workflow = await live.create(configured_step("a", wait=True))
    async with listening(live) as port:
        async with connected(port, f"{WORKFLOWS}{workflow['id']}/events", token()) as stream:
            await stream.frames(3)
            assert live.app.metrics.value("stepwell_event_streams") == 1
        await eventually(lambda: live.app.metrics.value("stepwell_event_streams") == 0)
    scripted.release(workflow["id"], "a")
