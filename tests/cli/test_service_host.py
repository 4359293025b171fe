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
from stepwell.cli.keys import ServiceKeys, keys_of_folder
from stepwell.cli.listeners import Listeners, bound_sockets
from stepwell.cli.postgres import kept_running
from stepwell.cli.service_host import open_service, serve_requests
from stepwell.cli.signals import Stop
from stepwell.persistence.embedded.server import EmbeddedPostgres
from stepwell.persistence.schema.migrations import migrate
from stepwell.settings import Settings
from support.database.postgres import TestServer, create_database, postmaster_pid


def test_the_command_line_imports_nothing_by_itself() -> None:
    """Every child process imports it."""
    script = "import stepwell.cli, sys; print([m for m in ('litestar', 'sqlalchemy', 'click') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "[]\n"


async def test_a_broken_engine_ends_the_service(durable: TestServer, tmp_path: Path) -> None:
    dsn = durable.dsn(await create_database(durable.dsn()))
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
    asyncio_task = asyncio.current_task()
    assert asyncio_task is not None
    async with open_service(keys, dsn, exclusive=True) as app:

        def bug() -> None:
            raise RuntimeError("a bug")

        break_it = app.engine.scheduler.group.fail_fast(bug)
        assert await serve_requests(app, keys, listeners, Stop(asyncio_task), break_it) == 1


async def test_a_respawn_of_postgres_never_blocks_the_event_loop(
    migrated_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_ready, ready = EmbeddedPostgres.wait_ready, asyncio.Event()

    def wait_ready_without_blocking(postgres: EmbeddedPostgres, timeout_s: float = 300) -> None:
        assert timeout_s == 0, "the loop would stand still"
        wait_ready(postgres, timeout_s)
        ready.set()

    root = migrated_dir / "postgres"
    postgres = EmbeddedPostgres(root, settings={"fsync": "off"})
    postgres.start()
    monkeypatch.setattr(EmbeddedPostgres, "wait_ready", wait_ready_without_blocking)
    try:
        async with asyncio.timeout(120), kept_running(postgres):
            os.kill(postmaster_pid(root), signal.SIGKILL)
            await ready.wait()
    finally:
        postgres.stop()
