"""Webhook deliveries and their sender, as protocols."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol, TypeAlias
from uuid import UUID

from stepwell.basics.tenancy import TenantScope
from stepwell.contract.events import DeliveryAttemptPublic, DeliveryPublic
from stepwell.lifecycle.preconditions import Preconditions, Version
from stepwell.lifecycle.webhook_deliveries import DeliveryVerdict, DueDelivery, SendResult

# Builds the body of a delivery. Raises `Unavailable` while the database is away.
Payload: TypeAlias = Callable[[DueDelivery], Awaitable[str]]


class Backlog(NamedTuple):
    """The number of deliveries still to be sent, and the time of the oldest one's event; None if there are none."""

    deliveries: int
    oldest: datetime | None


class Outbox(Protocol):
    """The engine's side of the deliveries. All methods raise `Unavailable` while the database is away.

    A delivery belongs to one process at a time, its owner. A call of another process changes nothing.
    """

    async def take_over(self, owner: UUID) -> Mapping[str, datetime]:
        """Make *owner* the owner of the deliveries that dead processes have left to be sent.

        A process is certainly dead if it has no lease row, or if `expire_others` has ended its lease. A process whose
        lease has merely run out may be idle, so only its due deliveries are taken. Returns the time when the first
        delivery in each lane of *owner* is due.
        """

    async def due(self, owner: UUID, lanes: Sequence[str], limit: int) -> list[DueDelivery]:
        """Return the first *limit* deliveries of *owner* in each of *lanes*, by time, due or not yet due."""

    async def freeze(self, owner: UUID, due: DueDelivery, body: str | None) -> str | None:
        """Store *body* for good, unless a body is stored. Return the stored body.

        None if *owner* isn't the owner any more, or if the delivery was tried or redelivered after *due* was read.
        """

    async def change_lane(self, owner: UUID, due: DueDelivery, lane: str) -> None:
        """Move the delivery to *lane*, because its URL has changed. Do nothing where `freeze` would return None."""

    async def record(
        self, owner: UUID, due: DueDelivery, verdict: DeliveryVerdict, attempt: DeliveryAttemptPublic | None
    ) -> datetime | None:
        """Record *attempt*, and *verdict* too unless the delivery was changed meanwhile.

        Returns the time when *owner* has to send the delivery again. None if it doesn't have to.
        """

    async def backlog(self, owner: UUID) -> Backlog:
        """Return the backlog of *owner*."""


class AddressedDelivery(NamedTuple):
    """The URL to which a delivery would be sent now (None if there is none), its tenant, and its workflow's version."""

    url: str | None
    tenant: str | None
    version: Version


class Deliveries(Protocol):
    """The API's side of the deliveries. All methods raise `Unavailable` while the database is away.

    *scope* is the tenant whose deliveries a call may see. All other deliveries count as unknown.
    """

    async def page(self, scope: TenantScope, workflow_id: UUID, after: int, limit: int) -> list[DeliveryPublic] | None:
        """Return up to *limit* deliveries by the numbers of their events, from *after* + 1 on.

        None for an unknown workflow.
        """

    async def address(self, scope: TenantScope, workflow_id: UUID, event_id: int) -> AddressedDelivery:
        """Return the address to which the delivery of that event would be sent now. Raises `NotFound`."""

    async def redeliver(
        self, scope: TenantScope, workflow_id: UUID, event_id: int, lane: str, owner: UUID, preconditions: Preconditions
    ) -> DeliveryPublic:
        """Make a delivery PENDING and due now, with the full number of attempts. *owner* sends it.

        With an idempotency key this happens once, and only while the request has the key. Raises `NotFound`,
        `PreconditionFailed`, `StillRunning`.
        """


class Sender(Protocol):
    async def send(self, url: str, headers: Mapping[str, str], body: str, hidden: Sequence[str]) -> SendResult:
        """Post *body* once, within a deadline, and return the outcome.

        A failure of the address or the receiver is an outcome, not an exception. The strings of *hidden* are removed
        from the outcome.
        """
