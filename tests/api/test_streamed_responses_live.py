"""Responses with large workflows: bounded memory, slow readers, and the same bytes as small ones."""

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, cast

import asyncpg
import pytest
import pytest_asyncio
from litestar.types import Message

from stepwell.api.responses import streamed_responses
from stepwell.api.routes import steps as step_routes
from stepwell.runtime.asgi_scope import http_scope
from support.database.postgres import TestServer, database
from support.providers.configured_by_steps import WORKFLOWS, passthrough_step
from support.providers.scripted import eventually
from support.service.live_service import Service, running_service, token

pytestmark = pytest.mark.asyncio(loop_scope="module")

MIB = 1024 * 1024
MEMORY = 40 * MIB
COPIES, TEXT = 40, 300_000
ONLY = {"origin_instance": "large"}
# Autovacuum may have a transaction.
BUSY = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
    AND (backend_xmin IS NOT NULL OR state LIKE 'idle in%')
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bounded(
    server: TestServer, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """The service with little memory for its responses."""
    async with AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(database(server, template))
        folder = tmp_path_factory.mktemp("bounded")
        yield await stack.enter_async_context(running_service(dsn, folder, memory_max_bytes=MEMORY))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def large(bounded: Service) -> str:
    """The id of a workflow with 12 MB of results, which were mapped from one of 300 kB."""
    once = passthrough_step("once", text="x" * TEXT)
    mapping = {"from_step": "once", "from_field": "text", "to_field": "text"}
    copies = [{"id": f"copy{n}", "task_type": "PASSTHROUGH", "input_mappings": [mapping]} for n in range(COPIES)]
    created = await bounded.create(once, *copies, origin_instance="large")
    await until_completed(bounded, created["id"])
    return str(created["id"])


async def until_completed(service: Service, workflow_id: str) -> None:
    async with asyncio.timeout(60):
        while True:
            bare = (await service.client.get(WORKFLOWS + workflow_id, params={"include_steps": False})).json()
            if bare["status"] == "COMPLETED":
                return


class Reader:
    """A client that reads a response as slowly as it wants. `size` counts what it has read."""

    def __init__(self, service: Service, path: str, query: str = "") -> None:
        self._service, self._path, self._query = service, path, query
        self.size, self.status, self.ended = 0, 0, False
        self.go_on, self.waits, self.gone = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def read(self, *, pause_after: int | None = None) -> None:
        """Read the response to its end. Once *pause_after* bytes have come, wait for `go_on`."""
        headers = [(b"authorization", f"Bearer {token()}".encode()), (b"host", b"t.local")]
        target = f"{WORKFLOWS.removesuffix('/')}{self._path}?{self._query}".encode()
        scope: Any = http_scope("GET", target, headers, server=("t.local", 80), client=("127.0.0.1", 1))
        requests: list[dict[str, Any]] = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> Any:
            if requests:
                return requests.pop()
            await self.gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                return
            body = cast("dict[str, Any]", message)
            self.size += len(body["body"])
            self.ended = not body["more_body"]
            if pause_after is not None and self.size >= pause_after and not self.go_on.is_set():
                self.waits.set()
                await self.go_on.wait()

        app = cast("Callable[..., Awaitable[None]]", self._service.app.api)
        await app(scope, receive, send)


def held(service: Service) -> int:
    return service.app.services.memory.held


async def size_of(service: Service, path: str, query: str) -> int:
    reader = Reader(service, path, query)
    await reader.read()
    assert (reader.status, reader.ended) == (200, True)
    return reader.size


@pytest.mark.parametrize(("path", "query"), [("/{id}", ""), ("", "origin_instance=large")], ids=["get", "list"])
async def test_four_slow_readers_of_a_large_response_hold_bounded_memory(
    bounded: Service, large: str, path: str, query: str
) -> None:
    path = path.format(id=large)
    whole = await size_of(bounded, path, query)
    assert whole > COPIES * TEXT
    small = await bounded.create(passthrough_step("a"), start=False)
    readers = [Reader(bounded, path, query) for _ in range(4)]
    tracemalloc.start()
    try:
        async with asyncio.TaskGroup() as group:
            for reader in readers:
                group.create_task(reader.read(pause_after=MIB))
            await eventually(lambda: sum(reader.waits.is_set() for reader in readers) >= 2)
            assert 0 < held(bounded) <= MEMORY
            # Others get their responses meanwhile, without waiting for memory.
            assert await bounded.get(small["id"]) == small
            for reader in readers:
                reader.go_on.set()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [(reader.status, reader.ended, reader.size) for reader in readers] == [(200, True, readers[0].size)] * 4
    assert readers[0].size >= whole
    assert held(bounded) == 0
    assert peak < MEMORY  # four whole responses would be 50 MB, and some copies of each


async def test_a_slow_reader_holds_no_transaction(bounded: Service, large: str) -> None:
    reader = Reader(bounded, f"/{large}")
    sql = await asyncpg.connect(bounded.dsn)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(reader.read(pause_after=MIB))
            await asyncio.wait_for(reader.waits.wait(), 60)
            async with asyncio.timeout(60):
                while await sql.fetchval(BUSY):  # another statement of the service ends soon
                    await asyncio.sleep(0.01)
            assert not reader.ended
            reader.go_on.set()
        assert reader.ended
    finally:
        await sql.close()


async def test_a_reader_that_makes_no_progress_is_cut_off_and_its_memory_is_free(
    bounded: Service, large: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamed_responses, "PROGRESS_S", 0.05)
    reader = Reader(bounded, f"/{large}")
    await asyncio.wait_for(reader.read(pause_after=1), 60)
    assert (reader.status, reader.ended) == (200, False)
    assert held(bounded) == 0


async def test_the_memory_of_an_aborted_response_is_free_at_once(bounded: Service, large: str) -> None:
    reader = Reader(bounded, f"/{large}")
    async with asyncio.TaskGroup() as group:
        group.create_task(reader.read(pause_after=MIB))
        await asyncio.wait_for(reader.waits.wait(), 60)
        assert held(bounded) > 0
        reader.gone.set()
    assert not reader.ended
    assert held(bounded) == 0


async def test_results_and_steps_can_be_left_out(bounded: Service, large: str) -> None:
    path = WORKFLOWS + large
    whole = (await bounded.client.get(path)).json()
    bare = (await bounded.client.get(path, params={"include_results": False})).json()
    for step in whole["steps"]:
        assert len(step.pop("result")["text"]) == TEXT
    assert len(whole.pop("final_step_result")["text"]) == TEXT
    assert bare == whole
    assert [step["dependencies"] for step in whole["steps"]] == [[], *[["once"]] * COPIES]  # implied by mappings
    without = (await bounded.client.get(path, params={"include_results": False, "include_steps": False})).json()
    del whole["steps"]
    assert without == whole
    listed = await bounded.client.get(WORKFLOWS, params=ONLY | {"include_results": False, "include_steps": False})
    assert listed.json()["workflows"] == [whole]


@pytest.mark.extended
async def test_each_form_of_a_workflow_has_an_etag_of_its_own_and_all_match_the_version(
    bounded: Service, large: str
) -> None:
    path, tags = WORKFLOWS + large, set[str]()
    for steps in (True, False):
        for results in (True, False):
            params = {"include_steps": steps, "include_results": results}
            response = await bounded.client.get(path, params=params)
            tag = response.headers["etag"]
            known = await bounded.client.get(path, params=params, headers={"If-None-Match": tag})
            assert (known.status_code, known.headers["etag"]) == (304, tag)
            patched = await bounded.client.patch(path, json={}, headers={"If-Match": tag})
            assert patched.status_code == 200
            tags.add(tag.split("-")[2])
    assert len(tags) == 4


async def test_a_head_of_a_large_workflow_has_the_headers_and_no_body(bounded: Service, large: str) -> None:
    head = await bounded.client.head(WORKFLOWS + large)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["etag"] == (await bounded.client.get(WORKFLOWS + large)).headers["etag"]
    assert held(bounded) == 0


async def test_a_page_that_is_too_large_is_refused_and_the_refusal_names_the_remedy(
    bounded: Service, large: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamed_responses, "MAX_PAGE_BYTES", COPIES * TEXT)
    response = await bounded.client.get(WORKFLOWS)
    assert response.status_code == 422
    (fault,) = response.json()["detail"]
    assert (fault["loc"], fault["type"]) == (["query", "limit"], "too_large")
    assert "include_results=false" in fault["msg"]
    assert (await bounded.client.get(WORKFLOWS, params={"include_results": False})).status_code == 200


@pytest.mark.extended
async def test_the_etag_of_a_list_depends_on_its_workflows_and_its_query(bounded: Service, large: str) -> None:
    async def tag(**params: Any) -> str:
        return str((await bounded.client.get(WORKFLOWS, params=ONLY | params)).headers["etag"])

    first, bare = await tag(), await tag(include_results=False)
    assert await tag() == first != bare
    known = await bounded.client.get(WORKFLOWS, params=ONLY, headers={"If-None-Match": first})
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", first)
    assert (await bounded.client.patch(WORKFLOWS + large, json={"name": "another"})).status_code == 200
    assert await tag() != first


async def test_the_etag_of_a_list_that_changes_while_it_is_read_is_that_of_what_is_sent(
    bounded: Service, large: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = bounded.app.stores.database.reader
    read = reader.snapshot

    async def later(*arguments: Any) -> Any:
        monkeypatch.undo()
        await bounded.client.patch(WORKFLOWS + large, json={"name": "changed meanwhile"})
        return await read(*arguments)

    monkeypatch.setattr(reader, "snapshot", later)
    during = await bounded.client.get(WORKFLOWS, params=ONLY)
    after = await bounded.client.get(WORKFLOWS, params=ONLY)
    assert during.json()["workflows"][0]["name"] == "changed meanwhile"
    assert (during.headers["etag"], during.content) == (after.headers["etag"], after.content)


async def test_a_response_over_1_mib_is_not_stored_and_a_repeat_gets_the_workflow_as_it_is(
    bounded: Service, large: str
) -> None:
    path, headers = WORKFLOWS + large, {"Idempotency-Key": "a-large-one"}
    first = await bounded.client.patch(path, json={"name": "first"}, headers=headers)
    assert (first.status_code, first.json()["name"]) == (200, "first")
    assert len(first.content) > COPIES * TEXT
    assert (await bounded.client.patch(path, json={"name": "second"})).status_code == 200
    again = await bounded.client.patch(path, json={"name": "first"}, headers=headers)
    assert (again.status_code, again.headers["idempotency-replayed"], again.json()["name"]) == (200, "true", "second")
    sql = await asyncpg.connect(bounded.dsn)
    try:
        stored = await sql.fetchval("SELECT max(length(body)) FROM idempotency_keys")
    finally:
        await sql.close()
    assert stored is None


@pytest.mark.extended
async def test_a_response_of_less_than_1_mib_is_stored_and_repeated_to_the_byte(bounded: Service) -> None:
    steps = [passthrough_step(f"s{n}", text="y" * 3_000) for n in range(100)]
    created = await bounded.create(*steps, start=False)
    path, headers = WORKFLOWS + created["id"], {"Idempotency-Key": "a-middling-one"}
    first = await bounded.client.patch(path, json={"name": "first"}, headers=headers)
    assert (await bounded.client.patch(path, json={"name": "second"})).status_code == 200
    again = await bounded.client.patch(path, json={"name": "first"}, headers=headers)
    assert (again.content, again.headers["etag"]) == (first.content, first.headers["etag"])
    assert json.loads(again.content)["name"] == "first"


@pytest.mark.extended
async def test_a_cleanup_of_a_large_workflow_responds_with_the_workflow_and_the_report(bounded: Service) -> None:
    created = await bounded.create(*[passthrough_step(f"s{n}", text="z" * 3_000) for n in range(100)], start=False)
    response = await bounded.verb(created["id"], "cleanup")
    assert response.json()["workflow"] == await bounded.get(created["id"])
    assert response.json()["cleanup"]["tasks_processed"] == 0
    assert response.json()["workflow"]["steps"][99]["config"] == {"text": "z" * 3_000}


async def test_a_response_that_can_never_fit_is_refused(bounded: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    created = await bounded.create(*[passthrough_step(f"s{n}", text="z" * 3_000) for n in range(100)], start=False)
    monkeypatch.setattr(streamed_responses, "SLICE_BYTES", MEMORY)
    response = await bounded.client.get(WORKFLOWS + created["id"])
    assert response.status_code == 422
    assert "STEPWELL_MEMORY_MAX_BYTES" in response.json()["detail"][0]["msg"]
    assert (await bounded.client.get(WORKFLOWS + created["id"], params={"include_steps": False})).status_code == 200


@pytest.mark.extended
async def test_a_response_that_is_built_whole_holds_its_bytes_until_it_is_sent(bounded: Service, large: str) -> None:
    steps = [passthrough_step(f"s{n}") for n in range(600)]
    created = await bounded.create(*steps, start=False)
    reader = Reader(bounded, f"/{created['id']}/explain")
    async with asyncio.TaskGroup() as group:
        group.create_task(reader.read(pause_after=1))
        await eventually(reader.waits.is_set)
        assert held(bounded) > 64 * 1024
        reader.go_on.set()
    assert (reader.status, reader.ended, held(bounded)) == (200, True, 0)


@pytest.mark.extended
async def test_a_list_of_many_tasks_is_read_in_slices_and_looks_like_a_short_one(
    bounded: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"name": "n", "origin_instance": "o", "steps": [passthrough_step(f"s{n}") for n in range(3_000)]}
    async with bounded.unchecked_client() as client:
        created = (await client.post(WORKFLOWS, json=body)).json()
    await until_completed(bounded, created["id"])
    sql = await asyncpg.connect(bounded.dsn)
    try:
        await sql.execute("UPDATE tasks SET error = repeat('e', 2000) WHERE workflow_id = $1", created["id"])
    finally:
        await sql.close()
    path = f"/{created['id']}/tasks"
    reader = Reader(bounded, path)
    tracemalloc.start()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(reader.read(pause_after=MIB))
            await asyncio.wait_for(reader.waits.wait(), 60)
            assert held(bounded) == 3 * MIB
            reader.go_on.set()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (reader.status, reader.ended, held(bounded)) == (200, True, 0)
    assert reader.size > 7 * MIB
    assert peak < 7 * MIB
    path = WORKFLOWS.removesuffix("/") + path
    streamed = await bounded.client.get(path)
    async with bounded.unchecked_client() as client:
        assert (await client.get(path, headers={"If-None-Match": streamed.headers["etag"]})).status_code == 200
        monkeypatch.setattr(step_routes, "_WHOLE_BYTES", 16 * MIB)
        monkeypatch.setattr(step_routes, "TASKS_A_SLICE", 10_000)
        whole = await client.get(path)
    assert (len(streamed.json()["tasks"]), streamed.content) == (3_000, whole.content)
