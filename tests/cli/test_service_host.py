"""What real processes don't show by themselves: a broken engine, and the loop while PostgreSQL is brought back."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from stepwell.cli.errors import Refused
from stepwell.cli.http_server import Listeners, bound_sockets
from stepwell.cli.keys import ServiceKeys, keys_of_folder
from stepwell.cli.postgres import keep_running
from stepwell.cli.service_host import answer_requests, open_service
from stepwell.cli.signals import Stop
from stepwell.persistence.embedded.server import EmbeddedPostgres
from stepwell.persistence.schema.migrations import migrate
from stepwell.settings import Settings
from support.database.postgres import create_database, fresh_folder, postmaster_pid, running_server


def test_the_command_line_imports_nothing_by_itself() -> None:
    """Every worker process imports it."""
    script = "import stepwell.cli, sys; print([m for m in ('litestar', 'sqlalchemy', 'click') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "[]\n"


async def test_a_broken_engine_ends_the_service(tmp_path: Path) -> None:
    with running_server({"fsync": "on"}) as server:
        dsn = server.dsn(await create_database(server.dsn()))
        await migrate(dsn)
        keys = keys_of_folder(Settings(data_dir=tmp_path, port=0))
        with bound_sockets(keys.settings) as listeners:
            url = f"http://127.0.0.1:{listeners.api.getsockname()[1]}"
            with pytest.raises(Refused, match="the engine broke; the log says why") as refused:
                await _serve_and_break(keys, dsn, listeners)
        assert refused.value.code == 1
        async with httpx.AsyncClient() as client:
            with pytest.raises(httpx.ConnectError):
                await client.get(f"{url}/health/live")


async def _serve_and_break(keys: ServiceKeys, dsn: str, listeners: Listeners) -> None:
    task = asyncio.current_task()
    assert task is not None
    async with open_service(keys, dsn, exclusive=True) as app:

        def bug() -> None:
            raise RuntimeError("a bug")

        break_it = app.components.engine.scheduler.tasks.fail_fast(bug)
        assert await answer_requests(app, keys, listeners, Stop(task), break_it) == 1


async def test_the_event_loop_runs_while_postgres_is_respawned() -> None:
    with fresh_folder() as folder:
        postgres = EmbeddedPostgres(folder / "postgres", settings={"fsync": "off"})
        postgres.start()
        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(keep_running(postgres))
                gaps: list[float] = []
                beating = group.create_task(_beat(gaps))
                old = postmaster_pid(folder / "postgres")
                os.kill(old, signal.SIGKILL)
                async with asyncio.timeout(60):
                    while not (postgres.running and _pid(folder) not in (None, old)):
                        await asyncio.sleep(0.01)
                watching.cancel()
                beating.cancel()
            # 15 ms when little else runs here; a blocking start takes far longer.
            assert max(gaps) < 0.25
        finally:
            postgres.stop()


def _pid(folder: Path) -> int | None:
    try:
        return postmaster_pid(folder / "postgres")
    except (OSError, IndexError):
        return None


async def _beat(gaps: list[float]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        before = loop.time()
        await asyncio.sleep(0.001)
        gaps.append(loop.time() - before)
