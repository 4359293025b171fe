"""kill -9 while a webhook waits for its response: the next process sends the same again."""

import asyncio
import stat
from pathlib import Path

import httpx
from standardwebhooks import Webhook

from support.emulators.webhook_receiver import HANG, Received, WebhookReceiver, running_sink
from support.processes.stepwell_process import StepwellProcess, running_up, until
from support.workflows.crash_scenarios import OPEN


async def test_it_comes_again_with_the_same_id_and_body(data_dir: Path) -> None:
    async with running_sink(responses=[HANG]) as sink:
        loop = asyncio.get_running_loop()

        def lives_and_dies() -> str:
            with running_up(data_dir, OPEN) as running:
                workflow_id = create(running, sink)
                asyncio.run_coroutine_threadsafe(sink.until(1), loop).result(30)
                running.kill_group()
            return workflow_id

        def goes_on(workflow_id: str) -> str:
            with running_up(data_dir, OPEN) as running, running.client() as client:
                asyncio.run_coroutine_threadsafe(sink.until(2), loop).result(30)
                return str(until(lambda: delivered(client, workflow_id), 60))

        workflow_id = await asyncio.to_thread(lives_and_dies)
        assert await asyncio.to_thread(goes_on, workflow_id) == "DELIVERED"
        check(data_dir, workflow_id, *sink.received)


def delivered(client: httpx.Client, workflow_id: str) -> str | None:
    """Return the status of the delivery once it has ended."""
    (delivery,) = client.get(f"/api/v1/workflows/{workflow_id}/deliveries").json()["deliveries"]
    return None if delivery["status"] == "PENDING" else str(delivery["status"])


def create(running: StepwellProcess, sink: WebhookReceiver) -> str:
    step = {"id": "a", "task_type": "PASSTHROUGH", "config": {"text": "x"}}
    body = {"name": "n", "origin_instance": "o", "steps": [step], "webhook_url": sink.url()}
    with running.client() as client:
        response = client.post("/api/v1/workflows/", json=body)
        assert response.status_code == 201, response.text
        return str(response.json()["id"])


def check(data_dir: Path, workflow_id: str, first: Received, second: Received) -> None:
    kept = data_dir / "webhook-secret"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    secret = kept.read_text().strip()
    assert (first.id, first.body) == (second.id, second.body)
    for one in (first, second):
        assert Webhook(secret).verify(one.body, one.headers)["data"]["id"] == workflow_id
