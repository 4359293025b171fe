"""`ports.feed.Hints` by LISTEN and NOTIFY. https://www.postgresql.org/docs/current/sql-notify.html

A payload is less than 8,000 bytes: who sends, and the workflows; or that there were too many to name.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from stepwell.persistence.database import Connect, unavailable_in_outage
from stepwell.persistence.kept import Kept

_CHANNEL = "stepwell_events"
_MOST = 200
_ANY = "*"
_NOTIFY = "SELECT pg_notify($1, $2)"


class PostgresHints:
    """*connect* is that of `database`, for a connection to listen on; *sending* is for those to send on. *owner* tells
    this process's own hints from those of others.
    """

    def __init__(self, connect: Connect, sending: Kept, owner: UUID) -> None:
        self._connect, self._sending, self._name = connect, sending, owner.hex

    @unavailable_in_outage
    async def send(self, workflow_ids: Collection[UUID]) -> None:
        ids = _ANY if len(workflow_ids) > _MOST else ",".join(each.hex for each in workflow_ids)
        await self._sending.fetch(_NOTIFY, _CHANNEL, f"{self._name}:{ids}")

    @asynccontextmanager
    async def listening(self, heard: Callable[[Collection[UUID] | None], None]) -> AsyncIterator["_Ear"]:
        connection = await self._open()
        ear = _Ear()

        def hear(_connection: Any, _pid: int, _channel: str, payload: str) -> None:
            name, _, ids = payload.partition(":")
            if name != self._name:
                heard(_read(ids))

        connection.add_termination_listener(ear.deafen)
        try:
            await self._listen(connection, hear)
            yield ear
        finally:
            connection.remove_termination_listener(ear.deafen)
            connection.terminate()

    @unavailable_in_outage
    async def _open(self) -> Any:
        return await self._connect()

    @unavailable_in_outage
    async def _listen(self, connection: Any, hear: Callable[..., None]) -> None:
        await connection.add_listener(_CHANNEL, hear)


class _Ear:
    def __init__(self) -> None:
        self._deaf = asyncio.Event()

    def deafen(self, _connection: Any) -> None:
        self._deaf.set()

    async def until_deaf(self) -> None:
        await self._deaf.wait()


def _read(ids: str) -> Collection[UUID] | None:
    """Anybody may notify: what can't be read may be about any."""
    try:
        return None if ids == _ANY else [UUID(hex=each) for each in ids.split(",")]
    except ValueError:
        return None
