"""Webhooks over real sockets: their payloads, their signatures, and the status that each response leads to."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from msgspec import json
from standardwebhooks.webhooks import WebhookVerificationError

from stepwell.api.openapi.webhook_payloads import SHORTEST_STEP
from stepwell.api.responses.serializers import step_to_public
from stepwell.contract.definition import WorkflowStepDefinition
from stepwell.contract.enums import TaskType
from stepwell.lifecycle.model import StepState
from stepwell.lifecycle.records import StepRecord
from stepwell.lifecycle.steps import ResolvedStep
from stepwell.rules.webhook_secrets import SigningSecrets, TenantSecrets
from stepwell.testing import MemoryDatabase
from support.emulators.webhook_receiver import CLOSE, HANG, Received, WebhookReceiver, response_of, running_sink
from support.providers.scripted import Fail, Hang, ScriptedProvider, eventually, passthrough_step, scripted_step
from support.service.conformance import conformance
from support.service.live_service import WEBHOOK_SECRET, Service, running_service
from support.service.webhook_requests import deliverer_of, deliveries, delivery_after, run_with_webhook

OLD = "whsec_YW4gb2xkIHNlY3JldCBvZiB0aGUgdGVzdHMhISE="
URL_BASE = "http://127.0.0.1:9000/api/v1/workflows/"  # the base of signed URLs
ACMES = "whsec_YWNtZSdzIG93biBzZWNyZXQsIGxvbmcgZW5vdWdoIQ=="


@pytest.fixture
def memory(memory_in_real_time: MemoryDatabase) -> MemoryDatabase:
    """Its time is real, because receivers on real sockets let the service wait."""
    return memory_in_real_time


@pytest.fixture
async def sink() -> AsyncIterator[WebhookReceiver]:
    async with running_sink() as sink:
        yield sink


@pytest.fixture
def provider() -> ScriptedProvider:
    return ScriptedProvider(script={"breaks": [Fail(retryable=False)], "waits": [Hang()]})


@pytest.fixture
async def service(memory: MemoryDatabase, tmp_path: Path, provider: ScriptedProvider) -> AsyncIterator[Service]:
    async with running_service(memory, tmp_path, providers=[provider], grace_s=1) as service:
        yield service


@pytest.fixture
async def impatient_service(
    memory: MemoryDatabase, tmp_path: Path, provider: ScriptedProvider
) -> AsyncIterator[Service]:
    """A service that hardly waits for a receiver's response."""
    async with running_service(memory, tmp_path, providers=[provider], webhook_timeout_s=0.1, grace_s=1) as service:
        yield service


def assert_conforms(received: Received, kind: str) -> None:
    """Assert that the request is as the OpenAPI document describes it."""
    described = conformance().document["webhooks"][kind]["post"]
    schema = described["requestBody"]["content"]["application/json"]["schema"]
    conformance().validator(schema).validate(received.payload)
    assert {each["name"] for each in described["parameters"]} <= received.headers.keys()


