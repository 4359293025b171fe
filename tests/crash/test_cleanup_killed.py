"""kill -9 at every point of a cleanup: the next process deletes the rest, whoever asked for it."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from stepwell.app import Database, PostgresSource
from stepwell.artifacts.store import ObstoreArtifacts
from stepwell.engine.monitoring.write_monitor import WriteMonitor
from stepwell.settings import Settings
from support.providers.configured_by_steps import ConfiguredProvider, configured_step
from support.service.live_service import Service, running_service

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["stepwell.app"])
_FILES = 3


class _Points:
    """Counts the points of a cleanup, and kills this process at number *at*: before or after a call of a port."""

    def __init__(self, at: int) -> None:
        self._at, self._passed = at, 0

    def pass_one(self) -> None:
        if self._passed == self._at:
            os.kill(os.getpid(), signal.SIGKILL)
        self._passed += 1

    def around(self, method: Callable[..., Any], when: Callable[..., bool] = lambda *_: True) -> Callable[..., Any]:
        async def call(*args: Any) -> Any:
            if not when(*args):
                return await method(*args)
            self.pass_one()
            answer = await method(*args)
            self.pass_one()
            return answer

        return call


class _KillingSource(PostgresSource):
    def __init__(self, dsn: str, points: _Points) -> None:
        super().__init__(dsn, durable=False)
        self._points = points

    async def open(
        self,
        settings: Settings,
        owner: UUID,
        on_statement: Callable[[], None],
        writes: WriteMonitor,
        stack: AsyncExitStack,
    ) -> Database:
        database = await super().open(settings, owner, on_statement, writes, stack)
        cleanups, store = database.cleanups, database.workflow_store
        for name in ("due", "next_tasks", "settle", "counts"):
            setattr(cleanups, name, self._points.around(getattr(cleanups, name)))
        write = self._points.around(store.write, lambda batch: any(d.cleanup is not None for d in batch))
        store.write = write  # type: ignore[method-assign]
        return database


def _clean(dsn: str, folder: Path, workflow_id: str, at: int) -> None:
    """Clean the workflow in a process that dies at point *at*, or exit with 0 if the cleanup has no such point."""
    points = _Points(at)
    delete = ObstoreArtifacts.delete

    async def killed_delete(self: ObstoreArtifacts, path: str) -> None:
        await points.around(delete)(self, path)

    ObstoreArtifacts.delete = killed_delete  # type: ignore[method-assign]

    async def run() -> None:
        async with running_service(_KillingSource(dsn, points), folder) as service:
            answer = await service.verb(workflow_id, "cleanup")
            assert answer.json()["cleanup"]["pending"] is False, answer.text

    asyncio.run(run())


async def test_a_cleanup_that_is_killed_at_any_point_is_continued_without_the_client(dsn: str, tmp_path: Path) -> None:
    points = 0
    while True:
        async with running_service(dsn, tmp_path, providers=[ConfiguredProvider()]) as service:
            steps = [configured_step(str(number), files=1) for number in range(_FILES)]
            workflow = await service.until_ended((await service.create(*steps))["id"])
        paths = [path for step in workflow["steps"] for path in step["result"]["paths"]]
        cleaner = _PROCESSES.Process(target=_clean, args=(dsn, tmp_path, workflow["id"], points))
        cleaner.start()
        cleaner.join(60)
        if cleaner.exitcode == 0:
            break
        assert cleaner.exitcode == -signal.SIGKILL, points
        async with running_service(dsn, tmp_path) as service:
            await _check(service, dsn, workflow["id"], paths)
        points += 1
    assert points >= 2 * (1 + 1 + 2 + _FILES + 1 + 1 + 1)


async def _check(service: Service, dsn: str, workflow_id: str, paths: list[str]) -> None:
    sql = await asyncpg.connect(dsn)
    if not (await service.get(workflow_id))["is_deleted"]:  # killed before the commit: nothing has happened
        assert all((service.artifacts / path).exists() for path in paths)
        assert (await service.verb(workflow_id, "cleanup")).json()["cleanup"]["deleted_paths"] == paths
    events: list[dict[str, Any]] = []
    while "workflow.files_deleted" not in [event["type"] for event in events]:
        events = await service.events(workflow_id)
    assert not any((service.artifacts / path).exists() for path in paths)
    counted = [event["data"] for event in events if event["type"] == "workflow.files_deleted"]
    assert counted == [{"deleted": _FILES, "gone": 0, "kept": 0}]
    repeated = (await service.verb(workflow_id, "cleanup")).json()["cleanup"]
    assert (repeated["tasks_processed"], repeated["errors"], repeated["pending"]) == (0, [], False)
    assert await sql.fetchval("SELECT count(*) FROM cleanups") == 0
    await sql.close()
