"""Webhooks as the API sees them: what was sent, and sending it again."""

from asyncio import CancelledError
from collections.abc import Sequence
from uuid import UUID

from stepwell.contract.definition import WorkflowUpdate
from stepwell.domain.errors import Fault, InvalidRequest, NotFound, NoWebhook, Unavailable
from stepwell.domain.preconditions import NO_PRECONDITIONS, Preconditions
from stepwell.domain.tenancy import TenantScope
from stepwell.domain.webhooks.delivery import WEBHOOK_URL, WEBHOOKS_NOT_CONFIGURED, DeliveryRecord, event_of, lane_of
from stepwell.domain.webhooks.secrets import WebhookSecrets
from stepwell.engine.execution.recovery import Recovery
from stepwell.engine.webhooks.deliverer import WebhookDeliverer
from stepwell.ports.storage import WorkflowReader
from stepwell.ports.webhooks import Deliveries


class WebhookService:
    def __init__(
        self,
        store: WorkflowReader,
        deliveries: Deliveries,
        dispatcher: WebhookDeliverer,
        secrets: WebhookSecrets,
        recovery: Recovery,
        owner: UUID,
    ) -> None:
        self._store, self._deliveries, self._dispatcher = store, deliveries, dispatcher
        self._secrets, self._recovery, self._owner = secrets, recovery, owner

    async def deliveries(
        self, scope: TenantScope, workflow_id: UUID, *, after: int, limit: int
    ) -> Sequence[DeliveryRecord]:
        found = await self._deliveries.page(scope, workflow_id, after, limit)
        if found is None:
            raise NotFound("workflow")
        return found

    async def delivery(self, scope: TenantScope, workflow_id: UUID, named: str) -> DeliveryRecord:
        _, event_id = _event(workflow_id, named)
        found = await self._deliveries.page(scope, workflow_id, event_id - 1, 1)
        if not found or found[0].id != named:
            raise NotFound("delivery")
        return found[0]

    async def redeliver(
        self, scope: TenantScope, workflow_id: UUID, named: str, preconditions: Preconditions = NO_PRECONDITIONS
    ) -> DeliveryRecord:
        """Send it now, under the same id and with the same body, and as often as a new one. Raises `NotFound`,
        `PreconditionFailed`, and `NoWebhook` where there is no address.
        """
        event = _event(workflow_id, named)
        url, tenant, version = await self._deliveries.address(scope, *event)
        preconditions.check_version(version)
        if url is None:
            raise NoWebhook("The workflow has no webhook_url now; PATCH gives it one.")
        lane = lane_of(url, tenant)
        try:
            renewed = await self._deliveries.redeliver(scope, *event, lane, self._owner, preconditions)
        except (Unavailable, CancelledError):
            self._recovery.request(unsure=True)  # a delivery may be due that no answer reports
            raise
        self._dispatcher.renewed(lane)
        return renewed

    def check(self, tenant: str | None, url: object) -> None:
        """Raise `InvalidRequest` where *url* is an address and nothing could sign what is sent to it for *tenant*."""
        if isinstance(url, str) and not self._secrets.of(tenant):
            raise InvalidRequest([Fault(WEBHOOK_URL, *WEBHOOKS_NOT_CONFIGURED)])

    async def check_update(self, scope: TenantScope, workflow_id: UUID, changes: WorkflowUpdate) -> None:
        """As `check`, for the tenant of the workflow. Raises `NotFound`, too."""
        if not isinstance(changes.webhook_url, str) or self._secrets.general:
            return
        record = await self._store.get(scope, workflow_id, include_steps=False)
        if record is None:
            raise NotFound("workflow")
        self.check(record.tenant, changes.webhook_url)


def _event(workflow_id: UUID, named: str) -> tuple[UUID, int]:
    event = event_of(named)
    if event is None or event[0] != workflow_id:
        raise NotFound("delivery")
    return event
