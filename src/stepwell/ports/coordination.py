"""The coordination of the processes on one database, by leases and notifications, as protocols.

A database implements `LeaseStore`, `Notifications` and `Presence`, from which the composition root builds the
`Coordination` that the engine knows. The engine also uses `LimitStore`.
"""

from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol
from uuid import UUID

from msgspec import Struct

from stepwell.ports.peer_commands import CommandListener
from stepwell.rules.limit_division import Division, DivisionChange

LIMITS_CHANGED: Final = "limits"
"""The kind of the message that a process has changed the division of limits, or waits for others to."""

MOST_MESSAGE_BYTES: Final = 7_500
"""The size of the largest body of a message. PostgreSQL sends less than 8,000 bytes, with the sender and the kind."""


class Coordination(Protocol):
    """The coordination of this process with the other processes on its database.

    It alone knows whether there can be others. If there can't, the lease and the pauses are infinite.
    """

    @property
    def owner(self) -> UUID:
        """The id of this process in the database."""

    @property
    def lease_s(self) -> float:
        """The seconds that a lease lasts."""

    @property
    def poll_s(self) -> float:
        """The seconds between polls for what the others have committed, because a notification can get lost."""

    async def renew_lease(self) -> None:
        """Give this process a lease of `lease_s` from now. Raises `Unavailable`."""

    async def release_lease(self) -> None:
        """End the lease in order, so that others may claim this process's work at once. Raises `Unavailable`."""

    async def next_expiry_s(self) -> float:
        """Return the seconds until this process may have to take over work of another one. Raises `Unavailable`.

        They are infinite if no other process is known to be alive. See `LeaseStore.next_expiry`.
        """

    async def other_processes(self) -> "OtherProcesses":
        """Return the means to reach the others. If there can be none, this waits until it is cancelled."""


class OtherProcesses(Struct, frozen=True):
    """The means to reach the other processes on the database."""

    presence: "Presence"
    notifications: "Notifications"


class LeaseStore(Protocol):
    """The leases of the processes on one database. A process is alive while it has one.

    All methods raise `Unavailable` while the database is away.
    """

    async def renew(self, owner: UUID, seconds: float | None) -> None:
        """Give *owner* a lease of *seconds* from now. With None, it lasts until `release` or `expire_others`.

        `Presence` notifies the other processes if *owner* had no lease, or if less than half of this time was left.
        """

    async def next_expiry(self, owner: UUID) -> float | None:
        """Return the seconds until *owner* may have to take over work of another process.

        It is 0.0 if there is work to `claim` or to take over now, or if a command has waited for *owner* for half a
        second, because its notification must have got lost. Otherwise it is the time until the first lease of a
        living process ends, or until a webhook of a dead process is due. It is None if there is no such process;
        `Presence` notifies when one appears. While a workflow waits for admission, there is work if a dead process is
        known, because that may have died before it announced the workflow. A claim that finds nothing forgets it.
        """

    async def release(self, owner: UUID) -> None:
        """End the lease of *owner* in order, so that its workflows may be claimed at once. `Presence` notifies."""

    async def expire_others(self, owner: UUID) -> None:
        """End the leases of all processes but *owner*. Only for a caller that knows that none of them is alive."""


class LimitStore(Protocol):
    """The division of limits among the processes, with a version. See `rules.limit_division`.

    All methods raise `Unavailable` while the database is away.
    """

    async def read(self, owner: UUID) -> Division:
        """Return the division as the process *owner* sees it: `members` include *owner*."""

    async def write(self, owner: UUID, change: DivisionChange) -> bool:
        """Make *change*, unless another one came first. Return whether it was made.

        It isn't made either if *owner* has no lease. `Presence` sends the others a message, if the change says so.
        """


class Notifications(Protocol):
    """Notifications about commits, between the processes on one database. A notification can get lost."""

    async def send(self, workflow_ids: Collection[UUID]) -> None:
        """Notify the other processes of a commit to these workflows.

        Raises `Unavailable`. Then it is unknown which processes were notified.
        """

    def listen(
        self, on_notification: Callable[[Collection[UUID] | None], None]
    ) -> AbstractAsyncContextManager["Subscription"]:
        """Return a context within which *on_notification* is called with the ids that other processes send.

        None means that any workflow may have changed. Entering raises `Unavailable`.
        """


class Presence(Protocol):
    """Notifications about other processes on the database. They get lost with the connection."""

    async def announce(self) -> None:
        """Notify the other processes that workflows wait which this process has no room for. Raises `Unavailable`."""

    async def send(self, kind: str, body: str) -> None:
        """Send a message to the other processes. Raises `Unavailable`.

        *kind* is a word. *body* has at most `MOST_MESSAGE_BYTES` in UTF-8.
        """

    def watch(
        self,
        on_change: Callable[[], None],
        commands: CommandListener | None = None,
        on_message: Callable[[str, str], None] = ...,
    ) -> AbstractAsyncContextManager["Subscription"]:
        """Return a context within which *on_change* is called for each such change.

        *commands* is notified of commands that wait for this process, and of outcomes of those that it has sent.
        *on_message* is called with the kind and the body of each message. Any client of the database may send some, so
        the body must be validated.

        There is a change when another process without a lease, or with one that has nearly ended, gets a lease, when
        another process ends in order, and when it calls `announce`. Entering raises `Unavailable`.
        """


class Subscription(Protocol):
    """A connection that receives notifications."""

    async def until_disconnected(self) -> None:
        """Return when the loss of the connection is noticed."""
