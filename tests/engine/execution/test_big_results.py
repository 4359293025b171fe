"""Results that are big alone or together.

Many big ones run on PostgreSQL, because the size of its statements is the subject.
"""

from pathlib import Path
from typing import Any

import pytest

from stepwell.testing import MemoryDatabase
from support.providers.configured_by_steps import ConfiguredProvider, configured_step
from support.providers.scripted import eventually
from support.service.live_service import Service, running_service, serving

BIG = "x" * 600_000


async def test_a_result_that_is_too_big_is_a_clear_step_error(service: Service) -> None:
    twice = {
        "id": "twice",
        "task_type": "PASSTHROUGH",
        "depends_on": ["once"],
        "input_mappings": [
            {"from_step": "once", "from_field": "text", "to_field": "first"},
            {"from_step": "once", "from_field": "text", "to_field": "second"},
        ],
    }
    created = await service.create({"id": "once", "task_type": "PASSTHROUGH", "config": {"text": BIG}}, twice)
    workflow = await service.until_ended(created["id"])
    assert workflow["status"] == "FAILED"
    assert workflow["errors"] == [
        "twice: the result is over 1,048,576 bytes: files belong into artifacts, their paths into results"
    ]
    assert workflow["steps"][1]["retry_count"] == 0


@pytest.mark.extended
async def test_many_big_results_are_no_outage(dsn: str, tmp_path: Path) -> None:
    steps = [
        {
            "id": str(n),
            "task_type": "PASSTHROUGH",
            "depends_on": ["once"],
            "input_mappings": [{"from_step": "once", "from_field": "text", "to_field": "text"}],
        }
        for n in range(60)
    ]
    once = {"id": "once", "task_type": "PASSTHROUGH", "config": {"text": BIG}}
    async with running_service(dsn, tmp_path) as service, service.as_tenant(every=True) as client:
        body = await service.create(once, *steps)
        # Step results are left out here: 36 MB of them would only slow the polling down.
        path = "/api/v1/workflows/"
        while (found := (await client.get(path, params={"include_steps": False})).json()["workflows"][0])[
            "progress"
        ] < 100:
            assert found["status"] == "RUNNING"
        assert found["id"] == body["id"]
        batches = service.app.engine.scheduler.checkpointer.batches
        assert batches >= 60 * len(BIG) / (4 * 1024 * 1024)


def copies(count: int, *after: str) -> list[dict[str, Any]]:
    """Steps that each copy the text of the step `once`."""
    mapping = {"from_step": "once", "from_field": "text", "to_field": "text"}
    return [
        {
            "id": f"copy{n}",
            "task_type": "PASSTHROUGH",
            "depends_on": ["once", *after],
            "input_mappings": [mapping],
        }
        for n in range(count)
    ]


async def test_a_small_workflow_cannot_make_its_results_larger_than_the_bound(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    once = {"id": "once", "task_type": "PASSTHROUGH", "config": {"text": "x" * 10_000}}
    async with running_service(memory, tmp_path, providers=[], results_max_bytes=100_000) as service:
        created = await service.create(once, *copies(40), config={"on_failure": "continue"})
        workflow = await service.until_ended(created["id"])
    results = [step["result"]["text"] for step in workflow["steps"] if step["result"] is not None]
    assert results == ["x" * 10_000] * 9
    errors = {step["error_message"] for step in workflow["steps"] if step["status"] == "FAILED"}
    (error,) = errors
    assert error == (
        "the results of the workflow would be over 100,000 bytes together (STEPWELL_RESULTS_MAX_BYTES): "
        "files belong into artifacts, their paths into results"
    )
    assert [step["retry_count"] for step in workflow["steps"]] == [0] * 41
    assert workflow["errors"] == [f"copy{n}: {error}" for n in range(8, 40)]


async def test_the_next_process_counts_the_results_of_the_one_before(memory: MemoryDatabase, tmp_path: Path) -> None:
    once = {"id": "once", "task_type": "PASSTHROUGH", "config": {"text": "x" * 10_000}}
    provider = ConfiguredProvider()
    waits = configured_step("waits", "once", wait=True)
    async with serving(memory, tmp_path, provider, results_max_bytes=25_000) as service:
        created = await service.create(once, waits, *copies(3, "waits"))
        await eventually(lambda: (created["id"], "waits") in provider.running)
    provider = ConfiguredProvider()
    async with running_service(memory, tmp_path, providers=[provider], results_max_bytes=25_000) as service:
        provider.release(created["id"], "waits")
        workflow = await service.until_ended(created["id"])
    assert [step["status"] for step in workflow["steps"]].count("COMPLETED") == 3
    assert workflow["status"] == "FAILED"


async def test_the_files_of_a_step_whose_result_does_not_fit_are_deleted(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    provider = ConfiguredProvider()
    once = {"id": "once", "task_type": "PASSTHROUGH", "config": {"text": "x" * 1_000}}
    async with running_service(memory, tmp_path, providers=[provider], results_max_bytes=1_100) as service:
        created = await service.create(once, configured_step("files", "once", files=2))
        workflow = await service.until_ended(created["id"])
        assert workflow["steps"][1]["status"] == "FAILED"
        await eventually(lambda: not service.stored_files())
