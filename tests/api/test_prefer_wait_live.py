"""Prefer: wait. A response that comes when the workflow has ended, or after so many seconds."""

import asyncio
import json
from collections.abc import Awaitable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from stepwell.basics.tenancy import TenantScope
from support.database.statement_recorder import statements_sent
from support.providers.configured_by_steps import (
    WORKFLOWS,
    ConfiguredProvider,
    configured_step,
    passthrough_step,
    views_are,
)
from support.providers.scripted import eventually
from support.service.listening_service import listening
from support.service.live_service import Service, running_service, token

pytestmark = pytest.mark.asyncio(loop_scope="module")

BODY: dict[str, Any] = {"name": "n", "origin_instance": "o", "steps": [configured_step("a", wait=True)]}
LONG = {"Prefer": "wait=60"}


def waiting(live: Service) -> int:
    """How many requests wait."""
    return live.app.engine.bus.watchers


async def start_workflow(live: Service) -> str:
    workflow = await live.create(configured_step("a", wait=True))
    await live.until(workflow["id"], views_are(current_step="a"))
    return str(workflow["id"])


async def new_one(scripted: ConfiguredProvider, others: set[tuple[str, str]]) -> str:
    """The workflow that runs now, and didn't then."""
    await eventually(lambda: scripted.running > others, "it runs")
    ((workflow_id, _),) = scripted.running - others
    return workflow_id


async def when_waiting(group: asyncio.TaskGroup, live: Service, request: Any) -> "asyncio.Task[httpx.Response]":
    """*request*, once it waits."""
    before = waiting(live)
    asyncio_task: asyncio.Task[httpx.Response] = group.create_task(request)
    await eventually(lambda: waiting(live) == before + 1 or asyncio_task.done(), "it waits")
    assert not asyncio_task.done()
    return asyncio_task


async def test_a_waiting_request_gets_its_response_when_the_workflow_ends(
    live: Service, scripted: ConfiguredProvider
) -> None:
    others = set(scripted.running)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        create = await when_waiting(group, live, live.client.post(WORKFLOWS, json=BODY, headers=LONG))
        workflow_id = await new_one(scripted, others)
        path = WORKFLOWS + workflow_id
        get = await when_waiting(group, live, live.client.get(path, headers=LONG))
        before = statements_sent(live)
        scripted.release(workflow_id, "a")
        responses = [await create, await get]
    assert [response.status_code for response in responses] == [201, 200]
    for response in responses:
        assert response.json()["status"] == "COMPLETED"
        assert response.headers["preference-applied"] == "wait=60"
        assert response.json() == await live.get(workflow_id)
    assert responses[0].headers["location"] == path
    assert statements_sent(live) - before < 10  # one that preferred again and again would have sent more
    # By now it has ended: at once.
    response = await live.client.get(path, headers=LONG)
    assert (response.json(), response.headers["preference-applied"]) == (responses[1].json(), "wait=60")
    assert waiting(live) == 0


@pytest.mark.parametrize(("verb", "end"), [("start", "COMPLETED"), ("resume", "COMPLETED"), ("start", "CANCELLED")])
async def test_verbs_that_start_the_workflow_wait_too(
    live: Service, scripted: ConfiguredProvider, verb: str, end: str
) -> None:
    workflow = await live.create(configured_step("a", wait=True), start=verb == "resume")
    path = WORKFLOWS + workflow["id"]
    if verb == "resume":
        await live.until(workflow["id"], views_are(current_step="a"))
        assert (await live.verb(workflow["id"], "pause")).json()["status"] == "PAUSED"
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        waits = await when_waiting(group, live, live.client.post(f"{path}/{verb}", headers=LONG))
        if end == "CANCELLED":
            await live.verb(workflow["id"], "cancel")
        scripted.release(workflow["id"], "a")
        assert (await waits).json()["status"] == end