class TestPayloads:
    @pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
    async def test_each_end_is_sent_once_with_the_whole_workflow(
        self, service: Service, sink: WebhookReceiver, end: str
    ) -> None:
        step = scripted_step({"completed": "a", "failed": "breaks", "cancelled": "waits"}[end])
        created = await service.create(step, webhook_url=sink.url(), origin_reference="r")
        if end == "cancelled":
            assert (await service.verb(created["id"], "cancel")).status_code == 200
        workflow = await service.until_ended(created["id"])
        (received,) = await sink.until(1)
        delivery = await delivery_after(service, created["id"])
        assert (delivery["status"], delivery["next_at"], delivery["type"]) == ("DELIVERED", None, f"workflow.{end}")
        (attempt,) = delivery["attempts"]
        assert (attempt["code"], attempt["answer"], attempt["error"]) == (200, "ok", None)
        assert attempt["latency_ms"] >= 0
        event = (await service.events(created["id"]))[-1]
        assert received.verified() == {"type": event["type"], "timestamp": event["at"], "data": workflow}
        assert_conforms(received, "workflow")
        assert received.id == delivery["id"] == f"evt_{created['id'].replace('-', '')}_{event['id']}"
        assert (received.path, received.headers["content-type"]) == ("/hook", "application/json")
        assert received.headers["user-agent"].startswith("stepwell/")
        assert len(sink.received) == 1

    async def test_the_end_of_a_resumed_workflow_is_sent_too(self, service: Service, sink: WebhookReceiver) -> None:
        workflow = await run_with_webhook(service, sink, scripted_step("breaks"))
        await sink.until(1)
        assert (await service.verb(workflow["id"], "resume")).status_code == 200
        await service.until_ended(workflow["id"])
        kinds = [one.payload["type"] for one in await sink.until(2)]
        assert kinds == ["workflow.failed", "workflow.completed"]

    async def test_step_events_are_sent_if_requested(self, service: Service, sink: WebhookReceiver) -> None:
        steps = scripted_step("a"), scripted_step("breaks", "a")
        workflow = await run_with_webhook(service, sink, *steps, suppress_subtask_events=False, origin_reference="mine")
        history = await service.events(workflow["id"])
        wanted = [one for one in history if one["type"].startswith("step.") or one["type"] == "workflow.failed"]
        assert len(wanted) == 5
        received = await sink.until(5)
        bodies = {int(one.id.rpartition("_")[2]): one.verified() for one in received}
        assert sorted(bodies) == [event["id"] for event in wanted]
        for event in wanted[:-1]:
            data = {
                "workflow_id": workflow["id"],
                "origin_reference": "mine",
                "origin_instance": "tests",
                "event": event,
            }
            assert_conforms(next(one for one in received if one.id.endswith(f"_{event['id']}")), "step")
            assert bodies[event["id"]] == {"type": event["type"], "timestamp": event["at"], "data": data}
        await eventually(lambda: deliverer_of(service).sending == 0)
        assert {each["status"] for each in await deliveries(service, workflow["id"])} == {"DELIVERED"}
        assert [each["id"] for each in await deliveries(service, workflow["id"], limit=2, after=wanted[0]["id"])] == [
            f"evt_{workflow['id'].replace('-', '')}_{event['id']}" for event in wanted[1:3]
        ]

    async def test_a_reused_result_is_sent_before_its_step_completes(
        self, service: Service, sink: WebhookReceiver
    ) -> None:
        first = await service.until_ended((await service.create(scripted_step("a")))["id"])
        workflow = await run_with_webhook(
            service, sink, scripted_step("a"), suppress_subtask_events=False, reuse={"from": first["id"]}
        )
        received = await sink.until(3)
        bodies = {one.verified()["type"]: one.verified() for one in received}
        assert bodies.keys() == {"step.reused", "step.completed", "workflow.completed"}
        events = {event["type"]: event for event in await service.events(workflow["id"])}
        for kind in ("step.reused", "step.completed"):
            assert bodies[kind]["data"]["event"] == events[kind]
            assert_conforms(next(one for one in received if one.payload["type"] == kind), "step")
        assert bodies["step.reused"]["data"]["event"]["data"] == {
            "workflow_id": first["id"],
            "from_task_id": first["steps"][0]["task_id"],
            "saved": None,
        }
        (step,) = bodies["workflow.completed"]["data"]["steps"]
        assert step["reused_from"] == {"workflow_id": first["id"], "task_id": first["steps"][0]["task_id"]}

    async def test_deliveries_are_listed_page_by_page(self, service: Service, sink: WebhookReceiver) -> None:
        workflow = await run_with_webhook(
            service, sink, scripted_step("a"), scripted_step("b", "a"), suppress_subtask_events=False
        )
        path, found, after = f"/api/v1/workflows/{workflow['id']}/deliveries", [], 0
        for limit, more in ((2, True), (2, True), (1, False)):
            page = (await service.client.get(path, params={"limit": limit, "after": after})).json()
            assert (len(page["deliveries"]), page["has_more"]) == (limit, more)
            found += page["deliveries"]
            after = found[-1]["event_id"]
        assert [each["event_id"] for each in found] == [int(each["id"].rpartition("_")[2]) for each in found]
        assert found[-1]["type"] == "workflow.completed"
        page = (await service.client.get(path, params={"after": after})).json()
        assert page == {"deliveries": [], "has_more": False}

    async def test_without_a_url_nothing_is_sent(self, service: Service, sink: WebhookReceiver) -> None:
        workflow = await run_with_webhook(service, sink, webhook_url=None)
        assert await deliveries(service, workflow["id"]) == []

    @pytest.mark.extended
    async def test_a_payload_of_too_many_steps_has_a_link_instead_of_them(
        self, service: Service, sink: WebhookReceiver
    ) -> None:
        workflow = await run_with_webhook(service, sink, *(passthrough_step(f"s{number}") for number in range(700)))
        bare = (await service.client.get(f"/api/v1/workflows/{workflow['id']}?include_steps=false")).json()
        (received,) = await sink.until(1)
        assert received.verified()["data"] == bare | {"link": URL_BASE + workflow["id"]}
        assert_conforms(received, "workflow")

    async def test_a_payload_of_too_long_a_result_has_a_link_instead_of_steps(
        self, service: Service, sink: WebhookReceiver
    ) -> None:
        step = {"id": "a", "task_type": "PASSTHROUGH", "config": {"text": "x" * 300_000}}
        workflow = await run_with_webhook(service, sink, step, name="long")
        (received,) = await sink.until(1)
        data = received.verified()["data"]
        assert (data["name"], data["link"]) == ("long", URL_BASE + workflow["id"])
        assert not data.keys() & {"steps", "final_step_result"}
        assert "config" in data
        assert_conforms(received, "workflow")

    def test_no_encoded_step_is_shorter_than_the_shortest(self) -> None:
        definition = WorkflowStepDefinition(id="a", task_type=TaskType.REFINE)
        resolved = ResolvedStep(
            position=0,
            step_id="a",
            task_type=TaskType.REFINE,
            depends_on=(),
            max_retries=0,
            timeout_s=1.0,
            provider=None,
            fallback=None,
        )
        record = StepRecord(uuid4(), resolved, definition, StepState(0), datetime(2026, 1, 1, tzinfo=UTC))
        assert len(json.encode(step_to_public(record))) >= SHORTEST_STEP

    async def test_cleanup_sends_the_cancellation(self, service: Service, sink: WebhookReceiver) -> None:
        created = await service.create(scripted_step("a"), start=False, webhook_url=sink.url())
        assert (await service.verb(created["id"], "cleanup")).status_code == 200
        (received,) = await sink.until(1)
        assert received.verified()["data"]["status"] == "CANCELLED"
        assert (await delivery_after(service, created["id"]))["status"] == "DELIVERED"


