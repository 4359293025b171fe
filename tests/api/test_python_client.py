"""openapi-python-client makes a client from the served document without a warning, and it runs every operation."""

import io
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from PIL import Image

from stepwell.api.routes.all_routes import openapi_document
from stepwell.providers.installed_providers import installed_providers
from support.documents.python_client import PythonClient, generate_python_client
from support.service.listening_service import listening
from support.service.live_service import Service, token

pytestmark = [pytest.mark.extended, pytest.mark.asyncio(loop_scope="module")]

PACKAGE = "served_client"
UNKNOWN = "00000000-0000-7000-8000-000000000000"


def photo() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (48, 32), "olive").save(file, "PNG")
    return file.getvalue()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def python(api: Service, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PythonClient]:
    """The generated client, whose requests go through a socket."""
    generate_python_client(openapi_document([*installed_providers()]), tmp_path_factory.mktemp("client"), PACKAGE)
    headers = {"Authorization": f"Bearer {token()}"}
    async with (
        listening(api) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30) as transport,
    ):
        yield PythonClient(PACKAGE, transport)


async def create(python: PythonClient, *steps: Any, start: bool = True, **members: Any) -> Any:
    labels = python.models.Labels.from_dict({"by": "python"})
    body = python.models.CreateWorkflow(name="client", origin_instance="tests", steps=list(steps), labels=labels)
    return await python.call("create_workflow", body=body, start=start, expects=201, **members)


async def upload(python: PythonClient) -> Any:
    """Upload a picture twice, and return the file. The second response is a 200."""
    models, types = python.models, python.types
    file = types.File(payload=photo(), file_name="photo.png", mime_type="image/png")
    form = models.UploadForm(file=[file])
    (uploaded,) = (await python.call("upload_artifact", body=form, expects=201)).artifacts
    (again,) = (await python.call("upload_artifact", body=form)).artifacts
    assert (uploaded.name, uploaded.width, uploaded.height) == ("photo.png", 48, 32)
    assert again.path == uploaded.path
    return uploaded


def pipeline(python: PythonClient, path: str) -> list[Any]:
    models = python.models
    refine = models.WorkflowStepDefinition(
        id="refine",
        task_type=models.TaskType.REFINE,
        config=models.StepConfig.from_dict({"base_image_url": path, "upscale_factor": 2}),
    )
    mapping = models.FieldMapping(from_step="refine", from_field="result_image_path", to_field="base_image_url")
    cut = models.WorkflowStepDefinition(id="cut", task_type=models.TaskType.BACKGROUND_REMOVE, input_mappings=[mapping])
    return [refine, cut]


async def run_and_read(python: PythonClient) -> Any:
    """Run the pipeline, read all that there is to read of it, and return the workflow."""
    uploaded = await upload(python)
    created = await create(python, *pipeline(python, uploaded.path), prefer="wait=30")
    done = await python.call("get_workflow", created.id, prefer="wait=30")
    assert (done.status, done.progress, done.labels["by"]) == ("COMPLETED", 100.0, "python")
    assert done.steps[0].result["width"] == 96

    path = done.final_step_result["result_image_path"]
    file = await python.call("get_artifact", path)
    assert Image.open(file.payload).size == (96, 64)
    preview = await python.call("get_artifact", path, w=python.models.GetArtifactW.VALUE_64)
    assert Image.open(preview.payload).format == "WEBP"
    link = await python.call("create_artifact_link", body=python.models.CreateArtifactLink(path=path))
    assert path in link.url

    listed = await python.call("list_artifacts")
    assert [artifact.path for artifact in listed.artifacts] == [uploaded.path]
    events = (await python.call("list_events", created.id)).events
    assert (events[0].type_, events[-1].type_) == ("workflow.created", "workflow.completed")
    feed = (await python.call("list_all_events")).events
    assert {event.workflow_id for event in feed} == {created.id}
    (first, _) = (await python.call("list_tasks", created.id)).tasks
    assert await python.call("get_task", first.id) == first
    outputs = (await python.call("list_outputs", created.id)).outputs
    assert [output.step_path for output in outputs] == ["refine", "cut"]
    assert (await python.call("list_tasks", created.id, step_id="refine")).tasks == [first]
    assert await python.call("get_step", created.id, "cut") == done.steps[1]
    assert (await python.call("list_deliveries", created.id)).deliveries == []
    assert (await python.call("explain_workflow", created.id)).status == "COMPLETED"
    definition = await python.call("get_workflow_definition", created.id)
    assert [step.id for step in definition.steps] == ["refine", "cut"]
    return done


