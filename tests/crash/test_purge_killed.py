"""kill -9 at every point of the deletion of a workflow: the next process deletes the rest.

What must hold after each death:
- Every file that is left is recorded in the database.
- The next process deletes what is left, unless the deletion had not begun. Then nothing is missing.
"""

import asyncio
import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import asyncpg
import pytest

from support.database.rows_of import tables_with
from support.processes.forks import call_in_fork
from support.processes.killed_purge import delete_and_die, expire_and_die
from support.providers.configured_by_steps import ConfiguredProvider, configured_step, task_id_of
from support.service.live_service import Service, running_service

_FILES = 3

pytestmark = pytest.mark.extended


@pytest.mark.parametrize(("purge", "retention_days"), [(delete_and_die, None), (expire_and_die, 1)])
async def test_a_deletion_that_is_killed_at_any_point_is_continued(
    purge: Callable[[str, Path, str, int], None], retention_days: int | None, dsn: str, tmp_path: Path
) -> None:
    sql = await asyncpg.connect(dsn)
    died: _Death | None = None
    numbers_left = set[int]()
    for point in count(1):
        async with running_service(
            dsn, tmp_path, providers=[ConfiguredProvider()], retention_days=retention_days
        ) as service:
            if died is not None:
                await _check(service, sql, died, by_request=retention_days is None)
            steps = [configured_step(str(number), files=1) for number in range(_FILES)]
            workflow = await service.until_ended((await service.create(*steps, labels={"a": "b"}))["id"])
        paths = [path for step in workflow["steps"] for path in step["result"]["paths"]]
        await sql.execute("UPDATE workflows SET completed_at = now() - interval '2 days' WHERE status = 'COMPLETED'")
        code = await call_in_fork(purge, dsn, tmp_path, workflow["id"], point)
        if code == 0:
            break
        assert code == -signal.SIGKILL, point
        died = await _death(sql, tmp_path, workflow["id"], paths)
        numbers_left.add(len(died.left))
    await sql.close()
    assert numbers_left == {*range(_FILES + 1)}, "it has died between any two files"


class _Death(NamedTuple):
    """The state after a death: `left` are the files that exist, `begun` is whether the deletion was recorded."""

    workflow_id: str
    paths: list[str]
    left: set[str]
    begun: bool


async def _death(sql: asyncpg.Connection, folder: Path, workflow_id: str, paths: list[str]) -> _Death:
    left = {path for path in paths if (folder / "artifacts" / path).exists()}
    recorded = "SELECT outputs::text FROM tasks UNION ALL SELECT outputs::text FROM file_removals"
    outputs = "".join(row["outputs"] for row in await sql.fetch(recorded))
    assert {path for path in left if path not in outputs} == set()
    tables = await tables_with(sql, workflow_id)
    begun = "cleanups" in tables or "workflows" not in tables
    assert begun or left == set(paths)
    return _Death(workflow_id, paths, left, begun)


async def _check(service: Service, sql: asyncpg.Connection, died: _Death, *, by_request: bool) -> None:
    """Check that this process deletes what is left, after another request if the deletion had not begun."""
    if by_request and not died.begun:
        assert (await service.client.delete(f"/api/v1/workflows/{died.workflow_id}/data")).status_code == 200
    ids: list[UUID | str] = [died.workflow_id, *map(task_id_of, died.paths)]
    remains = {"deletions"} if by_request else set()
    async with asyncio.timeout(30):
        while await tables_with(sql, *ids) != remains:
            await asyncio.sleep(0.01)
    assert not any((service.artifacts / path).exists() for path in died.paths)
    assert (await service.client.get(f"/api/v1/workflows/{died.workflow_id}")).status_code == 404
