"""Both clients on the live service: on its ASGI app, and behind a real socket."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stepwell.client import AsyncStepwell, Conflict, Invalid, NotFound, Stepwell, WaitTimeout, Workflow
from stepwell.contract.enums import WorkflowStatus
from support.service.listening_service import listening
from support.service.live_service import Service, token

NOOP: dict[str, Any] = {"id": "only", "task_type": "PASSTHROUGH", "config": {"x": 1}}


def definition(name: str = "a test", *steps: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "origin_instance": "tests", "steps": list(steps or (NOOP,))}


@pytest.fixture
async def stepwell(service: Service) -> AsyncIterator[AsyncStepwell]:
    async with AsyncStepwell("http://t.local", token=token(), transport=service.transport) as client:
        yield client


@pytest.fixture
async def url(service: Service) -> AsyncIterator[str]:
    async with listening(service) as port:
        yield f"http://127.0.0.1:{port}"


async def test_a_pipeline_of_an_upload_runs_to_its_end_and_is_downloaded(
    stepwell: AsyncStepwell, tmp_path: Path
) -> None:
    drawing = Workflow("Draw", origin_instance="tests")
    drawing.generation(prompt="a red square", width=16, height=16)
    drawn = await stepwell.create(drawing, wait=60)
    photo = await stepwell.upload(await stepwell.download(drawn.final_step_result["result_image_path"]), "photo.png")

    wf = Workflow("Cut out", origin_instance="tests", labels={"kind": "photo"})
    large = wf.refine(base_image=photo, upscale_factor=2)
    wf.background_remove(base_image=large.image, id="cut")
    done = await stepwell.create(wf, wait=60)

    assert done.status is WorkflowStatus.COMPLETED
    assert done.final_step_result["width"] == 32
    files = [file async for file in stepwell.outputs(done.id, page_size=1)]
    assert [(file.step_path, file.final) for file in files] == [("refine", False), ("cut", True)]
    target = await stepwell.download_to(files[1].path, tmp_path / "cut.png")
    assert target.read_bytes() == await stepwell.download(files[1].path)
    assert [each.name async for each in stepwell.list(labels={"kind": "photo"})] == ["Cut out"]


async def test_a_workflow_is_driven_by_its_verbs_and_its_conflicts_say_why(
    stepwell: AsyncStepwell, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = await stepwell.create(definition(), start=False)
    forecast = await stepwell.dry_run("start", created.id)
    assert (forecast.allowed, forecast.would_run) == (True, ["only"])
    with pytest.raises(Conflict) as conflict:
        await stepwell.pause(created.id)
    assert conflict.value.allowed_from == [WorkflowStatus.RUNNING]
    assert conflict.value.current_status is WorkflowStatus.PENDING
    monkeypatch.setattr("stepwell.client.asynchronous.workflows._slice_s", lambda _: 0)
    with pytest.raises(WaitTimeout) as timeout:
        await stepwell.wait(created.id, timeout_s=0.01)
    assert timeout.value.workflow.id == created.id
    monkeypatch.undo()
    ended = await stepwell.start(created.id, wait=60)
    assert ended.final_step_result == {"x": 1}
    history = await stepwell.event_page(created.id)
    assert [event.id for event in history.events] == [1, 2, 3, 4, 5]
    assert (await stepwell.cleanup(created.id)).workflow.is_deleted


async def test_an_invalid_definition_lists_its_faults(stepwell: AsyncStepwell) -> None:
    with pytest.raises(Invalid) as invalid:
        await stepwell.create(definition("bad", {"id": "a", "task_type": "REFINE"}, {"id": "a", "task_type": "NONE"}))
    assert {fault.type for fault in invalid.value.faults} >= {"missing"}
    assert "steps[0]" in str(invalid.value)
    with pytest.raises(NotFound):
        await stepwell.get("unknown")


async def test_the_synchronous_client_does_the_same_over_http(url: str, tmp_path: Path) -> None:
    def use() -> None:
        with Stepwell(url, token=token()) as client:
            (tmp_path / "note.txt").write_text("hello")
            upload = client.upload(tmp_path / "note.txt")
            assert client.download(upload.path) == b"hello"
            created = client.create(definition())
            done = client.wait(created.id, timeout_s=60)
            assert [event.id for event in client.events(created.id)] == [1, 2, 3, 4, 5]
            assert [task.status for task in client.tasks(done.id)] == ["COMPLETED"]
            assert [each.id for each in client.list(status=["COMPLETED"])] == [done.id]
            assert client.ready()

    await asyncio.to_thread(use)


async def test_the_deliveries_of_webhooks_are_listed_and_sent_again(stepwell: AsyncStepwell) -> None:
    hooked = {**definition(), "webhook_url": "http://receiver.invalid/hook"}
    ended = await stepwell.create(hooked, wait=60)
    deliveries = [delivery async for delivery in stepwell.deliveries(ended.id)]
    assert [delivery.type for delivery in deliveries] == ["workflow.completed"]
    again = await stepwell.redeliver(ended.id, deliveries[0].id)
    assert again.id == deliveries[0].id
