"""`ports.processes.Notifications` and `ports.processes.Presence`, by LISTEN and NOTIFY.

https://www.postgresql.org/docs/current/sql-notify.html limits a payload to less than 8,000 bytes. A payload is the
sender and the ids of workflows, or "*" if there are too many.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final
from uuid import UUID

from stepwell.persistence.connections.connection_pool import SmallPool
from stepwell.persistence.connections.database import Connect, PostgresAdapter, unavailable_in_outage
from stepwell.persistence.statements.claim_statements import PROCESSES
from stepwell.persistence.statements.command_statements import PROCESS
from stepwell.ports.processes import CommandListener

_CHANNEL = "stepwell_events"
_MAX_IDS = 200
_ANY = "*"
_NOTIFY = "SELECT pg_notify($1, $2)"
# Notifies the other processes that workflows wait for one with free slots.
_ANNOUNCE = f"SELECT pg_notify('{PROCESSES}', $1)"
# The channel of messages between processes. A payload is the sender, the kind of the message, and its body.
MESSAGES: Final = "stepwell_process_messages"
_MAX_MESSAGE = 8_000


class PostgresNotifications(PostgresAdapter):
    """Notifications for the process *owner*, which ignores its own.

    *connect* opens the connection that listens. *sending* has the connections that send.
    """

    def __init__(self, connect: Connect, sending: SmallPool, owner: UUID) -> None:
        self._connect, self._sending, self._name = connect, sending, owner.hex

    async def send(self, workflow_ids: Collection[UUID]) -> None:
        ids = _ANY if len(workflow_ids) > _MAX_IDS else ",".join(each.hex for each in workflow_ids)
        await self._sending.fetch(_NOTIFY, _CHANNEL, f"{self._name}:{ids}")

    @asynccontextmanager
    async def listen(
        self, on_notification: Callable[[Collection[UUID] | None], None]
    ) -> AsyncIterator["_PostgresSubscription"]:
        def on_payload(payload: str) -> None:
            name, _, ids = payload.partition(":")
            if name != self._name:
                on_notification(_read_ids(ids))

        async with _subscribe(self._connect, {_CHANNEL: on_payload}) as subscription:
            yield subscription


class PostgresPresence(PostgresAdapter):
    """`ports.processes.Presence` for the process *owner*, which ignores its own notifications.

    *connect* opens the connection that listens. *sending* has the connections that send. `PostgresLeaseStore` sends the
    notifications about leases, `PostgresCommands` and checkpoints those about commands.
    """

    def __init__(self, connect: Connect, sending: SmallPool, owner: UUID) -> None:
        self._connect, self._sending, self._name = connect, sending, str(owner)

    async def announce(self) -> None:
        await self._sending.fetch(_ANNOUNCE, self._name)

    async def send(self, kind: str, body: str) -> None:
        await self._sending.fetch(_NOTIFY, MESSAGES, message(self._name, kind, body))

    @asynccontextmanager
    async def watch(
        self,
        on_change: Callable[[], None],
        commands: Sequence[CommandListener] = (),
        on_message: Callable[[str, str], None] = lambda _kind, _body: None,
    ) -> AsyncIterator["_PostgresSubscription"]:
        def on_payload(payload: str) -> None:
            if payload != self._name:
                on_change()

        def on_message_payload(payload: str) -> None:
            name, _, rest = payload.partition(" ")
            if name != self._name and len(payload) <= _MAX_MESSAGE:
                kind, _, body = rest.partition(" ")
                on_message(kind, body)

        channels = {PROCESSES: on_payload}
        if commands:
            channels[PROCESS + self._name] = partial(_on_command, commands)
        channels[MESSAGES] = on_message_payload
        async with _subscribe(self._connect, channels) as subscription:
            yield subscription


def message(sender: UUID | str, kind: str, body: str = "") -> str:
    return f"{sender} {kind} {body}"


def _on_command(listeners: Sequence[CommandListener], payload: str) -> None:
    message, _, id_ = payload.partition(":")
    with suppress(ValueError):  # every client may notify
        for listener in listeners:
            match message:
                case "sent":
                    listener.command_sent()
                case "ended":
                    listener.command_ended(UUID(id_))
                case "child_ended":
                    listener.child_ended(UUID(id_))


@asynccontextmanager
async def _subscribe(
    connect: Connect, channels: Mapping[str, Callable[[str], None]]
) -> AsyncIterator["_PostgresSubscription"]:
    connection = await unavailable_in_outage(connect)()
    subscription = _PostgresSubscription()
    connection.add_termination_listener(subscription.disconnect)
    try:
        for channel, on_payload in channels.items():
            await unavailable_in_outage(connection.add_listener)(channel, partial(_pass_on, on_payload))
        yield subscription
    finally:
        connection.remove_termination_listener(subscription.disconnect)
        connection.terminate()


def _pass_on(on_payload: Callable[[str], None], _connection: Any, _pid: int, _channel: str, payload: str) -> None:
    on_payload(payload)


class _PostgresSubscription:
    def __init__(self) -> None:
        self._disconnected = asyncio.Event()

    def disconnect(self, _connection: Any) -> None:
        self._disconnected.set()

    async def until_disconnected(self) -> None:
        await self._disconnected.wait()


def _read_ids(ids: str) -> Collection[UUID] | None:
    """Read the ids of a payload. None for any workflow, also if they can't be read: every client may notify."""
    try:
        return None if ids == _ANY else [UUID(hex=each) for each in ids.split(",")]
    except ValueError:
        return None
