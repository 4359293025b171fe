"""`/mcp` as an HTTP endpoint: tokens, origins, bounds, and no state between requests."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import cycle
from pathlib import Path
from typing import Any, cast

import httpx
import httpx2
import pytest
import pytest_asyncio

from stepwell.api.requests.connection_limits import ConnectionLimits
from stepwell.cli import service_host
from stepwell.cli.service_host import mount_mcp
from stepwell.contract.scopes import Permission
from stepwell.mcp.http_endpoint import MAX_MESSAGE_BYTES, MAX_VALUES
from stepwell.settings import Settings
from stepwell.testing import ManualClock, MemoryDatabase
from support.providers.configured_by_steps import ConfiguredProvider, configured_step
from support.providers.scripted import eventually
from support.service.assistant import LEGACY, MODERN, assistant, call
from support.service.live_service import Service, running_service, token

pytestmark = pytest.mark.asyncio(loop_scope="module")
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(api: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A program that speaks HTTP, with a token for all."""
    headers = {"Authorization": f"Bearer {token()}", "Accept": "application/json, text/event-stream"}
    async with httpx.AsyncClient(transport=api.transport, base_url="http://service", headers=headers) as client:
        yield client


async def test_a_request_without_a_token_gets_401(http: httpx.AsyncClient) -> None:
    response = await http.post("/mcp", json=LIST, headers={"Authorization": ""})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


async def test_a_token_that_may_not_read_gets_403(http: httpx.AsyncClient) -> None:
    writer = {"Authorization": f"Bearer {token(permissions=(Permission.WRITE,))}"}
    assert (await http.post("/mcp", json=LIST, headers=writer)).status_code == 403


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://evil.example", 403),
        ("null", 403),
        ("http://127.0.0.1:9000", 200),
        ("http://localhost:9000", 200),
        ("https://stepwell.example", 200),
        ("https://app.example", 200),
        ("https://app.example.evil.example", 403),
    ],
)
async def test_pages_of_foreign_origins_are_refused(http: httpx.AsyncClient, origin: str, status: int) -> None:
    response = await http.post("/mcp", json=LIST, headers={"Origin": origin})
    assert response.status_code == status


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
async def test_there_are_no_streams_and_no_sessions(http: httpx.AsyncClient, method: str) -> None:
    response = await http.request(method, "/mcp")
    assert response.status_code == 405
    assert "POST" in response.headers["Allow"]


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        (b"x" * (MAX_MESSAGE_BYTES + 1), 413, "larger than"),
        (b'{"a": [' + b"[]," * MAX_VALUES + b"1]}", 422, "values"),
        (b"[" * 100 + b"]" * 100, 422, "64"),
        (b"{", 422, ""),
        (b'{"a": 123456789012345678901234567890}', 422, "64 bits"),
        (b'{"a": 1, "a": 2}', 422, "more than once"),
        (b"[]", 400, ""),
        (b'"text"', 400, ""),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "no/such"}', 200, "not found"),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "x"}}', 200, "Unknown tool"),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": 1}', 400, ""),
    ],
)
async def test_a_wrong_message_gets_a_json_rpc_error(
    http: httpx.AsyncClient, body: bytes, status: int, why: str
) -> None:
    response = await http.post("/mcp", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert isinstance(error["code"], int)
    assert why in json.dumps(error)


async def test_a_content_type_may_be_written_in_any_way_that_the_api_accepts(http: httpx.AsyncClient) -> None:
    content_type = {"Content-Type": "Application/JSON; charset=UTF-8"}
    response = await http.post("/mcp", content=json.dumps(LIST), headers=content_type)
    assert response.status_code == 200, response.text


async def test_a_notification_is_accepted(http: httpx.AsyncClient) -> None:
    response = await http.post("/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"})
    assert (response.status_code, response.content) == (202, b"")


@pytest.mark.parametrize("mode", [LEGACY, MODERN, "auto"])
async def test_clients_of_old_and_new_versions_are_served(url: str, mode: str) -> None:
    async with assistant(url, token(), mode=mode) as client:
        assert "submit_workflow" in [tool.name for tool in (await client.list_tools()).tools]
        assert (await call(client, "list_workflows"))["workflows"] == []


