"""Commands between the processes on one database, as a protocol: requests about workflows that another one runs."""

from collections.abc import Collection, Sequence
from typing import Final, Protocol
from uuid import UUID

from msgspec import Struct

from stepwell.basics.tenancy import TenantScope
from stepwell.lifecycle.peer_commands import Command, Outcome, VerbApplied

WAITING_PER_WORKFLOW: Final = 100
WAITING_PER_TENANT: Final = 1_000
LIFETIME_S: Final = 60.0
"""A command that waits for longer isn't carried out any more: its requester has died without withdrawing it."""


class CommandState(Struct, frozen=True):
    """The state of a command that its requester waits for. `outcome` is None while it waits.

    `elsewhere`: another live process runs the workflow, and so it may still carry the command out.
    """

    outcome: Outcome | None = None
    elsewhere: bool = False


class CommandListener(Protocol):
    """A listener for the notifications that are meant for one process: about commands, and ends of sub-workflows."""

    def command_sent(self) -> None:
        """A command waits, or may wait, for this process."""

    def command_answered(self, command_id: UUID) -> None:
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
        `TooManyRequests` if `WAITING_PER_WORKFLOW` or `WAITING_PER_TENANT` commands wait.
        """

    async def waiting(self, owner: UUID, except_for: Collection[UUID], limit: int) -> Sequence[Command]:
        """Return commands that *owner* must carry out, the oldest first, except those with these ids.

        These are the commands about workflows that *owner* runs, and those that were sent to *owner* about workflows
        that no process runs any more. A command whose idempotency key was released or taken over is left out.
        One that can't be read, because it is of another version, is left out and refused with `Unavailable`.
        """

    async def answer(self, command_id: UUID, epoch: int, outcome: Outcome) -> None:
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
