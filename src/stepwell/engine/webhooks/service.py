"""The use cases of webhooks: list and show deliveries, send one again, and check a webhook URL."""

from asyncio import CancelledError
from uuid import UUID

from msgspec import Struct

from stepwell.basics.errors import NotFound, NoWebhook, Unavailable
from stepwell.basics.tenancy import TenantScope
from stepwell.contract.definition import WorkflowUpdate
from stepwell.contract.events import DeliveryPublic
from stepwell.engine.execution.claim_requests import ClaimRequests
from stepwell.engine.webhooks.deliverer import WebhookDeliverer
from stepwell.lifecycle.preconditions import NO_PRECONDITIONS, Preconditions
from stepwell.lifecycle.webhook_deliveries import event_of, lane_of
from stepwell.ports.storage import WorkflowReader
from stepwell.ports.webhooks import Deliveries
from stepwell.rules.webhook_secrets import WebhookSecrets


class WebhookService(Struct, eq=False):
    """Deliveries for the API. *scope* limits each call to the tenants that the caller may see."""

    _store: WorkflowReader
    _deliveries: Deliveries
    deliverer: WebhookDeliverer
    secrets: WebhookSecrets
    _claims: ClaimRequests
    _owner: UUID

    async def deliveries(
        self, scope: TenantScope, workflow_id: UUID, *, after: int, limit: int
    ) -> list[DeliveryPublic]:
        """Return up to *limit* deliveries of events after number *after*, in order. Raises `NotFound`."""
        page = await self._deliveries.page(scope, workflow_id, after, limit)
        if page is None:
            raise NotFound("workflow")
        return page

    async def delivery(self, scope: TenantScope, workflow_id: UUID, name: str) -> DeliveryPublic:
        """Return the delivery whose id is *name*. Raises `NotFound`."""
        _, event_id = _event(workflow_id, name)
        page = await self._deliveries.page(scope, workflow_id, event_id - 1, 1)
        if not page or page[0].id != name:
            raise NotFound("delivery")
        return page[0]

    async def redeliver(
        self, scope: TenantScope, workflow_id: UUID, name: str, preconditions: Preconditions = NO_PRECONDITIONS
    ) -> DeliveryPublic:
        """Send a delivery again now, with the same id and body, and with as many attempts as a new one has.

        Raises `NotFound`, `PreconditionFailed`, and `NoWebhook` if the workflow has no webhook URL.
        """
        event = _event(workflow_id, name)
        url, tenant, version = await self._deliveries.address(scope, *event)
        preconditions.check_version(version)
        if url is None:
            raise NoWebhook("The workflow has no webhook_url now; PATCH gives it one.")
        lane = lane_of(url, tenant)
        try:
            renewed = await self._deliveries.redeliver(scope, *event, lane, self._owner, preconditions)
        except (Unavailable, CancelledError):
            self._claims.request(unsure=True)  # the delivery may be due, although no response says so
            raise
        self.deliverer.schedule_now(lane)
        return renewed

    async def check_update(self, scope: TenantScope, workflow_id: UUID, changes: WorkflowUpdate) -> None:
        """Check the `webhook_url` of an update as `WebhookSecrets.check_url` does. Raises `NotFound` too."""
        if not isinstance(changes.webhook_url, str) or self.secrets.general:
            return
        record = await self._store.get(scope, workflow_id)
        if record is None:
            raise NotFound("workflow")
        self.secrets.check_url(record.tenant, changes.webhook_url)


def _event(workflow_id: UUID, name: str) -> tuple[UUID, int]:
    event = event_of(name)
    if event is None or event[0] != workflow_id:
        raise NotFound("delivery")
    return event