async def control(python: PythonClient, definition: list[Any]) -> None:
    """Change a workflow, forecast its start, and delete its data."""
    models = python.models
    waiting = await create(python, *definition, start=False)
    update = models.WorkflowUpdate(description="new", labels=None)
    updated = await python.call("update_workflow", waiting.id, body=update)
    assert (updated.description, updated.labels.to_dict()) == ("new", {})
    (found,) = (
        await python.call("list_workflows", status="PENDING", order=models.ListWorkflowsOrder.NEWEST_FIRST)
    ).workflows
    assert found.id == waiting.id
    counts = (await python.call("count_workflows", include_deleted=True)).counts
    assert (counts["PENDING"], counts["COMPLETED"]) == (1, 1)
    body = models.CreateWorkflow(name="client", origin_instance="tests", steps=definition)
    assert [step.step_id for step in (await python.call("plan_workflow", body=body)).steps] == ["refine", "cut"]

    refused = await python.call("pause_workflow", waiting.id, expects=409)
    assert (refused.current_status, refused.allowed_from) == ("PENDING", ["RUNNING"])
    await python.call("resume_workflow", waiting.id, expects=409)
    await python.call("start_workflow", waiting.id)
    await python.call("get_workflow", waiting.id, prefer="wait=30")
    await python.call("cancel_workflow", waiting.id, expects=409)
    changes = models.RerunWorkflow(config=models.StepConfigPatches.from_dict({"cut": {"note": "again"}}))
    again = await python.call("rerun_workflow", waiting.id, body=changes, start=False, expects=201)
    assert str(again.derived_from) == str(waiting.id)
    await python.call("cleanup_workflow", again.id)
    cleaned = await python.call("cleanup_workflow", waiting.id)
    assert (cleaned.workflow.is_deleted, cleaned.cleanup.tasks_cleaned) == (True, 2)
    assert (await python.call("delete_workflow_data", waiting.id)).id == waiting.id


async def decide_and_signal(python: PythonClient) -> None:
    """Decide for a step, and send a signal to another one."""
    models = python.models
    steps = [
        models.WorkflowStepDefinition(id="ask", task_type=models.TaskType.APPROVAL),
        models.WorkflowStepDefinition(id="paid", task_type=models.TaskType.SIGNAL),
    ]
    created = await create(python, *steps)
    while not (found := (await python.call("list_decisions", workflow_id=str(created.id))).decisions):
        pass
    assert (found[0].step_id, found[0].choices) == ("ask", ["approve", "reject"])
    decided = await python.call("decide_step", created.id, "ask", body=models.CreateDecision(choice="approve"))
    assert decided.result["approved"] is True
    signalled = await python.call("signal_workflow", created.id, "paid", body=models.SendSignal(data=1))
    assert signalled.result["data"] == 1


async def list_items(python: PythonClient) -> None:
    """Run a step once for each item, and list the items."""
    models = python.models
    for_each = models.ForEach(items=["red", {"x": 1}], max_concurrency=1)
    step = models.WorkflowStepDefinition(id="a", task_type=models.TaskType.PASSTHROUGH, for_each=for_each)
    created = await create(python, step)
    await python.call("get_workflow", created.id, prefer="wait=30")
    page = await python.call("list_items", created.id, "a", status="COMPLETED", limit=1)
    assert (page.total, page.items[0].value, page.items[0].result["item"]) == (2, "red", "red")


