"""`ports.feed.Hints` by LISTEN and NOTIFY. https://www.postgresql.org/docs/current/sql-notify.html

A payload is less than 8,000 bytes: who sends, and the workflows; or that there were too many to name.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from stepwell.persistence.connections.connection_pool import SmallPool
from stepwell.persistence.connections.database import Connect, unavailable_in_outage
from stepwell.persistence.rows.journal_sql import PROCESSES

_CHANNEL = "stepwell_events"
_MOST = 200
_ANY = "*"
_NOTIFY = "SELECT pg_notify($1, $2)"


class PostgresNotifications:
    """*connect* is that of `database`, for a connection to listen on; *sending* is for those to send on. *owner* tells
    this process's own hints from those of others.
    """

    def __init__(self, connect: Connect, sending: SmallPool, owner: UUID) -> None:
        self._connect, self._sending, self._name = connect, sending, owner.hex

    @unavailable_in_outage
    async def send(self, workflow_ids: Collection[UUID]) -> None:
        ids = _ANY if len(workflow_ids) > _MOST else ",".join(each.hex for each in workflow_ids)
        await self._sending.fetch(_NOTIFY, _CHANNEL, f"{self._name}:{ids}")

    @asynccontextmanager
    async def listen(self, heard: Callable[[Collection[UUID] | None], None]) -> AsyncIterator["_Subscription"]:
        def hear(payload: str) -> None:
            name, _, ids = payload.partition(":")
            if name != self._name:
                heard(_read(ids))

        async with _listening(self._connect, _CHANNEL, hear) as ear:
            yield ear


class PostgresPresence:
    """`ports.Presence` for the process *owner*. What is heard is sent by the journal's statements on leases."""

    def __init__(self, connect: Connect, owner: UUID) -> None:
        self._connect, self._name = connect, str(owner)

    @asynccontextmanager
    async def watch(self, changed: Callable[[], None]) -> AsyncIterator["_Subscription"]:
        def hear(payload: str) -> None:
            if payload != self._name:
                changed()

        async with _listening(self._connect, PROCESSES, hear) as ear:
            yield ear


@asynccontextmanager
async def _listening(connect: Connect, channel: str, hear: Callable[[str], None]) -> AsyncIterator["_Subscription"]:
    connection = await _open(connect)
    ear = _Subscription()
    connection.add_termination_listener(ear.deafen)
    try:
        await _listen(connection, channel, lambda _connection, _pid, _channel, payload: hear(payload))
        yield ear
    finally:
        connection.remove_termination_listener(ear.deafen)
        connection.terminate()


@unavailable_in_outage
async def _open(connect: Connect) -> Any:
    return await connect()


@unavailable_in_outage
async def _listen(connection: Any, channel: str, hear: Callable[..., None]) -> None:
    await connection.add_listener(channel, hear)


class _Subscription:
    def __init__(self) -> None:
        self._deaf = asyncio.Event()

    def deafen(self, _connection: Any) -> None:
        self._deaf.set()

    async def until_disconnected(self) -> None:
        await self._deaf.wait()


def _read(ids: str) -> Collection[UUID] | None:
    """Anybody may notify: what can't be read may be about any."""
    try:
        return None if ids == _ANY else [UUID(hex=each) for each in ids.split(",")]
    except ValueError:
        return None
