"""Steps on a real Celery worker, over a real Redis."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec import json

from executors.conftest import Workshop
from stepwell.basics.setting_values import TaskQueues
from support.emulators.s3 import S3Server
from support.plug_in import installed_package
from support.processes.celery_workers import running_worker
from support.processes.stepwell_process import surroundings, until
from support.providers.ledger import Entry, LedgerProvider, read_ledger
from support.service.live_service import Service, running_service, step_of

DRAW = {"id": "draw", "task_type": "GENERATION", "config": {"prompt": "a coat", "width": 64, "height": 64, "seed": 3}}
FROM_DRAW = [{"from_step": "draw", "from_field": "result_image_path", "to_field": "base_image_url"}]


def note(name: str = "note", **members: Any) -> dict[str, Any]:
    """A step that the workers note in the ledger."""
    config = {"prompt": "a note", **members.pop("config", {})}
    return {
        "id": name,
        "task_type": "GENERATION",
        "provider_config": {"provider_type": "CUSTOM"},
        "config": config,
        **members,
    }


async def test_steps_of_local_run_on_a_worker_and_read_each_others_files(service: Service, workshop: Workshop) -> None:
    sharpen = {"id": "sharpen", "task_type": "DETAIL_ENHANCER", "input_mappings": FROM_DRAW}
    workflow = await service.until_ended((await service.create(DRAW, sharpen))["id"])
    assert workflow["status"] == "COMPLETED", workshop.worker.log.read_text()
    path = workflow["final_step_result"]["result_image_path"]
    assert (await service.client.get(f"/api/v1/artifacts/{path}")).status_code == 200
    tasks = {task["step_id"]: task for task in await service.tasks(workflow["id"])}
    assert [output["path"] for output in tasks["sharpen"]["outputs"]] == [path]
    assert tasks["sharpen"]["id"] in workshop.worker.log.read_text()


async def test_a_worker_does_the_work_of_an_in_process_plug_in(service: Service, workshop: Workshop) -> None:
    workflow = await service.until_ended((await service.create(note()))["id"])
    (run,) = [run for run in read_ledger(workshop.ledger) if run.workflow_id == workflow["id"]]
    assert workflow["status"] == "COMPLETED"
    assert workflow["final_step_result"]["task_id"] == run.task_id
    assert run.pid in workshop.worker.children()


async def test_a_worker_does_the_work_of_a_provider_that_a_package_brings(
    dsn: str, tmp_path: Path, workshop: Workshop
) -> None:
    stamp = {"id": "stamp", "task_type": "GENERATION", "provider_config": {"provider_type": "STAMP"}}
    settings: dict[str, Any] = {"celery_broker_url": workshop.redis.url, "artifact_dir": workshop.artifacts}
    with installed_package():
        async with running_service(dsn, tmp_path, executor="celery", **settings) as service:
            workflow = await service.until_ended((await service.create(stamp | {"config": {"prompt": "words"}}))["id"])
            assert workflow["status"] == "COMPLETED", workflow["errors"]
            (task,) = await service.tasks(workflow["id"])
            assert (task["provider"], task["remote_id"]) == ("STAMP", task["id"])


async def test_an_error_on_a_worker_is_the_error_of_the_step(service: Service) -> None:
    step = {
        "id": "sharpen",
        "task_type": "DETAIL_ENHANCER",
        "config": {"base_image_url": "data:image/png;base64,AAAA"},
    }
    workflow = await service.until_ended((await service.create(step))["id"])
    assert workflow["status"] == "FAILED"
    assert step_of(workflow, "sharpen")["retry_count"] == 0
    assert workflow["errors"] == [
        "sharpen: base_image_url: not an image that LOCAL can read (PNG, JPEG, WebP, GIF, BMP, TIFF)"
    ]


async def test_a_worker_reads_no_file_of_another_tenant(service: Service) -> None:
    drawn = await service.until_ended((await service.create(DRAW, origin_tenant_id="acme"))["id"])
    path = drawn["final_step_result"]["result_image_path"]
    step = {"id": "sharpen", "task_type": "DETAIL_ENHANCER", "config": {"base_image_url": path}}
    workflow = await service.until_ended((await service.create(step, origin_tenant_id="other"))["id"])
    assert workflow["status"] == "FAILED"
    assert "not found" in workflow["error_message"]


async def test_a_step_that_takes_too_long_is_ended_on_its_worker(service: Service, workshop: Workshop) -> None:
    step = note(config={"work_s": 60, "timeout_s": 1}, max_retries=0)
    runs: list[Entry] = []
    for _ in range(60):  # the time may be over before the worker begins
        workflow = await service.until_ended((await service.create(step))["id"])
        assert workflow["errors"] == ["note: timed out after 1 s"]
        if runs := [run for run in read_ledger(workshop.ledger) if run.workflow_id == workflow["id"]]:
            break
    assert [run.ended_at for run in runs] == [None]


@pytest.mark.extended
async def test_a_step_that_kills_its_worker_process_fails_after_three_deaths(
    service: Service, workshop: Workshop
) -> None:
    created = await service.create(note(config={"dies": True}, max_retries=0))
    workflow = await service.until_ended(created["id"], within_s=90)
    assert "the worker process died 3 times in the step" in workflow["error_message"]
    runs = [run for run in read_ledger(workshop.ledger) if run.workflow_id == created["id"]]
    assert [run.ended_at for run in runs] == [None] * 3
    assert len({run.task_id for run in runs}) == 1


async def test_cancel_ends_the_work_on_the_worker(service: Service, workshop: Workshop) -> None:
    created = await service.create(note(config={"work_s": 600}))
    await service.until(
        created["id"], lambda _: any(run.workflow_id == created["id"] for run in read_ledger(workshop.ledger))
    )
    (run,) = [run for run in read_ledger(workshop.ledger) if run.workflow_id == created["id"]]
    assert (await service.verb(created["id"], "cancel")).status_code == 200
    await service.until(created["id"], lambda _: run.pid not in workshop.worker.children())
    tasks = await service.tasks(created["id"])
    assert [task["status"] for task in tasks] == ["CANCELLED"]

    async with asyncio.timeout(30):
        while (task := (await service.tasks(created["id"]))[0])["cancel_receipt"] in (None, "unknown"):
            await asyncio.sleep(0.05)
    assert task["cancel_receipt"] == "provider_cancelled"


async def test_a_message_has_the_ids_of_the_task_and_the_execution_and_no_secrets(
    dsn: str, tmp_path: Path, workshop: Workshop
) -> None:
    async with running_service(
        dsn,
        tmp_path,
        providers=[LedgerProvider(workshop.ledger)],
        executor="celery",
        celery_broker_url=workshop.redis.url,
        celery_queues=TaskQueues.read('{"GENERATION": "nobody"}'),
        credentials={"custom": "a secret of the provider"},
    ) as service:
        created = await service.create(note())
        await service.until(created["id"], lambda _: workshop.redis.client.llen("nobody") == 1)
        workflow = await service.until(created["id"], lambda workflow: workflow["steps"][0]["task_id"] is not None)
        (data,) = workshop.redis.client.lrange("nobody", 0, -1)
        message = json.decode(data)
        assert message["content-type"] == "application/json"
        assert message["headers"]["id"] == workflow["steps"][0]["task_id"]
        assert message["headers"]["root_id"] == workflow["canvas_task_id"]
        assert message["headers"]["timelimit"] == [610, 601]
        assert b"secret" not in data
        async with asyncio.timeout(30):
            while await _state_at_provider(service, created["id"]) != "queued":
                await asyncio.sleep(0.05)
        assert (await service.verb(created["id"], "cancel")).status_code == 200


async def _state_at_provider(service: Service, workflow_id: str) -> str | None:
    explained = (await service.client.get(f"/api/v1/workflows/{workflow_id}/explain")).json()
    state: str | None = explained["steps"][0]["reason"].get("state")
    return state


@pytest.mark.extended
async def test_a_worker_stores_files_in_a_bucket(dsn: str, tmp_path: Path, workshop: Workshop, s3: S3Server) -> None:
    bucket = s3.bucket()
    settings: dict[str, Any] = {
        "s3_bucket": bucket.name,
        "s3_prefix": bucket.prefix,
        "s3_endpoint": bucket.endpoint,
        "s3_region": bucket.region,
        "s3_access_key_id": bucket.access_key_id,
        "s3_secret_access_key": bucket.secret_access_key,
    }
    environ = {name: value for name, value in workshop.environ.items() if name != "STEPWELL_ARTIFACT_DIR"}
    environ |= {f"STEPWELL_{name.upper()}": str(value) for name, value in settings.items()}
    queues = TaskQueues.read('{"*": "bucket"}')
    with running_worker(tmp_path / "worker", environ, "--concurrency", "1", "--queues", "bucket"):
        async with running_service(
            dsn,
            tmp_path / "data",
            executor="celery",
            celery_broker_url=workshop.redis.url,
            celery_queues=queues,
            **settings,
        ) as service:
            sharpen = {"id": "sharpen", "task_type": "DETAIL_ENHANCER", "input_mappings": FROM_DRAW}
            workflow = await service.until_ended((await service.create(DRAW, sharpen))["id"])
            assert workflow["status"] == "COMPLETED", workflow
            paths = {step["result"]["result_image_path"] for step in workflow["steps"]}
            assert {f"{bucket.prefix}/{path}" for path in paths} <= set(s3.keys(bucket))


def _until_shown(workshop: Workshop, question: str, wanted: str) -> None:
    """Ask Celery's own tool until its output matches. The tool waits for a second only, and a worker may be slower."""
    until(lambda: re.search(wanted, _inspect(workshop, question), re.DOTALL), 120, lambda: _inspect(workshop, question))


def _inspect(workshop: Workshop, question: str) -> str:
    command = [sys.executable, "-m", "celery", "-A", "stepwell.executors.celery:app", "inspect", question]
    shown = subprocess.run(
        command, env=surroundings(workshop.environ), capture_output=True, text=True, timeout=60, check=False
    )
    return shown.stdout + shown.stderr


@pytest.mark.extended
def test_celerys_own_tools_see_the_worker(workshop: Workshop) -> None:
    _until_shown(workshop, "registered", r"stepwell\.attempt")


@pytest.mark.extended
def test_two_workers_of_one_machine_have_names_of_their_own(workshop: Workshop, tmp_path: Path) -> None:
    with running_worker(tmp_path, workshop.environ, "--concurrency", "1") as worker:
        _until_shown(workshop, "ping", rf"stepwell-{worker.process.pid}@\S*: OK.*2 nodes online\.")