async def test_a_waiting_request_gets_its_response_after_its_time(
    live: Service, scripted: ConfiguredProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow_id, until_terminal = await start_workflow(live), live.app.services.completion.until_terminal

    async def until_terminal_or_sooner(scope: TenantScope, workflow_id: UUID, seconds: float) -> None:
        await until_terminal(scope, workflow_id, seconds / 20)

    monkeypatch.setattr(live.app.services.completion, "until_terminal", until_terminal_or_sooner)
    async with asyncio.timeout(30):
        response = await live.client.get(WORKFLOWS + workflow_id, headers={"Prefer": "wait=1"})
    assert (response.status_code, response.json()["status"]) == (200, "RUNNING")
    assert response.headers["preference-applied"] == "wait=1"
    scripted.release(workflow_id, "a")


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        ("wait=0", "wait=0"),
        ("wait=00", "wait=0"),
        ("WAIT = 0", "wait=0"),
        ('respond-async, x="wait=5, \\"", wait=0;y=1', "wait=0"),
        ("wait=0, wait=60", "wait=0"),
        ('wait="0"', "wait=0"),
        ('Wait = "00" ; x, wait=60', "wait=0"),
        *((other, None) for other in ("", "wait", "wait=", "wait=-1", "wait=1.5", 'wait="x"', "wait=x", "awaits=60")),
        *((other, None) for other in ('wait="60', 'wait=""', 'wait="60 "', 'wait="6" "0"')),
        *((other, None) for other in ('x="wait=60"', "return=minimal", "wait=6 0", '"', "=", "x; wait=60")),
    ],
)
async def test_a_malformed_preference_is_ignored(live: Service, prefer: str, applied: str | None) -> None:
    workflow = await live.create(passthrough_step("a"), start=False)
    async with asyncio.timeout(30):
        response = await live.client.get(WORKFLOWS + workflow["id"], headers={"Prefer": prefer})
    assert (response.status_code, response.headers.get("preference-applied")) == (200, applied)


async def test_a_wait_is_at_most_sixty_seconds(live: Service, scripted: ConfiguredProvider) -> None:
    for said in ("wait=61", "wait=" + "9" * 900):
        workflow_id = await start_workflow(live)
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            request = live.client.get(WORKFLOWS + workflow_id, headers={"Prefer": said})
            get = await when_waiting(group, live, request)
            scripted.release(workflow_id, "a")
            assert (await get).headers["preference-applied"] == "wait=60"


async def test_a_paused_or_pending_workflow_does_not_end_the_wait(live: Service, scripted: ConfiguredProvider) -> None:
    workflow = await live.create(configured_step("a", wait=True), start=False)
    path = WORKFLOWS + workflow["id"]
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        get = await when_waiting(group, live, live.client.get(path, headers=LONG))
        await live.verb(workflow["id"], "start")
        await live.until(workflow["id"], views_are(current_step="a"))
        await live.verb(workflow["id"], "pause")
        assert (await live.get(workflow["id"]))["status"] == "PAUSED"
        assert not get.done()
        scripted.release(workflow["id"], "a")
        assert (await get).json()["status"] == "COMPLETED"


async def test_other_operations_ignore_the_preference(live: Service, scripted: ConfiguredProvider) -> None:
    async with asyncio.timeout(30):
        # What isn't started isn't waited for: all that was preferred for is done.
        response = await live.client.post(WORKFLOWS, params={"start": False}, json=BODY, headers=LONG)
        assert (response.status_code, "preference-applied" in response.headers) == (201, False)
        path = response.headers["location"]
        assert "preference-applied" not in (await live.client.patch(path, json={}, headers=LONG)).headers
        assert "preference-applied" not in (await live.client.get(WORKFLOWS, headers=LONG)).headers
        assert (await live.client.get(WORKFLOWS + str(uuid4()), headers=LONG)).status_code == 404
        assert (await live.client.get(WORKFLOWS + "none", headers=LONG)).status_code == 404
        assert (await live.client.post(f"{path}/resume", headers=LONG)).status_code == 409
    async with live.as_tenant("acme") as stranger, asyncio.timeout(30):
        assert (await stranger.get(path, headers=LONG)).status_code == 404
    assert waiting(live) == 0


async def test_if_none_match_is_compared_after_the_wait(live: Service, scripted: ConfiguredProvider) -> None:
    workflow_id = await start_workflow(live)
    path = WORKFLOWS + workflow_id
    tag = (await live.client.get(path)).headers["etag"]
    response = await live.client.get(path, headers={"Prefer": "wait=0", "If-None-Match": tag})
    assert (response.status_code, response.headers["preference-applied"]) == (304, "wait=0")
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        get = await when_waiting(group, live, live.client.get(path, headers=LONG | {"If-None-Match": tag}))
        scripted.release(workflow_id, "a")
        assert ((await get).status_code, (await get).json()["status"]) == (200, "COMPLETED")


async def test_with_a_key_the_response_after_the_wait_is_the_stored_one(
    live: Service, scripted: ConfiguredProvider
) -> None:
    headers, others = LONG | {"Idempotency-Key": "k"}, set(scripted.running)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        create = await when_waiting(group, live, live.client.post(WORKFLOWS, json=BODY, headers=headers))
        assert (await live.client.post(WORKFLOWS, json=BODY, headers=headers)).status_code == 409
        workflow_id = await new_one(scripted, others)
        scripted.release(workflow_id, "a")
        first = await create
    again = await live.client.post(WORKFLOWS, json=BODY, headers=headers)
    assert first.json()["status"] == "COMPLETED"
    assert again.content == first.content
    of_the_moment = {"ratelimit", "ratelimit-policy"}  # a replay starts nothing, so it has none
    stored = {name: value for name, value in first.headers.items() if name not in of_the_moment}
    assert dict(again.headers) == stored | {"idempotency-replayed": "true"}


