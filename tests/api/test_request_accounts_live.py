"""Whoever asks for work on a tenant's data, the work counts for that tenant: its turns, memory and requests."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio

from providers.image_files import file_of, gradient
from stepwell.api.requests.connection_limits import RESERVED, ConnectionLimits
from stepwell.engine.dispatch.local_dispatcher import LocalDispatcher
from stepwell.providers.local.preview import LocalPreviews
from stepwell.rules.access.signed_urls import CallbackUrls
from stepwell.rules.memory_shares import MemoryShare
from stepwell.runtime.fair_turns import FairTurns
from stepwell.runtime.memory import MemoryGovernor
from stepwell.testing import MemoryDatabase
from support.providers.configured_by_steps import WORKFLOWS, passthrough_step
from support.providers.scripted import eventually
from support.service.live_service import SECRET, Service, running_service, token
from support.service.sse_client import streaming
from support.workflows.sub_workflows import runs

pytestmark = pytest.mark.asyncio(loop_scope="module")
FILES = "/api/v1/artifacts"
OCTETS = {"Content-Type": "application/octet-stream"}
PADDING = b" " * 100_000
SIDE = iter(range(40, 10_000))


class Accounts:
    """The accounts of the turns, the memory, the processes of LOCAL and the requests of the service."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.turns: list[Hashable] = []
        self.workers: list[Hashable] = []
        self.requests: list[Hashable] = []
        self.shares: list[MemoryShare] = []
        begin, request, child_process = FairTurns.begin, MemoryGovernor.request, LocalDispatcher.child_process
        end = ConnectionLimits.end_request_of_tenant

        async def begin_turn(turns: FairTurns, tenant: Hashable, weight: int = 1) -> None:
            self.turns.append(tenant[1] if isinstance(tenant, tuple) else tenant)
            await begin(turns, tenant, weight)

        async def request_memory(governor: MemoryGovernor, share: MemoryShare, *rest: Any) -> bool:
            self.shares.append(share)
            return await request(governor, share, *rest)

        def take_process(local: LocalDispatcher, tenant: str | None, *rest: Any) -> Any:
            self.workers.append(tenant)
            return child_process(local, tenant, *rest)

        def end_request(limits: ConnectionLimits, tenant: Any) -> None:
            self.requests.append(tenant)
            end(limits, tenant)

        monkeypatch.setattr(FairTurns, "begin", begin_turn)
        monkeypatch.setattr(MemoryGovernor, "request", request_memory)
        monkeypatch.setattr(LocalDispatcher, "child_process", take_process)
        monkeypatch.setattr(ConnectionLimits, "end_request_of_tenant", end_request)

    @property
    def used(self) -> dict[str, set[Hashable]]:
        """Return the accounts that each kind of resource has counted for."""
        found: dict[str, set[Hashable]] = {
            "turns": set(self.turns),
            "workers": set(self.workers),
            "requests": set(self.requests[-1:]),
            "memory": {share.tenant for share in self.shares},
        }
        return {kind: tenants for kind, tenants in found.items() if tenants}


@pytest.fixture
def accounts(monkeypatch: pytest.MonkeyPatch) -> Accounts:
    return Accounts(monkeypatch)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    async with running_service(MemoryDatabase(), tmp_path_factory.mktemp("api")) as service:
        yield service