class TestSignatures:
    async def test_two_secrets_both_sign_during_a_rotation(
        self, memory: MemoryDatabase, tmp_path: Path, sink: WebhookReceiver
    ) -> None:
        both = SigningSecrets.read(f"{WEBHOOK_SECRET} {OLD}")
        async with running_service(memory, tmp_path, providers=[ScriptedProvider()], webhook_secret=both) as service:
            await run_with_webhook(service, sink)
            (received,) = await sink.until(1)
        assert received.verified(OLD) == received.verified(WEBHOOK_SECRET)
        with pytest.raises(WebhookVerificationError):
            received.verified(ACMES)

    @pytest.mark.parametrize("name", ["ACME_INC", "acme-inc"])
    async def test_a_tenants_own_secret_signs(
        self, memory: MemoryDatabase, tmp_path: Path, sink: WebhookReceiver, name: str
    ) -> None:
        secrets = TenantSecrets.read({name: ACMES})
        async with running_service(
            memory, tmp_path, providers=[ScriptedProvider()], webhook_secrets=secrets
        ) as service:
            await run_with_webhook(service, sink, origin_tenant_id="acme-inc")
            await run_with_webhook(service, sink, origin_tenant_id="other")
            first, second = sorted(await sink.until(2), key=lambda one: str(one.payload["data"]["origin_tenant_id"]))
        assert first.verified(ACMES)["data"]["origin_tenant_id"] == "acme-inc"
        with pytest.raises(WebhookVerificationError):
            first.verified(WEBHOOK_SECRET)
        assert second.verified(WEBHOOK_SECRET)["data"]["origin_tenant_id"] == "other"

    async def test_without_a_secret_a_url_is_refused(
        self, memory: MemoryDatabase, tmp_path: Path, sink: WebhookReceiver
    ) -> None:
        async with running_service(
            memory, tmp_path, providers=[ScriptedProvider()], webhook_secret=SigningSecrets()
        ) as service:
            created = await service.create(scripted_step("a"), start=False)
            await self.assert_refused(service, created["id"], sink)
            body = {"webhook_url": None, "description": "d"}
            assert (await service.client.patch(f"/api/v1/workflows/{created['id']}", json=body)).status_code == 200

    async def test_a_tenant_without_a_secret_is_refused_if_there_is_no_general_one(
        self, memory: MemoryDatabase, tmp_path: Path, sink: WebhookReceiver
    ) -> None:
        secrets: dict[str, Any] = {
            "webhook_secret": SigningSecrets(),
            "webhook_secrets": TenantSecrets.read({"ACME": ACMES}),
        }
        async with running_service(memory, tmp_path, providers=[ScriptedProvider()], **secrets) as service:
            created = await service.create(scripted_step("a"), start=False, origin_tenant_id="other")
            await self.assert_refused(service, created["id"], sink)
            await run_with_webhook(service, sink, origin_tenant_id="acme")
            assert (await sink.until(1))[0].verified(ACMES)

    async def assert_refused(self, service: Service, workflow_id: str, sink: WebhookReceiver) -> None:
        members = {"name": "n", "origin_instance": "o", "steps": [scripted_step("a")], "webhook_url": sink.url()}
        created = await service.client.post("/api/v1/workflows/", json=members)
        changed = await service.client.patch(f"/api/v1/workflows/{workflow_id}", json={"webhook_url": sink.url()})
        for response in (created, changed):
            assert response.status_code == 422
            (fault,) = response.json()["detail"]
            assert (fault["loc"], fault["type"]) == (["body", "webhook_url"], "webhooks_not_configured")


