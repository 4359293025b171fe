"""kill -9 between any two statements of a change of a definition: the change is there or not, never half."""

import signal
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from msgspec import json

from support.processes.forks import call_in_fork
from support.processes.killed_definition import STEPS, store_and_die
from support.service.live_service import Service, running_service

# What a process may leave: nothing, the first version, both, both with the change, and a name without versions.
STATES: tuple[tuple[int, int, int | None, list[Any]], ...] = (
    (0, 0, None, []),
    (1, 1, None, STEPS[:1]),
    (2, 2, None, STEPS),
    (2, 2, 1, STEPS),
    (2, 0, None, []),
)


async def state_of(sql: asyncpg.Connection, name: str) -> tuple[int, int, int | None, list[Any]]:
    """The number of the last version, the number of versions, the default one and the steps of all of them."""
    row = await sql.fetchrow("SELECT * FROM definitions WHERE name = $1", name)
    versions = await sql.fetch("SELECT * FROM definition_versions WHERE name = $1 ORDER BY version", name)
    if row is None:
        assert versions == []
        return (0, 0, None, [])
    assert row["bytes"] == sum(version["size"] for version in versions)
    assert json.decode(row["labels"]) == ({} if row["default_version"] is None else {"a": "b"})
    contents = [json.decode(version["content"])["steps"] for version in versions]
    return (row["newest"], row["versions"], row["default_version"], contents)


async def check_that_the_next_process_goes_on(service: Service, name: str, newest: int, versions: int) -> None:
    path = f"/api/v1/definitions/{name}"
    response = await service.client.put(path, json={"steps": STEPS[1]})
    is_stored_already = versions > 0 and newest == 2
    assert response.status_code == (200 if is_stored_already else 201), response.text
    assert response.json()["version"] == (newest if is_stored_already else newest + 1)


@pytest.mark.extended
async def test_a_killed_change_is_there_or_not_and_the_next_process_goes_on(dsn: str, tmp_path: Path) -> None:
    sql = await asyncpg.connect(dsn)
    left = set[int]()
    async with running_service(dsn, tmp_path / "next") as service:
        for point in count(1, 2):  # after each call: before the next one, everything is as it was then
            name = f"killed-{point}"
            code = await call_in_fork(store_and_die, dsn, tmp_path / "killed", name, point)
            state = await state_of(sql, name)
            left.add(STATES.index(state))
            if code == 0:
                break
            assert code == -signal.SIGKILL, point
            await check_that_the_next_process_goes_on(service, name, state[0], state[1])
    assert left == set(range(len(STATES)))
    await sql.close()
