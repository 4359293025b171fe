"""A process that cleans a workflow and kills itself at a point of the cleanup."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

from stepwell.app import Database, PostgresSource
from stepwell.artifacts.store import ObstoreArtifacts
from stepwell.engine.monitoring.write_monitor import WriteMonitor
from stepwell.settings import Settings
from support.service.live_service import running_service


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


def clean_and_die(dsn: str, folder: Path, workflow_id: str, at: int) -> None:
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
