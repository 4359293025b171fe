"""Webhooks are delivered in spite of slow hosts, outages and crashes, and never into a private network.

Statements are counted, and rows and logs are searched for a secret, on PostgreSQL, because these are its adapters'.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from outbound.guard_cases import GOOD, REFUSED
from outbound.guard_network import Network, Records
from stepwell.api.openapi.webhook_payloads import Payloads
from stepwell.basics.errors import Unavailable
from stepwell.basics.setting_values import Networks
from stepwell.contract.enums import DeliveryStatus
from stepwell.engine.webhooks.deliverer import SendLimits
from stepwell.outbound.address_policy import AddressPolicy
from stepwell.outbound.http_client import plain_client
from stepwell.outbound.ssrf_guard import GuardedTransport
from stepwell.testing import ManualClock, MemoryDatabase
from stepwell.testing.memory_tables import DeliveryRow
from support.database.postgres import connected
from support.database.statement_recorder import statements_sent, until_quiet
from support.emulators.webhook_receiver import HANG, WebhookReceiver, response_of, running_sink
from support.providers.scripted import ScriptedProvider, eventually, scripted_step
from support.service.live_service import WEBHOOK_SECRET, Service, running_service
from support.service.webhook_requests import deliverer_of, delivery_after

PER_LANE = SendLimits().per_lane
PUBLIC = "93.184.216.34"


@pytest.fixture
async def sink() -> AsyncIterator[WebhookReceiver]:
    async with running_sink() as sink:
        yield sink


Start = Callable[..., Awaitable[Service]]


@pytest.fixture
def memory(memory_in_real_time: MemoryDatabase) -> MemoryDatabase:
    """The database in memory, in which delays and leases pass in real time."""
    return memory_in_real_time


@pytest.fixture
async def start(memory: MemoryDatabase, tmp_path: Path) -> AsyncIterator[Start]:
    """Start services on one database. They run until the end of the test."""
    async with AsyncExitStack() as stack:

        async def start_service(**settings: Any) -> Service:
            running = running_service(memory, tmp_path, providers=[ScriptedProvider()], **({"grace_s": 1} | settings))
            return await stack.enter_async_context(running)

        yield start_service


@pytest.fixture
async def service_on_postgres(dsn: str, tmp_path: Path) -> AsyncIterator[Service]:
    async with running_service(dsn, tmp_path, providers=[ScriptedProvider()], grace_s=1, log_level="debug") as service:
        yield service


async def run_with_webhook(service: Service, url: str) -> str:
    """Run a workflow to its end, with *url* as its webhook, and return its id."""
    created = await service.create(scripted_step("a"), webhook_url=url)
    workflow_id: str = (await service.until_ended(created["id"]))["id"]
    return workflow_id


def rows_of(memory: MemoryDatabase) -> list[DeliveryRow]:
    return [row for workflow in memory.tables.workflows.values() for row in workflow.deliveries.values()]


def only_row(memory: MemoryDatabase) -> DeliveryRow:
    """Return the row of the only delivery."""
    (row,) = rows_of(memory)
    return row


async def until_tried(memory: MemoryDatabase) -> None:
    """Wait until the first attempt at the only delivery is recorded."""
    await eventually(lambda: only_row(memory).tries == 1, "it is tried")


async def until_delivered(memory: MemoryDatabase) -> None:
    """Wait until the only delivery is delivered."""
    await eventually(lambda: only_row(memory).status is DeliveryStatus.DELIVERED, "it is delivered")


async def kill(service: Service) -> None:
    """Stop the engine as a killed process stops: it releases nothing."""
    service.app.running.cancel()
    await asyncio.wait({service.app.running})


class TestSlowReceivers:
    async def test_a_slow_host_delays_no_other(
        self, start: Start, memory: MemoryDatabase, sink: WebhookReceiver
    ) -> None:
        service = await start(webhook_timeout_s=60)
        async with running_sink("127.0.0.2", response=HANG) as slow:
            behind = [service.create(scripted_step("a"), webhook_url=slow.url()) for _ in range(40)]
            await asyncio.gather(*behind)
            await slow.until(PER_LANE)
            await asyncio.gather(*(service.create(scripted_step("a"), webhook_url=sink.url()) for _ in range(60)))
            received = await sink.until(60)
            assert len({one.id for one in received}) == 60
            assert sink.peak <= PER_LANE
            assert (len(slow.received), slow.peak) == (PER_LANE, PER_LANE)
            slow.response = response_of(200)
            slow.gate.set()
            assert len({one.id for one in await slow.until(40)}) == len(slow.received) == 40
            await eventually(lambda: deliverer_of(service).sending == 0)
        assert {row.status for row in rows_of(memory)} == {DeliveryStatus.DELIVERED}
        deliverer = deliverer_of(service)
        assert (deliverer.next_due, deliverer.state_size) == (None, 0)

    async def test_a_tenant_has_at_most_its_share_of_the_sends(self, start: Start) -> None:
        service = await start()
        deliverer_of(service).limits = SendLimits(per_tenant=5)
        async with AsyncExitStack() as stack:
            hosts = [f"127.0.0.{number}" for number in range(2, 5)]
            sinks = [await stack.enter_async_context(running_sink(host, response=HANG)) for host in hosts]
            for sink in sinks:
                for _ in range(3):
                    await service.create(scripted_step("a"), webhook_url=sink.url(), origin_tenant_id="a")
            await eventually(lambda: sum(sink.busy for sink in sinks) == 5)
            other = await stack.enter_async_context(running_sink("127.0.0.5"))
            await service.create(scripted_step("a"), webhook_url=other.url(), origin_tenant_id="b")
            await other.until(1)
            assert sum(sink.busy for sink in sinks) == 5
            for sink in sinks:
                sink.gate.set()
            for sink in sinks:
                await sink.until(3)

    async def test_no_statement_is_sent_while_nothing_is_due(
        self, service_on_postgres: Service, sink: WebhookReceiver
    ) -> None:
        service = service_on_postgres
        sink.response = response_of(500)
        workflow_id = await run_with_webhook(service, sink.url())
        await delivery_after(service, workflow_id)
        await eventually(lambda: deliverer_of(service).sending == 0)
        await eventually(lambda: deliverer_of(service).next_due is not None and deliverer_of(service).waiting)
        await until_quiet(service)
        sent = statements_sent(service)
        await asyncio.sleep(0.2)
        assert statements_sent(service) == sent
        assert service.app.metrics.value("stepwell_webhooks_retried_total") == 1


class FaultyOutbox:
    """Methods of an outbox, each of which fails twice: once before it takes effect, and once after."""

    def __init__(self, methods: Mapping[str, Callable[..., Any]]) -> None:
        self._methods = methods
        self.faults = {name: ["before", "after"] for name in methods}

    def __getattr__(self, name: str) -> Any:
        call = self._methods[name]

        async def call_with_fault(*args: Any) -> Any:
            fault = self.faults[name].pop() if self.faults.get(name) else None
            if fault == "before":
                raise Unavailable("the database is away")
            outcome = await call(*args)
            if fault == "after":
                raise Unavailable("the outcome is lost")
            return outcome

        return call_with_fault


class TestOutagesAndFailures:
    async def test_an_outage_repeats_no_send(
        self, start: Start, memory: MemoryDatabase, sink: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        service = await start()
        deliverer = deliverer_of(service)
        for module in ("stepwell.runtime.outages", "stepwell.engine.webhooks.deliverer"):
            monkeypatch.setattr(f"{module}.OUTAGE_RETRY_S", 0.01)
        outbox = service.app.stores.database.outbox
        faulty = FaultyOutbox({name: getattr(outbox, name) for name in ("due", "freeze", "record")})
        for name in faulty.faults:
            monkeypatch.setattr(outbox, name, getattr(faulty, name))
        await run_with_webhook(service, sink.url())
        await until_delivered(memory)
        await eventually(lambda: deliverer.sending == 0)
        assert faulty.faults == {"due": [], "freeze": [], "record": []}
        assert (len(sink.received), len(only_row(memory).attempts)) == (1, 1)

    async def test_a_payload_that_cannot_be_built_is_a_failed_attempt(
        self, start: Start, memory: MemoryDatabase, sink: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        service = await start()
        deliverer = deliverer_of(service)

        build, builds = Payloads.__call__, list[object]()

        async def broken_at_first(*args: Any) -> str:
            builds.append(args)
            if len(builds) == 1:
                raise ValueError("a secret detail")
            return await build(*args)

        deliverer.delays_s = [0.0, 0.1]
        monkeypatch.setattr(Payloads, "__call__", broken_at_first)
        await run_with_webhook(service, sink.url())
        await until_delivered(memory)
        attempt, _ = only_row(memory).attempts
        assert attempt.error == "the service could not make it; its log says why"
        assert "detail" not in repr(attempt)

    async def test_stopping_waits_for_a_send_in_flight(
        self, start: Start, memory: MemoryDatabase, sink: WebhookReceiver
    ) -> None:
        service = await start(grace_s=20)
        sink.responses = [HANG]
        await run_with_webhook(service, sink.url())
        await sink.until(1)
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            stopping = group.create_task(asyncio.wait_for(service.app.stop(), 30))
            await eventually(lambda: deliverer_of(service).closed)
            await asyncio.sleep(0)
            assert not stopping.done()
            sink.gate.set()
        assert only_row(memory).status is DeliveryStatus.DELIVERED

    async def test_a_send_cut_off_by_the_stop_is_repeated_byte_for_byte(
        self, start: Start, memory: MemoryDatabase, sink: WebhookReceiver
    ) -> None:
        service = await start()
        sink.responses = [HANG]
        workflow_id = await run_with_webhook(service, sink.url())
        await sink.until(1)
        await service.app.stop()
        assert only_row(memory).status is DeliveryStatus.PENDING
        # A payload that is built again would differ.
        memory.states()[0].name = "changed"
        await start()
        first, second = await sink.until(2, workflow_id)
        assert (first.id, first.body) == (second.id, second.body)
        await until_delivered(memory)


class TestSeveralProcesses:
    @pytest.fixture
    def memory(self, clock: ManualClock) -> MemoryDatabase:
        """The database in memory, in which leases end when the test says so."""
        return MemoryDatabase(clock)

    async def test_another_process_takes_over_from_a_dead_one(
        self, start: Start, memory: MemoryDatabase, clock: ManualClock, sink: WebhookReceiver
    ) -> None:
        """All workflows of the dead process have ended. It leaves one webhook, due after the end of its lease."""
        dead = await start(exclusive=False, lease_s=1.0)
        deliverer_of(dead).delays_s = [0.0, 3.0]
        sink.responses = [response_of(500)]
        workflow_id = await run_with_webhook(dead, sink.url())
        await until_tried(memory)
        row = only_row(memory)
        first_owner = row.owner
        living = await start(exclusive=False, lease_s=1.0)
        await kill(dead)
        await living.create(scripted_step("a"), webhook_url="http://127.0.0.1:9/")  # with work, it looks for the dead
        async with asyncio.timeout(60):
            while row.status is not DeliveryStatus.DELIVERED:
                clock.advance(0.1)
                await asyncio.sleep(0.002)
        assert row.owner != first_owner
        _, second = sink.of(workflow_id)
        assert second.payload["data"]["id"] == workflow_id
        assert len(row.attempts) == 2

    async def test_no_process_takes_over_from_one_that_waits_for_a_response(
        self, start: Start, memory: MemoryDatabase, clock: ManualClock, sink: WebhookReceiver
    ) -> None:
        one = await start(exclusive=False, lease_s=3.0)
        sink.responses = [HANG]
        workflow_id = await run_with_webhook(one, sink.url())
        await sink.until(1)
        other = await start(exclusive=False, lease_s=3.0)
        owner, leases = only_row(memory).owner, memory.tables.processes
        assert owner is not None
        for _ in range(5):  # long after the first lease would have ended
            before = leases[owner]
            async with asyncio.timeout(60):
                while leases[owner] <= before:
                    clock.advance(0.02)
                    await asyncio.sleep(0)
        await other.app.engine.ownership._round()
        await deliverer_of(other).take_over()
        assert only_row(memory).owner == owner
        sink.gate.set()
        await until_delivered(memory)
        assert len(sink.of(workflow_id)) == 1

    async def test_the_next_process_takes_over_at_its_start(
        self, start: Start, memory: MemoryDatabase, sink: WebhookReceiver
    ) -> None:
        service = await start()
        sink.response = response_of(500)
        workflow_id = await run_with_webhook(service, sink.url())
        await until_tried(memory)
        await kill(service)
        only_row(memory).next_at = memory.clock.now()
        sink.response = response_of(204)
        await start()
        await sink.until(2, workflow_id)
        await until_delivered(memory)


class TestUrls:
    @pytest.mark.parametrize("verb", ["create", "update"])
    async def test_a_malformed_or_private_url_is_refused(self, start: Start, verb: str) -> None:
        service = await start(allowed_cidrs=Networks())
        created = await service.create(scripted_step("a"), start=False)

        async def request_with(url: str) -> Any:
            if verb == "update":
                return await service.client.patch(f"/api/v1/workflows/{created['id']}", json={"webhook_url": url})
            body = {"name": "n", "origin_instance": "o", "steps": [scripted_step("a")], "webhook_url": url}
            return await service.client.post("/api/v1/workflows/?start=false", json=body)

        for case in REFUSED:
            url = case.replace("{port}", "9000")
            if len(url) > 512 or "\x00" in url or "\ud800" in url:
                continue  # refused by another rule
            response = await request_with(url)
            assert response.status_code == 422, url
            assert [fault["loc"] for fault in response.json()["detail"]] == [["body", "webhook_url"]], url
        for case in GOOD:
            url = case.replace("{port}", "9000")
            if len(url) <= 512:
                assert (await request_with(url)).status_code in (200, 201), url

    async def test_only_https_is_accepted_if_set_so(self, start: Start) -> None:
        service = await start(allowed_cidrs=Networks(), https_only=True)
        created = await service.create(scripted_step("a"), start=False)
        for url, status in (("http://hooks.example/", 422), ("https://hooks.example/", 200)):
            response = await service.client.patch(f"/api/v1/workflows/{created['id']}", json={"webhook_url": url})
            assert response.status_code == status

    async def test_a_name_that_resolves_to_a_private_address_is_not_reached(
        self, start: Start, memory: MemoryDatabase, sink: WebhookReceiver
    ) -> None:
        service = await start(allowed_cidrs=Networks())
        deliverer_of(service).delays_s = [0.0] * 3
        network = Network()
        records = Records(["127.0.0.1"], [PUBLIC, "10.0.0.1"], [PUBLIC])
        transport = GuardedTransport(AddressPolicy(), resolver=records, network=network)
        async with plain_client(transport) as client:
            deliverer_of(service)._sender._client = client  # type: ignore[attr-defined]
            workflow_id = await run_with_webhook(service, f"http://hooks.example:{sink.port}/hook")
            await sink.until(1)
            await until_delivered(memory)
        (delivery,) = (await service.client.get(f"/api/v1/workflows/{workflow_id}/deliveries")).json()["deliveries"]
        assert [(one["code"], one["error"]) for one in delivery["attempts"]] == [
            (None, "hooks.example may not be reached from here; STEPWELL_ALLOWED_CIDRS can allow it"),
            (None, "hooks.example may not be reached from here; STEPWELL_ALLOWED_CIDRS can allow it"),
            (200, None),
        ]
        assert (network.dialled, sink.connections) == ([PUBLIC], 1)
        assert sink.received[0].headers["host"] == f"hooks.example:{sink.port}"


@pytest.mark.usefixtures("debug_logging")
async def test_no_secret_appears_in_responses_rows_or_logs(
    service_on_postgres: Service, sink: WebhookReceiver, capfd: pytest.CaptureFixture[str]
) -> None:
    service = service_on_postgres
    headers: Mapping[str, str] = {"retry_after": WEBHOOK_SECRET, "x_secret": WEBHOOK_SECRET}
    sink.responses = [
        response_of(500, WEBHOOK_SECRET.encode(), **headers),
        b"HTTP/1.1 " + WEBHOOK_SECRET.encode() + b"\r\n\r\n",
    ]
    deliverer_of(service).delays_s = [0.0] * 3
    workflow_id = await run_with_webhook(service, sink.url())
    await delivery_after(service, workflow_id, attempts=3)
    path = f"/api/v1/workflows/{workflow_id}"
    responses = [(await service.client.get(path + more)).text for more in ("", "/events", "/deliveries", "/tasks")]
    responses += [(await service.client.get(more)).text for more in ("/metrics", "/schema/openapi.json")]
    async with connected(service.dsn) as sql:
        rows = [str(row) for row in await sql.fetch("SELECT t::text FROM deliveries AS t")]
    secret = WEBHOOK_SECRET.removeprefix("whsec_").rstrip("=")
    for text in (
        *responses,
        *rows,
        capfd.readouterr().err,
        repr(service.app.process.settings.signing_secrets),
    ):
        assert secret not in text
