"""The events of all workflows: complete, in their order, and to nobody but those whose they are."""

import asyncio
import contextlib
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
import pytest_asyncio

from stepwell.basics.tenancy import TenantScope
from stepwell.contract.enums import EventType
from stepwell.engine.events import event_stream, feed_stream
from stepwell.persistence.stores import event_feed as feed_statements
from stepwell.rules.access.cursors import FeedCursors
from stepwell.rules.event_feed import BEGINNING, FeedCursor
from support.database.postgres import connected
from support.database.statement_recorder import until_quiet
from support.providers.configured_by_steps import WORKFLOWS, ConfiguredProvider, configured_step, passthrough_step
from support.providers.scripted import eventually
from support.service.live_service import SECRET, Service, token
from support.service.sse_client import AsgiStream, streaming

pytestmark = pytest.mark.asyncio(loop_scope="module")

FEED = "/api/v1/events"
TYPES = ", ".join(EventType)
CURSORS = FeedCursors(SECRET.encode())
GARBAGE = [
    "",
    "x",
    "00",
    "-1",
    "é",
    "A" * 43,
    "A" * 44,
    "A" * 59,
    "A" * 64,
    CURSORS.issue(FeedCursor(5, 5, 5)) + "A",
    CURSORS.issue(FeedCursor(5, 5, 5))[:-1],
    FeedCursors(b"another secret").issue(FeedCursor(0, 0, 0)),
]


async def page(client: httpx.AsyncClient, **params: Any) -> dict[str, Any]:
    response = await client.get(FEED, params=params)
    assert response.status_code == 200, response.text
    content: dict[str, Any] = response.json()
    return content


async def whole(client: httpx.AsyncClient, limit: int = 1_000, **params: Any) -> list[dict[str, Any]]:
    """All there is behind *cursor*, page by page."""
    found: list[dict[str, Any]] = []
    more = True
    while more:
        got = await page(client, limit=limit, **params)
        assert len(got["events"]) <= limit
        found += got["events"]
        params["cursor"], more = got["cursor"], got["has_more"]
    return found


async def now(client: httpx.AsyncClient) -> str:
    got = await page(client, limit=1_000)
    while got["has_more"]:
        got = await page(client, limit=1_000, cursor=got["cursor"])
    cursor: str = got["cursor"]
    return cursor


@contextlib.asynccontextmanager
async def open_stream(
    live: Service, bearer: str | None = None, last: str = "", **params: Any
) -> AsyncIterator[AsgiStream]:
    path = f"{FEED}?{urlencode(params)}"
    async with streaming(live.app.api, path, bearer or token(), {"last-event-id": last}) as stream:
        assert stream.status == 200
        yield stream


def subscriptions_of(live: Service) -> Any:
    return live.app.services.subscriptions


