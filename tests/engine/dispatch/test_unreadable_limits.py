"""A division of limits that this process can't read: nothing starts until it can, and the service goes on."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from structlog.testing import capture_logs

from support.database.postgres import connected
from support.providers.scripted import ScriptedProvider, eventually, scripted_step
from support.service.live_service import running_service

OTHER = "00000000-0000-0000-0000-000000000002"
DAMAGED = '{"a pool": "of a later version"}'


@pytest.fixture
async def sql(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    async with connected(dsn) as connection:
        yield connection


@pytest.mark.parametrize("damaged", ["shares", "starts"])
async def test_steps_wait_while_the_division_cannot_be_read_and_start_once_it_can(
    dsn: str, sql: asyncpg.Connection, tmp_path: Path, damaged: str
) -> None:
    await sql.execute("INSERT INTO processes (id, lease_until) VALUES ($1, now() + interval '1 hour')", OTHER)
    starts = DAMAGED if damaged == "starts" else "{}"
    await sql.execute(
        "INSERT INTO limit_division (singleton, version, starts, starts_from) VALUES (true, 1, $1, 0)", starts
    )
    shares = DAMAGED if damaged == "shares" else "{}"
    await sql.execute(
        "INSERT INTO limit_members (owner, claiming, shares, updated_at) VALUES ($1, false, $2, now())", OTHER, shares
    )
    provider = ScriptedProvider()
    settings = {"exclusive": False, "wait_for_claims": False, "lease_s": 1, "grace_s": 1, "max_steps_per_provider": 1}
    with capture_logs() as logs:
        async with running_service(dsn, tmp_path, providers=[provider], **settings) as service:  # type: ignore[arg-type]
            created = await service.create(scripted_step("a"))
            event = "limits.unreadable_shares" if damaged == "shares" else "limits.undivided"
            await eventually(lambda: any(each["event"] == event for each in logs))
            await service.until(created["id"], lambda workflow: workflow["status"] in ("RUNNING", "PENDING"))
            assert not provider.calls
            await sql.execute("UPDATE limit_members SET shares = '{}' WHERE owner = $1", OTHER)
            await sql.execute("UPDATE limit_division SET starts = '{}'")
            assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
    assert sum(each["event"] == "limits.unreadable_shares" for each in logs) == (damaged == "shares")
