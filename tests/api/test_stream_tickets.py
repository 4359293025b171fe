"""Tickets for streams: what they open, for how long, and what they don't."""

import io
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.contract.scopes import Permission
from stepwell.rules.access.stream_tickets import StreamTickets, Ticket
from stepwell.runtime.telemetry import REDACTED, redact
from stepwell.testing import ManualClock
from support.providers.configured_by_steps import WORKFLOWS, passthrough_step
from support.service.conformance import conforming_client
from support.service.live_service import SECRET, Service, token
from support.service.sse_client import streaming

TICKETS, FEED = "/api/v1/events/tickets", "/api/v1/events"
in_module_loop = pytest.mark.asyncio(loop_scope="module")
NEVER_ISSUED = ["", "x", "é", "A" * 40, "A" * 5_000, "-_" * 30, "=" * 44]


@pytest.fixture
def ticket_clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def tickets(ticket_clock: ManualClock) -> StreamTickets:
    return StreamTickets(SECRET.encode(), ticket_clock.now)


@pytest.mark.parametrize("scope", [EVERY_TENANT, TenantScope("acme"), TenantScope(None), TenantScope("é\U0001f600")])
def test_a_ticket_carries_its_subject_and_scope_for_a_minute(
    tickets: StreamTickets, ticket_clock: ManualClock, scope: TenantScope
) -> None:
    text, expires = tickets.issue("someone", scope)
    assert expires == (ticket_clock.now() + timedelta(seconds=60)).replace(microsecond=0)
    assert tickets.read(text) == Ticket("someone", scope, expires)


def test_a_ticket_carries_the_workflow_that_it_is_for(tickets: StreamTickets) -> None:
    workflow_id = uuid4()
    ticket = tickets.read(tickets.issue("someone", TenantScope("acme"), workflow_id)[0])
    assert ticket is not None
    assert ticket.workflow_id == workflow_id


def test_a_ticket_expires_after_a_minute(tickets: StreamTickets, ticket_clock: ManualClock) -> None:
    text, _ = tickets.issue("someone", EVERY_TENANT)
    ticket_clock.advance(59.999)
    assert tickets.read(text) is not None
    ticket_clock.advance(0.001)
    assert tickets.read(text) is None


def test_a_changed_or_made_up_ticket_is_refused(tickets: StreamTickets, ticket_clock: ManualClock) -> None:
    text, _ = tickets.issue("someone", TenantScope("acme"))
    others = StreamTickets(b"another secret, as long as it has to be", ticket_clock.now)
    assert others.read(text) is None
    for at in range(len(text) - 1):
        assert tickets.read(text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]) is None
        assert tickets.read(text[:at]) is None
    for made_up in NEVER_ISSUED:
        assert tickets.read(made_up) is None