class TestResponses:
    @pytest.mark.parametrize(
        ("response", "status", "code", "words"),
        [
            (response_of(204), "DELIVERED", 204, None),
            (response_of(410, b"gone"), "STOPPED", 410, None),
            (response_of(302, location="http://127.0.0.1/"), "PENDING", 302, None),
            (response_of(500, b"\x00\xff oh no"), "PENDING", 500, None),
            (b"garbage\r\n\r\n", "PENDING", None, "there was no response in HTTP"),
            (CLOSE, "PENDING", None, "there was no response in HTTP"),
        ],
        ids=lambda value: value[:20] if isinstance(value, bytes) else str(value),
    )
    async def test_each_response_leads_to_its_status(
        self, service: Service, sink: WebhookReceiver, response: bytes, status: str, code: int | None, words: str | None
    ) -> None:
        sink.response = response
        workflow = await run_with_webhook(service, sink)
        delivery = await delivery_after(service, workflow["id"])
        (attempt,) = delivery["attempts"]
        assert (delivery["status"], attempt["code"], attempt["error"]) == (status, code, words)
        assert (delivery["next_at"] is None) == (status != "PENDING")

    async def test_a_receiver_that_hangs_is_a_failed_attempt(
        self, impatient_service: Service, sink: WebhookReceiver
    ) -> None:
        sink.response = HANG
        workflow = await run_with_webhook(impatient_service, sink)
        delivery = await delivery_after(impatient_service, workflow["id"])
        (attempt,) = delivery["attempts"]
        assert (delivery["status"], delivery["next_at"] is None) == ("PENDING", False)
        assert (attempt["code"], attempt["error"]) == (None, "there was no response within 0.1 s")

    async def test_retry_after_counts_if_it_is_later(self, service: Service, sink: WebhookReceiver) -> None:
        for header, seconds in (("100", 100), ("1", 5), ("Wed, 01 Jan 2126 00:00:00 GMT", 86_400), ("soon", 5)):
            sink.response = response_of(429, retry_after=header)
            workflow = await run_with_webhook(service, sink)
            delivery = await delivery_after(service, workflow["id"])
            waits = pause_s(delivery)
            assert seconds - 1 <= waits <= seconds * 1.1 + 1, header

    async def test_huge_responses_are_cut_off(self, service: Service, sink: WebhookReceiver) -> None:
        sink.response = response_of(200, b"x" * 40_000_000)
        delivery = await delivery_after(service, (await run_with_webhook(service, sink))["id"])
        (attempt,) = delivery["attempts"]
        assert (delivery["status"], attempt["answer"]) == ("DELIVERED", "x" * 1_024)

    async def test_endless_responses_are_cut_off(
        self, memory: MemoryDatabase, tmp_path: Path, sink: WebhookReceiver
    ) -> None:
        sink.response, sink.drip = b"HTTP/1.1 200 OK\r\n\r\n", b"y"
        # The head of the response must come before the deadline, on a loaded machine too.
        async with running_service(memory, tmp_path, providers=[ScriptedProvider()], webhook_timeout_s=1) as service:
            delivery = await delivery_after(service, (await run_with_webhook(service, sink))["id"])
        assert (delivery["status"], set(delivery["attempts"][0]["answer"])) == ("DELIVERED", {"y"})

    async def test_endless_headers_are_cut_off(self, impatient_service: Service, sink: WebhookReceiver) -> None:
        sink.response, sink.drip = b"HTTP/1.1 200 OK\r\nX: ", b"y"
        delivery = await delivery_after(impatient_service, (await run_with_webhook(impatient_service, sink))["id"])
        assert (delivery["status"], delivery["attempts"][0]["code"]) == ("PENDING", None)

    async def test_a_secret_in_a_response_is_not_stored(self, service: Service, sink: WebhookReceiver) -> None:
        for secret in (WEBHOOK_SECRET, WEBHOOK_SECRET[6:]):
            sink.response = response_of(200, b"x" * 1_010 + secret.encode())
            delivery = await delivery_after(service, (await run_with_webhook(service, sink))["id"])
            assert delivery["attempts"][0]["answer"].strip("x") == "***"

    async def test_a_delivery_fails_after_its_last_attempt(self, service: Service, sink: WebhookReceiver) -> None:
        deliverer_of(service).delays_s = [0.0] * 10
        sink.response = response_of(503)
        workflow = await run_with_webhook(service, sink)
        delivery = await delivery_after(service, workflow["id"], attempts=10)
        assert (delivery["status"], delivery["next_at"]) == ("FAILED", None)
        assert sink.times([delivery["id"]]) == [10]
        assert len({one.body for one in sink.received}) == 1
        assert all(one.verified() for one in sink.received)

    async def test_only_the_newest_fifty_attempts_are_stored(self, service: Service, sink: WebhookReceiver) -> None:
        deliverer_of(service).delays_s = [0.0] * 53
        sink.responses = [response_of(500, str(number).encode()) for number in range(53)]
        workflow = await run_with_webhook(service, sink)
        await sink.until(53)
        delivery = await delivery_after(service, workflow["id"], attempts=50)
        while delivery["status"] == "PENDING":
            await asyncio.sleep(0.01)
            (delivery,) = await deliveries(service, workflow["id"])
        assert [attempt["answer"] for attempt in delivery["attempts"]] == [str(number) for number in range(3, 53)]


