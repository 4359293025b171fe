"""`ports.webhooks.Deliveries` on SQLAlchemy Core: the webhook deliveries of the API, and their redelivery."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Select, Update, func, literal, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from stepwell.basics.errors import NotFound, StillRunning
from stepwell.basics.idempotency import KeyClaim
from stepwell.basics.tenancy import TenantScope
from stepwell.contract.enums import DeliveryStatus
from stepwell.contract.events import DeliveryPublic
from stepwell.lifecycle.preconditions import Preconditions, Version
from stepwell.persistence.connections.database import PostgresAdapter
from stepwell.persistence.stores.workflow_queries import visible
from stepwell.persistence.tables.deliveries import RECORD, deliveries, read_delivery
from stepwell.persistence.tables.idempotency_keys import idempotency_keys
from stepwell.persistence.tables.workflows import workflows
from stepwell.ports.webhooks import AddressedDelivery


class PostgresDeliveries(PostgresAdapter):
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def page(self, scope: TenantScope, workflow_id: UUID, after: int, limit: int) -> list[DeliveryPublic] | None:
        later = deliveries.c.event_id > literal(after, BigInteger())  # *after* may be larger than the column's type
        query = select(*RECORD).where(deliveries.c.workflow_id == workflow_id, later)
        async with self._engine.connect() as connection:
            if (await connection.scalar(_own(scope, workflow_id))) is None:
                return None
            result = await connection.execute(query.order_by(deliveries.c.event_id).limit(limit))
            return [read_delivery(row) for row in result.mappings()]

    async def address(self, scope: TenantScope, workflow_id: UUID, event_id: int) -> AddressedDelivery:
        own = workflows.c
        query = (
            select(own.webhook_url, own.tenant, own.last_event, own.updated_at)
            .join(deliveries, deliveries.c.workflow_id == workflows.c.id)
            .where(workflows.c.id == workflow_id, visible(scope), deliveries.c.event_id == event_id)
        )
        async with self._engine.connect() as connection:
            row = (await connection.execute(query)).first()
        if row is None:
            raise NotFound("delivery")
        return AddressedDelivery(row.webhook_url, row.tenant, Version.of(row.last_event, row.updated_at))

    async def redeliver(
        self, scope: TenantScope, workflow_id: UUID, event_id: int, lane: str, owner: UUID, preconditions: Preconditions
    ) -> DeliveryPublic:
        again = (
            update(deliveries)
            .where(deliveries.c.workflow_id.in_(_own(scope, workflow_id)), deliveries.c.event_id == event_id)
            .values(status=DeliveryStatus.PENDING, tries=0, next_at=func.clock_timestamp(), lane=lane, owner=owner)
            .returning(*RECORD)
        )
        claim = preconditions.claim
        async with self._engine.begin() as connection:
            if preconditions.if_match is not None and (
                row := (await connection.execute(_locked_version(scope, workflow_id))).first()
            ):
                preconditions.check_version(Version.of(row.last_event, row.updated_at))
            if claim is not None and not (await connection.execute(_applied(claim, workflow_id))).rowcount:
                raise StillRunning
            renewed = (await connection.execute(again)).mappings().first()
        if renewed is None:
            raise NotFound("delivery")
        return read_delivery(renewed)


def _locked_version(scope: TenantScope, workflow_id: UUID) -> Select[int, datetime]:
    """The version of the workflow, with a lock that keeps it until the transaction ends."""
    query = select(workflows.c.last_event, workflows.c.updated_at).where(workflows.c.id == workflow_id, visible(scope))
    return query.with_for_update(read=True)


def _own(scope: TenantScope, workflow_id: UUID) -> Select[Any]:
    return select(workflows.c.id).where(workflows.c.id == workflow_id, visible(scope))


def _applied(claim: KeyClaim, workflow_id: UUID) -> Update:
    keys = idempotency_keys.c
    mine = (keys.scope == claim.scope, keys.key == claim.key, keys.token == claim.token)
    return (
        update(idempotency_keys)
        .where(*mine, keys.applied_at.is_(None))
        .values(applied_at=func.clock_timestamp(), workflow_id=workflow_id)
    )
