"""The processes on one database: leases, notifications, limits, commands between them, and their database's identity.

A database implements `LeaseStore`, `Notifications` and `Presence`, from which the composition root builds the
`Coordination` that the engine knows. The engine also uses `LimitStore` and `Commands`.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol
from uuid import UUID

from msgspec import Struct

from stepwell.basics.tenancy import TenantScope
from stepwell.lifecycle.peer_commands import Command, Outcome, VerbApplied
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
        """Notify the other processes that workflows wait because this one has no free slot. Raises `Unavailable`."""

    async def send(self, kind: str, body: str) -> None:
        """Send a message to the other processes. Raises `Unavailable`.

        *kind* is a word. *body* has at most `MOST_MESSAGE_BYTES` in UTF-8.
        """

    def watch(
        self,
        on_change: Callable[[], None],
        commands: "Sequence[CommandListener]" = (),
        on_message: Callable[[str, str], None] = ...,
    ) -> AbstractAsyncContextManager["Subscription"]:
        """Return a context within which *on_change* is called for each such change.

        *commands* are notified of commands that wait for this process, and of outcomes of those that it has sent.
        *on_message* is called with the kind and the body of each message. Any client of the database may send some, so
        the body must be validated.

        There is a change when another process without a lease, or with one that has nearly ended, gets a lease, when
        another process ends in order, and when it calls `announce`. Entering raises `Unavailable`.
        """


class Subscription(Protocol):
    """A connection that receives notifications."""

    async def until_disconnected(self) -> None:
        """Return when the loss of the connection is noticed."""


COMMANDS_PER_WORKFLOW: Final = 100
COMMANDS_PER_TENANT: Final = 1_000
COMMAND_LIFETIME_S: Final = 60.0
"""A command that waits for longer isn't carried out any more: its requester has died and not withdrawn it."""


class CommandState(Struct, frozen=True):
    """The state of a command that its requester waits for. `outcome` is None while it waits.

    `elsewhere`: another live process runs the workflow, and so it may still carry the command out.
    """

    outcome: Outcome | None = None
    elsewhere: bool = False


class CommandListener:
    """A listener for the notifications that are meant for one process: about commands, and ends of sub-workflows."""

    def command_sent(self) -> None:
        """A command waits, or may wait, for this process."""

    def command_ended(self, command_id: UUID) -> None:
        """A command of this process has an outcome."""

    def child_ended(self, parent_id: UUID) -> None:
        """A sub-workflow of a workflow that this process runs has ended in another process."""

    def resubscribed(self) -> None:
        """Notifications may have got lost until now."""


class Commands(Protocol):
    """The commands of all processes. `Presence` notifies the process that must act.

    A command waits until it has an outcome, or is withdrawn. `WorkflowStore.write` stores the outcome of a command that
    changes a workflow. All methods raise `Unavailable` while the database is away.
    """

    async def send(self, scope: TenantScope, requester: UUID, command: Command, forget: Collection[UUID] = ()) -> bool:
        """Store the command of the process *requester*, and notify the process that runs the workflow.

        The commands *forget* are deleted: their outcomes have been read.
        Return False, and store nothing, if no other live process runs a workflow of *scope* with this id. Raises
        `TooManyRequests` if `COMMANDS_PER_WORKFLOW` or `COMMANDS_PER_TENANT` commands wait.
        """

    async def waiting(self, owner: UUID, except_for: Collection[UUID], limit: int) -> Sequence[Command]:
        """Return commands that *owner* must carry out, the oldest first, except those with these ids.

        These are the commands about workflows that *owner* runs, and those that were sent to *owner* about workflows
        that no process runs any more. A command whose idempotency key was released or taken over is left out.
        One that can't be read, because it is of another version, is left out and refused with `Unavailable`.
        """

    async def store_outcome(self, command_id: UUID, epoch: int, outcome: Outcome) -> None:
        """Store the outcome of a command that changes nothing, and notify its requester.

        Nothing is stored if the command doesn't wait any more, or if the workflow has another *epoch*: then another
        process has taken the workflow over.
        """

    async def report(self, command_id: UUID, outcome: VerbApplied) -> None:
        """Replace an outcome whose report follows by one with the report, and notify the requester."""

    async def poll(self, requester: UUID, command_id: UUID) -> CommandState:
        """Return the state of the requester's command.

        If the command waits, the process that runs the workflow is notified once more.
        """

    async def withdraw(self, requester: UUID, command_id: UUID) -> Outcome | None:
        """Give the requester's command the outcome `CommandWithdrawn`, unless it has one. Return the outcome.

        Return None if there is no such command any more, because its workflow was purged.
        """


class InstallationRecord(Struct, frozen=True):
    """The identity of a database.

    `has_folder`: processes of `serve` store files in a folder that all of them must share. `is_newer`: the tables are
    of a newer version than this code, so they may refer to files in ways that this code doesn't know.
    """

    id: UUID
    has_folder: bool
    is_newer: bool


class Installation(Protocol):
    """The record of one database."""

    async def read(self) -> InstallationRecord:
        """Return the record. Raises `Unavailable`."""

    def recording_folder(self) -> AbstractAsyncContextManager[InstallationRecord]:
        """Return a context with the record, at whose end `has_folder` is set, unless an error ends it.

        Only one process at a time is within it. Entering waits for the others, up to the deadline of a statement.
        Entering and leaving raise `Unavailable`.
        """
