"""Redelivery of webhooks, and the effect of a changed webhook URL on those that are due."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from stepwell.testing import ManualClock, MemoryDatabase
from support.emulators.webhook_receiver import HANG, OK, WebhookReceiver, response_of, running_sink
from support.providers.scripted import ScriptedProvider, eventually
from support.service.live_service import Service, running_service
from support.service.webhook_requests import deliverer_of, deliveries, delivery_after, run_with_webhook


@pytest.fixture
async def sink() -> AsyncIterator[WebhookReceiver]:
    async with running_sink() as sink:
        yield sink


@pytest.fixture
async def service(memory: MemoryDatabase, tmp_path: Path) -> AsyncIterator[Service]:
    async with running_service(memory, tmp_path, providers=[ScriptedProvider()], grace_s=1) as service:
        yield service


async def test_each_attempt_goes_to_the_current_url(
    service: Service, clock: ManualClock, sink: WebhookReceiver
) -> None:
    deliverer_of(service).delays_s = [0.0, 60.0]
    sink.responses = [response_of(500)]
    async with running_sink() as other:
        created = await run_with_webhook(service, sink)
        await delivery_after(service, created["id"])
        path = f"/api/v1/workflows/{created['id']}"
        changed = await service.client.patch(path, json={"webhook_url": other.url(host="localhost")})
        assert changed.status_code == 200
        clock.advance(600)
        (second,) = await other.until(1)
        assert second.id == sink.received[0].id
        assert (await delivery_after(service, created["id"], attempts=2))["status"] == "DELIVERED"
        assert second.body == sink.received[0].body


async def test_removing_the_url_stops_the_delivery(service: Service, clock: ManualClock, sink: WebhookReceiver) -> None:
    deliverer_of(service).delays_s = [0.0, 60.0]
    sink.responses = [response_of(500)]
    workflow = await run_with_webhook(service, sink)
    await delivery_after(service, workflow["id"])
    path = f"/api/v1/workflows/{workflow['id']}"
    assert (await service.client.patch(path, json={"webhook_url": None})).status_code == 200
    clock.advance(600)
    (delivery,) = await deliveries(service, workflow["id"])
    while delivery["status"] == "PENDING":
        await asyncio.sleep(0.01)
        (delivery,) = await deliveries(service, workflow["id"])
    assert (delivery["status"], len(delivery["attempts"]), delivery["next_at"]) == ("STOPPED", 1, None)
    again = await service.client.post(f"{path}/deliveries/{delivery['id']}/redeliver")
    assert again.status_code == 409
    assert again.json()["title"] == "No webhook"


@pytest.mark.parametrize("before", ["DELIVERED", "STOPPED", "PENDING", "FAILED"])
async def test_a_redelivery_sends_the_same_body_with_new_attempts(
    service: Service, sink: WebhookReceiver, before: str
) -> None:
    deliverer = deliverer_of(service)
    deliverer.delays_s = [0.0] if before == "FAILED" else [0.0, 600.0]
    first = {"DELIVERED": OK, "STOPPED": response_of(410)}.get(before, response_of(500))
    sink.responses = [first, response_of(500)]
    workflow = await run_with_webhook(service, sink)
    delivery = await delivery_after(service, workflow["id"])
    assert delivery["status"] == before
    deliverer.delays_s = [0.0, 0.0]
    path = f"/api/v1/workflows/{workflow['id']}/deliveries"
    response = await service.client.post(f"{path}/{delivery['id']}/redeliver")
    assert response.status_code == 200
    assert (response.json()["status"], response.json()["id"]) == ("PENDING", delivery["id"])
    delivery = await delivery_after(service, workflow["id"], attempts=3)
    assert [attempt["code"] for attempt in delivery["attempts"][1:]] == [500, 200]
    assert delivery["status"] == "DELIVERED"
    assert {(one.id, one.body) for one in sink.received} == {(delivery["id"], sink.received[0].body)}


async def test_a_redelivery_checks_if_match(service: Service, sink: WebhookReceiver) -> None:
    ended = await run_with_webhook(service, sink)
    delivery = await delivery_after(service, ended["id"])
    workflow = f"/api/v1/workflows/{ended['id']}"
    path = f"{workflow}/deliveries/{delivery['id']}/redeliver"
    stale = (await service.client.get(workflow)).headers["etag"]
    assert (await service.client.patch(workflow, json={"webhook_url": None})).status_code == 200
    for wrong in (stale, '"zzz"'):
        response = await service.client.post(path, headers={"If-Match": wrong})
        # The precondition is checked before the missing URL is reported.
        assert (response.status_code, response.json()["type"]) == (412, "/schema#problem-412")
    unknown = path.replace("evt_", "evt_0")
    assert (await service.client.post(unknown, headers={"If-Match": stale})).status_code == 404
    changed = await service.client.patch(workflow, json={"webhook_url": sink.url("/other")})
    assert (await service.client.post(path, headers={"If-Match": stale})).status_code == 412
    assert (await delivery_after(service, ended["id"])) == delivery
    for right in (changed.headers["etag"], "*"):
        tried = len(sink.received)
        assert (await service.client.post(path, headers={"If-Match": right})).status_code == 200
        assert (await sink.until(tried + 1))[-1].path == "/other"
        await delivery_after(service, ended["id"], attempts=tried + 1)


async def test_if_match_is_checked_again_when_the_redelivery_takes_effect(
    service: Service, sink: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = await run_with_webhook(service, sink)
    delivery = await delivery_after(service, ended["id"])
    workflow = f"/api/v1/workflows/{ended['id']}"
    tag = (await service.client.get(workflow)).headers["etag"]
    store = service.app.stores.database.deliveries
    renew = store.redeliver

    async def late(*args: Any) -> Any:
        changed = await service.client.patch(workflow, json={"webhook_url": sink.url("/other")})
        assert changed.status_code == 200
        return await renew(*args)

    monkeypatch.setattr(store, "redeliver", late)
    path = f"{workflow}/deliveries/{delivery['id']}/redeliver"
    response = await service.client.post(path, headers={"If-Match": tag, "Idempotency-Key": "k"})
    assert response.status_code == 412
    assert await delivery_after(service, ended["id"]) == delivery


async def test_a_redelivery_requested_during_a_send_is_sent(service: Service, sink: WebhookReceiver) -> None:
    sink.responses = [HANG]
    workflow = await run_with_webhook(service, sink)
    await sink.until(1)
    (delivery,) = await deliveries(service, workflow["id"])
    path = f"/api/v1/workflows/{workflow['id']}/deliveries/{delivery['id']}/redeliver"
    assert (await service.client.post(path)).status_code == 200
    assert len(sink.received) == 1
    sink.gate.set()
    assert (await delivery_after(service, workflow["id"], attempts=2))["status"] == "DELIVERED"
    assert sink.times([delivery["id"]]) == [2]


async def test_a_redelivery_requested_just_before_a_send_leads_to_one_send(
    service: Service, clock: ManualClock, sink: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliverer = deliverer_of(service)
    deliverer.delays_s = [0.0, 60.0, 3_600.0]
    frozen, reached, go_on = service.app.stores.database.outbox.freeze, asyncio.Event(), asyncio.Event()

    async def slow(owner: UUID, due: Any, body: str | None) -> str | None:
        if due.tries and not reached.is_set():
            reached.set()
            await go_on.wait()
        return await frozen(owner, due, body)

    monkeypatch.setattr(service.app.stores.database.outbox, "freeze", slow)
    sink.responses = [response_of(500)]
    workflow = await run_with_webhook(service, sink)
    await delivery_after(service, workflow["id"])
    clock.advance(600)
    await reached.wait()
    (delivery,) = await deliveries(service, workflow["id"])
    path = f"/api/v1/workflows/{workflow['id']}/deliveries/{delivery['id']}/redeliver"
    assert (await service.client.post(path)).status_code == 200
    await eventually(lambda: deliverer.waiting and deliverer.next_due is None)
    go_on.set()
    assert (await delivery_after(service, workflow["id"], attempts=2))["status"] == "DELIVERED"
    assert sink.times([delivery["id"]]) == [2]
    await eventually(lambda: deliverer.sending == 0)
    assert deliverer.state_size == 0


async def test_an_unknown_delivery_is_not_found(service: Service, sink: WebhookReceiver) -> None:
    workflow, other = await run_with_webhook(service, sink), await run_with_webhook(service, sink)
    name = (await delivery_after(service, workflow["id"]))["id"]
    await eventually(lambda: len(sink.received) == 2)
    for workflow_id, delivery_id in (
        (other["id"], name),
        (workflow["id"], name.rpartition("_")[0] + "_1"),
        (workflow["id"], name.upper()),
        (workflow["id"], name + "0" * 30),
        (workflow["id"], "nothing"),
        ("nothing", name),
    ):
        response = await service.client.post(f"/api/v1/workflows/{workflow_id}/deliveries/{delivery_id}/redeliver")
        assert response.status_code == 404, delivery_id
    assert len(sink.received) == 2