async def test_any_replica_serves_any_request(tmp_path: Path) -> None:
    database = MemoryDatabase(ManualClock())
    async with AsyncExitStack() as stack:
        replicas = [
            await stack.enter_async_context(running_service(database, tmp_path, exclusive=False)) for _ in range(2)
        ]
        for replica in replicas:
            mount_mcp(replica.app.api, Settings(data_dir=tmp_path))
        endless = cycle(replicas)

        async def alternating(scope: Any, receive: Any, send: Any) -> None:
            await next(endless).app.api(scope, receive, send)

        transport = httpx2.ASGITransport(app=alternating)
        for mode in (LEGACY, MODERN):
            async with assistant("http://service", token(), mode=mode, transport=transport) as client:
                step = {"id": "step", "task_type": "PASSTHROUGH"}
                definition = {"name": mode, "origin_instance": "tests", "steps": [step]}
                created = await call(client, "submit_workflow", definition=definition, start=False)
                for _ in range(4):
                    workflow = (await call(client, "get_workflow", workflow_id=created["workflow"]["id"]))["workflow"]
                    assert workflow["name"] == mode


async def test_a_call_counts_for_the_tenant_that_its_tool_works_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted, end = list[object](), ConnectionLimits.end_request_of_tenant

    def end_request(limits: ConnectionLimits, tenant: Any) -> None:
        counted.append(tenant)
        end(limits, tenant)

    async with running_service(MemoryDatabase(ManualClock()), tmp_path) as service:
        mount_mcp(service.app.api, Settings(data_dir=tmp_path))
        transport = httpx2.ASGITransport(app=cast("Any", service.app.api))
        async with assistant("http://service", token(), mode=LEGACY, transport=transport) as client:
            monkeypatch.setattr(ConnectionLimits, "end_request_of_tenant", end_request)
            step = {"id": "step", "task_type": "PASSTHROUGH"}
            definition = {"name": "x", "origin_instance": "tests", "origin_tenant_id": "acme", "steps": [step]}
            await call(client, "submit_workflow", definition=definition, start=False)
    assert counted.count("acme") == 2, "the call, and the request that its tool has sent"


async def test_a_wait_ends_when_the_service_stops(tmp_path: Path) -> None:
    provider = ConfiguredProvider()
    async with running_service(MemoryDatabase(ManualClock()), tmp_path, providers=[provider], grace_s=0.1) as service:
        mount_mcp(service.app.api, Settings(data_dir=tmp_path))
        transport = httpx2.ASGITransport(app=cast("Any", service.app.api))
        async with assistant("http://service", token(), transport=transport) as client, asyncio.TaskGroup() as group:
            definition = {"name": "Slow", "origin_instance": "tests", "steps": [configured_step("slow", wait=True)]}
            waiting = group.create_task(call(client, "submit_workflow", definition=definition, wait_s=50))
            await eventually(lambda: bool(provider.running))
            await service.app.stop()
            assert (await waiting)["workflow"]["status"] == "RUNNING"


async def test_a_wait_ends_when_the_client_disconnects(api: Service, url: str, http: httpx.AsyncClient) -> None:
    definition = {"name": "Slow", "origin_instance": "tests", "steps": [configured_step("slow", wait=True)]}
    params = {"name": "submit_workflow", "arguments": {"definition": definition, "wait_s": 50}}
    async with httpx.AsyncClient(headers=http.headers) as client, asyncio.TaskGroup() as group:
        message = {**LIST, "method": "tools/call", "params": params}
        waiting = group.create_task(client.post(f"{url}/mcp", json=message, timeout=None))
        await eventually(lambda: api.app.engine.bus.watchers == 1, "the call waits")
        waiting.cancel()
        await eventually(lambda: api.app.engine.bus.watchers == 0, "the wait has ended")


@pytest.mark.extended
async def test_a_service_imports_the_sdk_when_it_is_first_needed() -> None:
    modules = "stepwell.cli.up, stepwell.cli.serve"
    code = f"import sys, {modules}; print({{'mcp', 'stepwell.client'}} & sys.modules.keys())"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    printed, _ = await process.communicate()
    assert printed == b"set()\n"


@pytest.mark.extended
async def test_a_service_without_the_sdk_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(service_host, "has_sdk", lambda: False)
    async with running_service(MemoryDatabase(ManualClock()), tmp_path) as service:
        mount_mcp(service.app.api, Settings(data_dir=tmp_path))
        async with httpx.AsyncClient(transport=service.transport, base_url="http://service") as client:
            response = await client.post("/mcp", json=LIST, headers={"Authorization": f"Bearer {token()}"})
            assert (response.status_code, "pip install 'stepwell[mcp]'" in response.json()["detail"]) == (404, True)
            assert (await client.get("/health/live")).status_code == 200