@pytest.mark.extended
async def test_a_thousand_waiting_requests_block_no_other(live: Service, scripted: ConfiguredProvider) -> None:
    workflow_id = await start_workflow(live)
    path = WORKFLOWS + workflow_id
    transport, headers = live.transport, dict(live.client.headers)
    async with (
        httpx.AsyncClient(transport=transport, base_url="http://t.local", headers=headers) as client,
        asyncio.timeout(60),
        asyncio.TaskGroup() as group,
    ):
        gets = [group.create_task(client.get(path, headers=LONG)) for _ in range(1000)]
        await eventually(lambda: waiting(live) == 1000, "all wait")
        assert (await live.client.get(path)).json()["status"] == "RUNNING"
        scripted.release(workflow_id, "a")
        assert {(await get).json()["status"] for get in gets} == {"COMPLETED"}
    assert waiting(live) == 0


async def test_the_wait_ends_when_the_client_disconnects(live: Service, scripted: ConfiguredProvider) -> None:
    """Over a socket, where a client that stays gets its response."""
    workflow_id = await start_workflow(live)
    head = f"GET {WORKFLOWS}{workflow_id} HTTP/1.1\r\nHost: t.local\r\nAuthorization: Bearer {token()}\r\n"
    request = f"{head}Prefer: wait=60\r\n\r\n".encode()
    async with asyncio.timeout(30), listening(live) as port:
        (reader, stays), (_, goes) = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for writer in (stays, goes):
            writer.write(request)
        await eventually(lambda: waiting(live) == 2, "both wait")
        goes.close()
        await eventually(lambda: waiting(live) == 1, "one has disconnected")
        scripted.release(workflow_id, "a")
        response = await reader.readuntil(b"\r\n\r\n")
        assert response.startswith(b"HTTP/1.1 200")
        assert b"preference-applied: wait=60" in response
        stays.write(head.encode() + b"\r\n")  # and the connection goes on
        assert b"HTTP/1.1 200" in await reader.readuntil(b"HTTP/1.1 200")
        stays.close()
    assert waiting(live) == 0


async def test_a_repeat_after_a_disconnect_waits_again(live: Service, scripted: ConfiguredProvider) -> None:
    """A response is not stored if its client has left during the wait."""
    body = json.dumps({"name": "w", "origin_instance": "tests", "steps": [configured_step("a", wait=True)]}).encode()
    preferred = {"Idempotency-Key": "come-back", "Prefer": "wait=60", "Content-Type": "application/json"}
    headers = {**preferred, "Host": "t.local", "Authorization": f"Bearer {token()}", "Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    async with asyncio.timeout(30), listening(live) as port, asyncio.TaskGroup() as group:
        _, goes = await asyncio.open_connection("127.0.0.1", port)
        goes.write(f"POST {WORKFLOWS} HTTP/1.1\r\n{head}\r\n".encode() + body)
        await eventually(lambda: waiting(live) == 1, "it waits")
        goes.close()
        await eventually(lambda: waiting(live) == 0, "it has disconnected")

        async def again() -> httpx.Response:
            while (response := await live.client.post(WORKFLOWS, content=body, headers=preferred)).status_code == 409:
                await asyncio.sleep(0.01)  # the first is still being put away
            return response

        repeat = group.create_task(again())
        await eventually(lambda: waiting(live) == 1, "it waits anew")
        (made,) = [one for one in (await live.client.get(WORKFLOWS)).json()["workflows"] if one["name"] == "w"]
        scripted.release(made["id"], "a")
        response = await repeat
        assert (response.status_code, response.json()["id"], response.json()["status"]) == (
            201,
            made["id"],
            "COMPLETED",
        )
        assert response.headers["Idempotency-Replayed"] == "true"


@pytest.mark.asyncio(loop_scope="function")
async def test_a_service_that_stops_responds_to_all_waiting_requests(dsn: str, tmp_path: Path) -> None:
    async with running_service(dsn, tmp_path, providers=[ConfiguredProvider()], grace_s=0.1) as service:
        await stopped(service)


async def until(done: Awaitable[None]) -> None:
    await done


async def stopped(live: Service) -> None:
    workflow_id = await start_workflow(live)
    headers = LONG | {"Idempotency-Key": "k"}
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        get = await when_waiting(group, live, live.client.get(WORKFLOWS + workflow_id, headers=LONG))
        create = await when_waiting(group, live, live.client.post(WORKFLOWS, json=BODY, headers=headers))
        stopping = group.create_task(until(live.app.stop()))
        assert ((await get).status_code, (await get).json()["status"]) == (200, "RUNNING")
        assert ((await create).status_code, (await create).json()["status"]) == (201, "RUNNING")
        await stopping
    assert waiting(live) == 0
