"""The live service accepts what the client asks, and the client understands every response."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import httpx
import pytest
from msgspec import json

from stepwell.client import (
    AsyncStepwell,
    Conflict,
    DefinitionReference,
    Forbidden,
    NotFound,
    PreconditionFailed,
    Workflow,
)
from stepwell.contract.enums import CostKey, WorkflowStatus
from stepwell.contract.scopes import Permission
from support.service.live_service import Service, token

STEP: dict[str, Any] = {"id": "only", "task_type": "PASSTHROUGH", "config": {"x": 1}}
DEFINITION: dict[str, Any] = {"name": "a test", "origin_instance": "tests", "labels": {"k": "v:w"}, "steps": [STEP]}


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_file()]


@pytest.fixture
async def stepwell(service: Service) -> AsyncIterator[AsyncStepwell]:
    async with AsyncStepwell("http://t.local", token=token(), transport=service.transport) as client:
        yield client


async def test_workflows_are_found_by_every_filter_and_in_pages(stepwell: AsyncStepwell) -> None:
    created = [await stepwell.create(DEFINITION, start=False) for _ in range(3)]
    day = timedelta(days=1)
    filters: dict[str, Any] = {
        "status": [WorkflowStatus.PENDING, "FAILED"],
        "labels": {"k": "v:w"},
        "name": "A T",
        "origin_instance": "tests",
        "created_after": created[0].created_at - day,
        "created_before": (created[0].created_at + day).isoformat(),
        "include_deleted": True,
    }
    ids = [workflow.id for workflow in created]
    oldest = stepwell.list(page_size=2, order="created_at", include_steps=False, include_results=False, **filters)
    assert [workflow.id async for workflow in oldest] == ids
    page = await stepwell.page(limit=2, **filters)
    rest = await stepwell.page(limit=2, cursor=page.next_cursor, **filters)
    assert [workflow.id for workflow in (*page.workflows, *rest.workflows)] == ids[::-1]
    assert (page.total, rest.next_cursor) == (3, None)
    assert (await stepwell.count(**filters)).counts[WorkflowStatus.PENDING] == 3


async def test_a_change_depends_on_a_tag_and_the_data_can_be_deleted(stepwell: AsyncStepwell) -> None:
    created = await stepwell.create(DEFINITION, start=False)
    tag = await stepwell.tag(created.id)
    updated = await stepwell.update(created.id, name="new", description="d", labels=None, if_match=tag)
    assert (updated.name, updated.description, updated.labels) == ("new", "d", {})
    with pytest.raises(PreconditionFailed):
        await stepwell.cancel(created.id, if_match=tag)
    assert (await stepwell.update(created.id, description=None)).description is None
    capped = await stepwell.create(DEFINITION | {"config": {"budget": {"max_attempts": 1}}}, start=False)
    raised = await stepwell.update(capped.id, budget={"max_attempts": 2})
    assert raised.config["budget"]["max_attempts"] == 2
    explained = await stepwell.explain(capped.id)
    assert explained.budget is not None
    assert explained.budget.attempts.maximum == 2
    assert (await stepwell.definition(created.id))["name"] == "new"
    assert (await stepwell.explain(created.id)).reason is not None
    assert (await stepwell.cancel(created.id)).status is WorkflowStatus.CANCELLED
    assert (await stepwell.dry_run("cleanup", created.id, cleanup_tasks=False)).tasks == 0
    assert (await stepwell.delete_data(created.id)).id == created.id
    with pytest.raises(NotFound):
        await stepwell.get(created.id)


async def test_lenient_definitions_are_planned_and_created(stepwell: AsyncStepwell) -> None:
    lenient = DEFINITION | {"unknown": 1}
    assert (await stepwell.plan(lenient, lenient=True)).layers == [["only"]]
    done = await stepwell.create(lenient, lenient=True, wait=60)
    without = await stepwell.get(done.id, include_steps=True, include_results=False)
    assert (done.final_step_result, without.final_step_result) == ({"x": 1}, None)
    (task,) = await stepwell.tasks(done.id, include_deleted=True)
    assert (await stepwell.task(task.id)).step_id == "only"
    assert await stepwell.tasks(done.id, step_id="none") == []
    assert [await stepwell.step(done.id, "only")] == done.steps
    feed = await stepwell.feed_page(limit=10, types=["workflow.completed"], origin_instance="tests", status="COMPLETED")
    assert [event.workflow_id for event in feed.events] == [done.id]


async def test_open_decisions_are_listed_and_decided(stepwell: AsyncStepwell) -> None:
    steps = [{"id": "a/b", "task_type": "APPROVAL"}, {"id": "paid", "task_type": "SIGNAL"}]
    created = await stepwell.create(DEFINITION | {"steps": steps})
    while not (found := [each async for each in stepwell.decisions(created.id)]):
        await asyncio.sleep(0.01)
    assert [each.step_id for each in found] == ["a/b"]
    assert (await stepwell.signal(created.id, "paid", {"n": 1})).result["data"] == {"n": 1}
    assert (await stepwell.decide(created.id, "a/b", "approve", note="yes")).result["note"] == "yes"
    with pytest.raises(Conflict, match="decided 'approve'"):
        await stepwell.decide(created.id, "a/b", "reject")
    assert (await stepwell.wait(created.id, 60)).status is WorkflowStatus.COMPLETED
    assert [each async for each in stepwell.decisions()] == []


async def test_uploads_are_listed_linked_and_deleted(stepwell: AsyncStepwell, tmp_path: Path) -> None:
    uploads = [await stepwell.upload(b"%d" % number, f"{number}.txt") for number in range(3)]
    assert {each.path async for each in stepwell.uploads()} == {each.path for each in uploads}
    path = await stepwell.download_to(uploads[1].path, tmp_path)
    assert (path, path.read_bytes()) == (tmp_path / "1.txt", b"1")
    link = await stepwell.link(uploads[2].path, ttl_s=60)
    assert uploads[2].path in link.url
    named = {"id": "a", "task_type": "IMAGE_ADJUSTER", "config": {"base_image_url": uploads[0].path}}
    await stepwell.create(DEFINITION | {"steps": [named]}, start=False)
    with pytest.raises(Conflict):
        await stepwell.delete_upload(uploads[0].path)
    await stepwell.delete_upload(uploads[2].path)
    with pytest.raises(NotFound):
        await stepwell.download_to(uploads[2].path, tmp_path / "gone.txt")
    assert files_in(tmp_path) == [path]


async def test_all_outputs_are_downloaded_as_one_zip(stepwell: AsyncStepwell, tmp_path: Path) -> None:
    steps = [{"id": name, "task_type": "GENERATION", "config": {"prompt": name, "width": 8}} for name in ("a", "b")]
    done = await stepwell.create(DEFINITION | {"steps": steps}, wait=60)
    path = await stepwell.download_outputs(done.id, tmp_path)
    assert path == tmp_path / f"{done.id}.zip"
    with ZipFile(path) as found:
        assert found.namelist() == ["a/result.png", "b/result.png"]
        contents = [found.read(name) for name in found.namelist()]
    assert contents == [await stepwell.download(each.path) async for each in stepwell.outputs(done.id)]


async def test_a_definition_is_stored_in_versions_without_what_belongs_to_a_run(stepwell: AsyncStepwell) -> None:
    workflow = Workflow("name", origin_instance="tests", labels={"k": "v"})
    workflow.passthrough(id="only", config={"x": 1})
    first = await stepwell.put_definition("cards", DEFINITION, if_absent=True)
    assert (first.version, first.definition) == (1, {"steps": [STEP]})
    assert (await stepwell.put_definition("cards", workflow)).version == 1, "the builder's steps are the same"
    with pytest.raises(PreconditionFailed):
        await stepwell.put_definition("cards", DEFINITION, if_absent=True)
    tag = await stepwell.definition_tag("cards")
    changed = first.definition | {"inputs": {"a": 1}}
    assert (await stepwell.put_definition("cards", changed, dry_run=True)).version == 2
    assert (await stepwell.put_definition("cards", changed, if_match=tag)).version == 2
    with pytest.raises(PreconditionFailed):
        await stepwell.update_definition("cards", archived=True, if_match=tag)
    updated = await stepwell.update_definition("cards", default_version=1, labels={"k": "v:w"}, description="d")
    assert (updated.default_version, updated.labels, updated.description) == (1, {"k": "v:w"}, "d")
    assert (await stepwell.stored_definition("cards", 1)).definition == first.definition
    assert [each.version for each in await stepwell.definition_versions("cards")] == [2, 1]
    await stepwell.put_definition("cards", json.encode(changed), origin_tenant_id="acme")
    for name in ("cards-2", "other"):
        await stepwell.put_definition(name, changed)
    assert [each.name async for each in stepwell.stored_definitions("card", page_size=1)] == ["cards", "cards-2"]
    assert [each.name async for each in stepwell.stored_definitions(labels={"k": "v:w"})] == ["cards"]
    assert (await stepwell.delete_definition("cards")).versions == 2
    with pytest.raises(NotFound):
        await stepwell.stored_definition("cards")
    assert (await stepwell.stored_definition("cards", origin_tenant_id="acme")).version == 1


async def test_a_stored_definition_is_run_by_name_and_its_runs_are_found_by_it(stepwell: AsyncStepwell) -> None:
    ask = {"id": "ask", "task_type": "APPROVAL", "config": {"message": "${inputs.a}?", "choices": ["yes"]}}
    for steps in ([STEP], [STEP, ask]):
        await stepwell.put_definition("cards", {"steps": steps, "inputs": {"a": 0, "b": 0}})
    origin: dict[str, Any] = {"origin_instance": "tests"}
    run = await stepwell.run("cards@1", {"a": 1}, labels={"k": "v"}, name="mine", wait=30, **origin)
    assert run.definition == DefinitionReference(name="cards", version=1)
    assert (run.status, run.name, run.labels) == (WorkflowStatus.COMPLETED, "mine", {"k": "v"})
    assert (await stepwell.definition(run.id))["inputs"] == {"a": 1, "b": 0}
    waiting = await stepwell.run("cards", start=False, **origin)
    await stepwell.start(waiting.id)
    body = {"definition": {"name": "cards", "version": 1}, "inputs": {"a": 2}, **origin}
    assert [step.step_id for step in (await stepwell.plan(body)).steps] == ["only"]
    created = await stepwell.create(body, start=False)
    ids = [each.id async for each in stepwell.list(definition="cards", order="created_at")]
    assert ids == [run.id, waiting.id, created.id]
    assert (await stepwell.count(definition="cards@2")).total == 1
    events = (await stepwell.feed_page(definition="cards@1")).events
    assert {each.workflow_id for each in events} == {run.id, created.id}
    while not (found := [each async for each in stepwell.decisions(definition="cards")]):
        await asyncio.sleep(0.01)
    assert [each.workflow_id for each in found] == [waiting.id]
    assert [each async for each in stepwell.decisions(definition="cards@1")] == []
    assert await stepwell.costs(by=["definition"], definition="cards") == []
    with pytest.raises(ValueError, match="the version of cards is a number, not 'x'"):
        await stepwell.run("cards@x")


async def test_a_token_for_runs_reads_the_form_of_a_definition(stepwell: AsyncStepwell, service: Service) -> None:
    schema = {"properties": {"a": {"type": "integer"}}}
    await stepwell.put_definition("cards", {"steps": [STEP], "inputs_schema": schema})
    bearer = token(permissions=(Permission.RUN,), every=False, definitions=("cards",))
    async with AsyncStepwell("http://t.local", token=bearer, transport=service.transport) as partner:
        form = await partner.definition_form("cards")
        assert (form.name, form.description, form.inputs_schema) == ("cards", None, schema)
        with pytest.raises(Forbidden):
            await partner.definition_form("other")


async def test_the_service_is_described(stepwell: AsyncStepwell) -> None:
    assert (await stepwell.root()).name == "Stepwell"
    assert await stepwell.ready()
    assert await stepwell.live()
    assert "paths" in await stepwell.openapi()
    assert "# HELP" in await stepwell.metrics()
    assert [each.provider_type for each in await stepwell.providers()] == ["LOCAL"]
    assert (await stepwell.limits()).tenant_id is None
    assert await stepwell.costs("2026-01-01", "2027-01-01", by=[*CostKey]) == []
    assert (await stepwell.stream_ticket()).ticket


async def test_amounts_are_exact() -> None:
    text = b'{"costs":[{"currency":"USD","amount":12345678901234567890.123456789,"attempts":1,"saved":0.25}]}'
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=text))
    async with AsyncStepwell("http://t.local", transport=transport) as client:
        assert [group.amount for group in await client.costs()] == [Decimal("12345678901234567890.123456789")]


async def test_a_service_that_is_away_is_neither_ready_nor_live() -> None:
    async with AsyncStepwell("http://127.0.0.1:1") as client:
        assert (await client.ready(), await client.live()) == (False, False)
