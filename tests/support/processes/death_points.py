"""A process that kills itself at a numbered point of its work.

The points are before and after calls: of ports that a test names (`DeathPoints.around`, `killing_source`), or of
everything that has an effect outside of the process (`number_all`), so that none can be forgotten. `number_changes` has
fewer: those behind each change of the database or of the stored files.
"""

import os
import re
import signal
import traceback
from collections.abc import Callable
from itertools import count
from typing import Any

import asyncpg.protocol
import httpcore

from stepwell.app import Database, PostgresSource
from stepwell.artifacts.store import ObstoreArtifacts
from support.database.changed_source import ChangedSource

# How asyncpg sends statements, COMMIT among them. `prepare` is no point, because it changes nothing.
_STATEMENTS = ("query", "bind_execute", "bind_execute_many", "bind", "execute", "copy_in")
_CHANGES = re.compile(r"\b(INSERT|(?<!FOR )UPDATE|DELETE|COMMIT)\b", re.IGNORECASE)
_FRAMES = 40
_FILE_OPERATIONS = ("link", "replace", "rename", "unlink", "mkdir", "rmdir", "fsync")


class DeathPoints:
    """Counts the points that this process passes, and kills it at number *at*; with None, it never does.

    Before it kills the process, it writes the stack to stderr: the latest awaits that have led to this point.
    `counting`: while it is false, no point is counted. `passed` is the number of points so far. Threads may
    pass points, too.
    """

    def __init__(self, at: int | None, *, counting: bool = True) -> None:
        self._at, self._numbers, self.passed, self.counting = at, count(), 0, counting

    def pass_one(self) -> None:
        if self.counting:
            number = next(self._numbers)
            if number == self._at:
                traceback.print_stack(limit=_FRAMES)
                os.kill(os.getpid(), signal.SIGKILL)
            self.passed = number + 1

    def around(self, method: Callable[..., Any], when: Callable[..., bool] = lambda *_: True) -> Callable[..., Any]:
        """*method*, with a point before and after each call for which *when* is true."""

        async def call(*args: Any, **options: Any) -> Any:
            if not when(*args):
                return await method(*args, **options)
            self.pass_one()
            result = await method(*args, **options)
            self.pass_one()
            return result

        return call

    def around_blocking(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """*function*, which isn't asynchronous, with a point before and after each call that succeeds."""

        def call(*args: Any, **options: Any) -> Any:
            self.pass_one()
            result = function(*args, **options)
            self.pass_one()
            return result

        return call

    def number_all(self) -> None:
        """Put points around every SQL statement, HTTP request and file operation of this process, until it ends."""
        members = {name: self.around(getattr(asyncpg.protocol.Protocol, name)) for name in _STATEMENTS}
        vars(asyncpg.protocol)["Protocol"] = type("NumberedProtocol", (asyncpg.protocol.Protocol,), members)
        pool = httpcore.AsyncConnectionPool
        pool.handle_async_request = self.around(pool.handle_async_request)  # type: ignore[method-assign]
        for name in _FILE_OPERATIONS:
            vars(os)[name] = self.around_blocking(getattr(os, name))

    def number_changes(self) -> None:
        """Put a point behind every SQL statement that may change rows, and behind every deletion of a stored file.

        A death at a read leaves what one behind the last change leaves.
        """

        def behind(method: Callable[..., Any]) -> Callable[..., Any]:
            async def call(self_: Any, *args: Any, **options: Any) -> Any:
                result = await method(self_, *args, **options)
                statement = options["state"] if "state" in options else next(iter(args), "")
                if _CHANGES.search(getattr(statement, "query", statement)):
                    self.pass_one()
                return result

            return call

        members = {name: behind(getattr(asyncpg.protocol.Protocol, name)) for name in _STATEMENTS}
        points, delete = self, ObstoreArtifacts.delete

        async def delete_and_pass(self: ObstoreArtifacts, path: str) -> None:
            await delete(self, path)
            points.pass_one()

        vars(asyncpg.protocol)["Protocol"] = type("NumberedProtocol", (asyncpg.protocol.Protocol,), members)
        ObstoreArtifacts.delete = delete_and_pass  # type: ignore[method-assign] # on purpose


def killing_source(dsn: str, add_points: Callable[[Database], None]) -> ChangedSource:
    """Return the database at *dsn*. *add_points* puts points around the methods of its ports."""
    return ChangedSource(PostgresSource(dsn, durable=False), add_points)