def test_a_ticket_is_redacted_in_logs() -> None:
    assert redact(None, "info", {"ticket": "abc", "event": "e"}) == {"ticket": REDACTED, "event": "e"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def workflow_id(api: Service) -> AsyncIterator[str]:
    created = await api.create(passthrough_step("a"), origin_tenant_id="acme")
    await api.until_ended(created["id"])
    yield created["id"]


async def issued(api: Service, tenant: str | None = None, *, every: bool = False, **body: str) -> str:
    async with api.as_tenant(tenant, every=every, permissions=(Permission.READ,)) as client:
        response = await (client.post(TICKETS, json=body) if body else client.post(TICKETS))
    assert response.status_code == 200, response.text
    ticket: str = response.json()["ticket"]
    return ticket


@in_module_loop
async def test_a_ticket_opens_the_streams_that_its_token_may_see(api: Service, workflow_id: str) -> None:
    one = f"{WORKFLOWS}{workflow_id}/events"
    for tenant, every, status in (("acme", False, 200), (None, True, 200), ("other", False, 404), (None, False, 404)):
        ticket = await issued(api, tenant, every=every)
        async with streaming(api.app.api, f"{one}?after=1&ticket={ticket}", None) as stream:
            assert stream.status == status
            if status == 200:
                assert next(frame.id for frame in await stream.rest()) == "2"
        async with conforming_client(api.app.api) as client:
            response = await client.get(f"{FEED}?ticket={ticket}")
            assert response.status_code == 200
            assert bool(response.json()["events"]) == (status == 200)


@in_module_loop
async def test_a_ticket_for_one_workflow_opens_its_stream_alone(api: Service, workflow_id: str) -> None:
    other = (await api.create(passthrough_step("a"), origin_tenant_id="acme"))["id"]
    await api.until_ended(other)
    ticket = await issued(api, "acme", workflow_id=workflow_id)
    async with conforming_client(api.app.api) as client:
        for path, status in (
            (f"{WORKFLOWS}{workflow_id}/events", 200),
            (f"{WORKFLOWS}{workflow_id.upper()}/events/", 200),
            (f"{WORKFLOWS}{other}/events", 403),
            (f"{WORKFLOWS}nobody/events", 403),
            (FEED, 403),
        ):
            response = await client.get(path, params={"ticket": ticket})
            assert response.status_code == status, path
            assert response.headers["referrer-policy"] == "no-referrer"
            assert response.headers["cache-control"] == "no-store"
    async with streaming(api.app.api, f"{WORKFLOWS}{workflow_id}/events?ticket={ticket}", None) as stream:
        assert stream.status == 200


@in_module_loop
async def test_a_ticket_needs_a_workflow_that_its_token_may_see(api: Service, workflow_id: str) -> None:
    for tenant, body, status in (
        ("acme", {"workflow_id": None}, 200),
        ("other", {"workflow_id": workflow_id}, 404),
        ("acme", {"workflow_id": "0197a5f0-1c2d-7e3f-8a4b-5c6d7e8f9a0b"}, 404),
        ("acme", {"workflow_id": "x"}, 422),
        ("acme", [], 422),
    ):
        async with api.as_tenant(tenant) as client:
            assert (await client.post(TICKETS, json=body)).status_code == status, body


@in_module_loop
async def test_a_ticket_opens_nothing_but_streams(api: Service, workflow_id: str) -> None:
    ticket = await issued(api, every=True)
    async with conforming_client(api.app.api) as client:
        for method, path in (
            ("GET", f"{WORKFLOWS}{workflow_id}"),
            ("GET", f"{WORKFLOWS}{workflow_id}/tasks"),
            ("GET", WORKFLOWS),
            ("POST", TICKETS),
            ("DELETE", f"{WORKFLOWS}{workflow_id}"),
        ):
            response = await client.request(method, path, params={"ticket": ticket})
            assert response.status_code == 401, path


@in_module_loop
async def test_a_token_takes_precedence_over_a_ticket(api: Service, workflow_id: str) -> None:
    path, ticket = f"{WORKFLOWS}{workflow_id}/events", await issued(api, every=True)
    async with api.as_tenant("other") as client:
        assert (await client.get(path, params={"ticket": ticket})).status_code == 404
    async with conforming_client(api.app.api, "no token") as client:
        assert (await client.get(path, params={"ticket": ticket})).status_code == 401


@in_module_loop
async def test_tickets_that_are_wrong_repeated_or_expired_are_refused(
    api: Service, workflow_id: str, clock: ManualClock
) -> None:
    path, ticket = f"{WORKFLOWS}{workflow_id}/events", await issued(api, "acme")
    async with conforming_client(api.app.api) as client:
        assert (await client.get(path)).status_code == 401
        for wrong in NEVER_ISSUED:
            assert (await client.get(path, params={"ticket": wrong})).status_code == 403
        assert (await client.get(path, params={"ticket": [ticket, ticket]})).status_code == 422
        clock.advance(61)
        response = await client.get(path, params={"ticket": ticket})
        assert (response.status_code, response.json()["detail"]) == (403, "The ticket has expired, or is not valid.")
    async with api.as_tenant("acme", permissions=(Permission.WRITE,)) as client:
        assert (await client.post(TICKETS)).status_code == 403
    async with api.as_tenant("acme") as client:
        response = await client.post(TICKETS, json={"for": "ever"})
        assert response.status_code == 422


@in_module_loop
async def test_a_ticket_is_in_no_response_and_no_log_even_after_an_unexpected_error(
    api: Service, workflow_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket, said = await issued(api, "acme"), io.StringIO()
    handler = logging.StreamHandler(said)
    logging.getLogger().addHandler(handler)

    def fail(*_: Any) -> None:
        raise RuntimeError("nobody has foreseen this")

    monkeypatch.setattr(api.app.services.subscriptions, "follow", fail)
    path = f"{WORKFLOWS}{workflow_id}/events?ticket={ticket}"
    try:
        async with conforming_client(api.app.api) as client:
            responses = [
                await client.get(f"{path}&after=x"),
                await client.get(f"{WORKFLOWS}nobody/events?ticket={ticket}"),
            ]
        async with streaming(api.app.api, path, None) as stream:
            assert stream.status == 500
            text = await stream.text()
    finally:
        logging.getLogger().removeHandler(handler)
    assert [response.status_code for response in responses] == [422, 404]
    assert ticket not in said.getvalue() + text + "".join(response.text for response in responses)
    assert token() != ticket
