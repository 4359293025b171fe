"""kill -9 at every point of an upload and of its deletion: no file without a row, no row without a file, for ever."""

import asyncio
import signal
from itertools import count
from pathlib import Path

import asyncpg
import pytest

from stepwell.artifacts.store_setup import ID_FILE
from support.processes.forks import call_in_fork
from support.processes.killed_upload import upload_and_die
from support.providers.scripted import eventually
from support.service.live_service import running_service


def files_below(folder: Path) -> list[Path]:
    """The files of uploads and tasks."""
    return [path for path in folder.rglob("*") if path.is_file() and path != folder / ID_FILE]


@pytest.mark.extended
async def test_whatever_is_left_of_an_upload_is_whole_or_is_swept(dsn: str, tmp_path: Path) -> None:
    sql = await asyncpg.connect(dsn)
    for point in count(1, 2):  # after each call: before the next one, everything is as it was then
        code = await call_in_fork(upload_and_die, dsn, tmp_path, point)
        if code == 0:
            break
        assert code == -signal.SIGKILL, point
        await _check(sql, dsn, tmp_path)
    assert point == 2 * (1 + 1 + 1 + 1 + 1 + 1) + 1
    await sql.close()


async def _check(sql: asyncpg.Connection, dsn: str, folder: Path) -> None:
    """The next process serves what is STORED, and deletes everything else once it is due."""
    stored = await sql.fetchval("SELECT 'media/' || id || '/' || name FROM uploads WHERE status = 'STORED'")
    await sql.execute("UPDATE uploads SET expires_at = now() WHERE status <> 'STORED'")
    async with running_service(dsn, folder) as service:
        if stored is not None:
            assert (await service.client.get(f"/api/v1/artifacts/{stored}")).content == b"some text"
            assert (await service.client.delete(f"/api/v1/artifacts/{stored}")).status_code == 200
        await eventually(lambda: not files_below(service.artifacts))
        async with asyncio.timeout(30):
            while await sql.fetchval("SELECT count(*) FROM uploads"):
                await asyncio.sleep(0.01)
    usage = await sql.fetch("SELECT bytes, uploads FROM upload_usage")
    assert {(row["bytes"], row["uploads"]) for row in usage} <= {(0, 0)}
