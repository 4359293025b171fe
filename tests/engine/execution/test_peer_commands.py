"""A verb reaches a process that doesn't run the workflow: the outcome is that of the process that does."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from stepwell.basics.errors import Unavailable
from stepwell.lifecycle.peer_commands import Command, CommandWithdrawn
from stepwell.testing import ManualClock, MemoryDatabase
from support.database.failing_store import use_failing_store
from support.providers.scripted import Hang, ScriptedProvider, Succeed, eventually, scripted_step
from support.service.live_service import Service, running_service, statuses_of

WORKFLOWS = "/api/v1/workflows/"
KEY = {"Idempotency-Key": "k"}


@dataclass
class Pair:
    """Two services: *one* runs all workflows, whose step hangs."""

    one: Service
    other: Service
    provider: ScriptedProvider

    async def start(self) -> str:
        """Start a workflow at *one*, and return its path."""
        calls = len(self.provider.calls)
        created = await self.one.create(scripted_step("a"))
        await eventually(lambda: len(self.provider.calls) > calls)
        return WORKFLOWS + str(created["id"])

    def stop_receiving(self) -> None:
        """From now on *one* carries out no command."""
        self.one.app.background.command_receiver.closed = True

    async def die(self) -> None:
        """*one* ends as a process that is killed."""
        self.one.app.running.cancel()
        await asyncio.wait({self.one.app.running})


async def started_pair(
    stack: AsyncExitStack, database: str | MemoryDatabase, folder: Path, lease_s: float = 3600
) -> Pair:
    provider = ScriptedProvider(script={"made": [Succeed(files={"a.png": b"png"})] * 2}, default=Hang())
    services = [
        await stack.enter_async_context(
            running_service(database, folder, providers=[provider], exclusive=False, grace_s=1, lease_s=lease_s)
        )
        for _ in range(2)
    ]
    one, other = services
    return Pair(one, other, provider)


@pytest.fixture
async def pair(memory: MemoryDatabase, tmp_path: Path) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        pair = await started_pair(stack, memory, tmp_path, lease_s=6)
        yield pair
        pair.provider.release("a")


@pytest.fixture
async def timed_pair(memory_in_real_time: MemoryDatabase, tmp_path: Path) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        pair = await started_pair(stack, memory_in_real_time, tmp_path)
        yield pair
        pair.provider.release("a")


@pytest.fixture
async def stored_pair(dsn: str, tmp_path: Path) -> AsyncIterator[Pair]:
    """Two services on PostgreSQL."""
    async with AsyncExitStack() as stack:
        pair = await started_pair(stack, dsn, tmp_path)
        yield pair
        pair.provider.release("a")


async def events_of(service: Service, path: str) -> list[str]:
    return [event["type"] for event in await service.events(path.rpartition("/")[2])]


def problem_of(response: httpx.Response) -> dict[str, Any]:
    """The members of a problem, without the path, which differs."""
    return {name: value for name, value in response.json().items() if name != "instance"}


@pytest.mark.parametrize(
    ("verb", "changes"),
    [("pause", "PAUSED"), ("cancel", "CANCELLED"), ("patch", "RUNNING"), ("start", None), ("resume", None)],
)
async def test_a_verb_gets_the_same_outcome_from_the_process_that_does_not_run_the_workflow(
    pair: Pair, verb: str, changes: str | None
) -> None:
    responses, path = [], ""
    for service in (pair.one, pair.other):
        path = await pair.start()
        if verb == "patch":
            responses.append(await service.client.patch(path, json={"name": "renamed", "labels": {"a": "b"}}))
        elif verb == "cancel":
            responses.append(await service.client.delete(path))
        else:
            responses.append(await service.client.post(f"{path}/{verb}"))
    here, there = responses
    assert here.status_code == there.status_code == (200 if changes else 409)
    assert here.headers.keys() == there.headers.keys()
    if changes is None:
        assert problem_of(here) == problem_of(there)
    else:
        assert there.json()["status"] == changes
        assert there.headers["etag"] == (await pair.one.client.get(path)).headers["etag"]
        assert here.json().keys() == there.json().keys()


async def test_a_failed_precondition_is_the_same_problem_in_both_processes(pair: Pair) -> None:
    path = await pair.start()
    etag = {"If-Match": (await pair.other.client.get(path)).headers["etag"]}
    assert (await pair.one.client.patch(path, json={"name": "n"})).status_code == 200
    here, there = [await service.client.post(f"{path}/pause", headers=etag) for service in (pair.one, pair.other)]
    assert (here.status_code, here.content) == (there.status_code, there.content)
    assert here.status_code == 412
    etag = {"If-Match": (await pair.other.client.get(path)).headers["etag"]}
    assert (await pair.other.client.post(f"{path}/pause", headers=etag)).status_code == 200


@pytest.mark.extended
async def test_a_dry_run_with_a_large_response_is_the_same_in_both_processes(pair: Pair) -> None:
    ids = [f"{number}{'🎨' * 250}" for number in range(4_500)]
    created = await pair.one.create(scripted_step("a"), *(scripted_step(step_id, "a") for step_id in ids))
    path = WORKFLOWS + str(created["id"])
    await eventually(lambda: bool(pair.provider.calls))
    one, other = [await service.client.delete(path, params={"dry_run": "true"}) for service in (pair.one, pair.other)]
    assert (one.status_code, other.status_code, len(one.json()["cancelled"])) == (200, 200, 4_501)
    assert (one.content, one.headers["etag"]) == (other.content, other.headers["etag"])


async def test_a_verb_on_another_tenants_workflow_is_unknown_in_both_processes(pair: Pair) -> None:
    path = await pair.start()
    for service in (pair.one, pair.other):
        async with service.as_tenant("stranger") as client:
            assert (await client.post(f"{path}/pause")).status_code == 404


async def test_a_repeated_request_gets_the_stored_response_from_either_process(pair: Pair) -> None:
    path = await pair.start()
    first = await pair.other.client.post(f"{path}/pause", headers=KEY)
    assert (first.status_code, first.json()["status"]) == (200, "PAUSED")
    for service in (pair.one, pair.other):
        again = await service.client.post(f"{path}/pause", headers=KEY)
        assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    assert (await events_of(pair.one, path)).count("workflow.paused") == 1


async def test_a_cleanup_is_reported_by_the_process_that_does_not_delete_the_files(timed_pair: Pair) -> None:
    pair = timed_pair
    for service in (pair.one, pair.other):
        created = await pair.one.create(scripted_step("made"), scripted_step("a", "made"))
        workflow_id = created["id"]
        await pair.one.until(workflow_id, lambda workflow: statuses_of(workflow)["a"] == "RUNNING")
        assert (await pair.one.verb(workflow_id, "pause")).json()["status"] == "PAUSED"
        made, _ = await service.tasks(workflow_id)
        response = await service.verb(workflow_id, "cleanup", cleanup_tasks=True)
        assert (response.status_code, response.json()["workflow"]["status"]) == (200, "CANCELLED")
        report = response.json()["cleanup"]
        assert report == {
            "tasks_processed": 2,
            "tasks_cleaned": 2,
            "deleted_paths": [output["path"] for output in made["outputs"]],
            "errors": [],
            "pending": False,
        }
        assert len(report["deleted_paths"]) == 1


async def test_a_verb_waits_for_the_end_of_a_workflow_that_another_process_runs(timed_pair: Pair) -> None:
    pair = timed_pair
    path = await pair.start()
    assert (await pair.one.client.post(f"{path}/pause")).json()["status"] == "PAUSED"
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        wait = {"Prefer": "wait=50"}
        asyncio_task = group.create_task(pair.other.client.post(f"{path}/resume", headers=wait))
        await eventually(lambda: bool(pair.other.app.engine.bus.watched), "the request waits")
        pair.provider.release("a")
    response = asyncio_task.result()
    assert (response.status_code, response.json()["status"]) == (200, "COMPLETED")
    assert response.headers["preference-applied"] == "wait=50"


async def test_the_data_of_a_paused_workflow_is_deleted_by_either_process(timed_pair: Pair) -> None:
    pair = timed_pair
    for service in (pair.one, pair.other):
        path = await pair.start()
        assert (await pair.one.client.post(f"{path}/pause")).json()["status"] == "PAUSED"
        response = await service.client.delete(f"{path}/data")
        assert (response.status_code, response.json()["pending"]) == (200, False)
        assert (await service.client.get(path)).status_code == 404
    assert not memory_of(pair).tables.commands


async def test_lost_notifications_cost_some_time_and_nothing_else(
    pair: Pair, memory: MemoryDatabase, clock: ManualClock
) -> None:
    path = await pair.start()
    memory.tables.command_listeners.clear()
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        asyncio_task = group.create_task(pair.other.client.post(f"{path}/pause"))
        while not asyncio_task.done():
            clock.advance(0.2)
            await asyncio.sleep(0.001)
    assert (asyncio_task.result().status_code, asyncio_task.result().json()["status"]) == (200, "PAUSED")


async def test_commands_are_read_again_after_reads_that_failed(
    timed_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = timed_pair
    path = await pair.start()
    commands = pair.one.app.stores.database.commands
    failures: list[Exception] = [Unavailable("the database is away"), RuntimeError("a bug")]
    read = commands.waiting

    async def failing(owner: UUID, except_for: Collection[UUID], limit: int) -> Sequence[Command]:
        if failures:
            raise failures.pop(0)
        return await read(owner, except_for, limit)

    monkeypatch.setattr(commands, "waiting", failing)
    response = await pair.other.client.post(f"{path}/pause")
    assert (response.status_code, response.json()["status"], failures) == (200, "PAUSED", [])


async def test_a_verb_without_an_outcome_in_time_is_withdrawn(timed_pair: Pair) -> None:
    pair = timed_pair
    path = await pair.start()
    pair.stop_receiving()
    pair.other.app.services.commands.outcome_s = 0.05
    response = await pair.other.client.post(f"{path}/pause", headers=KEY)
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    (command,) = memory_of(pair).tables.commands.values()
    assert command.outcome == CommandWithdrawn()
    assert (await pair.one.client.get(path)).json()["status"] == "RUNNING"
    repeated = await pair.one.client.post(f"{path}/pause", headers=KEY)
    assert (repeated.status_code, "idempotency-replayed" in repeated.headers) == (200, False)


async def test_an_effect_that_comes_after_the_withdrawal_is_not_written(timed_pair: Pair) -> None:
    pair = timed_pair
    path = await pair.start()
    store = use_failing_store(pair.one)
    store.gate.clear()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        asyncio_task = group.create_task(pair.other.client.post(f"{path}/pause"))
        await eventually(lambda: bool(store.batches), "the effect waits for the database")
        await pair.other.app.services.commands.stop(60)
    assert asyncio_task.result().status_code == 503
    store.gate.set()
    await eventually(lambda: pair.one.app.engine.scheduler.lease_losses == 1)
    assert (await pair.other.client.get(path)).json()["status"] == "RUNNING"
    assert "workflow.paused" not in await events_of(pair.other, path)
    async with asyncio.timeout(30):  # until the workflow is claimed again
        while (await pair.one.client.post(f"{path}/pause")).status_code != 200:
            await asyncio.sleep(0.01)


async def test_a_verb_on_a_workflow_that_ends_meanwhile_gets_its_outcome_from_the_end(timed_pair: Pair) -> None:
    pair = timed_pair
    path = await pair.start()
    pair.stop_receiving()
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        asyncio_task = group.create_task(pair.other.client.post(f"{path}/pause"))
        await eventually(lambda: bool(memory_of(pair).tables.commands))
        pair.provider.release("a")
    response = asyncio_task.result()
    assert (response.status_code, response.json()["current_status"]) == (409, "COMPLETED")


async def test_the_next_owner_carries_out_the_verb_of_a_process_that_died_before_its_effect(
    stored_pair: Pair, sql: asyncpg.Connection
) -> None:
    pair = stored_pair
    path = await pair.start()
    store = use_failing_store(pair.one)
    store.gate.clear()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        asyncio_task = group.create_task(pair.other.client.post(f"{path}/pause", headers=KEY))
        await eventually(lambda: bool(store.batches), "the effect waits for the database")
        await pair.die()
        owner = pair.one.app.engine.lease.owner
        await sql.execute("UPDATE processes SET lease_until = clock_timestamp() WHERE id = $1", owner)
        pair.other.app.services.commands.resubscribed()
    response = asyncio_task.result()
    assert (response.status_code, response.json()["status"]) == (200, "PAUSED")
    again = await pair.other.client.post(f"{path}/pause", headers=KEY)
    assert (again.content, again.headers["idempotency-replayed"]) == (response.content, "true")
    assert (await events_of(pair.other, path)).count("workflow.paused") == 1


async def test_a_client_that_goes_away_leaves_the_key_claimed_until_the_outcome(timed_pair: Pair) -> None:
    pair = timed_pair
    path = await pair.start()
    store = use_failing_store(pair.one)
    store.gate.clear()
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        asyncio_task = group.create_task(pair.other.client.post(f"{path}/pause", headers=KEY))
        await eventually(lambda: bool(store.batches), "the effect waits for the database")
        asyncio_task.cancel()
        await asyncio.wait({asyncio_task})
        assert pair.other.app.services.idempotency.keys_held == 1
        assert (await pair.other.client.post(f"{path}/pause", headers=KEY)).status_code == 409
        store.gate.set()
        await eventually(lambda: not pair.other.app.services.idempotency.keys_held)
    repeated = await pair.other.client.post(f"{path}/pause", headers=KEY)
    assert (repeated.status_code, repeated.json()["status"]) == (200, "PAUSED")
    assert repeated.headers["idempotency-replayed"] == "true"
    assert (await events_of(pair.one, path)).count("workflow.paused") == 1


async def test_a_client_that_goes_away_without_a_key_leaves_the_verb_to_its_outcome(timed_pair: Pair) -> None:
    pair = timed_pair
    path = await pair.start()
    store = use_failing_store(pair.one)
    store.gate.clear()
    asyncio_task = asyncio.ensure_future(pair.other.client.post(f"{path}/pause"))
    await eventually(lambda: bool(store.batches), "the effect waits for the database")
    asyncio_task.cancel()
    await asyncio.wait({asyncio_task})
    store.gate.set()
    await eventually(lambda: not pair.other.app.services.commands.waiting)
    assert (await pair.other.client.get(path)).json()["status"] == "PAUSED"
    assert not pair.other.app.running.done()


async def test_a_verb_is_withdrawn_after_an_outage_that_outlasts_its_request(
    timed_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepwell.engine.execution.command_sender._LAST_S", 0.1)
    pair = timed_pair
    path = await pair.start()
    pair.stop_receiving()
    pair.other.app.services.commands.outcome_s = 0.2
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        asyncio_task = group.create_task(pair.other.client.post(f"{path}/pause"))
        await eventually(lambda: bool(memory_of(pair).tables.commands))
        memory_of(pair).available = False
    assert (asyncio_task.result().status_code, "may still take effect" in asyncio_task.result().json()["detail"]) == (
        503,
        True,
    )
    memory_of(pair).available = True
    await eventually(lambda: not pair.other.app.services.commands.waiting)
    (command,) = memory_of(pair).tables.commands.values()
    assert command.outcome == CommandWithdrawn()
    assert not pair.other.app.running.done()


async def test_a_command_is_withdrawn_if_nobody_knows_whether_it_was_sent(
    timed_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = timed_pair
    path = await pair.start()
    pair.stop_receiving()
    commands: Any = pair.other.app.stores.database.commands
    send = commands.send

    async def send_without_a_response(*arguments: Any) -> bool:
        await send(*arguments)
        raise Unavailable("the response of the database was lost")

    monkeypatch.setattr(commands, "send", send_without_a_response)
    response = await pair.other.client.post(f"{path}/pause")
    assert (response.status_code, response.json()["detail"]) == (503, "the response of the database was lost")
    await eventually(lambda: not pair.other.app.services.commands.waiting)
    (command,) = memory_of(pair).tables.commands.values()
    assert command.outcome == CommandWithdrawn()


async def test_a_process_that_stops_takes_its_commands_back(timed_pair: Pair) -> None:
    pair = timed_pair
    path = await pair.start()
    pair.stop_receiving()
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        asyncio_task = group.create_task(pair.other.client.post(f"{path}/pause"))
        await eventually(lambda: bool(memory_of(pair).tables.commands))
        await pair.other.app.stop()
    assert asyncio_task.result().status_code == 503
    (command,) = memory_of(pair).tables.commands.values()
    assert command.outcome == CommandWithdrawn()
    assert (await pair.one.client.get(path)).json()["status"] == "RUNNING"


async def test_verbs_at_both_processes_at_once_are_applied_in_one_order(stored_pair: Pair) -> None:
    pair = stored_pair
    path = await pair.start()
    for number in range(5):
        responses = await asyncio.gather(*(service.client.post(f"{path}/pause") for service in (pair.one, pair.other)))
        assert sorted(response.status_code for response in responses) == [200, 409]
        response = await (pair.one, pair.other)[number % 2].client.post(f"{path}/resume")
        assert response.status_code == 200


def memory_of(pair: Pair) -> MemoryDatabase:
    assert isinstance(pair.one.database, MemoryDatabase)
    return pair.one.database


async def test_a_decision_and_a_signal_are_taken_by_the_process_that_runs_the_workflow(pair: Pair) -> None:
    ask, paid = {"id": "ask", "task_type": "APPROVAL"}, {"id": "paid", "task_type": "SIGNAL"}
    created = await pair.one.create(scripted_step("a"), ask, paid)
    path = WORKFLOWS + created["id"]
    await pair.one.until(created["id"], lambda shown: all(step["waiting_for"] for step in shown["steps"][1:]))
    decided = await pair.other.client.post(
        f"{path}/steps/ask/decision", json={"choice": "approve", "data": {"n": "ä"}}, headers=KEY
    )
    assert (decided.status_code, decided.json()["result"]["data"]) == (200, {"n": "ä"})
    late = [
        await service.client.post(f"{path}/steps/ask/decision", json={"choice": "reject"})
        for service in (pair.other, pair.one)
    ]
    assert [response.status_code for response in late] == [409, 409]
    assert problem_of(late[0]) == problem_of(late[1])
    signalled = await pair.other.client.post(f"{path}/signals/paid", json={"data": [1]})
    assert signalled.json()["result"]["data"] == [1]
    ended = {"a": "RUNNING", "ask": "COMPLETED", "paid": "COMPLETED"}
    await pair.one.until(created["id"], lambda shown: statuses_of(shown) == ended)
