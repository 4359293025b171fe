"""Requests with an idempotency key have one effect and one response, whatever fails in between."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from stepwell.basics.errors import StillRunning, Unavailable
from stepwell.engine.execution import idempotency, workflow_access
from stepwell.testing import ManualClock, MemoryDatabase
from stepwell.testing.memory_tables import KeyRow
from support.database.failing_store import AFTER, BEFORE, LATE, FailingStore, use_failing_store
from support.providers.scripted import Hang, ScriptedProvider, eventually, scripted_step
from support.service.live_service import Service, running_service

WORKFLOWS = "/api/v1/workflows/"
BODY: dict[str, Any] = {"name": "n", "origin_instance": "o", "steps": [scripted_step("a")]}
KEY = {"Idempotency-Key": "k"}


@pytest.fixture
def provider() -> ScriptedProvider:
    return ScriptedProvider(default=Hang())


@pytest.fixture
async def service(memory: MemoryDatabase, tmp_path: Path, provider: ScriptedProvider) -> AsyncIterator[Service]:
    async with running_service(memory, tmp_path, providers=[provider], grace_s=1) as running:
        yield running


@pytest.fixture
def workflow_store(service: Service) -> FailingStore:
    return use_failing_store(service)


@asynccontextmanager
async def two_processes(memory: MemoryDatabase, folder: Path) -> AsyncIterator[tuple[Service, Service]]:
    """Run two services on one database."""
    async with (
        running_service(memory, folder / "1", providers=[ScriptedProvider()], exclusive=False) as one,
        running_service(memory, folder / "2", providers=[ScriptedProvider()], exclusive=False) as other,
    ):
        yield one, other


async def create(service: Service) -> httpx.Response:
    return await service.client.post(WORKFLOWS, json=BODY, headers=KEY)


async def start_hanging(service: Service, provider: ScriptedProvider) -> str:
    """Start a workflow whose step hangs, and return its id."""
    workflow = await service.create(scripted_step("a"))
    await provider.until_called("a")
    return str(workflow["id"])


async def event_types(service: Service, workflow_id: str) -> list[str]:
    return [event["type"] for event in await service.events(workflow_id)]


def make_unavailable(patch: pytest.MonkeyPatch, service: Service, *names: str) -> None:
    """Let the named methods of the idempotency keys fail as if the database were away."""

    async def fail(*_: Any) -> Any:
        raise Unavailable("the database is away")

    for name in names:
        patch.setattr(service.app.stores.database.keys, name, fail)


def only_key(memory: MemoryDatabase) -> KeyRow:
    """Return the row of the only key."""
    (row,) = memory.tables.keys.values()
    return row


async def leave_claimed(
    service: Service, workflow_store: FailingStore, memory: MemoryDatabase, lease_s: float | None
) -> None:
    """Leave the key of a request that had no effect, claimed by another process. *lease_s*: when its lease ends."""
    other = uuid4()
    workflow_store.inserts.append(BEFORE)
    with pytest.MonkeyPatch.context() as patch:
        make_unavailable(patch, service, "release")
        assert (await create(service)).status_code == 503
    row = only_key(memory)
    row.owner, row.token = other, uuid4()
    if lease_s is not None:
        memory.tables.processes[other] = memory.clock.now() + timedelta(seconds=lease_s)


def workflow_ids(memory: MemoryDatabase) -> list[str]:
    return [str(workflow_id) for workflow_id in memory.tables.workflows]


async def test_of_fifty_concurrent_requests_in_two_processes_one_takes_effect(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    async with two_processes(memory, tmp_path) as services:
        responses = await asyncio.gather(*(create(services[n % 2]) for n in range(50)))
        codes = Counter(response.status_code for response in responses)
        assert codes[201] >= 1
        assert codes == {201: codes[201], 409: 50 - codes[201]}
        assert len(memory.tables.workflows) == 1
        (first,) = (a for a in responses if a.status_code == 201 and "idempotency-replayed" not in a.headers)
        for service in services:
            again = await create(service)
            assert (again.status_code, again.content) == (201, first.content)
            assert again.headers["idempotency-replayed"] == "true"
        await services[0].until_ended(first.json()["id"])


async def test_a_repeat_after_a_restart_gets_the_same_bytes(memory: MemoryDatabase, tmp_path: Path) -> None:
    async with running_service(memory, tmp_path, providers=[ScriptedProvider()]) as service:
        first = await create(service)
        await service.until_ended(first.json()["id"])
    async with running_service(memory, tmp_path, providers=[ScriptedProvider()]) as service:
        again = await create(service)
    assert (again.status_code, again.content) == (201, first.content)
    stored = {name: value for name, value in first.headers.items() if not name.startswith("ratelimit")}
    assert dict(again.headers) == stored | {"idempotency-replayed": "true"}


@pytest.mark.parametrize("away", [False, True], ids=["database back", "database away"])
async def test_an_insert_that_fails_releases_the_key(
    service: Service, workflow_store: FailingStore, memory: MemoryDatabase, *, away: bool
) -> None:
    workflow_store.inserts.append(BEFORE)
    with pytest.MonkeyPatch.context() as patch:
        if away:
            make_unavailable(patch, service, "release")
        assert (await create(service)).status_code == 503
    assert len(memory.tables.keys) == away
    response = await create(service)
    assert (response.status_code, "idempotency-replayed" in response.headers) == (201, False)
    assert len(memory.tables.workflows) == 1


async def test_a_repeat_finds_the_insert_whose_response_was_lost(
    service: Service, workflow_store: FailingStore, memory: MemoryDatabase
) -> None:
    workflow_store.inserts.append(AFTER)
    assert (await create(service)).status_code == 503
    second, third = await create(service), await create(service)
    assert (second.status_code, second.headers["idempotency-replayed"]) == (201, "true")
    assert second.headers["location"] == WORKFLOWS + second.json()["id"]
    assert second.headers["etag"]
    assert (third.content, dict(third.headers)) == (second.content, dict(second.headers))
    assert workflow_ids(memory) == [second.json()["id"]]


@pytest.mark.parametrize("away", [False, True], ids=["database back", "database away"])
async def test_an_insert_that_arrives_after_the_repeat_is_refused(
    service: Service, workflow_store: FailingStore, memory: MemoryDatabase, *, away: bool
) -> None:
    workflow_store.inserts.append(LATE)
    with pytest.MonkeyPatch.context() as patch:
        if away:
            make_unavailable(patch, service, "release")
        assert (await create(service)).status_code == 503
    before_the_repeat = workflow_store.late[0]
    if not away:
        with pytest.raises(StillRunning):
            await workflow_store.inner.insert(*before_the_repeat)
    response = await create(service)
    assert response.status_code == 201
    with pytest.raises(StillRunning):
        await workflow_store.inner.insert(*before_the_repeat)
    assert workflow_ids(memory) == [response.json()["id"]]
    assert {str(position.workflow_id) for position, _ in memory.tables.log} == {response.json()["id"]}


async def test_an_insert_that_arrives_before_the_repeat_counts(
    service: Service, workflow_store: FailingStore, memory: MemoryDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "OUTAGE_RETRY_S", 3600)
    workflow_store.inserts.append(LATE)
    with pytest.MonkeyPatch.context() as patch:
        make_unavailable(patch, service, "release")
        assert (await create(service)).status_code == 503
    await workflow_store.inner.insert(*workflow_store.late[0])
    response = await create(service)
    assert (response.status_code, response.headers["idempotency-replayed"]) == (201, "true")
    assert workflow_ids(memory) == [response.json()["id"]]


async def test_a_response_that_cannot_be_stored_is_not_sent(
    service: Service, provider: ScriptedProvider, memory: MemoryDatabase
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        make_unavailable(patch, service, "store_response")
        assert (await create(service)).status_code == 503
    provider.release("a")
    (workflow_id,) = workflow_ids(memory)
    done = await service.until_ended(workflow_id)
    response = await create(service)
    assert (response.status_code, response.json()) == (201, done)  # the current state
    assert response.headers["idempotency-replayed"] == "true"
    assert (await create(service)).content == response.content


@pytest.mark.parametrize("lease_s", [None, -1, 3600])
async def test_a_key_of_another_process_is_taken_over_once_that_is_dead_or_too_old(
    service: Service,
    workflow_store: FailingStore,
    memory: MemoryDatabase,
    clock: ManualClock,
    lease_s: float | None,
) -> None:
    await leave_claimed(service, workflow_store, memory, lease_s)
    if lease_s == 3600:
        response = await create(service)
        assert (response.status_code, response.headers["retry-after"]) == (409, "1")
        clock.advance(300)
    response = await create(service)
    assert (response.status_code, "idempotency-replayed" in response.headers) == (201, False)
    assert len(memory.tables.workflows) == 1


async def test_two_processes_respond_alike_to_the_repeats_of_a_request_without_a_response(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    async with two_processes(memory, tmp_path) as services:
        with pytest.MonkeyPatch.context() as patch:
            make_unavailable(patch, services[0], "store_response")
            assert (await create(services[0])).status_code == 503
        await eventually(lambda: only_key(memory).owner == UUID(int=0))  # until then it counts as still running
        responses = await asyncio.gather(*(create(service) for service in services))
        assert [response.status_code for response in responses] == [201, 201]
        assert responses[0].content == responses[1].content
        assert len(memory.tables.workflows) == 1
        await services[0].until_ended(responses[0].json()["id"])


async def test_a_verb_that_waits_for_the_database_keeps_its_key(
    service: Service, provider: ScriptedProvider, workflow_store: FailingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow_id = await start_hanging(service, provider)
    monkeypatch.setattr(workflow_access, "COMMIT_S", 0.1)
    workflow_store.gate.clear()
    path = f"{WORKFLOWS}{workflow_id}/pause"
    response = await service.client.post(path, headers=KEY)
    assert (response.status_code, "may still take effect" in response.json()["detail"]) == (503, True)
    assert (await service.client.post(path, headers=KEY)).status_code == 409
    assert (await service.client.post(f"{WORKFLOWS}{workflow_id}/start", headers=KEY)).status_code == 422
    workflow_store.gate.set()
    await eventually(lambda: not service.app.services.idempotency.keys_held, "the effect is decided")
    response = await service.client.post(path, headers=KEY)
    assert (response.status_code, response.json()["status"]) == (200, "PAUSED")
    assert response.headers["idempotency-replayed"] == "true"
    assert (await event_types(service, workflow_id)).count("workflow.paused") == 1


async def test_a_verb_whose_commit_fails_and_then_loses_its_response_is_applied_once(
    service: Service, provider: ScriptedProvider, workflow_store: FailingStore
) -> None:
    workflow_id = await start_hanging(service, provider)
    workflow_store.faults.extend([BEFORE, AFTER])
    path = f"{WORKFLOWS}{workflow_id}/pause"
    first = await service.client.post(path, headers=KEY)
    assert (first.status_code, first.json()["status"]) == (200, "PAUSED")
    assert (await service.verb(workflow_id, "resume")).status_code == 200
    again = await service.client.post(path, headers=KEY)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    assert (await event_types(service, workflow_id)).count("workflow.paused") == 1


async def test_a_verb_that_loses_the_workflow_to_another_process_releases_its_key(
    service: Service, provider: ScriptedProvider, memory: MemoryDatabase
) -> None:
    workflow_id, other = await start_hanging(service, provider), uuid4()
    memory.take_over(other)
    path = f"{WORKFLOWS}{workflow_id}/pause"
    assert (await service.client.post(path, headers=KEY)).status_code == 503
    assert not memory.tables.keys
    del memory.tables.processes[other]
    response = await service.client.post(path, headers=KEY)
    assert (response.status_code, "idempotency-replayed" in response.headers) == (200, False)
    row = only_key(memory)
    assert (str(row.applied_to), row.response is not None and row.response.status) == (workflow_id, 200)


async def test_a_repeated_cleanup_without_a_response_deletes_the_rest(
    service: Service, provider: ScriptedProvider
) -> None:
    workflow_id = await start_hanging(service, provider)
    provider.release("a")
    await service.until_ended(workflow_id)
    path = f"{WORKFLOWS}{workflow_id}/cleanup?cleanup_tasks=true"
    with pytest.MonkeyPatch.context() as patch:
        make_unavailable(patch, service, "store_response")
        assert (await service.client.post(path, headers=KEY)).status_code == 503
    response = await service.client.post(path, headers=KEY)
    assert (response.status_code, response.headers["idempotency-replayed"]) == (200, "true")
    assert response.json()["workflow"]["is_deleted"]
    assert response.json()["cleanup"]["tasks_cleaned"] == 0
    assert (await event_types(service, workflow_id)).count("workflow.cleaned") == 1


async def test_a_request_that_is_cancelled_at_any_point_has_one_effect(
    service: Service, workflow_store: FailingStore, memory: MemoryDatabase
) -> None:
    service_keys: Any = service.app.stores.database.keys
    for place in ("claim", "store_response"):
        memory.tables.keys.clear()
        memory.tables.workflows.clear()
        reached, inner = asyncio.Event(), getattr(service_keys, place)

        def halting(inner: Callable[..., Any] = inner, reached: asyncio.Event = reached) -> Callable[..., Any]:
            async def halt(*values: Any) -> Any:
                await inner(*values)
                reached.set()
                await asyncio.Event().wait()

            return halt

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(service_keys, place, halting())
            async with asyncio.TaskGroup() as group:
                request = group.create_task(create(service))
                await reached.wait()
                request.cancel()
        response = await create(service)
        assert (response.status_code, "idempotency-replayed" in response.headers) == (201, place == "store_response")
        assert len(memory.tables.workflows) == 1
