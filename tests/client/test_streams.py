"""Streams of events and downloads go on where a lost connection ended: without a gap, and without a repeat."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from hashlib import sha256
from random import Random
from typing import Any

import pytest

from stepwell.client import AsyncStepwell, ConnectionFailed, Stepwell
from stepwell.contract.enums import TERMINAL_EVENTS, EventType
from support.service.cutting_proxy import cutting
from support.service.listening_service import listening
from support.service.live_service import Service, token


def chain(length: int) -> dict[str, Any]:
    steps = [
        {"id": f"s{i}", "task_type": "PASSTHROUGH", "config": {"i": i}, "depends_on": [f"s{i - 1}"] if i else []}
        for i in range(length)
    ]
    return {"name": "a chain", "origin_instance": "tests", "steps": steps}


@asynccontextmanager
async def cut_off(service: Service, limits: list[int]) -> AsyncIterator[tuple[Any, str]]:
    """The service behind a proxy that cuts its connections after so many bytes of the answer."""
    async with listening(service) as port, cutting(port, limits) as proxy:
        yield proxy


async def test_stored_and_live_events_come_once_each_although_connections_are_cut(service: Service) -> None:
    limits = [Random(15).randrange(1, 2_500) for _ in range(20)]
    async with cut_off(service, limits) as (proxy, url), AsyncStepwell(url, token=token(), retry_s=60) as client:
        direct = AsyncStepwell("http://t.local", token=token(), transport=service.transport)
        created = await direct.create(chain(30), start=False)
        ids = []
        async for event in client.events(created.id):
            ids.append(event.id)
            if event.id == 1:
                await direct.start(created.id)
        assert proxy.cuts == len(limits)
        assert event.type in TERMINAL_EVENTS
        assert ids == list(range(1, 30 * 2 + 4))
        assert [event.id async for event in client.events(created.id, after=61)] == [62, 63]
        await direct.aclose()


async def test_the_events_of_a_resumed_workflow_go_on_behind_its_first_end(service: Service) -> None:
    async with listening(service) as port, AsyncStepwell(f"http://127.0.0.1:{port}", token=token()) as client:
        failing = {"id": "a", "task_type": "PASSTHROUGH", "max_retries": 0, "config": {}}
        failing["input_mappings"] = [{"from_step": "b", "from_field": "none", "to_field": "x"}]
        body = chain(1) | {"steps": [{"id": "b", "task_type": "PASSTHROUGH", "config": {"y": 1}}, failing]}
        created = await client.create(body, wait=60)
        await client.resume(created.id, wait=60)
        types = [event.type async for event in client.events(created.id)]
    assert types.count(EventType.WORKFLOW_FAILED) == 2
    assert types[-1] == EventType.WORKFLOW_FAILED


async def test_the_synchronous_client_follows_a_stream_that_is_cut(service: Service) -> None:
    def follow(url: str) -> list[int]:
        with Stepwell(url, token=token()) as client:
            created = client.create(chain(10), wait=60)
            return [event.id for event in client.events(created.id)]

    async with cut_off(service, [100_000, 700, 1_100]) as (_, url):
        assert await asyncio.to_thread(follow, url) == list(range(1, 24))


async def test_a_stream_that_is_silent_is_opened_again() -> None:
    event = b'event: step.started\nid: %d\ndata: {"id":%d,"type":"step.started","at":"2026-01-01T00:00:00Z"'
    event += b',"step_id":null,"task_id":null,"actor":"a","data":{}}\n\n'
    positions: list[int] = []
    writers: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        last = int(head.partition("last-event-id: ")[2].partition("\r")[0])
        positions.append(last)
        writers.append(writer)
        if last == 2:
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        writer.write(event % (last + 1, last + 1) + b"event: step.started\nid: 9\n")  # then silence within a frame

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with AsyncStepwell(url, timeout_s=0.5, retry_s=0.5) as client:
            assert [event.id async for event in client.events("7")] == [1, 2]
        for writer in writers:
            writer.transport.abort()
    assert positions == [0, 1, 2]


async def test_the_feed_continues_after_the_cursor_of_an_event(service: Service) -> None:
    async with listening(service) as port, AsyncStepwell(f"http://127.0.0.1:{port}", token=token()) as client:
        start = (await client.feed_page()).cursor
        created = await client.create(chain(1), wait=60)
        async with aclosing(client.feed(start)) as feed:
            first = await anext(feed)
        async with aclosing(client.feed(first.cursor, types=["workflow.completed"])) as feed:
            last = await anext(feed)
    assert (first.workflow_id, first.id, last.id) == (created.id, 1, 5)


async def test_a_download_continues_where_it_was_cut(service: Service) -> None:
    content = Random(15).randbytes(2_000_000).hex().encode()
    async with cut_off(service, [300_000, 2_000_000, 1_000]) as (proxy, url):
        direct = AsyncStepwell("http://t.local", token=token(), transport=service.transport)
        path = (await direct.upload(content, "large.txt")).path
        async with AsyncStepwell(url, token=token()) as client:
            assert sha256(await client.download(path)).digest() == sha256(content).digest()
        await direct.aclose()
        assert proxy.cuts == 3


async def test_a_stream_of_a_service_that_is_gone_ends_with_an_error() -> None:
    async with AsyncStepwell("http://127.0.0.1:1", retry_s=0) as client:
        with pytest.raises(ConnectionFailed, match="gave no answer to GET"):
            await anext(client.events("7"))
