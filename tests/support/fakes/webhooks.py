"""Webhooks of the fake service: one for every workflow, to be sent again under one name."""
# ruff: noqa: ARG002 - it keeps to the signatures and needs half of them

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from stepwell.contract.enums import DeliveryStatus, EventType
from stepwell.domain.errors import NotFound
from stepwell.domain.idempotency import NO_TERMS, Preconditions
from stepwell.domain.tenancy import TenantScope
from stepwell.domain.webhooks.delivery import DeliveryAttempt, DeliveryRecord, delivery_id

AT = datetime(2026, 11, 25, 12, 0, 0, 123000, tzinfo=UTC)


class FakeWebhooks:
    async def deliveries(
        self,
        scope: TenantScope,
        workflow_id: UUID,
        *,
        after: int,
        limit: int,
    ) -> Sequence[DeliveryRecord]:
        return [_record(workflow_id)][:limit] if after < 1 else []

    async def delivery(self, scope: TenantScope, workflow_id: UUID, named: str) -> DeliveryRecord:
        return await self.redeliver(scope, workflow_id, named)

    async def redeliver(
        self, scope: TenantScope, workflow_id: UUID, named: str, terms: Preconditions = NO_TERMS
    ) -> DeliveryRecord:
        if named != delivery_id(workflow_id, 1):
            raise NotFound("delivery")
        return _record(workflow_id)


def _record(workflow_id: UUID) -> DeliveryRecord:
    attempt = DeliveryAttempt(AT, 500, 12, "an answer", None)
    name = delivery_id(workflow_id, 1)
    return DeliveryRecord(name, 1, EventType.WORKFLOW_COMPLETED, DeliveryStatus.PENDING, AT, AT, [attempt])