@pytest.fixture
def short_second(live: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a stream that may be a second late be a twentieth of that late."""
    follow_all = subscriptions_of(live).follow_all

    def follow(scope: TenantScope, wanted: Any, after: Any, delay_s: float, **more: Any) -> Any:
        return follow_all(scope, wanted, after, 0.05 if delay_s == 1 else delay_s, **more)

    monkeypatch.setattr(subscriptions_of(live), "follow_all", follow)


async def run_to_end(live: Service, *steps: dict[str, Any], **fields: Any) -> str:
    workflow = await live.create(*(steps or (passthrough_step("a"),)), **fields)
    await live.until_ended(workflow["id"])
    workflow_id: str = workflow["id"]
    return workflow_id


async def history(live: Service, workflow_id: str, owner: str | None = None, instance: str = "tests") -> list[Any]:
    more = {"workflow_id": workflow_id, "origin_instance": instance, "origin_tenant_id": owner}
    return [event | more for event in await live.events(workflow_id)]


@pytest_asyncio.fixture(loop_scope="module")
async def sql(live: Service) -> AsyncIterator[asyncpg.Connection]:
    async with connected(live.dsn) as connection:
        yield connection


@pytest.mark.parametrize("limit", [1, 3, 1_000])
async def test_the_pages_of_the_feed_contain_every_event_in_order(live: Service, limit: int) -> None:
    cursor = await now(live.client)
    ids = [await run_to_end(live) for _ in range(3)]
    found = await whole(live.client, limit=limit, cursor=cursor)
    assert found == [event for workflow_id in ids for event in await history(live, workflow_id)]
    assert await whole(live.client, limit=limit) == await whole(live.client, cursor="0")
    assert (await whole(live.client))[-len(found) :] == found
    beyond = await page(live.client, cursor=await now(live.client))
    assert (beyond["events"], beyond["has_more"]) == ([], False)


async def test_a_stream_without_a_cursor_begins_now(live: Service) -> None:
    await run_to_end(live)
    async with open_stream(live) as stream:
        first = await stream.any_frame()
        assert first is not None
        assert (first.retry, first.text) == (2000, None)
        assert first.id is not None  # whoever loses the connection now misses nothing
        workflow_id = await run_to_end(live)
        expected = await history(live, workflow_id)
        frames = await stream.frames(len(expected))
        assert [frame.data for frame in frames] == expected
        assert [frame.type for frame in frames] == [event["type"] for event in expected]
    for cursor, left in ((first.id, expected), (frames[1].id, expected[2:])):
        assert await whole(live.client, cursor=cursor) == left
        async with open_stream(live, cursor=cursor) as stream:
            assert [frame.data for frame in await stream.frames(len(left))] == left
        async with open_stream(live, last=cursor or "", cursor="0") as stream:
            assert [frame.data for frame in await stream.frames(len(left))] == left


@pytest.mark.usefixtures("short_second")
async def test_a_stream_that_may_be_late_sends_the_next_events_together(live: Service) -> None:
    async with open_stream(live, delay_s=60) as late, open_stream(live) as prompt:
        await run_to_end(live)
        assert await late.frames(1)  # after a pause, the first events aren't late
        workflow_id = await run_to_end(live)
        expected = await history(live, workflow_id)
        frame = None
        while frame is None or frame.data != expected[-1]:
            frame = await prompt.frame()
        assert late.received.empty()
    cursor = await now(live.client)
    async with open_stream(live, delay_s=1, cursor=cursor) as late:
        ids = [await run_to_end(live) for _ in range(3)]
        everything = [event for workflow_id in ids for event in await history(live, workflow_id)]
        assert [frame.data for frame in await late.frames(len(everything))] == everything


async def test_a_stream_from_now_on_has_no_older_event_however_late_the_others_are(live: Service) -> None:
    async with open_stream(live, delay_s=60) as late:
        await run_to_end(live)
        assert await late.frames(1)  # the next events wait for up to 60 s
        await run_to_end(live)
        async with open_stream(live, delay_s=60) as later:
            expected = await history(live, await run_to_end(live))
            async with open_stream(live):  # one that doesn't wait
                assert [frame.data for frame in await later.frames(1)] == expected[:1]


async def test_heartbeats_of_a_stream_without_events_carry_its_position(
    live: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing is wanted heartbeats tell the place, so that whoever comes back need not look at all that again."""
    monkeypatch.setattr(subscriptions_of(live), "heartbeat_s", 0.05)
    async with open_stream(live, origin_instance="nobody") as stream:
        first = await stream.any_frame()
        assert first is not None
        await run_to_end(live)
        last = first
        async with asyncio.timeout(30):
            while last.id == first.id:
                frame = await stream.any_frame()
                assert frame is not None
                assert (frame.comments, frame.text) == (["still there"], None)
                last = frame
        assert CURSORS.read(last.id or "") > CURSORS.read(first.id or "")


async def test_a_stream_contains_only_the_events_of_its_filter(live: Service, scripted: ConfiguredProvider) -> None:
    cursor, instance = await now(live.client), str(uuid4())
    async with contextlib.AsyncExitStack() as stack:
        streams = {
            name: await stack.enter_async_context(open_stream(live, **params))
            for name, params in {
                "types": {"type": "workflow.completed,workflow.failed"},
                "instance": {"origin_instance": instance},
                "status": {"status": "RUNNING", "origin_instance": instance},
            }.items()
        }
        done = await run_to_end(live)
        failed = await run_to_end(live, configured_step("a", fails=1, members={"max_retries": 0}))
        running = (await live.create(configured_step("a", wait=True), origin_instance=instance))["id"]
        await eventually(lambda: (running, "a") in scripted.running)
        ends = [(await history(live, workflow_id))[-1] for workflow_id in (done, failed)]
        mine = await history(live, running, instance=instance)
        wanted: tuple[tuple[str, list[Any], dict[str, Any]], ...] = (
            ("types", ends, {"type": "workflow.completed,workflow.failed"}),
            ("instance", mine, {"origin_instance": instance}),
            ("status", mine, {"origin_instance": instance, "status": "RUNNING"}),
        )
        for name, expected, params in wanted:
            assert [frame.data for frame in await streams[name].frames(len(expected))] == expected
            assert await whole(live.client, cursor=cursor, **params) == expected
        assert await whole(live.client, cursor=cursor, origin_instance=instance, status="COMPLETED") == []
        scripted.release(running, "a")
        await live.until_ended(running)
    assert await whole(live.client, cursor=cursor, origin_instance=instance, status="RUNNING") == []
    assert await whole(live.client, cursor=cursor, type="workflow.cancelled") == []


async def test_a_page_of_a_selective_filter_may_be_empty_before_the_end(
    live: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page looks at no more than so many: then it may be empty, and isn't the last."""
    instance = str(uuid4())
    first = await run_to_end(live, origin_instance=instance)
    for _ in range(3):
        await run_to_end(live)
    second = await run_to_end(live, origin_instance=instance)
    monkeypatch.setattr(feed_statements, "_WINDOW", 4)
    expected = [*await history(live, first, instance=instance), *await history(live, second, instance=instance)]
    assert await whole(live.client, limit=2, origin_instance=instance) == expected
    monkeypatch.setattr("stepwell.engine.events.subscriptions._SEARCH_S", -1.0)
    empty = await page(live.client, limit=2, origin_instance="nobody")
    assert (empty["events"], empty["has_more"]) == ([], True)
    assert await whole(live.client, limit=2, origin_instance=instance) == expected
    async with open_stream(live, origin_instance=instance, cursor="0") as stream:
        assert [frame.data for frame in await stream.frames(len(expected))] == expected


@pytest.mark.parametrize("tenant", ["acme", "other", None])
async def test_a_token_sees_the_events_of_its_tenant_only(live: Service, tenant: str | None) -> None:
    bearer = token(tenant, every=False)
    async with live.as_tenant(tenant) as client, open_stream(live, bearer) as stream:
        cursor = await now(client)
        ids = {owner: await run_to_end(live, origin_tenant_id=owner) for owner in ("acme", "other", None)}
        expected = await history(live, ids[tenant], tenant)
        assert [frame.data for frame in await stream.frames(len(expected))] == expected
        assert await whole(client, cursor=cursor) == expected
        assert {event["origin_tenant_id"] for event in await whole(client)} == {tenant}
        async with open_stream(live, bearer, cursor=cursor) as replayed:
            assert [frame.data for frame in await replayed.frames(len(expected))] == expected
            last = await run_to_end(live, origin_tenant_id=tenant)
            more = await history(live, last, tenant)
            for each in (stream, replayed):  # nothing of the others' was in between
                assert [frame.data for frame in await each.frames(len(more))] == more


async def test_no_cursor_names_the_workflow_of_another_tenant(live: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that ends at an event of another tenant has the cursor of that event."""
    monkeypatch.setattr(feed_statements, "_WINDOW", 1)
    monkeypatch.setattr("stepwell.engine.events.subscriptions._SEARCH_S", -1.0)
    cursor = await now(live.client)
    foreign = (await live.create(passthrough_step("a"), start=False, origin_tenant_id="other"))["id"]
    async with live.as_tenant("acme") as client:
        response = await page(client, cursor=cursor, limit=1)
    reached = response["cursor"]
    assert (response["events"], str(CURSORS.read(reached).workflow_id)) == ([], foreign)
    assert UUID(foreign).bytes not in urlsafe_b64decode(reached + "=")
    assert len(reached) == len(CURSORS.issue(BEGINNING))


@pytest.mark.parametrize("cursor", GARBAGE)
async def test_a_malformed_cursor_is_refused(live: Service, cursor: str) -> None:
    for accept in ("application/json", "text/event-stream"):
        response = await live.client.get(FEED, params={"cursor": cursor}, headers={"Accept": accept})
        assert response.status_code == 422
        assert response.json()["detail"][0]["loc"] == ["query", "cursor"]
    if cursor:
        headers = {b"Accept": b"text/event-stream", b"Last-Event-ID": cursor.encode()}
        response = await live.client.get(FEED, headers=headers)
        assert response.status_code == 422
        assert response.json()["detail"][0]["loc"] == ["header", "Last-Event-ID"]


async def test_a_cursor_ahead_of_the_feed_is_refused(live: Service) -> None:
    """The cursor is ahead of all events here. A stream from there would send nothing for a long time."""
    for accept in ("application/json", "text/event-stream"):
        params = {"cursor": CURSORS.issue(FeedCursor.before(2**40))}
        response = await live.client.get(FEED, params=params, headers={"Accept": accept})
        assert response.status_code == 422
        assert response.json()["detail"][0]["loc"] == ["query", "cursor"]


@pytest.mark.parametrize(
    ("params", "loc", "said"),
    [
        ({"type": "step.failed,workflow.exploded"}, "type", f"of {TYPES}; there is no 'workflow.exploded'"),
        ({"type": "workflow.failed,"}, "type", f"of {TYPES}; there is no ''"),
        ({"type": ""}, "type", f"of {TYPES}; there is no ''"),
        ({"status": "LOST"}, "status", "RUNNING"),
        ({"limit": "0"}, "limit", "1"),
        ({"limit": "1001"}, "limit", "1000"),
        ({"delay_s": "-1"}, "delay_s", "0"),
        ({"delay_s": "61"}, "delay_s", "60"),
    ],
)
async def test_a_malformed_filter_is_refused(live: Service, params: dict[str, str], loc: str, said: str) -> None:
    response = await live.client.get(FEED, params=params)
    assert response.status_code == 422
    (fault,) = response.json()["detail"]
    assert fault["loc"] == ["query", loc]
    assert said in fault["msg"]


@pytest.mark.parametrize("types", ["step.failed,workflow.exploded", ""])
async def test_the_history_of_a_workflow_refuses_unknown_types(live: Service, types: str) -> None:
    created = await live.create(passthrough_step("a"))
    response = await live.client.get(f"{WORKFLOWS}{created['id']}/events", params={"type": types})
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["query", "type"]


async def test_a_page_of_a_history_has_the_wanted_types_only(live: Service) -> None:
    created = await live.create(passthrough_step("a"), passthrough_step("b"))
    await live.until_ended(created["id"])
    path = f"{WORKFLOWS}{created['id']}/events?type=step.completed,workflow.started&limit=2"
    first = (await live.client.get(path)).json()
    assert [event["type"] for event in first["events"]] == ["workflow.started", "step.completed"]
    rest = (await live.client.get(f"{path}&after={first['events'][-1]['id']}")).json()
    assert [event["type"] for event in rest["events"]] == ["step.completed"]
    assert [first["has_more"], rest["has_more"]] == [True, False]


async def open_transaction(live: Service) -> tuple[asyncpg.Connection, Any]:
    """An event that has its position in the order, and hasn't committed."""
    connection = await asyncpg.connect(live.dsn)
    transaction = connection.transaction()
    await transaction.start()
    await connection.fetchval("SELECT pg_current_xact_id()")
    return connection, transaction


async def test_no_event_is_shown_before_an_earlier_one_has_committed(live: Service) -> None:
    """Transactions commit in another order than they began: the first to begin is the last to commit."""
    cursor = await now(live.client)
    pending = (await live.create(passthrough_step("a"), start=False))["id"]
    created = await history(live, pending)
    async with open_stream(live, cursor=cursor) as early:
        assert [frame.data for frame in await early.frames(1)] == created
        cursor = await now(live.client)
        connection, transaction = await open_transaction(live)
        await connection.execute(
            "INSERT INTO events (workflow_id, id, type, at, actor, data) "
            "VALUES ($1, 2, 'workflow.updated', now(), 'x', '{}')",
            pending,
        )
        later = await run_to_end(live)
        async with open_stream(live) as now_on, open_stream(live, cursor=cursor) as from_there:
            assert await page(live.client, cursor=cursor) == {"events": [], "cursor": cursor, "has_more": False}
            lag = subscriptions_of(live).reader
            await eventually(
                lambda: lag._delay_s > feed_stream._APART_S
            )  # it knows that there is something, and asks again
            assert early.received.empty()
            await transaction.commit()
            await connection.close()
            expected = [*(await history(live, pending))[1:], *await history(live, later)]
            for stream in (early, from_there, now_on):
                assert [frame.data for frame in await stream.frames(len(expected))] == expected
            assert await whole(live.client, cursor=cursor) == expected
            assert await whole(live.client, limit=1, cursor=cursor) == expected


async def test_a_transaction_that_rolls_back_hides_no_later_event(live: Service) -> None:
    async with open_stream(live) as stream:
        connection, transaction = await open_transaction(live)
        workflow_id = await run_to_end(live)
        await transaction.rollback()
        await connection.close()
        expected = await history(live, workflow_id)
        assert [frame.data for frame in await stream.frames(len(expected))] == expected


async def test_events_without_a_position_come_first_by_workflow(live: Service, sql: asyncpg.Connection) -> None:
    """Events without a position come first, by workflow, however many there are."""
    ids = sorted([await run_to_end(live) for _ in range(3)])
    expected = await whole(live.client)
    old = [event for workflow_id in ids for event in await history(live, workflow_id)]
    rest = [event for event in expected if event["workflow_id"] not in ids]
    await sql.execute("UPDATE events SET txid = 0 WHERE workflow_id = ANY($1::uuid[])", ids)
    for limit in (7, 1_000):
        assert await whole(live.client, limit=limit) == old + rest
    async with open_stream(live, cursor="0") as stream:
        assert [frame.data for frame in await stream.frames(len(expected))] == old + rest


@pytest.mark.extended
async def test_an_idle_feed_sends_no_statements(live: Service) -> None:
    statements = live.app.metrics
    workflow_id = await run_to_end(live)
    async with open_stream(live) as stream:
        await stream.any_frame()
        await run_to_end(live)
        await stream.frames(5)
        await until_quiet(live)  # the engine may have had one of its own left
    assert subscriptions_of(live).reader.position is None
    before = statements.value("stepwell_database_statements_total")
    assert (await live.client.patch(WORKFLOWS + workflow_id, json={"name": "x"})).status_code == 200
    quiet = statements.value("stepwell_database_statements_total") - before
    async with open_stream(live) as stream:
        before = statements.value("stepwell_database_statements_total")
        assert (await live.client.patch(WORKFLOWS + workflow_id, json={"name": "x"})).status_code == 200
        await stream.frames(1)
        assert statements.value("stepwell_database_statements_total") - before <= quiet + 3


async def test_a_slow_client_is_cut_off_and_can_resume(live: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "MOST_EVENTS", 10)
    cursor = await now(live.client)
    async with open_stream(live, cursor=cursor) as stream, open_stream(live) as quick:
        await stream.any_frame()
        stream.takes.clear()
        ids = [await run_to_end(live) for _ in range(5)]
        expected = [event for workflow_id in ids for event in await history(live, workflow_id)]
        assert [frame.data for frame in await quick.frames(len(expected))] == expected
        stream.takes.set()
        frames = await stream.all_of_it()
        assert frames[-1].comments == [event_stream.TOO_SLOW]
        seen = [frame for frame in frames if frame.text is not None]
    assert len(seen) < len(expected)
    async with open_stream(live, last=seen[-1].id or "") as stream:
        rest = await stream.frames(len(expected) - len(seen))
        assert [frame.data for frame in seen + rest] == expected


@pytest.mark.usefixtures("short_second")
async def test_an_unexpected_error_of_the_feed_ends_its_streams_only(
    live: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("an event of a later version")

    async with open_stream(live) as stream, open_stream(live, delay_s=1) as late:
        await stream.any_frame()
        await late.any_frame()
        with monkeypatch.context() as patch:
            patch.setattr(live.app.stores.database.feed, "page", broken)
            workflow_id = await run_to_end(live)
            assert (await stream.all_of_it())[-1].comments == [event_stream.FAILED]
            assert (await late.all_of_it())[-1].comments == [event_stream.FAILED]
    async with open_stream(live) as stream:
        expected = await history(live, await run_to_end(live))
        assert [frame.data for frame in await stream.frames(len(expected))] == expected
    assert (await live.get(workflow_id))["status"] == "COMPLETED"
