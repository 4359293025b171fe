"""A receiver verifies a webhook of the live service in one call."""

from datetime import UTC, datetime
from pathlib import Path
from time import time

import pytest
from standardwebhooks.webhooks import Webhook

from stepwell.client import InvalidWebhook, verify_webhook
from stepwell.contract.events import StepNotice, WorkflowNotice
from support.emulators.webhook_receiver import running_sink
from support.providers.scripted import eventually
from support.service.live_service import WEBHOOK_SECRET, Service


async def test_webhooks_of_the_service_are_verified_and_decoded(service: Service, tmp_path: Path) -> None:
    async with running_sink() as receiver:
        step = {"id": "only", "task_type": "PASSTHROUGH", "config": {"x": 1}}
        await service.create(step, webhook_url=receiver.url(), suppress_subtask_events=False)
        await eventually(lambda: len(receiver.received) == 3)
    payloads = [verify_webhook(each.body, each.headers, WEBHOOK_SECRET) for each in receiver.received]
    ends = [payload for payload in payloads if isinstance(payload, WorkflowNotice)]
    assert [end.data.final_step_result for end in ends] == [{"x": 1}]
    assert sorted(each.data.event.type for each in payloads if isinstance(each, StepNotice)) == [
        "step.completed",
        "step.started",
    ]

    sent = receiver.received[0]
    forged = {name: value for name, value in sent.headers.items() if name != "webhook-signature"}
    for headers, body in (
        (sent.headers, sent.body + b" "),
        (sent.headers | {"webhook-timestamp": "1"}, sent.body),
        (sent.headers | {"webhook-signature": "nonsense"}, sent.body),
        (forged, sent.body),
        (sent.headers, b"\xff"),
    ):
        with pytest.raises(InvalidWebhook):
            verify_webhook(body, headers, WEBHOOK_SECRET)
    with pytest.raises(ValueError, match="whsec_ and base64"):
        verify_webhook(sent.body, sent.headers, "whsec_")


@pytest.mark.parametrize("body", ["[]", "{}", '{"data":null}', '{"data":1}', '{"data":' + "[" * 9_999], ids=len)
def test_a_body_of_another_kind_is_no_webhook(body: str) -> None:
    now = datetime.fromtimestamp(time(), UTC)
    headers = {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(WEBHOOK_SECRET).sign("evt_1", now, body),
    }
    with pytest.raises(InvalidWebhook, match="the body"):
        verify_webhook(body, headers, WEBHOOK_SECRET)
