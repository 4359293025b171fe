"""A process that kills itself at a point of its work: before or after a call of a port."""

import os
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

from stepwell.app import Database, PostgresSource
from stepwell.engine.monitoring.write_monitor import WriteMonitor
from stepwell.settings import Settings


class DeathPoints:
    """Counts the points that this process passes, and kills it at number *at*."""

    def __init__(self, at: int) -> None:
        self._at, self._passed = at, 0

    def pass_one(self) -> None:
        if self._passed == self._at:
            os.kill(os.getpid(), signal.SIGKILL)
        self._passed += 1

    def around(self, method: Callable[..., Any], when: Callable[..., bool] = lambda *_: True) -> Callable[..., Any]:
        """*method*, with a point before and after each call for which *when* is true."""

        async def call(*args: Any) -> Any:
            if not when(*args):
                return await method(*args)
            self.pass_one()
            answer = await method(*args)
            self.pass_one()
            return answer

        return call


class KillingSource(PostgresSource):
    """The database at *dsn*. *add_points* puts points around the methods of its ports."""

    def __init__(self, dsn: str, add_points: Callable[[Database], None]) -> None:
        super().__init__(dsn, durable=False)
        self._add_points = add_points

    async def open(
        self,
        settings: Settings,
        owner: UUID,
        on_statement: Callable[[], None],
        writes: WriteMonitor,
        stack: AsyncExitStack,
    ) -> Database:
        database = await super().open(settings, owner, on_statement, writes, stack)
        self._add_points(database)
        return database
