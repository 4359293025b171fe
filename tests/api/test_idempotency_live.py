"""Idempotency-Key: a request that is repeated has its effect once, and gets the same response to the byte."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from stepwell.basics.tenancy import TenantScope
from stepwell.contract.enums import DeliveryStatus, EventType
from stepwell.contract.events import DeliveryPublic
from stepwell.engine.webhooks.service import WebhookService
from support.providers.configured_by_steps import (
    WORKFLOWS,
    ConfiguredProvider,
    configured_step,
    passthrough_step,
    views_are,
)
from support.service.live_service import Service

pytestmark = pytest.mark.asyncio(loop_scope="module")

BODY: dict[str, Any] = {"name": "n", "origin_instance": "o", "steps": [passthrough_step("a", x=1.0)]}
AT = datetime(2026, 1, 2, tzinfo=UTC)
NOT_STORED = ("idempotency-replayed", "ratelimit", "ratelimit-policy")
VERBS = ("start", "pause", "resume", "cancel", "cleanup", "update")


def key(named: str | None = None) -> dict[str, str]:
    return {"Idempotency-Key": named or f'"{uuid4()}"'}


async def create(client: httpx.AsyncClient, headers: Any, *, start: bool = False, **members: Any) -> httpx.Response:
    return await client.post(WORKFLOWS, params={"start": start}, json=BODY | members, headers=headers)


async def do(client: httpx.AsyncClient, verb: str, workflow_id: str, headers: Any) -> httpx.Response:
    path = WORKFLOWS + workflow_id
    match verb:
        case "cancel":
            return await client.delete(path, headers=headers)
        case "update":
            return await client.patch(path, json={"name": "another"}, headers=headers)
        case _:
            return await client.post(f"{path}/{verb}", headers=headers)


def is_replay(response: httpx.Response, first: httpx.Response) -> bool:
    """Whether it is *first* again, to the byte, and says so. A rate limit is that of its moment."""
    own, firsts = (
        {name: value for name, value in each.headers.items() if name not in NOT_STORED} for each in (response, first)
    )
    same = (response.status_code, response.content, own) == (first.status_code, first.content, firsts)
    return (
        same and response.headers.get("idempotency-replayed") == "true" and "idempotency-replayed" not in first.headers
    )


async def total(live: Service) -> int:
    response = await live.client.get(WORKFLOWS, params={"limit": 1, "include_deleted": True, "include_steps": False})
    return int(response.json()["total"])


async def in_state(live: Service, scripted: ConfiguredProvider, verb: str) -> str:
    """A workflow on which *verb* is allowed."""
    workflow = await live.create(configured_step("a", wait=True), start=verb in ("pause", "resume", "cancel"))
    if verb in ("pause", "resume", "cancel"):
        await live.until(workflow["id"], views_are(current_step="a"))
    if verb == "resume":
        assert (await live.verb(workflow["id"], "pause")).status_code == 200
    return str(workflow["id"])


def fault(response: httpx.Response) -> Any:
    assert response.status_code == 422, response.text
    (found,) = response.json()["detail"]
    return found["loc"], found["type"]


async def query(live: Service, statement: str, *values: Any) -> Any:
    connection = await asyncpg.connect(live.dsn)
    try:
        return await connection.fetchval(statement, *values)
    finally:
        await connection.close()


async def test_a_repeated_create_gets_the_first_response(live: Service) -> None:
    before, headers = await total(live), key()
    first = await create(live.client, headers, start=True)
    await live.until_ended(first.json()["id"])
    for _ in range(2):
        assert is_replay(await create(live.client, headers, start=True), first)
    assert {"location", "etag"} <= first.headers.keys()
    assert await total(live) == before + 1
    # A slash more or less at the end is no other request.
    again = await live.client.post(WORKFLOWS[:-1], params={"start": True}, json=BODY, headers=headers)
    assert is_replay(again, first)


@pytest.mark.parametrize("verb", VERBS)
async def test_a_repeated_verb_gets_the_first_response_and_takes_effect_once(
    live: Service, scripted: ConfiguredProvider, verb: str
) -> None:
    workflow_id, headers = await in_state(live, scripted, verb), key()
    first = await do(live.client, verb, workflow_id, headers)
    assert first.status_code == 200, first.text
    history = await live.events(workflow_id)
    assert is_replay(await do(live.client, verb, workflow_id, headers), first)
    assert await live.events(workflow_id) == history
    assert (await live.get(workflow_id))["status"] == (first.json().get("workflow") or first.json())["status"]
    scripted.release(workflow_id, "a")


async def test_a_replayed_pause_pauses_nothing(live: Service, scripted: ConfiguredProvider) -> None:
    workflow_id, pause = await in_state(live, scripted, "pause"), key()
    first = await do(live.client, "pause", workflow_id, pause)
    assert (await do(live.client, "resume", workflow_id, key())).status_code == 200
    assert is_replay(await do(live.client, "pause", workflow_id, pause), first)
    assert first.json()["status"] == "PAUSED"
    assert (await live.get(workflow_id))["status"] == "RUNNING"
    scripted.release(workflow_id, "a")


async def test_a_repeated_cleanup_reports_what_the_first_did(live: Service) -> None:
    workflow = await live.create(configured_step("a", files=2))
    await live.until_ended(workflow["id"])
    headers, path = key(), f"{WORKFLOWS}{workflow['id']}/cleanup?cleanup_tasks=true"
    first = await live.client.post(path, headers=headers)
    assert len(first.json()["cleanup"]["deleted_paths"]) == 2
    assert is_replay(await live.client.post(path, headers=headers), first)
    assert (await live.client.post(path)).json()["cleanup"]["deleted_paths"] == []


async def test_another_request_with_the_key_is_refused(live: Service) -> None:
    headers, reused = key(), (["header", "Idempotency-Key"], "idempotency_key_reused")
    first = await create(live.client, headers)
    before = await total(live)
    assert fault(await create(live.client, headers, name="m")) == reused
    assert fault(await create(live.client, headers, start=True)) == reused
    assert fault(await create(live.client, headers, steps=[])) == reused  # it isn't even looked at
    for verb in VERBS:
        assert fault(await do(live.client, verb, first.json()["id"], headers)) == reused
    assert await total(live) == before
    assert is_replay(await create(live.client, headers), first)


async def test_tenants_have_separate_keys(live: Service) -> None:
    headers, responses = key(), []
    for tenant, every in (("acme", False), ("other", False), (None, False), (None, True)):
        async with live.as_tenant(tenant, every=every) as client:
            responses.append(first := await create(client, headers))
            assert is_replay(await create(client, headers), first)
    assert [response.json()["origin_tenant_id"] for response in responses] == ["acme", "other", None, None]
    assert len({response.json()["id"] for response in responses}) == 4


@pytest.mark.parametrize(
    ("bare", "quoted"), [("a", '"a"'), ("k" * 255, f'"{"k" * 255}"'), ("a\\b;c=~!", '"a\\\\b;c=~!"')]
)
async def test_a_key_is_the_same_bare_or_quoted(live: Service, bare: str, quoted: str) -> None:
    assert is_replay(
        response := await create(live.client, key(quoted)), first := await create(live.client, key(bare))
    ) or is_replay(first, response)


@pytest.mark.parametrize(
    "headers",
    [
        *({"Idempotency-Key": bad} for bad in ("", " ", '""', '"', '"a', 'a"b', "a b", "a,b", '"a", "b"', '"a";p=1')),
        *({"Idempotency-Key": bad} for bad in ("k" * 256, f'"{"k" * 256}"', '"a\\b"', b"\xe9", b"a\tb", b'"\x7f"')),
        [("Idempotency-Key", "a"), ("Idempotency-Key", "b")],
        [("Idempotency-Key", "a"), ("Idempotency-Key", "")],
    ],
)
async def test_a_malformed_key_is_refused(live: Service, headers: Any) -> None:
    before = await total(live)
    wrong = (["header", "Idempotency-Key"], "idempotency_key")
    assert fault(await create(live.client, headers)) == wrong
    assert fault(await do(live.client, "pause", str(uuid4()), headers)) == wrong
    for method, verb in (("POST", "/start"), ("POST", "/resume"), ("DELETE", ""), ("POST", "/cleanup")):
        path = f"{WORKFLOWS}{uuid4()}{verb}?dry_run=true"
        assert fault(await live.client.request(method, path, headers=headers)) == wrong
    assert await total(live) == before


async def test_a_refused_request_frees_its_key(live: Service, scripted: ConfiguredProvider) -> None:
    headers = key()
    assert (await create(live.client, headers, steps=[])).status_code == 422
    assert (await create(live.client, headers)).status_code == 201
    headers = key()
    workflow_id = await in_state(live, scripted, "start")
    assert (await do(live.client, "pause", workflow_id, headers)).status_code == 409
    assert (await do(live.client, "start", workflow_id, key())).status_code == 200
    assert (await do(live.client, "pause", workflow_id, headers)).status_code == 200
    assert (await do(live.client, "pause", str(uuid4()), headers)).status_code == 422  # it is pause's now
    headers = key()
    assert (await do(live.client, "pause", str(uuid4()), headers)).status_code == 404
    assert (await create(live.client, headers | {"Content-Type": "text/plain"})).status_code == 415
    assert await query(live, "SELECT count(*) FROM idempotency_keys WHERE key = $1", headers["Idempotency-Key"]) == 0
    scripted.release(workflow_id, "a")


async def test_of_fifty_requests_at_once_one_takes_effect(live: Service) -> None:
    before, headers = await total(live), key()
    responses = await asyncio.gather(*(create(live.client, headers, start=True) for _ in range(50)))
    codes = Counter(response.status_code for response in responses)
    assert codes == {201: 1, 409: 49}
    for response in responses:
        assert response.status_code == 201 or response.headers["retry-after"] == "1"
    (first,) = (response for response in responses if response.status_code == 201)
    assert is_replay(await create(live.client, headers, start=True), first)
    assert await total(live) == before + 1
    others = [create(live.client, headers, name=str(n)) for n in range(3)]
    assert {response.status_code for response in await asyncio.gather(*others)} == {422}


async def test_a_key_is_stored_for_two_days(live: Service) -> None:
    headers, old = key(), [key() for _ in range(30)]
    for each in old:
        await create(live.client, each)
    first = await create(live.client, headers)
    move = "UPDATE idempotency_keys SET created_at = created_at - interval '%s'"
    await query(live, move % "47 hours 59 minutes")
    assert is_replay(await create(live.client, headers), first)
    await query(live, move % "2 minutes")
    # It is a first request again, whatever it says. And a few of the others are removed.
    count = "SELECT count(*) FROM idempotency_keys WHERE created_at < now() - interval '48 hours'"
    expired = await query(live, count)
    second = await create(live.client, headers, name="another")
    assert second.status_code == 201
    assert second.json()["id"] != first.json()["id"]
    assert expired - 21 == await query(live, count)
    assert is_replay(await create(live.client, headers, name="another"), second)


async def test_a_request_without_a_key_sends_no_statement_for_it(live: Service) -> None:
    keys = live.app.stores.database.keys
    with pytest.MonkeyPatch.context() as patch:
        for name in ("claim", "store_response", "release"):
            patch.delattr(type(keys), name)
        workflow = await live.create(passthrough_step("a"), start=False)
        assert (await do(live.client, "update", workflow["id"], {})).status_code == 200
        assert (await do(live.client, "start", workflow["id"], {})).status_code == 200


async def test_a_repeated_redeliver_sends_the_webhook_once(live: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    workflow, asked = await live.create(passthrough_step("a"), start=False), []

    async def redeliver(
        _service: WebhookService, _scope: TenantScope, _workflow_id: UUID, delivery_id: str, _terms: Any
    ) -> DeliveryPublic:
        asked.append(delivery_id)
        return DeliveryPublic(delivery_id, 1, EventType.WORKFLOW_COMPLETED, DeliveryStatus.PENDING, None, AT, [])

    monkeypatch.setattr(WebhookService, "redeliver", redeliver)
    path, headers = f"{WORKFLOWS}{workflow['id']}/deliveries/x/redeliver", key()
    first = await live.client.post(path, headers=headers)
    assert is_replay(await live.client.post(path, headers=headers), first)
    assert (await live.client.post(path)).status_code == 200
    assert asked == ["x", "x"]
