"""Cleanup over the live service: its own files and only those, repeatable, nothing written afterwards."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from support.providers.configured_by_steps import (
    ConfiguredProvider,
    configured_step,
    passthrough_step,
    steps_are,
    views_are,
)
from support.service.live_service import Service

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOTHING: dict[str, Any] = {
    "tasks_processed": 0,
    "tasks_cleaned": 0,
    "deleted_paths": [],
    "errors": [],
    "pending": False,
}


async def done(live: Service, *steps: dict[str, Any], **members: Any) -> dict[str, Any]:
    return await live.until_ended((await live.create(*steps, **members))["id"])


def paths_of(workflow: dict[str, Any]) -> list[str]:
    return [path for step in workflow["steps"] for path in (step["result"] or {}).get("paths", [])]


async def cleanup(live: Service, workflow_id: str, **params: Any) -> dict[str, Any]:
    response = await live.verb(workflow_id, "cleanup", **params)
    assert response.status_code == 200, response.text
    body = response.json()
    assert body["workflow"] == await live.get(workflow_id)
    assert body["workflow"]["is_deleted"]
    report: dict[str, Any] = body["cleanup"]
    return report


async def readable(live: Service, path: str) -> bool:
    return (await live.client.get("/api/v1/artifacts/" + path)).status_code == 200


async def test_cleanup_deletes_the_recorded_files_of_the_workflow_only(live: Service) -> None:
    workflow = await done(
        live, configured_step("a", files=2), passthrough_step("b", "a"), configured_step("c", "b", files=1)
    )
    other = await done(live, configured_step("a", files=1))
    paths, (kept,) = paths_of(workflow), paths_of(other)
    stray = (live.artifacts / paths[0]).with_name("stray.txt")
    stray.write_text("nobody has recorded this")
    assert await cleanup(live, workflow["id"]) == {
        "tasks_processed": 3,
        "tasks_cleaned": 3,
        "deleted_paths": paths,
        "errors": [],
        "pending": False,
    }
    assert stray.exists()
    assert [(live.artifacts / path).exists() for path in (*paths, kept)] == [False, False, False, True]
    assert [await readable(live, path) for path in (*paths, kept)] == [False, False, False, True]
    assert await live.tasks(workflow["id"]) == []
    deleted = await live.tasks(workflow["id"], include_deleted=True)
    assert [(task["step_id"], task["is_deleted"]) for task in deleted] == [("a", True), ("b", True), ("c", True)]
    for task in deleted:
        assert (await live.client.get(f"/api/v1/tasks/{task['id']}")).json() == task
    assert len(await live.tasks(other["id"])) == 1
    history = await live.events(workflow["id"])
    for _ in range(2):
        assert await cleanup(live, workflow["id"]) == NOTHING
    assert await live.events(workflow["id"]) == history
    assert [(event["type"], event["actor"], event["data"]) for event in history[-2:]] == [
        ("workflow.cleaned", "tester", {"cleanup_tasks": True}),
        ("workflow.files_deleted", "stepwell", {"deleted": 3, "gone": 0, "kept": 0}),
    ]
    stray.unlink()


async def test_a_missing_file_is_reported_once(live: Service) -> None:
    workflow = await done(live, configured_step("a", files=1), configured_step("b", files=1))
    gone, kept = paths_of(workflow)
    (live.artifacts / gone).unlink()
    report = await cleanup(live, workflow["id"])
    (error,) = report.pop("errors")
    assert report == {"tasks_processed": 2, "tasks_cleaned": 2, "deleted_paths": [kept], "pending": False}
    assert gone in error.pop("error")
    assert error == {"task_id": workflow["steps"][0]["task_id"], "step_id": "a", "task_type": "GENERATION"}
    assert await cleanup(live, workflow["id"]) == NOTHING


async def test_a_file_that_cannot_be_deleted_is_tried_again_by_the_next_cleanup(live: Service) -> None:
    workflow = await done(live, configured_step("a", files=1), configured_step("b", files=1))
    stuck, free = paths_of(workflow)
    obstacle = live.artifacts / stuck
    obstacle.unlink()
    obstacle.mkdir()  # not even root can unlink a folder
    (obstacle / "inside").write_text("kept")
    for processed, deleted in ((2, [free]), (1, []), (1, [])):
        report = await cleanup(live, workflow["id"])
        (error,) = report["errors"]
        assert (error["task_id"], error["step_id"]) == (workflow["steps"][0]["task_id"], "a")
        assert stuck in error["error"]
        assert str(live.artifacts) not in error["error"]
        assert (report["tasks_processed"], report["deleted_paths"]) == (processed, deleted)
        assert (report["tasks_cleaned"], report["pending"]) == (len(deleted), True)
        assert [task["step_id"] for task in await live.tasks(workflow["id"])] == ["a"]
    assert (obstacle / "inside").exists()
    response = await live.client.get("/api/v1/artifacts/" + stuck)
    assert response.status_code in (404, 503)
    shutil.rmtree(obstacle)
    obstacle.write_bytes(b"again a file")
    assert await cleanup(live, workflow["id"]) == {
        "tasks_processed": 1,
        "tasks_cleaned": 1,
        "deleted_paths": [stuck],
        "errors": [],
        "pending": False,
    }
    assert await cleanup(live, workflow["id"]) == NOTHING


async def test_without_cleanup_tasks_files_and_tasks_stay(live: Service) -> None:
    workflow = await done(live, configured_step("a", files=1), configured_step("b", files=1))
    paths = paths_of(workflow)
    tasks = await live.tasks(workflow["id"])
    for _ in range(2):
        assert await cleanup(live, workflow["id"], cleanup_tasks=False) == NOTHING
        assert [await readable(live, path) for path in paths] == [True, True]
        assert await live.tasks(workflow["id"]) == tasks
    assert await cleanup(live, workflow["id"]) == NOTHING | {
        "tasks_processed": 2,
        "tasks_cleaned": 2,
        "deleted_paths": paths,
    }
    assert [await readable(live, path) for path in paths] == [False, False]
    assert await cleanup(live, workflow["id"], cleanup_tasks=False) == NOTHING


async def test_cleanup_cancels_a_pending_workflow_first(live: Service) -> None:
    workflow = await live.create(passthrough_step("a"), passthrough_step("b", "a"), start=False)
    assert await cleanup(live, workflow["id"]) == NOTHING
    found = await live.get(workflow["id"])
    assert found["status"] == "CANCELLED"
    assert [step["status"] for step in found["steps"]] == ["CANCELLED", "CANCELLED"]
    assert found["completed_at"] == found["deleted_at"]
    told_of = [(event["type"], event["step_id"], event["actor"]) for event in await live.events(workflow["id"])]
    assert told_of == [
        ("workflow.created", None, "tester"),
        *(("step.cancelled", "a", "tester"), ("step.cancelled", "b", "tester")),
        *(("workflow.cancelled", None, "tester"), ("workflow.cleaned", None, "tester")),
        ("workflow.files_deleted", None, "stepwell"),
    ]


async def test_cleanup_of_a_running_workflow_is_refused(live: Service, scripted: ConfiguredProvider) -> None:
    workflow = await live.create(configured_step("a", files=1), configured_step("b", "a", wait=True))
    before = await live.until(workflow["id"], steps_are("COMPLETED", "RUNNING"))
    for clean in (True, False):
        response = await live.verb(workflow["id"], "cleanup", cleanup_tasks=clean)
        assert response.status_code == 409
        assert response.json()["current_status"] == "RUNNING"
        assert await live.get(workflow["id"]) == before
    assert await readable(live, paths_of(before)[0])
    scripted.release(workflow["id"], "b")
    assert (await live.until_ended(workflow["id"]))["status"] == "COMPLETED"


async def paused(live: Service, *steps: dict[str, Any], statuses: list[str]) -> dict[str, Any]:
    workflow = await live.create(*steps)
    await live.until(workflow["id"], steps_are(*statuses))
    return dict((await live.verb(workflow["id"], "pause")).json())


async def test_cleanup_discards_the_files_of_an_attempt_that_still_runs(
    live: Service, scripted: ConfiguredProvider
) -> None:
    steps = [
        configured_step("made", files=1),
        configured_step("a", "made", wait=True, files=3),
        passthrough_step("b", "a"),
    ]
    workflow = await paused(live, *steps, statuses=["COMPLETED", "RUNNING", "PENDING"])
    assert workflow["status"] == "PAUSED"
    (path,) = paths_of(workflow)
    assert await cleanup(live, workflow["id"]) == NOTHING | {
        "tasks_processed": 2,
        "tasks_cleaned": 2,
        "deleted_paths": [path],
    }
    assert (workflow["id"], "a") not in scripted.running
    await unchanged_by(live, scripted, workflow["id"], "a")
    found = await live.get(workflow["id"])
    assert [step["status"] for step in found["steps"]] == ["COMPLETED", "CANCELLED", "CANCELLED"]
    assert [event["type"] for event in (await live.events(workflow["id"]))[-3:]] == [
        "workflow.cancelled",
        "workflow.cleaned",
        "workflow.files_deleted",
    ]


async def test_cleanup_waits_for_an_attempt_that_cannot_be_stopped(live: Service, scripted: ConfiguredProvider) -> None:
    workflow = await paused(live, configured_step("a", stubborn=True, files=2), statuses=["RUNNING"])
    async with asyncio.timeout(30):
        while (workflow["id"], "a") not in scripted.running:
            await asyncio.sleep(0.01)
    async with asyncio.TaskGroup() as group:
        cleaning = group.create_task(live.verb(workflow["id"], "cleanup"))
        await live.until(workflow["id"], views_are(status="CANCELLED", is_deleted=True))
        assert not cleaning.done()
        scripted.release(workflow["id"], "a")
    report = cleaning.result().json()["cleanup"]
    assert report == NOTHING | {"tasks_processed": 1, "tasks_cleaned": 1}
    await unchanged_by(live, scripted, workflow["id"], "a")


async def unchanged_by(live: Service, scripted: ConfiguredProvider, workflow_id: str, step_id: str) -> None:
    """The end of that attempt writes nothing any more, neither rows nor files."""
    before = [await live.get(workflow_id), await live.events(workflow_id)]
    tasks = await live.tasks(workflow_id, include_deleted=True)
    scripted.release(workflow_id, step_id)
    probe = await done(live, configured_step("probe"))  # all that was queued before it has been written after it
    assert probe["status"] == "COMPLETED"
    assert [await live.get(workflow_id), await live.events(workflow_id)] == before
    assert await live.tasks(workflow_id, include_deleted=True) == tasks
    for task in tasks:
        assert task["is_deleted"]
        assert not (live.artifacts / "media" / task["id"]).exists()


async def test_two_cleanups_at_once_delete_each_file_once(live: Service) -> None:
    workflow = await done(live, *(configured_step(str(number), files=1) for number in range(20)))
    async with asyncio.TaskGroup() as group:
        both = [group.create_task(live.verb(workflow["id"], "cleanup")) for _ in range(2)]
    reports = [asyncio_task.result().json()["cleanup"] for asyncio_task in both]
    assert sorted(report["tasks_cleaned"] for report in reports) == [0, 20]
    assert [report["errors"] for report in reports] == [[], []]
    assert sorted(path for report in reports for path in report["deleted_paths"]) == sorted(paths_of(workflow))
    types = [event["type"] for event in await live.events(workflow["id"])]
    assert (types.count("workflow.cleaned"), types.count("workflow.files_deleted")) == (1, 1)


async def test_failed_and_cancelled_attempts_leave_no_files(live: Service, scripted: ConfiguredProvider) -> None:
    workflow = await live.create(configured_step("a", stubborn=True))
    await live.until(workflow["id"], steps_are("RUNNING"))
    async with asyncio.timeout(30):
        while (workflow["id"], "a") not in scripted.running:
            await asyncio.sleep(0.01)
    assert (await live.verb(workflow["id"], "cancel")).json()["status"] == "CANCELLED"
    scripted.release(workflow["id"], "a")
    assert await cleanup(live, workflow["id"]) == NOTHING | {"tasks_processed": 1, "tasks_cleaned": 1}
    (task,) = await live.tasks(workflow["id"], include_deleted=True)
    assert (task["status"], task["outputs"]) == ("CANCELLED", [])
    assert not (live.artifacts / "media" / task["id"]).exists()


async def test_cleanup_follows_no_links_out_of_the_store(live: Service, tmp_path: Path) -> None:
    """By no input can one be made; but whoever has the disk may move the store's folders around."""
    outside = tmp_path / "file-0.bin"
    outside.write_text("not ours")
    workflow = await done(live, configured_step("file", files=1), configured_step("folder", files=1))
    file, folder = (live.artifacts / path for path in paths_of(workflow))
    file.unlink()
    file.symlink_to(outside)
    shutil.rmtree(folder.parent)
    folder.parent.symlink_to(tmp_path)
    for path in paths_of(workflow):
        response = await live.client.get("/api/v1/artifacts/" + path)
        assert (response.status_code, b"not ours" in response.content) == (404, False)
    report = await cleanup(live, workflow["id"])
    assert [error["step_id"] for error in report["errors"]] == ["folder"]
    assert outside.read_text() == "not ours"
    folder.parent.unlink()
