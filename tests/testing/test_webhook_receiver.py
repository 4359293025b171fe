"""The receiver of `stepwell.testing` verifies webhooks, and a test can wait for one."""

import json
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import pytest
from standardwebhooks import Webhook

from stepwell.testing import RunningStepwell, WebhookReceiver, png, running, webhooks
from stepwell.testing.webhook_receiver import WEBHOOK_SECRET

AT = datetime(2026, 1, 1, tzinfo=UTC)


async def send(receiver: WebhookReceiver, event_type: str, workflow_id: str, *, secret: str = WEBHOOK_SECRET) -> int:
    body = json.dumps({"type": event_type, "timestamp": AT.isoformat(), "data": {"id": workflow_id}})
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(AT.timestamp())),
        "webhook-signature": "v1,AAAA " + Webhook(secret).sign("msg_1", AT, body),
    }
    async with httpx.AsyncClient() as client:
        return (await client.post(receiver.url, content=body, headers=headers)).status_code


async def test_a_test_waits_for_the_webhook_that_it_wants() -> None:
    one, other = str(uuid4()), str(uuid4())
    async with webhooks() as receiver:
        assert await send(receiver, "workflow.failed", one) == 204
        assert await send(receiver, "workflow.completed", other) == 204
        assert await send(receiver, "workflow.completed", one) == 204
        webhook = await receiver.wait("workflow.completed", workflow_id=one)
        assert (webhook.type, str(webhook.workflow_id)) == ("workflow.completed", one)
        assert str((await receiver.wait("workflow.completed")).workflow_id) == other
        assert len(receiver.received) == 3


async def test_a_webhook_with_a_wrong_signature_is_refused_and_named() -> None:
    async with webhooks() as receiver:
        assert await send(receiver, "workflow.completed", str(uuid4()), secret="whsec_" + "QQ" * 20) == 401
        with pytest.raises(TimeoutError, match="received: none, and 1 with a wrong signature"):
            await receiver.wait(within_s=0.01)


async def test_a_receiver_can_refuse_some_deliveries() -> None:
    async with webhooks() as receiver:
        receiver.respond_with(503, times=2)
        statuses = [await send(receiver, "workflow.completed", str(uuid4())) for _ in range(3)]
        assert statuses == [503, 503, 204] == [webhook.status for webhook in receiver.received]


async def create(service: RunningStepwell, url: str | None, **step: object) -> str:
    steps = [{"id": "a", "config": {"prompt": "x"}, "provider_config": {"provider_type": "OPENAI"}, **step}]
    definition = {"name": "a test", "origin_instance": "x", "webhook_url": url, "steps": steps}
    return str((await service.client.create(definition)).id)


async def test_a_wait_ends_with_the_error_of_its_workflow_once_that_has_failed() -> None:
    async with running() as service, webhooks() as receiver:
        service.providers.openai.on("GENERATION").fails("not this one", retryable=False)
        silent = await create(service, None, task_type="GENERATION")
        with pytest.raises(RuntimeError, match=f"workflow {silent} has FAILED: .*not this one"):
            await receiver.wait("workflow.completed", workflow_id=silent)
        failed = await create(service, receiver.url, task_type="GENERATION")
        with pytest.raises(RuntimeError, match=f"workflow {failed} has FAILED: .*not this one"):
            await receiver.wait("workflow.completed")
        assert str((await receiver.wait("workflow.failed", workflow_id=failed)).workflow_id) == failed


async def test_a_wait_goes_on_while_another_workflow_of_the_receiver_runs_or_the_workflow_was_resumed() -> None:
    async with running() as service, webhooks() as receiver:
        image = {"result_image_path": png()}
        service.providers.openai.on("GENERATION").fails("no", retryable=False).then.returns(image)
        failed = await create(service, receiver.url, task_type="GENERATION")
        await service.finish(failed)
        asks = await create(service, receiver.url, task_type="APPROVAL", provider_config=None, config={"message": "?"})
        await receiver.wait("step.waiting", workflow_id=asks)
        with pytest.raises(TimeoutError, match=r"received: .*workflow\.failed"):
            await receiver.wait("workflow.completed", within_s=0.2)
        await service.client.resume(failed)
        assert (await receiver.wait("workflow.completed", workflow_id=failed)).payload["data"]["name"] == "a test"