def pause_s(delivery: dict[str, Any]) -> float:
    """Return the seconds from the last attempt of a delivery to the next one."""
    last, following = delivery["attempts"][-1]["at"], delivery["next_at"]
    return (datetime.fromisoformat(following) - datetime.fromisoformat(last)).total_seconds()


class TestWaits:
    async def test_a_wait_for_people_is_always_sent_with_its_link(
        self, service: Service, sink: WebhookReceiver
    ) -> None:
        ask, paid = {"id": "ask", "task_type": "APPROVAL"}, {"id": "paid", "task_type": "SIGNAL"}
        later: dict[str, Any] = {"id": "later", "task_type": "DELAY", "config": {"seconds": 0.01}}
        created = await service.create(ask, paid, later, webhook_url=sink.url())
        await eventually(lambda: len(sink.received) == 2)
        by_step = {each.payload["data"]["event"]["step_id"]: each for each in sink.received}
        assert by_step.keys() == {"ask", "paid"}
        for each in by_step.values():
            assert_conforms(each, "step")
        waits = {step_id: each.payload["data"]["waiting_for"] for step_id, each in by_step.items()}
        assert (waits["ask"]["kind"], waits["paid"]["kind"]) == ("decision", "signal")
        shown = (await service.client.get(f"/api/v1/workflows/{created['id']}/steps/ask")).json()
        assert waits["ask"]["decision_url"] == shown["waiting_for"]["decision_url"]
        assert waits["paid"]["decision_url"] is None
