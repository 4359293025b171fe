"""Webhooks of a live service: run a workflow that has one, and read its deliveries over HTTP."""

import asyncio
from typing import Any

from stepwell.engine.webhooks.deliverer import WebhookDeliverer
from support.emulators.webhook_receiver import WebhookReceiver
from support.providers.scripted import scripted_step
from support.service.live_service import Service


def deliverer_of(service: Service) -> WebhookDeliverer:
    return service.app.services.webhooks.deliverer


async def run_with_webhook(
    service: Service, sink: WebhookReceiver, *steps: dict[str, Any], **fields: Any
) -> dict[str, Any]:
    """Run a workflow to its end, with *sink* as its webhook's receiver, and return it."""
    created = await service.create(*(steps or (scripted_step("a"),)), **({"webhook_url": sink.url()} | fields))
    return await service.until_ended(created["id"])


async def deliveries(service: Service, workflow_id: str, **query: Any) -> list[dict[str, Any]]:
    response = await service.client.get(f"/api/v1/workflows/{workflow_id}/deliveries", params=query)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["deliveries"]
    return found


async def delivery_after(service: Service, workflow_id: str, *, attempts: int = 1) -> dict[str, Any]:
    """Return the workflow's only delivery once it has so many *attempts*."""
    found: dict[str, Any] = {}

    async def has_attempts() -> bool:
        nonlocal found
        (found,) = await deliveries(service, workflow_id)
        return len(found["attempts"]) >= attempts

    async with asyncio.timeout(120):
        while not await has_attempts():
            await asyncio.sleep(0.01)
    return found