@asynccontextmanager
async def anyone(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a token."""
    async with httpx.AsyncClient(transport=service.transport, base_url="http://t.local", timeout=120) as client:
        yield client


def definition(*steps: dict[str, Any], tenant: str = "acme", **members: Any) -> dict[str, Any]:
    return {"name": "x", "origin_instance": "tests", "origin_tenant_id": tenant, "steps": list(steps), **members}


async def pending(service: Service, *steps: dict[str, Any], tenant: str = "acme") -> str:
    """Create a workflow that isn't started, and return its path."""
    async with service.as_tenant(tenant) as client:
        sent = definition(*steps or [passthrough_step("a")], tenant=tenant)
        created = await client.post(WORKFLOWS, params={"start": False}, json=sent)
    assert created.status_code == 201, created.text
    return WORKFLOWS + str(created.json()["id"])


async def picture(service: Service, tenant: str = "acme") -> str:
    """Upload a picture of its own, and return its path."""
    data = file_of(gradient(next(SIDE), 30))
    async with service.as_tenant(tenant) as client:
        sent = await client.post(FILES, params={"name": "a.png"}, content=data, headers=OCTETS)
    assert sent.status_code == 201, sent.text
    return str(sent.json()["artifacts"][0]["path"])


async def signed(service: Service, path: str) -> str:
    link = await service.client.post(f"{FILES}/links", json={"path": path})
    url = urlsplit(link.json()["url"])
    return f"{url.path}?{url.query}"


def many_steps(count: int = 600) -> list[dict[str, Any]]:
    return [passthrough_step(str(number)) for number in range(count)]


HEAVY = definition(
    *(passthrough_step(str(number), x="${inputs.text}") for number in range(600)),
    inputs={"text": "x" * 100_000},
    inputs_schema={"type": "object"},
)


@pytest.mark.parametrize("path", [WORKFLOWS, f"{WORKFLOWS}plan"])
async def test_a_definition_counts_for_the_tenant_that_it_names(api: Service, accounts: Accounts, path: str) -> None:
    params = {"start": False} if path == WORKFLOWS else {}
    async with api.unchecked_client() as client:
        response = await client.post(path, params=params, json=HEAVY)
    assert response.status_code in (200, 201), response.text
    assert accounts.used == {"turns": {"acme"}, "requests": {"acme"}, "memory": {"acme"}}


async def test_a_preview_counts_for_the_tenant_of_the_image_whoever_asks(api: Service, accounts: Accounts) -> None:
    path = await picture(api)
    url = await signed(api, path)
    accounts.turns.clear()
    async with anyone(api) as client:
        assert (await client.get(f"{url}&w=64")).status_code == 200
    assert accounts.used == {"turns": {"acme"}, "workers": {"acme"}, "requests": {"acme"}}
    assert (await api.client.get(f"{FILES}/{path}", params={"w": 256})).status_code == 200
    assert accounts.used == {"turns": {"acme"}, "workers": {"acme"}, "requests": {"acme"}}


@pytest.mark.parametrize("rest", ["", "/explain", "/definition"])
async def test_a_large_response_counts_for_the_tenant_of_the_workflow(
    api: Service, accounts: Accounts, rest: str
) -> None:
    path = await pending(api, *many_steps())
    accounts.turns.clear()
    accounts.shares.clear()
    async with api.unchecked_client() as client:
        response = await client.get(path + rest)
    assert response.status_code == 200, response.text
    assert accounts.used == {"requests": {"acme"}, "memory": {"acme"}}


async def test_a_dry_run_counts_for_the_tenant_of_the_workflow(api: Service, accounts: Accounts) -> None:
    path = await pending(api, runs(passthrough_step("inner")))
    accounts.turns.clear()
    response = await api.client.post(f"{path}/start", params={"dry_run": True})
    assert len(response.json()["sub_workflows"]) == 1
    assert accounts.turns == ["acme"]


async def test_a_body_counts_for_the_tenant_of_the_workflow_that_it_is_sent_to(
    api: Service, accounts: Accounts
) -> None:
    path = await pending(api)
    accounts.turns.clear()
    seen: list[Hashable] = []

    async def body() -> AsyncIterator[bytes]:
        yield b'{"name": "y"' + PADDING
        seen.extend(share.tenant for share in accounts.shares)
        yield b"}"

    async with api.unchecked_client() as client:
        response = await client.patch(path, content=body(), headers={"Content-Type": "application/json"})
    assert response.status_code == 200, response.text
    assert seen == ["acme"], "before the body had been read"
    assert accounts.used == {"turns": {"acme"}, "requests": {"acme"}, "memory": {"acme"}}


async def test_a_callback_of_a_provider_counts_for_the_tenant_of_the_attempt(api: Service, accounts: Accounts) -> None:
    workflow_id = UUID((await pending(api)).removeprefix(WORKFLOWS))
    url = urlsplit(CallbackUrls(SECRET.encode(), "http://t.local").url(workflow_id, uuid4()))
    accounts.turns.clear()
    async with anyone(api) as client:
        assert (await client.post(url.path, content=PADDING)).status_code == 200
    assert accounts.used == {"requests": {"acme"}, "memory": {"acme"}}


async def test_an_upload_counts_for_the_tenant_that_the_request_names(api: Service, accounts: Accounts) -> None:
    params = {"name": "a.txt", "origin_tenant_id": "acme"}
    response = await api.client.post(FILES, params=params, content=b"text" + PADDING, headers=OCTETS)
    assert response.status_code == 201, response.text
    assert accounts.used == {"turns": {"acme"}, "requests": {"acme"}, "memory": {"acme"}}


async def test_a_decision_link_counts_for_the_tenant_of_the_step(api: Service, accounts: Accounts) -> None:
    async with api.as_tenant("acme") as client:
        created = (await client.post(WORKFLOWS, json=definition({"id": "ask", "task_type": "APPROVAL"}))).json()
    await api.until(created["id"], lambda shown: shown["steps"][0]["waiting_for"] is not None)
    step = (await api.client.get(f"{WORKFLOWS}{created['id']}/steps/ask")).json()
    url = urlsplit(step["waiting_for"]["decision_url"])
    async with anyone(api) as client:
        for request in (client.get, partial(client.post, data={"choice": "approve"})):
            accounts.requests.clear()
            assert (await request(f"{url.path}?{url.query}")).status_code == 200
            assert accounts.requests == ["acme"]


async def test_a_request_that_waits_counts_for_the_tenant_of_the_workflow(api: Service, accounts: Accounts) -> None:
    path = await pending(api)
    accounts.requests.clear()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        waiting = group.create_task(api.client.get(path, headers={"Prefer": "wait=60"}))
        await eventually(lambda: bool(accounts.requests))  # the first count of the request, of its caller, has ended
        assert (await api.client.delete(path)).status_code == 200
    assert waiting.result().status_code == 200
    assert accounts.requests[-1] == "acme"


async def test_what_concerns_many_tenants_counts_for_the_caller_and_not_for_those_without_a_tenant(
    api: Service, accounts: Accounts
) -> None:
    await pending(api, *many_steps())
    accounts.turns.clear()
    accounts.shares.clear()
    async with api.unchecked_client() as client:
        assert (await client.get(WORKFLOWS, params={"limit": 1})).status_code == 200
    assert accounts.used["memory"] == accounts.used["requests"]
    assert accounts.used["memory"].isdisjoint({None, "acme"})


async def test_a_stream_of_a_workflow_counts_for_its_tenant_and_that_of_all_for_its_reader(tmp_path: Path) -> None:
    async with running_service(MemoryDatabase(), tmp_path, max_streams_per_tenant=1) as service:
        of_acme, of_other = [await pending(service, tenant=tenant) + "/events" for tenant in ("acme", "other")]
        open_stream = partial(streaming, service.app.api, token=token())
        async with (
            open_stream(of_acme) as first,
            open_stream(of_acme) as second,
            open_stream(of_other) as third,
            open_stream("/api/v1/events") as feed,
        ):
            assert [stream.status for stream in (first, second, third, feed)] == [200, 429, 200, 200]


class HeldPreviews:
    """Asks for previews by signed URL. None of them is made before `go` is set."""

    def __init__(self, client: httpx.AsyncClient, group: asyncio.TaskGroup, monkeypatch: pytest.MonkeyPatch) -> None:
        self._client, self._group = client, group
        self.go, make = asyncio.Event(), LocalPreviews.make

        async def make_later(*arguments: Any) -> Any:
            await self.go.wait()
            return await make(*arguments)

        monkeypatch.setattr(LocalPreviews, "make", make_later)

    def ask(self, url: str) -> asyncio.Task[httpx.Response]:
        return self._group.create_task(self._client.get(f"{url}&w=64"))


async def test_a_preview_by_signed_url_waits_for_no_previews_of_another_tenant(
    api: Service, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [await signed(api, await picture(api, tenant)) for tenant in (*["mallory"] * 4, "alice")]
    accounts.turns.clear()
    asked: list[asyncio.Task[httpx.Response]] = []
    async with asyncio.timeout(60), anyone(api) as client, asyncio.TaskGroup() as group:
        previews = HeldPreviews(client, group, monkeypatch)
        for number, url in enumerate(urls, start=1):
            asked.append(previews.ask(url))
            await eventually(lambda number=number: len(accounts.turns) == number)  # type: ignore[misc]
        await eventually(lambda: accounts.workers == ["mallory", "alice"])
        previews.go.set()
    assert [each.result().status_code for each in asked] == [200] * 5


async def test_too_many_signed_urls_of_one_tenant_refuse_none_of_another(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with running_service(MemoryDatabase(), tmp_path) as service:
        urls = [await signed(service, await picture(service, tenant)) for tenant in (*["mallory"] * 4, "alice")]
        service.app.connections.open(2 * RESERVED + 2)  # in this process no request has a connection
        accounts.turns.clear()
        async with asyncio.timeout(60), anyone(service) as client, asyncio.TaskGroup() as group:
            previews = HeldPreviews(client, group, monkeypatch)
            responses = [previews.ask(url) for url in urls[:3]]
            await eventually(lambda: len(accounts.turns) == 3)
            assert (await previews.ask(urls[3])).status_code == 429
            responses.append(previews.ask(urls[4]))
            previews.go.set()
        assert [each.result().status_code for each in responses] == [200] * 4
