"""The tools, as an assistant uses them: through the SDK's own client, over HTTP, at a live service."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from io import BytesIO
from typing import Any

import httpx
import pytest
import pytest_asyncio
from mcp import Client
from PIL import Image as Picture

from providers.image_files import file_of, gradient
from stepwell.client import AsyncStepwell, Unavailable
from stepwell.contract.scopes import Permission
from stepwell.mcp import http_exchange
from stepwell.mcp.file_tools import MAX_FILES, MAX_IMAGES, MAX_IMAGES_BYTES
from stepwell.mcp.shortening import MAX_BYTES
from stepwell.testing.running_service import in_one_task
from support.providers.configured_by_steps import configured_step
from support.service.assistant import assistant, call, failure, images, text_of
from support.service.live_service import Service, token
from support.workflows.sub_workflows import runs

pytestmark = pytest.mark.asyncio(loop_scope="module")
READING = {
    "plan_workflow",
    "get_workflow",
    "list_workflows",
    "list_items",
    "list_decisions",
    "get_outputs",
    "list_providers",
    "get_costs",
}
DECIDING = {"list_decisions", "decide_step"}
WRITING = {"submit_workflow", "upload_file", "decide_step", "send_signal", "end_step", "set_budget"} | {
    f"{verb}_workflow" for verb in ("start", "pause", "resume", "rerun", "cancel", "cleanup")
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def acme(url: str) -> AsyncIterator[Client]:
    """An assistant of the tenant acme."""
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(in_one_task(assistant(url, token("acme", every=False))))


def definition(*steps: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"name": "A test", "origin_instance": "tests", "steps": list(steps), **members}


def drawing(step_id: str = "draw", size: int = 32) -> dict[str, Any]:
    return {"id": step_id, "task_type": "GENERATION", "config": {"prompt": step_id, "width": size, "height": size}}


async def submitted(acme: Client, *steps: dict[str, Any], **arguments: Any) -> str:
    result = await call(acme, "submit_workflow", definition=definition(*steps), **arguments)
    return str(result["workflow"]["id"])


async def test_a_pipeline_from_an_upload_to_its_images(acme: Client) -> None:
    photo = base64.b64encode(file_of(gradient(40, 30))).decode()
    path = (await call(acme, "upload_file", data=photo, name="photo.png"))["file"]["path"]
    refine = {"id": "refine", "task_type": "REFINE", "config": {"base_image_url": path, "upscale_factor": 2}}
    cut = {
        "id": "cut",
        "task_type": "BACKGROUND_REMOVE",
        "input_mappings": [{"from_step": "refine", "from_field": "result_image_path", "to_field": "base_image_url"}],
    }
    planned = await call(acme, "plan_workflow", definition=definition(refine, cut))
    assert planned["layers"] == [["refine"], ["cut"]]
    result = await call(acme, "submit_workflow", definition=definition(refine, cut), wait_s=50)
    assert result["workflow"]["status"] == "COMPLETED"
    assert [step["status"] for step in result["steps"]] == ["COMPLETED", "COMPLETED"]
    workflow_id = result["workflow"]["id"]
    outputs = await call(acme, "get_outputs", workflow_id=workflow_id)
    assert [(file["step_path"], file["final"], file["media_type"], file["shown"]) for file in outputs["files"]] == [
        ("refine", False, "image/png", True),
        ("cut", True, "image/png", True),
    ]
    assert [each["result"]["width"] for each in outputs["results"]] == [80, 80]
    shown = await images(acme, "get_outputs", workflow_id=workflow_id, steps=["cut"], width=64)
    assert [Picture.open(BytesIO(base64.b64decode(each.data))).size for each in shown] == [(64, 48)]


async def test_files_of_sub_workflows_are_listed_and_those_of_the_final_result_last(acme: Client) -> None:
    final = drawing("final") | {"depends_on": ["each"]}
    workflow_id = await submitted(acme, runs(drawing(), step_id="each", for_each={"count": 2}), final, wait_s=50)
    files = (await call(acme, "get_outputs", workflow_id=workflow_id))["files"]
    assert [(file["step_path"], file["final"], file["shown"]) for file in files] == [
        ("each/0/draw", False, True),
        ("each/1/draw", False, True),
        ("final", True, True),
    ]
    some = await call(acme, "get_outputs", workflow_id=workflow_id, steps=["each"], images=False)
    assert (some["total_files"], [file["step_path"] for file in some["files"]]) == (2, ["each/0/draw", "each/1/draw"])


async def test_a_link_of_an_output_needs_no_token(acme: Client, api: Service) -> None:
    workflow_id = await submitted(acme, drawing(), wait_s=50)
    (file,) = (await call(acme, "get_outputs", workflow_id=workflow_id, images=False))["files"]
    async with httpx.AsyncClient(transport=api.transport) as stranger:
        response = await stranger.get(file["url"])
    assert response.status_code == 200
    assert len(response.content) == file["size"]


async def test_a_workflow_is_read_and_listed(acme: Client) -> None:
    created = await call(
        acme, "submit_workflow", definition=definition(drawing(), labels={"job": "listed"}), start=False
    )
    workflow_id = created["workflow"]["id"]
    assert created["next"] == "start_workflow starts it."
    read = await call(acme, "get_workflow", workflow_id=workflow_id)
    assert read["reason"] == "The workflow hasn't been started." or read["reason"]
    assert [step["reason"] is not None for step in read["steps"]] == [True]
    listed = await call(acme, "list_workflows", labels={"job": "listed"}, status=["PENDING"])
    assert [each["id"] for each in listed["workflows"]] == [workflow_id]
    assert listed["total"] == 1


async def test_the_faults_of_a_definition_are_listed_with_their_places(acme: Client) -> None:
    wrong = definition(
        {"id": "draw", "task_type": "GENERATION", "config": {"prompt": "x", "width": "wide"}},
        {"id": "cut", "task_type": "BACKGROUND_REMOVE", "depends_on": ["drow"]},
    )
    text = await failure(acme, "plan_workflow", definition=wrong)
    assert "3 faults" in text
    assert "- steps[0].config.width: " in text
    assert "- steps[1].depends_on[0]: " in text
    assert "- steps[1].config.base_image_url: " in text
    assert await failure(acme, "submit_workflow", definition=wrong) == text


async def test_verbs_change_nothing_in_a_dry_run(acme: Client) -> None:
    workflow_id = await submitted(acme, drawing(), start=False)
    started = await call(acme, "start_workflow", workflow_id=workflow_id, dry_run=True)
    assert started["forecast"]["would_run"] == ["draw"]
    cancelled = await call(acme, "cancel_workflow", workflow_id=workflow_id)
    assert (cancelled["dry_run"], cancelled["forecast"]["cancelled"]) == (True, ["draw"])
    assert (await call(acme, "get_workflow", workflow_id=workflow_id))["workflow"]["status"] == "PENDING"


async def test_verbs_do_what_they_say(acme: Client, api: Service) -> None:
    workflow_id = await submitted(acme, configured_step("slow", wait=True))
    await call(acme, "pause_workflow", workflow_id=workflow_id)
    resumed = await call(acme, "resume_workflow", workflow_id=workflow_id)
    assert resumed["workflow"]["status"] == "RUNNING"
    cancelled = await call(acme, "cancel_workflow", workflow_id=workflow_id, dry_run=False)
    assert cancelled["workflow"]["status"] == "CANCELLED"
    text = await failure(acme, "resume_workflow", workflow_id=workflow_id)
    assert "Allowed from: " in text
    assert "FAILED" in text
    cleaned = await call(acme, "cleanup_workflow", workflow_id=workflow_id, dry_run=False)
    assert cleaned["workflow"]["is_deleted"]
    assert cleaned["cleanup"]["errors"] == []


async def test_an_assistant_reads_and_sets_a_budget(acme: Client) -> None:
    budget = {"max_cost": {"USD": "0.50"}}
    body = definition(configured_step("slow", wait=True)) | {"config": {"budget": budget}}
    assert (await call(acme, "plan_workflow", definition=body))["budget"]["fits"] is True
    workflow_id = (await call(acme, "submit_workflow", definition=body))["workflow"]["id"]
    changed = await call(
        acme, "set_budget", workflow_id=workflow_id, budget={"max_cost": {"USD": "2"}, "max_attempts": 9}
    )
    assert changed["workflow"]["id"] == workflow_id
    read = (await call(acme, "get_workflow", workflow_id=workflow_id))["budget"]
    assert (read["costs"]["USD"]["maximum"], read["attempts"]["maximum"]) == (2, 9)
    await call(acme, "cancel_workflow", workflow_id=workflow_id, dry_run=False)


async def test_a_rerun_is_planned_and_then_made(acme: Client) -> None:
    workflow_id = await submitted(acme, drawing(), drawing("last"), wait_s=50)
    changes = {"workflow_id": workflow_id, "config": {"last": {"prompt": "another one"}}}
    planned = await call(acme, "rerun_workflow", **changes)
    assert [step["forecast"] for step in planned["plan"]["steps"]] == ["reused", "runs"]
    made = await call(acme, "rerun_workflow", **changes, dry_run=False)
    assert made["workflow"]["workflow"]["id"] != workflow_id


async def test_the_status_names_optional_steps_and_why_others_were_skipped(acme: Client) -> None:
    judge = configured_step("judge", breaks=True) | {"optional": True}
    workflow_id = await submitted(acme, judge, drawing("last") | {"depends_on": ["judge"]}, wait_s=50)
    read = await call(acme, "get_workflow", workflow_id=workflow_id)
    members = ("step_id", "status", "optional", "skip_reason")
    assert (read["workflow"]["status"], [[step[name] for name in members] for step in read["steps"]]) == (
        "COMPLETED",
        [["judge", "FAILED", True, None], ["last", "SKIPPED", False, "failure"]],
    )


async def test_a_wait_that_is_too_short_returns_the_workflow_as_it_is(
    acme: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepwell.client.asynchronous.workflows._slice_s", lambda _: 0)
    workflow_id = await submitted(acme, configured_step("slow", wait=True))
    read = await call(acme, "get_workflow", workflow_id=workflow_id, wait_s=0.01)
    assert read["workflow"]["status"] == "RUNNING"
    assert read["next"] == "It runs. get_workflow with wait_s waits for its end."
    await call(acme, "cancel_workflow", workflow_id=workflow_id, dry_run=False)


async def test_a_repeated_key_creates_no_second_workflow(acme: Client) -> None:
    first = await submitted(acme, drawing("keyed"), start=False, idempotency_key="a-key")
    assert await submitted(acme, drawing("keyed"), start=False, idempotency_key="a-key") == first


async def test_the_images_of_a_result_are_bounded(acme: Client) -> None:
    steps = [drawing(f"draw-{number}") for number in range(MAX_IMAGES + 3)]
    workflow_id = await submitted(acme, *steps, wait_s=50)
    shown = await images(acme, "get_outputs", workflow_id=workflow_id)
    assert len(shown) == MAX_IMAGES
    assert sum(len(base64.b64decode(each.data)) for each in shown) <= MAX_IMAGES_BYTES
    outputs = await call(acme, "get_outputs", workflow_id=workflow_id)
    assert [file["shown"] for file in outputs["files"]].count(True) == MAX_IMAGES
    assert outputs["total_files"] == len(steps)


async def test_a_huge_result_is_shortened(acme: Client) -> None:
    large = {"words": ["word" * 1_000] * 200}
    workflow_id = await submitted(
        acme, configured_step("large", result=large), configured_step("many", files=MAX_FILES + 5), wait_s=50
    )
    outcome = await acme.call_tool("get_outputs", {"workflow_id": workflow_id})
    assert len(text_of(outcome)) <= MAX_BYTES
    result = outcome.structured_content
    assert result["shortened"]
    assert result["total_files"] == MAX_FILES + 5
    assert list(result["results"][0]["result"]) == ["shortened"]


async def test_a_workflow_whose_responses_are_too_large_is_shown_without_its_steps(acme: Client) -> None:
    steps = [configured_step(f"large-{number}", result={"text": "x" * 900_000}) for number in range(3)]
    assert "2 MiB" in await failure(acme, "plan_workflow", definition=definition(*steps))
    created = await call(acme, "submit_workflow", definition=definition(*steps), wait_s=50)
    assert (created["workflow"]["status"], created["steps"], created["shortened"]) == ("COMPLETED", [], True)
    workflow_id = created["workflow"]["id"]
    assert (await call(acme, "get_workflow", workflow_id=workflow_id))["shortened"]
    outputs = await call(acme, "get_outputs", workflow_id=workflow_id)
    assert (outputs["results"], outputs["shortened"]) == ([], True)
    deleted = await call(acme, "cleanup_workflow", workflow_id=workflow_id, dry_run=False)
    assert deleted["workflow"]["is_deleted"]


async def test_a_workflow_whose_explanation_is_too_large_is_shown_without_it(
    acme: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_exchange, "MAX_RESPONSE_BYTES", 20_000)
    steps = [{"id": f"step-{number}", "task_type": "PASSTHROUGH"} for number in range(200)]
    read = await call(acme, "get_workflow", workflow_id=await submitted(acme, *steps, start=False))
    assert (read["workflow"]["status"], read["shortened"]) == ("PENDING", True)


async def test_a_wait_that_fails_returns_the_workflow_that_was_created(
    acme: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lose_the_database(*_arguments: object, **_options: object) -> None:
        raise Unavailable("the database is away")

    monkeypatch.setattr(AsyncStepwell, "wait", lose_the_database)
    result = await call(acme, "submit_workflow", definition=definition(drawing()), wait_s=50)
    assert result["workflow"]["status"] == "RUNNING"


async def test_a_definition_of_many_steps_is_planned_and_read(acme: Client) -> None:
    steps = [{"id": f"step-{number}", "task_type": "PASSTHROUGH"} for number in range(1_000)]
    planned = await call(acme, "plan_workflow", definition=definition(*steps))
    assert (planned["total_steps"], planned["shortened"]) == (1_000, True)
    workflow_id = await submitted(acme, *steps, start=False)
    read = await call(acme, "get_workflow", workflow_id=workflow_id)
    assert (read["workflow"]["total_steps"], read["shortened"]) == (1_000, True)


async def test_the_service_is_described(acme: Client) -> None:
    providers = (await call(acme, "list_providers"))["providers"]
    assert "LOCAL" in [each["provider_type"] for each in providers]
    assert (await call(acme, "get_costs", by=["provider", "day"]))["costs"] == []


async def test_another_tenant_sees_nothing(acme: Client, url: str) -> None:
    workflow_id = await submitted(acme, drawing("private"), wait_s=50)
    (file,) = (await call(acme, "get_outputs", workflow_id=workflow_id))["files"]
    async with assistant(url, token("other", every=False)) as other:
        assert (await call(other, "list_workflows"))["total"] == 0
        for tool in ("get_workflow", "get_outputs", "cancel_workflow", "cleanup_workflow", "pause_workflow"):
            assert (await failure(other, tool, workflow_id=workflow_id)).startswith("404")
        stolen = {"id": "stolen", "task_type": "REFINE", "config": {"base_image_url": file["path"]}}
        result = await call(other, "submit_workflow", definition=definition(stolen), wait_s=50)
        assert result["workflow"]["status"] == "FAILED"


async def test_a_token_that_reads_gets_only_the_tools_that_read(acme: Client, url: str) -> None:
    workflow_id = await submitted(acme, drawing("shown"), wait_s=50)
    async with assistant(url, token("acme", every=False, permissions=(Permission.READ,))) as reader:
        assert {tool.name for tool in (await reader.list_tools()).tools} == READING - DECIDING
        for tool in WRITING | DECIDING:
            scope = "approve" if tool in DECIDING else "write"
            assert f"workflows:{scope}" in await failure(reader, tool)
        assert (await call(reader, "plan_workflow", definition=definition(drawing())))["total_steps"] == 1
        assert len(await images(reader, "get_outputs", workflow_id=workflow_id)) == 1


async def test_the_tools_say_what_they_may_do(acme: Client) -> None:
    tools = {tool.name: tool for tool in (await acme.list_tools()).tools}
    assert set(tools) == READING | WRITING
    hints = {name: tool.annotations for name, tool in tools.items() if tool.annotations is not None}
    assert {name for name, hint in hints.items() if hint.read_only_hint} == READING
    final = {"cancel_workflow", "cleanup_workflow", "decide_step", "end_step"}
    assert {name for name, hint in hints.items() if hint.destructive_hint} == final
    once = {"submit_workflow", "resume_workflow", "rerun_workflow", "decide_step", "send_signal", "end_step"}
    assert {name for name, hint in hints.items() if not hint.idempotent_hint} == once
    assert all(tool.output_schema is not None for tool in tools.values())


@pytest.mark.parametrize(
    ("tool", "arguments", "place"),
    [
        ("get_workflow", {}, "workflow_id"),
        ("get_workflow", {"workflow_id": "x", "waits": 1}, "waits"),
        ("list_workflows", {"limit": 51}, "$.limit"),
        ("cancel_workflow", {"workflow_id": "x", "dryrun": False}, "dryrun"),
        ("plan_workflow", {"definition": "text"}, "$.definition"),
        ("upload_file", {"data": "*", "name": "x.png"}, "base64"),
        ("upload_file", {"path": "/etc/passwd", "name": "x.png", "data": "AA=="}, "path"),
        ("upload_file", {"data": "AAAA", "name": "x.png"}, "415"),
        ("get_workflow", {"workflow_id": "..", "wait_s": 1}, "$.workflow_id"),
        ("get_workflow", {"workflow_id": "/"}, "$.workflow_id"),
        ("get_workflow", {"workflow_id": "no-id"}, "404"),
        ("get_outputs", {"workflow_id": "no-id"}, "404"),
        ("get_costs", {"since": "yesterday"}, "Expected a date"),
    ],
)
async def test_a_wrong_argument_is_named(acme: Client, tool: str, arguments: dict[str, Any], place: str) -> None:
    assert place in await failure(acme, tool, **arguments)


async def test_the_choice_of_the_user_ends_the_wait_of_a_step(acme: Client) -> None:
    steps = ({"id": "ask", "task_type": "APPROVAL", "config": {"text": "x"}}, {"id": "paid", "task_type": "SIGNAL"})
    workflow_id = await submitted(acme, *steps)
    signalled = await call(acme, "send_signal", workflow_id=workflow_id, name="paid", data={"euros": 5})
    assert signalled["step_id"] == "paid"
    while not await is_waiting(acme, workflow_id):
        await asyncio.sleep(0.01)
    shown = await call(acme, "get_workflow", workflow_id=workflow_id)
    assert "'approve', 'reject'" in next(step["reason"] for step in shown["steps"] if step["step_id"] == "ask")
    (waiting,) = (await call(acme, "list_decisions", workflow_id=workflow_id))["decisions"]
    assert (waiting["step_id"], waiting["choices"], waiting["inputs"]) == ("ask", ["approve", "reject"], {"text": "x"})
    assert "decision_url" not in waiting
    refused = await failure(acme, "decide_step", workflow_id=workflow_id, step_id="ask", choice="maybe")
    assert "Expected one of approve, reject" in refused
    decided = await call(acme, "decide_step", workflow_id=workflow_id, step_id="ask", choice="approve", note="good")
    assert (decided["status"], decided["result"]["note"]) == ("COMPLETED", "good")
    done = await call(acme, "get_workflow", workflow_id=workflow_id, wait_s=30)
    assert done["workflow"]["status"] == "COMPLETED"


async def test_the_items_of_a_step_are_listed_with_their_results_and_errors(acme: Client) -> None:
    for_each = {"items": ["a cat", "x" * 100_000, None], "as": "word", "on_item_failure": "collect"}
    step = {"id": "a", "task_type": "PASSTHROUGH", "for_each": for_each, "config": {"text": "A photo of ${item}"}}
    workflow_id = await submitted(acme, step, wait_s=50)
    shown = await call(acme, "get_workflow", workflow_id=workflow_id)
    assert shown["steps"][0]["items"] == {
        "total": 3,
        "pending": 0,
        "running": 0,
        "completed": 2,
        "failed": 1,
        "retries": 0,
        "skipped": 0,
    }
    listed = await call(acme, "list_items", workflow_id=workflow_id, step_id="a")
    assert (listed["total"], [each["status"] for each in listed["items"]]) == (3, ["COMPLETED", "COMPLETED", "FAILED"])
    assert listed["items"][0]["result"] == {"text": "A photo of a cat", "word": "a cat"}
    assert listed["items"][0]["value"] == '"a cat"'
    assert len(listed["items"][1]["value"]) < 10_000
    failed = await call(acme, "list_items", workflow_id=workflow_id, step_id="a", status=["FAILED"])
    assert [each["item"] for each in failed["items"]] == [2]
    assert "404" in await failure(acme, "list_items", workflow_id=workflow_id, step_id="b")


async def test_no_more_decisions_are_listed_than_asked_for(url: str) -> None:
    async with assistant(url, token("many-decisions", every=False)) as user:
        for number in range(3):
            await submitted(user, {"id": f"ask{number}", "task_type": "APPROVAL"})
        while len((listed := await call(user, "list_decisions"))["decisions"]) < 3:
            await asyncio.sleep(0.01)
        assert (listed["shortened"], [each["step_id"] for each in listed["decisions"]]) == (
            False,
            ["ask0", "ask1", "ask2"],
        )
        some = await call(user, "list_decisions", limit=2)
        assert (some["shortened"], some["decisions"]) == (True, listed["decisions"][:2])


async def is_waiting(acme: Client, workflow_id: str) -> bool:
    shown = await call(acme, "get_workflow", workflow_id=workflow_id)
    return any("for a decision" in (step["reason"] or "") for step in shown["steps"])
