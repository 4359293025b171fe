"""kill -9 between a request's effect and its response, and around it: who sends it again has one workflow, not two."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from support.processes.killable_service import Killable
from support.providers.configured_by_steps import WORKFLOWS, passthrough_step
from support.service.live_service import token

KILLS = 12
HELD_RESPONSES = """
CREATE FUNCTION held() RETURNS trigger LANGUAGE plpgsql
AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END';
CREATE TRIGGER held BEFORE UPDATE ON idempotency_keys FOR EACH ROW
WHEN (OLD.status IS NULL AND NEW.status IS NOT NULL) EXECUTE FUNCTION held();
"""  # no response is stored, and none is sent, while the test has this lock


@pytest.fixture
async def sql(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    await connection.execute(HELD_RESPONSES)
    yield connection
    await connection.close()


class Caller:
    """Sends one request until it has a response."""

    def __init__(self, key: str, method: str, path: str, body: Any) -> None:
        self.headers = {"Authorization": f"Bearer {token()}", "Idempotency-Key": key}
        self.method, self.path, self.body = method, path, body

    async def send(self, process: Killable) -> httpx.Response | None:
        """The response, if there is one."""
        async with httpx.AsyncClient(base_url=process.url, headers=self.headers, timeout=30) as client:
            try:
                return await client.request(self.method, self.path, json=self.body)
            except httpx.TransportError:
                return None


async def until_applied(sql: asyncpg.Connection, key: str) -> None:
    while not await sql.fetchval("SELECT true FROM idempotency_keys WHERE key = $1 AND applied_at IS NOT NULL", key):
        await asyncio.sleep(0)


async def killed(
    sql: asyncpg.Connection, process: Killable, caller: Caller, key: str, seconds: float | None
) -> tuple[httpx.Response | None, bool]:
    """The response to a request during which the process is killed, after so many seconds or between the commit of the
    effect and the response; and whether there was an effect and no response.
    """
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        if seconds is None:
            await sql.execute("SELECT pg_advisory_lock(1)")
        request = group.create_task(caller.send(process))
        if seconds is None:
            await until_applied(sql, key)
        else:
            await asyncio.sleep(seconds)
        process.kill()
        await sql.execute("SELECT pg_advisory_unlock_all()")
    row = await sql.fetchrow("SELECT applied_at, status FROM idempotency_keys WHERE key = $1", key)
    return request.result(), row is not None and row["applied_at"] is not None and request.result() is None


async def test_one_effect_however_often_it_is_killed(dsn: str, tmp_path: Path, sql: asyncpg.Connection) -> None:
    chance, between, renamed = random.Random(), 0, 0
    process = Killable(dsn, tmp_path)
    try:
        made = await Caller("made", "POST", f"{WORKFLOWS}?start=false", body("made")).send(process)
        assert made is not None
        for kill in range(KILLS):
            key, creates = f"key {kill}", kill % 2
            path, code = (WORKFLOWS, 201) if creates else (made.headers["location"], 200)
            caller = Caller(f'"{key}"', "POST" if creates else "PATCH", path, body(key) if creates else {"name": key})
            at = None if kill % 4 < 2 else chance.uniform(0, 0.05)
            first, was_between = await killed(sql, process, caller, key, at)
            between += was_between
            process = Killable(dsn, tmp_path)
            second, third = await caller.send(process), await caller.send(process)
            assert second is not None
            assert third is not None
            assert second.status_code == code, second.text
            assert (third.content, third.headers["idempotency-replayed"]) == (second.content, "true")
            assert first is None or first.content == second.content
            ids = [row["id"] for row in await sql.fetch("SELECT id::text FROM workflows WHERE name = $1", key)]
            assert ids == [second.json()["id"]]
            renamed += not creates
            assert await sql.fetchval("SELECT count(*) FROM events WHERE type = 'workflow.updated'") == renamed
    finally:
        process.kill()
    assert between >= KILLS / 2  # else it would prove little


def body(name: str) -> dict[str, Any]:
    return {"name": name, "origin_instance": "o", "steps": [passthrough_step("a")]}
