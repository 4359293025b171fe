"""The live events of one workflow: what was is replayed, what happens comes at once, and when it ends, and for whom."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from stepwell.api.responses import sse
from stepwell.basics.errors import Unavailable
from stepwell.engine.events import event_stream
from stepwell.engine.events.workflow_stream import WorkflowWatcher
from support.providers.configured_by_steps import WORKFLOWS, ConfiguredProvider, configured_step, passthrough_step
from support.providers.scripted import eventually
from support.service.conformance import conforming_client
from support.service.live_service import Service, token
from support.service.sse_client import AsgiStream, Frame, numbers, streaming

pytestmark = pytest.mark.asyncio(loop_scope="module")

TERMINAL = {"workflow.completed", "workflow.failed", "workflow.cancelled"}


@contextlib.asynccontextmanager
async def open_stream(
    live: Service, workflow_id: str, query: str = "", *, last: object = "", takes: bool = True
) -> AsyncIterator[AsgiStream]:
    path, headers = f"{WORKFLOWS}{workflow_id}/events{query}", {"last-event-id": str(last)}
    async with streaming(live.app.api, path, token(), headers, takes=takes) as stream:
        yield stream


async def history(live: Service, workflow_id: str) -> list[dict[str, Any]]:
    return await live.events(workflow_id)


def datas(frames: list[Frame]) -> list[Any]:
    return [frame.data for frame in frames]


def open_streams(live: Service) -> float:
    return live.app.metrics.value("stepwell_event_streams")


async def waiting(live: Service, scripted: ConfiguredProvider, **fields: Any) -> str:
    """A workflow whose only step has begun, and waits."""
    workflow_id: str = (await live.create(configured_step("a", wait=True), **fields))["id"]
    await eventually(lambda: (workflow_id, "a") in scripted.running)
    return workflow_id


async def renamed(live: Service, workflow_id: str, times: int, name: str = "again") -> None:
    for _ in range(times):
        response = await live.client.patch(WORKFLOWS + workflow_id, json={"name": name})
        assert response.status_code == 200, response.text


async def test_a_stream_contains_all_events_and_ends_with_the_workflow(
    live: Service, scripted: ConfiguredProvider
) -> None:
    workflow_id = await waiting(live, scripted)
    before = await history(live, workflow_id)
    async with open_stream(live, workflow_id) as stream:
        first = await stream.any_frame()
        assert first is not None
        assert (first.retry, first.text, first.id) == (2000, None, None)
        replayed = await stream.frames(len(before))
        assert open_streams(live) == 1
        scripted.release(workflow_id, "a")
        came = replayed + await stream.rest()
        assert stream.complete
        assert (stream.status, stream.headers) == (
            200,
            {"content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no"},
        )
    events = await history(live, workflow_id)
    assert datas(came) == events
    assert numbers(came) == [event["id"] for event in events] == list(range(1, len(events) + 1))
    assert [frame.type for frame in came] == [event["type"] for event in events]
    assert came[-1].type == "workflow.completed"
    assert open_streams(live) == 0
    async with open_stream(live, workflow_id) as stream:  # the very same bytes, now that they come out of the table
        assert [frame.text for frame in await stream.rest()] == [frame.text for frame in came]


async def test_head_of_a_stream_ends_at_once(live: Service, scripted: ConfiguredProvider) -> None:
    workflow_id = await waiting(live, scripted)
    headers = {"Accept": "text/event-stream"}
    for path in (f"{WORKFLOWS}{workflow_id}/events", "/api/v1/events"):
        async with asyncio.timeout(30):
            response = await live.client.head(path, headers=headers)
        assert (response.status_code, response.content) == (200, b"")
        assert response.headers["content-type"] == "text/event-stream"
    assert open_streams(live) == 0
    scripted.release(workflow_id, "a")
    await live.until_ended(workflow_id)
    last = (await history(live, workflow_id))[-1]["id"]
    assert (await live.client.head(f"{WORKFLOWS}{workflow_id}/events?after={last}", headers=headers)).status_code == 204


@pytest.mark.parametrize("after", [0, 1, 3])
async def test_a_stream_resumes_after_an_event(live: Service, after: int) -> None:
    workflow = await live.create(passthrough_step("a"))
    await live.until_ended(workflow["id"])
    events = await history(live, workflow["id"])
    for query, header in ((f"?after={after}", ""), ("", after), ("?after=9999", after)):
        async with open_stream(live, workflow["id"], query, last=header) as stream:
            assert datas(await stream.rest()) == events[after:]


async def test_a_stream_after_the_last_event_is_a_204(live: Service, scripted: ConfiguredProvider) -> None:
    workflow = await live.create(passthrough_step("a"))
    await live.until_ended(workflow["id"])
    last = (await history(live, workflow["id"]))[-1]["id"]
    for query, header in (("", last), (f"?after={last}", ""), (f"?after={last + 5}", "")):
        async with open_stream(live, workflow["id"], query, last=header) as stream:
            assert (stream.status, stream.headers) == (204, {})
            assert await stream.all_of_it() == []
    async with conforming_client(live.app.api, token(), Accept="text/event-stream") as client:
        path = f"{WORKFLOWS}{workflow['id']}/events"
        assert (await client.get(path, headers={"Last-Event-ID": str(last)})).status_code == 204
        assert (await client.get(path)).headers["content-type"] == "text/event-stream"


async def test_the_last_events_of_a_cancelled_workflow_are_streamed(
    live: Service, scripted: ConfiguredProvider
) -> None:
    workflow_id = await waiting(live, scripted)
    async with open_stream(live, workflow_id) as stream:
        await stream.frames(3)
        assert (await live.verb(workflow_id, "cancel")).status_code == 200
        rest = await stream.rest()
    assert rest[-1].type in TERMINAL | {"step.cancelled"}
    last = numbers(rest)[-1]
    assert last == len(await history(live, workflow_id))
    await renamed(live, workflow_id, 1)
    async with open_stream(live, workflow_id, last=last) as stream:
        assert [frame.type for frame in await stream.rest()] == ["workflow.updated"]


async def test_a_stream_continues_while_the_workflow_is_paused(live: Service, scripted: ConfiguredProvider) -> None:
    workflow_id = await waiting(live, scripted)
    async with open_stream(live, workflow_id) as stream:
        assert (await live.verb(workflow_id, "pause")).status_code == 200
        scripted.release(workflow_id, "a")
        while (frame := await stream.frame()) is not None and frame.type != "workflow.completed":
            pass
        assert frame is not None
        assert await stream.rest() == []


async def test_a_stream_continues_if_the_workflow_is_resumed_before_its_end_was_read(
    live: Service, scripted: ConfiguredProvider
) -> None:
    workflow = await live.create(configured_step("a", fails=1))
    await live.until_ended(workflow["id"])
    async with open_stream(live, workflow["id"], takes=False) as stream:
        # It has read all up to the end of the failed run, and can't send it.
        assert (await live.verb(workflow["id"], "resume")).status_code == 200
        await live.until_ended(workflow["id"])
        stream.takes.set()
        came = await stream.rest()
    assert datas(came) == await history(live, workflow["id"])
    kinds = [frame.type for frame in came]
    assert kinds.index("workflow.failed") < kinds.index("workflow.resumed") < kinds.index("workflow.completed")


async def test_a_stream_without_events_sends_heartbeats(
    live: Service, scripted: ConfiguredProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live.app.services.subscriptions, "heartbeat_s", 0.05)
    workflow_id = await waiting(live, scripted)
    async with open_stream(live, workflow_id) as stream:
        await stream.frames(3)
        for _ in range(3):
            frame = await stream.any_frame()
            assert frame == Frame(comments=["still there"])
        scripted.release(workflow_id, "a")
        assert (await stream.rest())[-1].type == "workflow.completed"


async def test_a_client_that_disconnects_is_released_at_once(live: Service, scripted: ConfiguredProvider) -> None:
    workflow_id = await waiting(live, scripted)
    async with open_stream(live, workflow_id) as stream:
        await stream.frames(3)
        assert open_streams(live) == 1
        stream.gone.set()
        await eventually(lambda: open_streams(live) == 0)
    async with open_stream(live, workflow_id, takes=False) as stream:  # in the middle of a send, too
        await eventually(lambda: stream.sends == 1)
        stream.gone.set()
        await eventually(lambda: open_streams(live) == 0)
    assert not live.app.engine.bus.watched
    scripted.release(workflow_id, "a")
    await live.until_ended(workflow_id)


async def slow(live: Service, stream: AsgiStream, workflow_id: str, times: int) -> None:
    """Change the workflow *times* times while the reader of *stream* takes nothing."""
    replayed = stream.sends
    stream.takes.clear()
    await renamed(live, workflow_id, 1)
    await eventually(lambda: stream.sends > replayed)
    await renamed(live, workflow_id, times)


async def test_a_slow_client_is_cut_off_and_can_resume(
    live: Service, scripted: ConfiguredProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "MOST_EVENTS", 10)
    monkeypatch.setattr(sse, "LAST_S", 60.0)  # the events of a slow machine come late
    workflow_id = await waiting(live, scripted)
    async with open_stream(live, workflow_id) as stream:
        frames = await stream.frames(3)
        await slow(live, stream, workflow_id, 11)
        assert stream.sends == 3
        stream.takes.set()
        rest = await stream.all_of_it()
        assert rest[-1].comments == [event_stream.TOO_SLOW]
        frames += [frame for frame in rest if frame.text is not None]
        assert numbers(frames) == [1, 2, 3, 4]
        assert stream.complete
    scripted.release(workflow_id, "a")
    await live.until_ended(workflow_id)
    async with open_stream(live, workflow_id, last=4) as stream:
        frames += await stream.rest()
    assert datas(frames) == await history(live, workflow_id)


async def test_a_client_is_cut_off_when_its_buffer_is_full(
    live: Service, scripted: ConfiguredProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "MOST_BYTES", 2_000)
    monkeypatch.setattr(sse, "LAST_S", 60.0)
    workflow_id = await waiting(live, scripted)
    async with open_stream(live, workflow_id) as stream:
        await stream.frames(3)
        await slow(live, stream, workflow_id, 20)
        stream.takes.set()
        assert (await stream.all_of_it())[-1].comments == [event_stream.TOO_SLOW]
    scripted.release(workflow_id, "a")


async def test_a_client_that_is_only_behind_is_not_cut_off(
    live: Service, scripted: ConfiguredProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More events than may be kept come while it waits for the table, or for its turn. It reads them there."""
    monkeypatch.setattr(event_stream, "MOST_EVENTS", 1)
    created = await live.create(*[passthrough_step(f"s{number}") for number in range(40)], start=False)
    async with open_stream(live, created["id"]) as stream:
        await stream.frames(1)
        assert (await live.verb(created["id"], "start")).status_code == 200
        came = await stream.rest()
    assert datas(came) == (await history(live, created["id"]))[1:]


