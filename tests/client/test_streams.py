"""Streams of events and downloads go on where a lost connection ended: without a gap, and without a repeat."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from gzip import compress
from hashlib import sha256
from json import dumps
from random import Random
from typing import Any

import httpx
import pytest

from client.responses import Clock
from stepwell.client import AsyncStepwell, ConnectionFailed, Stepwell, UnexpectedResponse
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
    """The service behind a proxy that cuts its connections after so many bytes of the response."""
    async with listening(service) as port, cutting(port, limits) as proxy:
        yield proxy


@pytest.mark.usefixtures("no_pauses")
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


@pytest.mark.usefixtures("no_pauses")
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

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        last = int(head.partition("last-event-id: ")[2].partition("\r")[0])
        positions.append(last)
        writers.append(writer)
        if last == 2:
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        writer.write(event % (last + 1, last + 1) + b"event: step.started\nid: 9\n")  # then silence within a frame

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with AsyncStepwell(url, timeout_s=0.2, retry_s=60) as client:
            assert [event.id async for event in client.events("7")] == [1, 2]
        for writer in writers:
            writer.transport.abort()
    assert list(dict.fromkeys(positions)) == [0, 1, 2]  # on a busy machine, a connection may be silent for too long


NO_STEP = {"step_id": None, "task_id": None}


def cut_after(content: bytes, count: int, chunk: int) -> AsyncIterator[bytes]:
    """The first *count* bytes of *content* in chunks, then a lost connection."""

    async def parts() -> AsyncIterator[bytes]:
        for begin in range(0, count, chunk):
            yield content[begin : min(begin + chunk, count)]
        raise httpx.ReadError("cut")

    return parts()


@pytest.mark.parametrize(
    ("line_end", "chunk"),
    [pytest.param("\n", 10_000, id="LF"), pytest.param("\r\n", 1, id="CRLF", marks=pytest.mark.extended)],
)
async def test_a_stream_that_is_cut_after_any_byte_has_neither_a_gap_nor_a_repeat(
    line_end: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepwell.client.retries.random.uniform", lambda *_: 0)
    body = {"type": "step.started", "at": "2026-01-01T00:00:00Z", "step_id": "\u2028", "task_id": None}
    event = "event: step.started\nid: {0}\ndata: {1}\n\nid: {0}\n: still there\n\n"

    def stored(after: int) -> bytes:
        """The stream of the events 1 to 3 behind *after*."""
        frames = [
            event.format(i, dumps(body | {"id": i, "actor": "a", "data": {}}, ensure_ascii=False)) for i in (1, 2, 3)
        ]
        return "".join([f"retry: 2000\nid: {after}\n\n", *frames[after:]]).replace("\n", line_end).encode()

    cuts: list[int] = []

    def respond(request: httpx.Request) -> httpx.Response:
        last = int(request.headers["Last-Event-ID"])
        if last == 3:
            return httpx.Response(204)
        content = stored(last)
        count = min(cuts.pop(0), len(content)) if cuts else len(content)
        return httpx.Response(
            200, headers={"Content-Type": "text/event-stream"}, content=cut_after(content, count, chunk)
        )

    wrong = {}
    async with AsyncStepwell("http://t.local", transport=httpx.MockTransport(respond)) as client:
        for cut in range(len(stored(0)) + 1):
            cuts[:] = [cut, cut // 2]
            ids = [event.id async for event in client.events("7")]
            if ids != [1, 2, 3]:
                wrong[cut] = ids
    assert wrong == {}


async def test_a_download_that_is_cut_after_any_byte_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepwell.client.retries.random.uniform", lambda *_: 0)
    content = bytes(range(32))

    async def download(cut: int) -> bytes:
        cuts = [cut, 1]

        def respond(request: httpx.Request) -> httpx.Response:
            begin = int(request.headers.get("Range", "bytes=0-")[6:-1])
            rest = content[begin:]
            headers = {"ETag": '"a"', "Content-Range": f"bytes {begin}-31/32"}
            body = cut_after(rest, min(cuts.pop(0), len(rest) - 1), 3) if cuts else rest
            return httpx.Response(206 if begin else 200, headers=headers, content=body)

        async with AsyncStepwell("http://t.local", transport=httpx.MockTransport(respond)) as client:
            return await client.download("media/7/a")

    assert [await download(cut) for cut in range(32)] == [content] * 32


@pytest.mark.parametrize(
    ("status", "content_range", "encoding", "error"),
    [
        (200, "", "", UnexpectedResponse),
        (206, "bytes 0-3/4", "", UnexpectedResponse),
        (206, "", "gzip", ConnectionFailed),
    ],
    ids=["a whole file", "another part", "a part of an encoded file"],
)
async def test_a_download_is_not_continued_with_what_is_not_its_rest(
    status: int, content_range: str, encoding: str, error: type[Exception]
) -> None:
    encoded = {"Content-Encoding": encoding} if encoding else {}
    content = compress(b"abcd" * 9)[:-8] if encoding else b"abcd"
    first = httpx.Response(200, headers={"ETag": '"a"', **encoded}, content=cut_after(content, len(content), 9))
    responses = [first, httpx.Response(status, headers={"Content-Range": content_range}, content=b"abcd")]
    transport = httpx.MockTransport(lambda _: responses.pop(0))
    async with AsyncStepwell("http://t.local", transport=transport) as client:
        with pytest.raises(error):
            await client.download("media/7/a")


async def test_the_feed_continues_after_the_cursor_of_an_event(service: Service) -> None:
    async with listening(service) as port, AsyncStepwell(f"http://127.0.0.1:{port}", token=token()) as client:
        start = (await client.feed_page()).cursor
        created = await client.create(chain(1), wait=60)
        async with aclosing(client.feed(start)) as feed:
            first = await anext(feed)
        async with aclosing(client.feed(first.cursor, types=["workflow.completed"])) as feed:
            last = await anext(feed)
    assert (first.workflow_id, first.id, last.id) == (created.id, 1, 5)


@pytest.mark.usefixtures("no_pauses")
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
        with pytest.raises(ConnectionFailed, match=r"no response from .* to GET"):
            await anext(client.events("7"))


async def test_streams_that_end_at_once_without_an_event_are_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    opened = 0

    def respond(_: httpx.Request) -> httpx.Response:
        nonlocal opened
        opened += 1
        return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, content=b"retry: 2000\nid: 0\n\n")

    async with AsyncStepwell("http://t.local", transport=httpx.MockTransport(respond)) as client:
        with pytest.raises(ConnectionFailed, match=r"^http://t\.local ended the stream GET .* at once"):
            await anext(client.events("7"))
    assert opened > 1


async def test_a_stream_that_repeats_its_events_is_no_stream_of_the_service() -> None:
    data = dumps({"id": 1, "type": "step.started", "at": "2026-01-01T00:00:00Z", "actor": "a", "data": {}} | NO_STEP)
    event = f"event: step.started\nid: 1\ndata: {data}\n\n"

    def respond(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, content=event)

    async with AsyncStepwell("http://t.local", transport=httpx.MockTransport(respond)) as client:
        events = client.events("7")
        assert (await anext(events)).id == 1
        with pytest.raises(UnexpectedResponse, match="repeats event 1"):
            await anext(events)
