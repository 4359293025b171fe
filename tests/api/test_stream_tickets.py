"""Tickets for streams: what they open, for how long, and what they don't."""

import io
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from stepwell.api.operations import Permission
from stepwell.domain.access import stream_tickets as tickets_module
from stepwell.domain.access.stream_tickets import StreamTickets, Ticket
from stepwell.domain.tenancy import EVERY_TENANT, TenantScope
from stepwell.telemetry import REDACTED, redact
from support.fakes.service import FixedClock
from support.providers.configured_by_steps import WORKFLOWS, passing
from support.service.conformance import conforming_client
from support.service.live_service import SECRET, Service, token
from support.service.sse_client import streaming

TICKETS, FEED = "/api/v1/events/tickets", "/api/v1/events"
live_test = pytest.mark.asyncio(loop_scope="module")
NEVER_ISSUED = ["", "x", "é", "A" * 40, "A" * 5_000, "-_" * 30, "=" * 44]


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def tickets(clock: FixedClock) -> StreamTickets:
    return StreamTickets(SECRET.encode(), clock.now)


@pytest.mark.parametrize("scope", [EVERY_TENANT, TenantScope("acme"), TenantScope(None), TenantScope("é\U0001f600")])
def test_it_says_what_it_was_made_with(tickets: StreamTickets, clock: FixedClock, scope: TenantScope) -> None:
    text, expires = tickets.issue("someone", scope)
    assert expires == (clock.at + timedelta(seconds=60)).replace(microsecond=0)
    assert tickets.read(text) == Ticket("someone", scope.tenant, scope.every, int(expires.timestamp()))
    found = tickets.read(text)
    assert found is not None
    assert found.scope == scope


def test_it_ends(tickets: StreamTickets, clock: FixedClock) -> None:
    text, expires = tickets.issue("someone", EVERY_TENANT)
    clock.at = expires - timedelta(milliseconds=1)
    assert tickets.read(text) is not None
    clock.at = expires
    assert tickets.read(text) is None


def test_it_can_not_be_made_up(tickets: StreamTickets, clock: FixedClock) -> None:
    text, _ = tickets.issue("someone", TenantScope("acme"))
    others = StreamTickets(b"another secret, as long as it has to be", clock.now)
    assert others.read(text) is None
    for at in range(len(text) - 1):
        assert tickets.read(text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]) is None
        assert tickets.read(text[:at]) is None
    for made_up in NEVER_ISSUED:
        assert tickets.read(made_up) is None


def test_no_other_notation_of_a_ticket_is_accepted(tickets: StreamTickets) -> None:
    texts = [tickets.issue("x" * length, TenantScope("é\u00ff")) for length in range(1, 4)]
    assert {len(text) % 4 for text, _ in texts} == {0, 2, 3}
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for text, _ in texts:
        assert tickets.read(text) is not None
        padding = "=" * (-len(text) % 4)
        trailing = [text[:-1] + letter for letter in letters if letter != text[-1]]
        others = {
            f"{text}=",
            f"{text}==",
            f"{text}====",
            text + padding,
            f" {text}",
            f"{text}\n",
            f"{text[:4]}!{text[4:]}",
        }
        plain = text.replace("-", "+").replace("_", "/")
        for other in (others | {*trailing, plain, f"{text[:8]}\r\n{text[8:]}"}) - {text}:
            assert tickets.read(other) is None, other