async def test_events_without_a_notification_are_read_from_the_table(
    live: Service, scripted: ConfiguredProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers tell that something is missing."""
    workflow_id = await waiting(live, scripted)
    async with open_stream(live, workflow_id) as stream:
        frames = await stream.frames(3)
        with monkeypatch.context() as patch:
            patch.setattr(WorkflowWatcher, "on_committed", lambda *_: None)
            await renamed(live, workflow_id, 2)
        await renamed(live, workflow_id, 1)
        # It is read up to its end: nobody waits here for an event that a stream with a gap never sends.
        scripted.release(workflow_id, "a")
        frames += await stream.rest()
    assert datas(frames) == await history(live, workflow_id)


@pytest.mark.parametrize("name", ["SEND_S", "LAST_S"])
async def test_a_client_that_accepts_no_bytes_is_released(
    live: Service, scripted: ConfiguredProvider, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """After the deadline of a send; and sooner, where it was cut off."""
    monkeypatch.setattr(sse, name, 0.02)
    if name == "LAST_S":
        monkeypatch.setattr(event_stream, "MOST_EVENTS", 1)
    workflow_id = await waiting(live, scripted)
    async with open_stream(live, workflow_id) as stream:
        await stream.frames(3)
        await slow(live, stream, workflow_id, 2)
        await eventually(lambda: open_streams(live) == 0)
        assert not stream.complete
    scripted.release(workflow_id, "a")


async def test_a_stream_ends_after_the_longest_time(
    live: Service, scripted: ConfiguredProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "LONGEST_S", 0.05)
    workflow_id = await waiting(live, scripted)
    async with open_stream(live, workflow_id) as stream:
        frames = await stream.all_of_it()
        assert frames[-1].comments == ["an hour is over: come back"]
        assert stream.complete
    scripted.release(workflow_id, "a")


async def test_a_stream_survives_an_outage(
    live: Service, scripted: ConfiguredProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "OUTAGE_RETRY_S", 0.01)
    workflow_id = await waiting(live, scripted)
    feed = live.app.stores.database.feed
    history_of = feed.history

    async def away(*_: Any) -> None:
        raise Unavailable("the database is away")

    async with open_stream(live, workflow_id) as stream:
        frames = await stream.frames(3)
        monkeypatch.setattr(feed, "history", away)
        live.app.engine.bus.invalidate(list(live.app.engine.bus.watched))
        while (frame := await stream.any_frame()) is not None and not frame.comments:
            pass
        scripted.release(workflow_id, "a")
        await live.until_ended(workflow_id)
        monkeypatch.setattr(feed, "history", history_of)
        frames += await stream.rest()
    assert datas(frames) == await history(live, workflow_id)


async def test_an_unexpected_error_ends_its_stream_only(
    live: Service, scripted: ConfiguredProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow_id = await waiting(live, scripted)

    async def broken(*_: Any) -> None:
        raise RuntimeError("no such row")

    async with open_stream(live, workflow_id) as stream:
        await stream.frames(3)
        with monkeypatch.context() as patch:
            patch.setattr(live.app.stores.database.feed, "history", broken)
            live.app.engine.bus.invalidate(list(live.app.engine.bus.watched))
            assert (await stream.all_of_it())[-1].comments == ["something went wrong: come back"]
    scripted.release(workflow_id, "a")
    await live.until_ended(workflow_id)


@pytest.mark.parametrize(
    ("value", "fits"),
    [("0", True), ("", True), ("-1", False), ("x", False), ("1.0", False), ("٣", False), (str(2**63), False)],
)
async def test_a_last_event_id_is_a_number_or_refused(live: Service, value: str, fits: Any) -> None:
    workflow = await live.create(passthrough_step("a"))
    await live.until_ended(workflow["id"])
    async with conforming_client(live.app.api, token(), Accept="text/event-stream") as client:
        response = await client.get(f"{WORKFLOWS}{workflow['id']}/events", headers=[(b"Last-Event-ID", value.encode())])
    if fits:
        assert response.status_code == 200
    else:
        assert response.status_code == 422
        assert response.json()["detail"][0]["loc"] == ["header", "Last-Event-ID"]


@pytest.mark.parametrize(
    ("accept", "streams"),
    [
        ("text/event-stream", True),
        ("text/event-stream, */*", True),
        ("application/json;q=0.5, Text/Event-Stream", True),
        ("text/event-stream;q=1.0;charset=utf-8", True),
        ("*/*", False),
        ("text/*", False),
        ("", False),
        ("text/event-stream;q=0", False),
        ("text/event-stream;q=0.5, application/json", False),
        ("application/json", False),
        (";;,q=,;q=9", False),
    ],
)
async def test_the_accept_header_selects_stream_or_json(live: Service, accept: str, streams: Any) -> None:
    workflow = await live.create(passthrough_step("a"))
    await live.until_ended(workflow["id"])
    response = await live.client.get(f"{WORKFLOWS}{workflow['id']}/events", headers={"Accept": accept})
    kind = response.headers["content-type"]
    assert kind == ("text/event-stream" if streams else "application/json")


async def test_a_refused_stream_has_a_response_with_its_status(live: Service, scripted: ConfiguredProvider) -> None:
    workflow_id = await waiting(live, scripted, origin_tenant_id="acme")
    async with live.as_tenant("other") as client:
        response = await client.get(f"{WORKFLOWS}{workflow_id}/events", headers={"Accept": "text/event-stream"})
        assert (response.status_code, response.json()["title"]) == (404, "Not found")
    assert open_streams(live) == 0
    scripted.release(workflow_id, "a")


async def test_all_streams_end_when_the_service_stops(live: Service, scripted: ConfiguredProvider) -> None:
    """The last one here: it stops it."""
    workflow_id = await waiting(live, scripted)
    async with (
        open_stream(live, workflow_id) as stream,
        open_stream(live, workflow_id, takes=False),
        streaming(live.app.api, "/api/v1/events", token()) as feed,
    ):
        await stream.frames(3)
        live.app.services.availability.draining = True
        live.app.services.subscriptions.close()
        for each in (stream, feed):
            assert (await each.all_of_it())[-1].comments == [event_stream.STOPPING]
        async with open_stream(live, workflow_id) as late:
            assert late.status == 200
            assert [frame.comments for frame in await late.all_of_it()] == [[], [event_stream.STOPPING]]
    scripted.release(workflow_id, "a")
    async with asyncio.timeout(30):
        await live.app.stop()
    assert open_streams(live) == 0
