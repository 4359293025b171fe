"""Webhooks of a live service, as tests ask for them over HTTP."""

import asyncio
from typing import Any

from stepwell.engine.webhooks.deliverer import WebhookDeliverer
from support.emulators.webhook_receiver import Sink
from support.providers.scripted import scripted
from support.service.live_service import Service


def dispatcher_of(service: Service) -> WebhookDeliverer:
    return service.app.service.webhooks._dispatcher


async def told_of(service: Service, sink: Sink, *steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A workflow that has ended, and is to be told of."""
    created = await service.create(*(steps or (scripted("a"),)), **({"webhook_url": sink.url()} | fields))
    return await service.until_ended(created["id"])


async def deliveries(service: Service, workflow_id: str, **query: Any) -> list[dict[str, Any]]:
    answer = await service.client.get(f"/api/v1/workflows/{workflow_id}/deliveries", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["deliveries"]
    return found


async def settled(service: Service, workflow_id: str, *, attempts: int = 1) -> dict[str, Any]:
    """Its one delivery, once it has been tried so often."""
    found: dict[str, Any] = {}

    async def tried() -> bool:
        nonlocal found
        (found,) = await deliveries(service, workflow_id)
        return len(found["attempts"]) >= attempts

    async with asyncio.timeout(30):
        while not await tried():
            pass
    return found