async def end_by_hand(python: PythonClient) -> None:
    """Give results to a step and an item by hand, and skip another of each."""
    models = python.models
    for_each = models.ForEach(items=[None, None], as_="word", max_concurrency=2)
    step, kind = models.WorkflowStepDefinition, models.TaskType.PASSTHROUGH
    config = models.StepConfig.from_dict({"text": "a ${item}"})
    each = step(id="a", task_type=kind, for_each=for_each, config=config)
    created = await create(python, each, *(step(id=name, task_type=kind, depends_on=["a"]) for name in "bc"))
    assert (await python.call("get_workflow", created.id, prefer="wait=30")).status == "FAILED"
    body = models.GiveResult(result=models.StepResult.from_dict({"n": 1}))
    assert (await python.call("give_item_result", created.id, "a", 0, body=body)).result["n"] == 1
    assert (await python.call("skip_item", created.id, "a", 1)).status == "SKIPPED"
    assert (await python.call("give_step_result", created.id, "b", body=body)).status == "COMPLETED"
    assert (await python.call("skip_step", created.id, "c")).skip_reason == "manual"


async def store_a_definition(python: PythonClient, steps: list[Any]) -> None:
    """Store a definition in two versions, change it and delete it."""
    models = python.models
    for count in (1, 2):
        body = models.DefinitionContent(steps=steps[:count])
        stored = await python.call("put_definition", "from-python", body=body, expects=201)
        assert (stored.version, len(stored.definition.steps)) == (count, count)
        assert (await python.call("put_definition", "from-python", body=body)).version == count
    update = models.DefinitionUpdate(default_version=1, description=None)
    assert (await python.call("update_definition", "from-python", body=update)).default_version == 1
    assert (await python.call("get_definition", "from-python", version=1)).version == 1
    assert [each.name for each in (await python.call("list_definitions")).definitions] == ["from-python"]
    versions = (await python.call("list_definition_versions", "from-python")).versions
    assert [each.version for each in versions] == [2, 1]
    assert (await python.call("delete_definition", "from-python")).versions == 2


async def look_around(python: PythonClient) -> None:
    """Run the operations that aren't about a workflow."""
    providers = (await python.call("list_providers")).providers
    assert "LOCAL" in {provider.provider_type for provider in providers}
    assert (await python.call("get_limits")).tenant_id is None
    assert (await python.call("sum_costs")).costs == []
    assert (await python.call("create_stream_ticket", body=python.models.CreateStreamTicket())).ticket
    assert (await python.call("ready")).status == (await python.call("live")).status == "ok"
    assert (await python.call("root")).name == "Stepwell"
    for page in ("manual", "metrics", "schema", "schema_alias"):
        await python.call(page)
    await python.call("schema_page", expects=307)
    await python.call("manual_page", "start")
    await python.call("manual_image", "runs.webp")
    await python.call("complete_upload", UNKNOWN, expects=404)
    await python.call("provider_callback", "unknown", expects=404)
    await python.call("redeliver", UNKNOWN, "unknown", expects=404)


async def test_the_generated_client_runs_every_operation(python: PythonClient) -> None:
    done = await run_and_read(python)
    uploaded = (await python.call("list_artifacts")).artifacts[0]
    await control(python, pipeline(python, uploaded.path))
    await decide_and_signal(python)
    await list_items(python)
    await end_by_hand(python)
    await store_a_definition(python, pipeline(python, uploaded.path))
    await look_around(python)
    await python.call("delete_artifact", uploaded.path, expects=409)
    await python.call("cleanup_workflow", done.id)
    assert (await python.call("delete_artifact", uploaded.path)).path == uploaded.path
    assert python.called == python.operations
