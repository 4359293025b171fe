"""Requests with a key when things go wrong between the request, its effect and its answer: one effect, one answer."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from stepwell.domain.errors import StillRunning, Unavailable
from stepwell.engine import idempotency
from stepwell.engine import service as service_module
from support.database.failing_store import AFTER, BEFORE, LATE, FaultyJournal, faulty
from support.providers.scripted import Hang, Scripted, eventually, scripted
from support.service.live_service import Service, running_service

WORKFLOWS = "/api/v1/workflows/"
BODY: dict[str, Any] = {"name": "n", "origin_instance": "o", "steps": [scripted("a")]}
KEY = {"Idempotency-Key": "k"}


@pytest.fixture
def provider() -> Scripted:
    return Scripted(default=Hang())


@pytest.fixture
async def service(dsn: str, tmp_path: Path, provider: Scripted) -> AsyncIterator[Service]:
    async with running_service(dsn, tmp_path, providers=[provider], grace_s=1) as running:
        yield running


@pytest.fixture
def journal(service: Service) -> FaultyJournal:
    return faulty(service)


@pytest.fixture
async def sql(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


@asynccontextmanager
async def two(dsn: str, folder: Path) -> AsyncIterator[tuple[Service, Service]]:
    """Two processes on one database."""
    async with (
        running_service(dsn, folder / "1", providers=[Scripted()], exclusive=False) as one,
        running_service(dsn, folder / "2", providers=[Scripted()], exclusive=False) as other,
    ):
        yield one, other


async def create(service: Service) -> httpx.Response:
    return await service.client.post(WORKFLOWS, json=BODY, headers=KEY)


async def begun(service: Service, provider: Scripted) -> str:
    made = await service.create(scripted("a"))
    await provider.until_called("a")
    return str(made["id"])


async def types(service: Service, workflow_id: str) -> list[str]:
    return [event["type"] for event in await service.events(workflow_id)]


def failing(patch: pytest.MonkeyPatch, service: Service, *names: str) -> None:
    """The database is away whenever the keys are asked that."""

    async def fail(*_: Any) -> Any:
        raise Unavailable("the database is away")

    for name in names:
        patch.setattr(service.app.components.stores.database.keys, name, fail)


async def left_behind(service: Service, journal: FaultyJournal, sql: asyncpg.Connection, **owner: Any) -> None:
    """A request that had no effect, of another process; *owner*: when its lease ends, if it has one."""
    other = uuid4()
    journal.inserts.append(BEFORE)
    with pytest.MonkeyPatch.context() as patch:
        failing(patch, service, "release")
        assert (await create(service)).status_code == 503
    await sql.execute("UPDATE idempotency_keys SET owner = $1, token = gen_random_uuid()", other)
    if "lease" in owner:
        lease = f"INSERT INTO processes VALUES ($1, clock_timestamp() + interval '{owner['lease']}')"
        await sql.execute(lease, other)


async def until(sql: asyncpg.Connection, condition: str, *values: Any) -> None:
    """Until that is so of the key."""
    async with asyncio.timeout(30):
        while not await sql.fetchval(f"SELECT {condition} FROM idempotency_keys", *values):
            await asyncio.sleep(0.01)


async def stored(sql: asyncpg.Connection) -> int:
    return int(await sql.fetchval("SELECT count(*) FROM workflows"))


async def test_of_fifty_in_two_processes_one_works(dsn: str, tmp_path: Path, sql: asyncpg.Connection) -> None:
    async with two(dsn, tmp_path) as services:
        answers = await asyncio.gather(*(create(services[n % 2]) for n in range(50)))
        codes = Counter(answer.status_code for answer in answers)
        assert codes[201] >= 1
        assert codes == {201: codes[201], 409: 50 - codes[201]}
        assert await stored(sql) == 1
        (first,) = (a for a in answers if a.status_code == 201 and "idempotency-replayed" not in a.headers)
        for service in services:
            again = await create(service)
            assert (again.status_code, again.content) == (201, first.content)
            assert again.headers["idempotency-replayed"] == "true"
        await services[0].until_ended(first.json()["id"])


async def test_after_a_restart_the_answer_is_the_same(dsn: str, tmp_path: Path) -> None:
    async with running_service(dsn, tmp_path, providers=[Scripted()]) as service:
        first = await create(service)
        await service.until_ended(first.json()["id"])
    async with running_service(dsn, tmp_path, providers=[Scripted()]) as service:
        again = await create(service)
    assert (again.status_code, again.content) == (201, first.content)
    assert dict(again.headers) == dict(first.headers) | {"idempotency-replayed": "true"}


@pytest.mark.parametrize("away", [False, True], ids=["", "and nobody can tell"])
async def test_an_insert_that_fails_leaves_the_key_free(
    service: Service, journal: FaultyJournal, sql: asyncpg.Connection, *, away: bool
) -> None:
    journal.inserts.append(BEFORE)
    with pytest.MonkeyPatch.context() as patch:
        if away:
            failing(patch, service, "release")
        assert (await create(service)).status_code == 503
    assert await sql.fetchval("SELECT count(*) FROM idempotency_keys") == away
    answer = await create(service)
    assert (answer.status_code, "idempotency-replayed" in answer.headers) == (201, False)
    assert await stored(sql) == 1


async def test_an_insert_whose_answer_is_lost_is_found_by_the_repeat(
    service: Service, journal: FaultyJournal, sql: asyncpg.Connection
) -> None:
    journal.inserts.append(AFTER)
    assert (await create(service)).status_code == 503
    second, third = await create(service), await create(service)
    assert (second.status_code, second.headers["idempotency-replayed"]) == (201, "true")
    assert second.headers["location"] == WORKFLOWS + second.json()["id"]
    assert second.headers["etag"]
    assert (third.content, dict(third.headers)) == (second.content, dict(second.headers))
    assert await sql.fetch("SELECT id::text FROM workflows") == [(second.json()["id"],)]


@pytest.mark.parametrize("away", [False, True], ids=["", "and nobody could tell"])
async def test_an_insert_that_comes_late_makes_no_second_workflow(
    service: Service, journal: FaultyJournal, sql: asyncpg.Connection, *, away: bool
) -> None:
    journal.inserts.append(LATE)
    with pytest.MonkeyPatch.context() as patch:
        if away:
            failing(patch, service, "release")
        assert (await create(service)).status_code == 503
    before_the_repeat = journal.late[0]
    if not away:
        with pytest.raises(StillRunning):
            await journal.inner.insert(*before_the_repeat)
    answer = await create(service)
    assert answer.status_code == 201
    with pytest.raises(StillRunning):
        await journal.inner.insert(*before_the_repeat)
    assert await sql.fetch("SELECT id::text FROM workflows") == [(answer.json()["id"],)]
    for table in ("steps", "events"):
        others = f"SELECT count(*) FROM {table} WHERE workflow_id::text <> $1"
        assert await sql.fetchval(others, answer.json()["id"]) == 0


async def test_an_insert_that_comes_before_the_repeat_is_the_one(
    service: Service, journal: FaultyJournal, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "_RETRY_S", 3600)
    journal.inserts.append(LATE)
    with pytest.MonkeyPatch.context() as patch:
        failing(patch, service, "release")
        assert (await create(service)).status_code == 503
    await journal.inner.insert(*journal.late[0])
    answer = await create(service)
    assert (answer.status_code, answer.headers["idempotency-replayed"]) == (201, "true")
    assert await sql.fetch("SELECT id::text FROM workflows") == [(answer.json()["id"],)]


async def test_an_answer_that_cannot_be_stored_is_not_sent(
    service: Service, provider: Scripted, sql: asyncpg.Connection
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        failing(patch, service, "store_answer")
        assert (await create(service)).status_code == 503
    provider.release("a")
    ((workflow_id,),) = await sql.fetch("SELECT id::text FROM workflows")
    done = await service.until_ended(workflow_id)
    answer = await create(service)
    assert (answer.status_code, answer.json()) == (201, done)  # as it is by now
    assert answer.headers["idempotency-replayed"] == "true"
    assert (await create(service)).content == answer.content


@pytest.mark.parametrize("lease", [None, "-1 second", "1 hour"])
async def test_what_another_process_left_behind(
    service: Service, journal: FaultyJournal, sql: asyncpg.Connection, lease: str | None
) -> None:
    await left_behind(service, journal, sql, **({} if lease is None else {"lease": lease}))
    if lease == "1 hour":
        answer = await create(service)
        assert (answer.status_code, answer.headers["retry-after"]) == (409, "1")
        await sql.execute("UPDATE idempotency_keys SET created_at = created_at - interval '5 minutes'")
    answer = await create(service)
    assert (answer.status_code, "idempotency-replayed" in answer.headers) == (201, False)
    assert await stored(sql) == 1


async def test_two_who_find_an_effect_without_an_answer_give_the_same(
    dsn: str, tmp_path: Path, sql: asyncpg.Connection
) -> None:
    async with two(dsn, tmp_path) as services:
        with pytest.MonkeyPatch.context() as patch:
            failing(patch, services[0], "store_answer")
            assert (await create(services[0])).status_code == 503
        await until(sql, "owner = $1", UUID(int=0))  # until then others must take it for one that goes on
        answers = await asyncio.gather(*(create(service) for service in services))
        assert [answer.status_code for answer in answers] == [201, 201]
        assert answers[0].content == answers[1].content
        assert await stored(sql) == 1
        await services[0].until_ended(answers[0].json()["id"])


async def test_a_verb_that_waits_for_the_database_keeps_its_key(
    service: Service, provider: Scripted, journal: FaultyJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow_id = await begun(service, provider)
    monkeypatch.setattr(service_module, "_ANSWER_S", 0.1)
    journal.gate.clear()
    path = f"{WORKFLOWS}{workflow_id}/pause"
    answer = await service.client.post(path, headers=KEY)
    assert (answer.status_code, "may still take effect" in answer.json()["detail"]) == (503, True)
    assert (await service.client.post(path, headers=KEY)).status_code == 409
    assert (await service.client.post(f"{WORKFLOWS}{workflow_id}/start", headers=KEY)).status_code == 422
    journal.gate.set()
    await eventually(lambda: not service.app.service.idempotency.keys_held, "it is decided")
    answer = await service.client.post(path, headers=KEY)
    assert (answer.status_code, answer.json()["status"]) == (200, "PAUSED")
    assert answer.headers["idempotency-replayed"] == "true"
    assert (await types(service, workflow_id)).count("workflow.paused") == 1


async def test_a_verb_whose_commit_is_not_heard_of_is_applied_once(
    service: Service, provider: Scripted, journal: FaultyJournal
) -> None:
    workflow_id = await begun(service, provider)
    journal.faults.extend([BEFORE, AFTER])
    path = f"{WORKFLOWS}{workflow_id}/pause"
    first = await service.client.post(path, headers=KEY)
    assert (first.status_code, first.json()["status"]) == (200, "PAUSED")
    assert (await service.verb(workflow_id, "resume")).status_code == 200
    again = await service.client.post(path, headers=KEY)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    assert (await types(service, workflow_id)).count("workflow.paused") == 1


async def test_a_verb_that_another_process_prevents_leaves_its_key_free(
    service: Service, provider: Scripted, sql: asyncpg.Connection
) -> None:
    workflow_id, other = await begun(service, provider), uuid4()
    await sql.execute("INSERT INTO processes VALUES ($1, 'infinity')", other)
    await sql.execute("UPDATE workflows SET owner = $1, epoch = epoch + 1", other)
    path = f"{WORKFLOWS}{workflow_id}/pause"
    assert (await service.client.post(path, headers=KEY)).status_code == 503
    assert await sql.fetchval("SELECT count(*) FROM idempotency_keys") == 0
    await sql.execute("DELETE FROM processes WHERE id = $1", other)
    answer = await service.client.post(path, headers=KEY)
    assert (answer.status_code, "idempotency-replayed" in answer.headers) == (200, False)
    assert await sql.fetchval("SELECT applied_at IS NOT NULL AND status = 200 FROM idempotency_keys")


async def test_a_cleanup_without_an_answer_goes_on_with_what_is_left(service: Service, provider: Scripted) -> None:
    workflow_id = await begun(service, provider)
    provider.release("a")
    await service.until_ended(workflow_id)
    path = f"{WORKFLOWS}{workflow_id}/cleanup?cleanup_tasks=true"
    with pytest.MonkeyPatch.context() as patch:
        failing(patch, service, "store_answer")
        assert (await service.client.post(path, headers=KEY)).status_code == 503
    answer = await service.client.post(path, headers=KEY)
    assert (answer.status_code, answer.headers["idempotency-replayed"]) == (200, "true")
    assert answer.json()["workflow"]["is_deleted"]
    assert answer.json()["cleanup"]["tasks_cleaned"] == 0
    assert (await types(service, workflow_id)).count("workflow.cleaned") == 1


async def test_one_who_leaves_takes_nothing_with_them(
    service: Service, journal: FaultyJournal, sql: asyncpg.Connection
) -> None:
    """However far a request has come when it is cancelled, a repeat is right."""
    service_keys: Any = service.app.components.stores.database.keys
    for place in ("reserve", "store_answer"):
        await sql.execute("TRUNCATE idempotency_keys, workflows, steps, events")
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
        answer = await create(service)
        assert (answer.status_code, "idempotency-replayed" in answer.headers) == (201, place == "store_answer")
        assert await stored(sql) == 1