def test_it_stands_in_no_log() -> None:
    assert redact(None, "info", {"ticket": "abc", "event": "e"}) == {"ticket": REDACTED, "event": "e"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def workflow_id(live: Service) -> AsyncIterator[str]:
    created = await live.create(passing("a"), origin_tenant_id="acme")
    await live.until_ended(created["id"])
    yield created["id"]


async def issued(live: Service, tenant: str | None = None, *, every: bool = False) -> str:
    async with live.as_tenant(tenant, every=every, permissions=(Permission.READ,)) as client:
        answer = await client.post(TICKETS)
    assert answer.status_code == 201, answer.text
    ticket: str = answer.json()["ticket"]
    return ticket


@live_test
async def test_it_opens_what_its_token_may_see(live: Service, workflow_id: str) -> None:
    one = f"{WORKFLOWS}{workflow_id}/events"
    for tenant, every, status in (("acme", False, 200), (None, True, 200), ("other", False, 404), (None, False, 404)):
        ticket = await issued(live, tenant, every=every)
        async with streaming(live.app.api, f"{one}?after=1&ticket={ticket}", None) as stream:
            assert stream.status == status
            if status == 200:
                assert next(frame.id for frame in await stream.rest()) == "2"
        async with conforming_client(live.app.api) as client:
            answer = await client.get(f"{FEED}?ticket={ticket}")
            assert answer.status_code == 200
            assert bool(answer.json()["events"]) == (status == 200)


@live_test
async def test_it_opens_nothing_else(live: Service, workflow_id: str) -> None:
    ticket = await issued(live, every=True)
    async with conforming_client(live.app.api) as client:
        for method, path in (
            ("GET", f"{WORKFLOWS}{workflow_id}"),
            ("GET", f"{WORKFLOWS}{workflow_id}/tasks"),
            ("GET", WORKFLOWS),
            ("POST", TICKETS),
            ("DELETE", f"{WORKFLOWS}{workflow_id}"),
        ):
            answer = await client.request(method, path, params={"ticket": ticket})
            assert answer.status_code == 401, path


@live_test
async def test_the_token_counts_more(live: Service, workflow_id: str) -> None:
    path, ticket = f"{WORKFLOWS}{workflow_id}/events", await issued(live, every=True)
    async with live.as_tenant("other") as client:
        assert (await client.get(path, params={"ticket": ticket})).status_code == 404
    async with conforming_client(live.app.api, "no token") as client:
        assert (await client.get(path, params={"ticket": ticket})).status_code == 401


@live_test
async def test_what_is_refused(live: Service, workflow_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path, ticket = f"{WORKFLOWS}{workflow_id}/events", await issued(live, "acme")
    async with conforming_client(live.app.api) as client:
        assert (await client.get(path)).status_code == 401
        for wrong in NEVER_ISSUED:
            assert (await client.get(path, params={"ticket": wrong})).status_code == 403
        assert (await client.get(path, params={"ticket": [ticket, ticket]})).status_code == 422
        monkeypatch.setattr(tickets_module, "TICKET_S", 0)
        answer = await client.get(path, params={"ticket": await issued(live, "acme")})
        assert (answer.status_code, answer.json()["detail"]) == (403, "The ticket has expired, or is not valid.")
    async with live.as_tenant("acme", permissions=(Permission.WRITE,)) as client:
        assert (await client.post(TICKETS)).status_code == 403
    async with live.as_tenant("acme") as client:
        answer = await client.post(TICKETS, json={"for": "ever"})
        assert answer.status_code == 422


@live_test
async def test_it_is_in_no_answer_and_no_log(live: Service, workflow_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even when all goes wrong."""
    ticket, said = await issued(live, "acme"), io.StringIO()
    handler = logging.StreamHandler(said)
    logging.getLogger().addHandler(handler)

    async def broken(*_: Any) -> None:
        raise RuntimeError("nobody has foreseen this")

    monkeypatch.setattr(live.app.service.following._feed, "history", broken)
    path = f"{WORKFLOWS}{workflow_id}/events?ticket={ticket}"
    try:
        async with conforming_client(live.app.api) as client:
            answers = [
                await client.get(f"{path}&after=x"),
                await client.get(f"{WORKFLOWS}nobody/events?ticket={ticket}"),
            ]
        async with streaming(live.app.api, path, None) as stream:
            assert stream.status == 500
            text = await stream.text()
    finally:
        logging.getLogger().removeHandler(handler)
    assert [answer.status_code for answer in answers] == [422, 404]
    assert ticket not in said.getvalue() + text + "".join(answer.text for answer in answers)
    assert token() != ticket
