"""A stream ends with the token or the session that opened it."""

from datetime import timedelta
from pathlib import Path

import pytest

from stepwell.basics.errors import Unavailable
from stepwell.persistence.clock import DatabaseClock
from stepwell.testing import ManualClock, MemoryDatabase
from support.providers.configured_by_steps import passthrough_step
from support.service.conformance import conforming_client
from support.service.live_service import Service, running_service, token
from support.service.session_cookies import SAME_ORIGIN, cookie_of
from support.service.sse_client import streaming

pytestmark = pytest.mark.asyncio(loop_scope="module")

FEED = "/api/v1/events"
TICKETS = "/api/v1/events/tickets"
FRESH_S = 5.0
ENDED = "the token or the session has ended"


async def path_with_ticket(service: Service, headers: dict[str, str]) -> str:
    """Return the path of the feed with a ticket, which a caller with *headers* gets."""
    async with conforming_client(service.app.api, **headers) as client:
        response = await client.post(TICKETS)
    assert response.status_code == 200, response.text
    return f"{FEED}?ticket={response.json()['ticket']}"


async def test_a_stream_ends_with_its_session(api: Service) -> None:
    headers = {"cookie": await cookie_of(api, every=True, lasts=timedelta(seconds=0.3)), **SAME_ORIGIN}
    async with streaming(api.app.api, FEED, None, headers) as stream:
        assert stream.status == 200
        frames = await stream.all_of_it()
        assert frames[-1].comments == [ENDED]
        assert stream.complete


async def test_a_stream_ends_when_all_sessions_were_ended(api: Service, clock: ManualClock) -> None:
    headers = {"cookie": await cookie_of(api, every=True), **SAME_ORIGIN}
    async with streaming(api.app.api, FEED, None, headers) as stream:
        await api.create(passthrough_step("a"))
        assert (await stream.frames(1))[-1].type == "workflow.created"
        await api.app.stores.database.sign_ins.end_all()
        clock.advance(FRESH_S)
        await api.create(passthrough_step("a"))
        frames = await stream.all_of_it()
        assert frames[-1].comments == [ENDED]
    async with streaming(api.app.api, FEED, None, headers) as stream:
        assert stream.status == 401


async def test_a_stream_survives_an_outage_in_which_nobody_can_end_sessions(
    api: Service, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> None:
        raise Unavailable("the database is away")

    headers = {"cookie": await cookie_of(api, every=True), **SAME_ORIGIN}
    async with streaming(api.app.api, FEED, None, headers) as stream:
        await api.create(passthrough_step("a"))
        await stream.frames(1)
        clock.advance(FRESH_S)
        monkeypatch.setattr(api.app.stores.database.sign_ins, "ended_at", away)
        await api.create(passthrough_step("b"))
        await stream.frames(1)
        assert not stream.complete


async def test_a_stream_ends_with_its_token(tmp_path: Path) -> None:
    """A token is accepted for ten seconds after its end, because clocks differ."""
    clock = ManualClock(DatabaseClock().now().replace(microsecond=0) + timedelta(seconds=3_609.8))
    async with (
        running_service(MemoryDatabase(clock), tmp_path) as service,
        streaming(service.app.api, FEED, token()) as stream,
    ):
        frames = await stream.all_of_it()
        assert frames[-1].comments == [ENDED]


async def test_a_stream_by_a_ticket_ends_with_the_session_that_got_the_ticket(api: Service) -> None:
    headers = {"cookie": await cookie_of(api, every=True, lasts=timedelta(seconds=0.3)), **SAME_ORIGIN}
    async with streaming(api.app.api, await path_with_ticket(api, headers), None) as stream:
        assert stream.status == 200
        frames = await stream.all_of_it()
        assert frames[-1].comments == [ENDED]
        assert stream.complete


async def test_a_ticket_and_its_stream_end_when_all_sessions_were_ended(api: Service, clock: ManualClock) -> None:
    path = await path_with_ticket(api, {"cookie": await cookie_of(api, every=True), **SAME_ORIGIN})
    async with streaming(api.app.api, path, None) as stream:
        await api.create(passthrough_step("a"))
        assert (await stream.frames(1))[-1].type == "workflow.created"
        await api.app.stores.database.sign_ins.end_all()
        clock.advance(FRESH_S)
        await api.create(passthrough_step("a"))
        frames = await stream.all_of_it()
        assert frames[-1].comments == [ENDED]
    async with streaming(api.app.api, path, None) as stream:
        assert stream.status == 403
    by_token = await path_with_ticket(api, {"Authorization": f"Bearer {token()}"})
    async with streaming(api.app.api, by_token, None) as stream:
        assert stream.status == 200


async def test_a_ticket_and_its_stream_end_with_the_token_that_got_the_ticket(tmp_path: Path) -> None:
    clock = ManualClock(DatabaseClock().now().replace(microsecond=0) + timedelta(seconds=3_609.8))
    async with running_service(MemoryDatabase(clock), tmp_path) as service:
        path = await path_with_ticket(service, {"Authorization": f"Bearer {token()}"})
        async with streaming(service.app.api, path, None) as stream:
            assert stream.status == 200
            frames = await stream.all_of_it()
            assert frames[-1].comments == [ENDED]
        clock.advance(10)
        async with streaming(service.app.api, path, None) as stream:
            assert stream.status == 403
