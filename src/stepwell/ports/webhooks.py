"""What sending webhooks needs from the outside."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol, TypeAlias
from uuid import UUID

from stepwell.domain.preconditions import Preconditions, Version
from stepwell.domain.tenancy import TenantScope
from stepwell.domain.webhooks.delivery import Answered, DeliveryAttempt, DeliveryRecord, DeliveryVerdict, DueDelivery

# Makes the body of a delivery. Raises `Unavailable` while the database is away.
Payload: TypeAlias = Callable[[DueDelivery], Awaitable[str]]


class Backlog(NamedTuple):
    """The number of deliveries still to be sent, and the time of the oldest one's event (None: there is none)."""

    deliveries: int
    oldest: datetime | None


class Outbox(Protocol):
    """The engine's side of the deliveries. A delivery belongs to one process at a time, its owner; whoever isn't it
    changes nothing. All methods raise `Unavailable` while the database is away.
    """

    async def take_over(self, owner: UUID) -> Mapping[str, datetime]:
        """Make *owner* the owner of what dead processes have left to be sent: at once where they are known to be dead,
        else when it is due. Returns for each lane of *owner* when the first delivery in it is due.
        """

    async def due(self, owner: UUID, lanes: Sequence[str], limit: int) -> list[DueDelivery]:
        """For each of *lanes* the first *limit* deliveries of *owner*, by time, whether they are due or not yet."""

    async def freeze(self, owner: UUID, due: DueDelivery, body: str | None) -> str | None:
        """Store *body* for good, unless one is stored, and return what is stored. None if *owner* isn't the owner (any
        more), or it has been tried or renewed since *due* was read.
        """

    async def change_lane(self, owner: UUID, due: DueDelivery, lane: str) -> None:
        """The address now leads to another lane. Nothing where `frozen` would give None."""

    async def record(
        self, owner: UUID, due: DueDelivery, verdict: DeliveryVerdict, attempt: DeliveryAttempt | None
    ) -> datetime | None:
        """Record *attempt*, and *verdict* too unless the delivery was changed meanwhile. Returns when *owner* has to
        send it again, if ever.
        """

    async def backlog(self, owner: UUID) -> Backlog:
        """The deliveries of *owner* that are still to be sent."""


class AddressedDelivery(NamedTuple):
    """Where a delivery goes now, null for nowhere; whose it is, and the version of the workflow that says so."""

    url: str | None
    tenant: str | None
    version: Version


class Deliveries(Protocol):
    """The API's side. *scope* says whose a call may see; others look like unknown ones."""

    async def page(
        self, scope: TenantScope, workflow_id: UUID, after: int, limit: int
    ) -> Sequence[DeliveryRecord] | None:
        """By the numbers of their events, from *after* + 1 on; None for an unknown workflow."""

    async def address(self, scope: TenantScope, workflow_id: UUID, event_id: int) -> AddressedDelivery:
        """Raises `NotFound`."""

    async def redeliver(
        self,
        scope: TenantScope,
        workflow_id: UUID,
        event_id: int,
        lane: str,
        owner: UUID,
        preconditions: Preconditions,
    ) -> DeliveryRecord:
        """Make a delivery PENDING and due now, with all its attempts before it, to be sent by *owner*.

        With a reservation this happens once, and only while the reservation holds. Raises `NotFound`,
        `PreconditionFailed`, `StillRunning`.
        """


class Sender(Protocol):
    async def send(self, url: str, headers: Mapping[str, str], body: str, hidden: Sequence[str]) -> Answered:
        """Post *body*, once, within a deadline. Never raises for what an address or a receiver does; *hidden* are not
        in what it returns.
        """
