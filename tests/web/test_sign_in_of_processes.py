"""Sign-in with several processes on one database: each accepts what another one has made, and what was ended ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from stepwell.api.auth import session_cookies
from stepwell.cli.service_host import mount_mcp
from stepwell.settings import Settings
from support.database.statement_recorder import fetched
from support.service.live_service import Service, running_service, token
from support.service.session_cookies import SAME_ORIGIN, cookie_of

TYPED = {"Sec-Fetch-Site": "none"}
WORKFLOWS = "/api/v1/workflows"


@pytest.fixture
async def processes(dsn: str, tmp_path: Path) -> AsyncIterator[list[Service]]:
    """Two processes of a service."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(running_service(dsn, tmp_path, exclusive=False, wait_for_claims=False))
            for _ in range(2)
        ]


def browser(process: Service) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=process.transport, base_url="http://t.local", headers=SAME_ORIGIN)


async def test_a_url_signs_in_once_however_many_processes_get_it_at_once(processes: list[Service]) -> None:
    for _ in range(5):
        url = await processes[0].app.sign_in.sign_in_path(token())
        async with browser(processes[0]) as here, browser(processes[1]) as there:
            responses = await asyncio.gather(*(each.get(url, headers=TYPED) for each in (here, there, here, there)))
        assert sorted(response.status_code for response in responses) == [303, 403, 403, 403]
        refused = [response.text for response in responses if response.status_code == 403]
        assert all("was used before" in text for text in refused)


async def test_a_session_of_one_process_is_one_of_all(
    processes: list[Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_cookies, "FRESH_S", 0.2)
    here, there = processes
    async with browser(here) as client:
        assert (await client.post("/ui/sign-in", data={"token": token()})).status_code == 303
        cookies = client.cookies
    async with browser(there) as client:
        client.cookies = cookies
        assert (await client.get(WORKFLOWS)).status_code == 200
        await here.app.stores.database.sign_ins.end_all()
        async with asyncio.timeout(30):
            while (await client.get(WORKFLOWS)).status_code != 401:
                await asyncio.sleep(0.01)
        assert (await client.get("/ui")).status_code == 303


async def test_sessions_cost_one_statement_in_some_seconds_and_tokens_none(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_cookies, "FRESH_S", 3_600.0)  # the machine may be slow
    path, counts = f"{WORKFLOWS}/{uuid4()}", []
    by_cookie = {"Cookie": await cookie_of(service, every=True), **SAME_ORIGIN}
    by_token = {"Authorization": f"Bearer {token()}", **by_cookie}
    async with httpx.AsyncClient(transport=service.transport, base_url="http://t.local") as client:
        for headers in (by_token, by_cookie, by_cookie, by_token):
            with fetched() as statements:
                assert (await client.get(path, headers=headers)).status_code == 404
            counts.append(len(statements))
    usual = counts[0]
    assert counts == [usual, usual + 1, usual, usual]


async def test_an_assistant_needs_a_token(service: Service, tmp_path: Path) -> None:
    mount_mcp(service.app.api, Settings(data_dir=tmp_path))
    message = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    headers = {"Cookie": await cookie_of(service, every=True), **SAME_ORIGIN}
    async with httpx.AsyncClient(transport=service.transport, base_url="http://t.local") as client:
        response = await client.post("/mcp", json=message, headers=headers)
        assert (response.status_code, response.json()["detail"][:26]) == (401, "A bearer token is required")
