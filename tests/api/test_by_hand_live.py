"""Steps and items that a person ends over the live service, with a result or by skipping them."""

import io
from typing import Any

import httpx
import pytest
from PIL import Image

from stepwell.contract.scopes import Permission
from support.providers.configured_by_steps import WORKFLOWS, ConfiguredProvider, configured_step
from support.service.live_service import Service, statuses_of, step_of
from support.workflows.definitions import join, mapped

pytestmark = pytest.mark.asyncio(loop_scope="module")

ARTIFACTS = "/api/v1/artifacts"
MISSING = "media/00000000-0000-4000-8000-000000000000/image.png"
ENLARGE = {"id": "enlarge", "task_type": "REFINE", "config": {"base_image_url": MISSING, "upscale_factor": 2}}
FRAME = {
    "id": "frame",
    "task_type": "REFINE",
    "config": {"upscale_factor": 1},
    "input_mappings": [mapped("enlarge", "result_image_path", "base_image_url")],
}


PATH_BELOW = "${below.final.result_image_path}"


def picture(color: str = "red") -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (20, 10), color).save(data, "PNG")
    return data.getvalue()


async def upload(client: httpx.AsyncClient, data: bytes, name: str = "mended.png") -> str:
    headers = {"Content-Type": "application/octet-stream"}
    response = await client.post(ARTIFACTS, content=data, headers=headers, params={"name": name})
    assert response.status_code == 201, response.text
    path: str = response.json()["artifacts"][0]["path"]
    return path


async def failed(live: Service, *steps: dict[str, Any], **members: Any) -> dict[str, Any]:
    created = await live.create(*steps, **members)
    workflow = await live.until_ended(created["id"])
    assert workflow["status"] == "FAILED", workflow
    return workflow


def path_of(workflow: dict[str, Any], end: str) -> str:
    return f"{WORKFLOWS}{workflow['id']}/steps/{end}"


async def give(live: Service, workflow: dict[str, Any], step: str, result: Any, **options: Any) -> httpx.Response:
    return await live.client.post(path_of(workflow, f"{step}/result"), json={"result": result}, **options)


async def skip(live: Service, workflow: dict[str, Any], step: str, **options: Any) -> httpx.Response:
    return await live.client.post(path_of(workflow, f"{step}/skip"), **options)


async def resumed(live: Service, workflow: dict[str, Any]) -> dict[str, Any]:
    assert (await live.verb(workflow["id"], "resume")).status_code == 200
    return await live.until_ended(workflow["id"])


async def test_a_mended_picture_takes_the_place_of_the_one_that_failed(live: Service) -> None:
    workflow = await failed(live, ENLARGE, FRAME)
    path = await upload(live.client, picture())
    response = await give(live, workflow, "enlarge", {"result_image_path": path})
    assert response.status_code == 200, response.text
    step = response.json()
    assert (step["status"], step["given_by"], step["task_id"], step["error_message"]) == (
        "COMPLETED",
        "tester",
        None,
        None,
    )
    assert step["result"] == {"result_image_path": path}
    between = await live.get(workflow["id"])
    assert (between["status"], statuses_of(between)) == ("FAILED", {"enlarge": "COMPLETED", "frame": "PENDING"})
    done = await resumed(live, workflow)
    assert done["status"] == "COMPLETED", done
    assert step_of(done, "frame")["result"]["width"] == 20
    assert step_of(done, "enlarge")["given_by"] == "tester"
    events = [(event["type"], event["actor"]) for event in await live.events(workflow["id"])]
    assert ("step.completed", "tester") in events
    refused = await live.client.delete(f"{ARTIFACTS}/{path}")
    assert refused.status_code == 409
    assert workflow["id"] in refused.json()["detail"]


async def test_a_skipped_step_counts_as_done_and_its_dependants_follow_their_run_if(live: Service) -> None:
    after = (join("needs", "enlarge"), join("any", "enlarge", run_if="all_ended"))
    workflow = await failed(live, ENLARGE, *after)
    response = await skip(live, workflow, "enlarge")
    assert response.status_code == 200, response.text
    assert (response.json()["status"], response.json()["skip_reason"]) == ("SKIPPED", "manual")
    between = await live.get(workflow["id"])
    assert statuses_of(between) == {"enlarge": "SKIPPED", "needs": "SKIPPED", "any": "PENDING"}
    assert step_of(between, "needs")["skip_reason"] == "dependency"
    assert between["progress"] == pytest.approx(66.67)
    done = await resumed(live, workflow)
    assert done["status"] == "COMPLETED"
    assert statuses_of(done) == {"enlarge": "SKIPPED", "needs": "SKIPPED", "any": "COMPLETED"}
    skips = [event for event in await live.events(workflow["id"]) if event["type"] == "step.skipped"]
    assert [(event["step_id"], event["actor"], event["data"]) for event in skips] == [
        ("enlarge", "tester", {"reason": "manual"}),
        ("needs", "stepwell", {"reason": "dependency"}),
    ]


async def test_a_workflow_in_which_nothing_is_left_completes_with_resume(live: Service) -> None:
    workflow = await failed(live, ENLARGE)
    await skip(live, workflow, "enlarge")
    skipped = await live.get(workflow["id"])
    assert (skipped["status"], skipped["progress"], skipped["errors"]) == ("FAILED", 100.0, [])
    assert (await resumed(live, workflow))["status"] == "COMPLETED"


async def test_a_paused_workflow_in_which_nothing_is_left_completes_at_once(live: Service) -> None:
    created = await live.create({"id": "ask", "task_type": "APPROVAL"}, join("last", "ask"))
    await live.until(created["id"], lambda workflow: step_of(workflow, "ask")["waiting_for"] is not None)
    await live.verb(created["id"], "pause")
    waiting = await skip(live, created, "ask")
    assert (waiting.status_code, waiting.json()["detail"]) == (
        409,
        "The step is RUNNING: wait for its end, or cancel the workflow.",
    )
    assert (await give(live, created, "last", {"x": 1})).status_code == 200
    decided = await live.client.post(path_of(created, "ask/decision"), json={"choice": "approve"})
    assert decided.status_code == 200
    assert (await live.until_ended(created["id"]))["status"] == "COMPLETED"


async def test_a_result_brings_back_what_was_skipped_because_of_the_failure(live: Service) -> None:
    steps = (ENLARGE, join("next", "enlarge"), join("last", "next"))
    workflow = await failed(live, *steps, config={"on_failure": "continue"})
    assert statuses_of(workflow) == {"enlarge": "FAILED", "next": "SKIPPED", "last": "SKIPPED"}
    path = await upload(live.client, picture("blue"))
    await give(live, workflow, "enlarge", {"result_image_path": path})
    between = await live.get(workflow["id"])
    assert statuses_of(between) == {"enlarge": "COMPLETED", "next": "PENDING", "last": "PENDING"}
    event = (await live.events(workflow["id"]))[-1]
    assert (event["type"], event["data"]) == ("step.completed", {"held_back": ["next", "last"]})
    done = await resumed(live, workflow)
    assert statuses_of(done) == {"enlarge": "COMPLETED", "next": "COMPLETED", "last": "COMPLETED"}


async def test_items_are_ended_one_by_one(live: Service) -> None:
    for_each = {"items": ["red", None, None], "as": "word", "max_concurrency": 3}
    each = join("each", for_each=for_each, config={"text": "a ${item}"})
    last = join("last", input_mappings=[mapped("each", "items", "all")])
    workflow = await failed(live, each, last)
    given = await give(live, workflow, "each/items/1", {"text": "by hand"})
    assert given.status_code == 200, given.text
    assert {name: given.json()[name] for name in ("item", "status", "given_by", "result")} == {
        "item": 1,
        "status": "COMPLETED",
        "given_by": "tester",
        "result": {"text": "by hand"},
    }
    skipped = await skip(live, workflow, "each/items/2")
    assert (skipped.json()["status"], skipped.json()["result"]) == ("SKIPPED", None)
    between = step_of(await live.get(workflow["id"]), "each")
    assert (between["status"], between["items"]) == (
        "COMPLETED",
        {"total": 3, "pending": 0, "running": 0, "completed": 2, "failed": 0, "retries": 0, "skipped": 1},
    )
    done = await resumed(live, workflow)
    assert done["status"] == "COMPLETED"
    assert step_of(done, "last")["result"] == {"all": [{"text": "a red", "word": "red"}, {"text": "by hand"}, None]}
    late = await skip(live, workflow, "each/items/0")
    assert late.status_code == 409


async def test_a_step_with_items_takes_the_results_of_all_items(live: Service) -> None:
    for_each = {"items": ["red", None], "as": "word"}
    last = join("last", input_mappings=[mapped("each", "count", "n")])
    workflow = await failed(live, join("each", for_each=for_each, config={"text": "a ${item}"}), last)
    wrong = await give(live, workflow, "each", {"items": [{"x": 1}]})
    assert wrong.status_code == 422
    assert wrong.json()["detail"][0]["loc"] == ["body", "result", "items"]
    given = await give(live, workflow, "each", {"items": [{"x": 1}, None]})
    assert given.json()["result"] == {"items": [{"x": 1}, None], "count": 2, "failed": 0}
    done = await resumed(live, workflow)
    assert (done["status"], step_of(done, "last")["result"]) == ("COMPLETED", {"n": 2})


async def test_what_is_no_result_of_the_step_is_refused_at_its_place(live: Service) -> None:
    workflow = await failed(live, ENLARGE, {"id": "wait", "task_type": "DELAY", "config": {"seconds": 60}})
    text = await upload(live.client, b"only text", "notes.txt")
    for result, loc, kind in (
        ({}, ["result_image_path"], "missing"),
        ({"result_image_path": MISSING}, ["result_image_path"], "file_invalid"),
        ({"result_image_path": text}, ["result_image_path"], "file_invalid"),
        ({"result_image_path": "https://example.com/a.png"}, ["result_image_path"], "file_invalid"),
        ({"result_image_paths": []}, ["result_image_paths"], "list_type"),
        ({"result_image_paths": [MISSING, 5]}, ["result_image_paths", 1], "file_invalid"),
        ({"result_image_path": MISSING, "result_txt": "x"}, ["result_txt"], "unknown_output"),
        ({"result_image_path": MISSING, "format": "x" * 70_000}, [], "too_long"),
    ):
        refused = await give(live, workflow, "enlarge", result)
        assert refused.status_code == 422, result
        assert [(fault["loc"], fault["type"]) for fault in refused.json()["detail"]] == [
            (["body", "result", *loc], kind)
        ]
    refused = await give(live, workflow, "wait", {"until": None})
    assert (refused.status_code, refused.json()["detail"][0]["type"]) == (422, "no_result_by_hand")
    for body in ({}, {"result": None}, {"result": [1]}, {"result": {}, "more": 1}):
        assert (await live.client.post(path_of(workflow, "enlarge/result"), json=body)).status_code == 422
    assert (await skip(live, workflow, "enlarge", json={"why": "x"})).status_code == 422
    assert statuses_of(await live.get(workflow["id"])) == {"enlarge": "FAILED", "wait": "CANCELLED"}


async def test_what_cant_be_ended_is_a_conflict_or_not_found(live: Service) -> None:
    workflow = await failed(live, join("done"), ENLARGE | {"depends_on": ["done"]})
    completed = await give(live, workflow, "done", {"x": 1})
    assert (completed.status_code, completed.json()["title"]) == (409, "Not possible by hand")
    assert completed.json()["detail"] == "The step is COMPLETED: it has a result already."
    for end in ("nothing/skip", "enlarge/items/0/skip", "done/items/0/result"):
        response = await live.client.post(
            path_of(workflow, end), json={"result": {"x": 1}} if "result" in end else None
        )
        assert response.status_code == 404, end
    running = await live.create({"id": "ask", "task_type": "APPROVAL"}, join("last", "ask"))
    early = await skip(live, running, "last")
    assert (early.status_code, early.json()["current_status"]) == (409, "RUNNING")
    assert early.json()["allowed_from"] == ["FAILED", "PAUSED"]
    await live.verb(running["id"], "cancel")


async def test_a_dry_run_says_what_would_change_and_changes_nothing(live: Service) -> None:
    workflow = await failed(live, ENLARGE, join("next", "enlarge"), join("last", "next", run_if="all_ended"))
    before = await live.events(workflow["id"])
    path = await upload(live.client, picture("green"))
    dry = await give(live, workflow, "enlarge", {"result_image_path": path}, params={"dry_run": "true"})
    assert dry.headers["content-type"] == "application/vnd.stepwell.dry-run+json"
    told = dry.json()
    assert (told["verb"], told["status_now"], told["status_after"]) == ("give_result", "FAILED", "FAILED")
    assert (told["completed"], told["skipped"], told["reset"]) == (["enlarge"], [], [])
    dry = await skip(live, workflow, "enlarge", params={"dry_run": "true"})
    assert (dry.json()["completed"], dry.json()["skipped"]) == ([], ["enlarge", "next"])
    assert await live.events(workflow["id"]) == before
    assert (await live.client.delete(f"{ARTIFACTS}/{path}")).status_code == 200  # nobody refers to it
    gone = await give(live, workflow, "enlarge", {"result_image_path": path}, params={"dry_run": "true"})
    assert gone.status_code == 422
    same = await skip(live, workflow, "enlarge", headers={"If-Match": dry.headers["etag"]})
    assert same.status_code == 200
    stale = await skip(live, workflow, "last", headers={"If-Match": dry.headers["etag"]})
    assert stale.status_code == 412


async def test_a_repeated_request_has_its_effect_once(live: Service) -> None:
    workflow = await failed(live, ENLARGE)
    key = {"Idempotency-Key": "skip-it"}
    first, second = [await skip(live, workflow, "enlarge", headers=key) for _ in range(2)]
    assert (first.status_code, second.status_code, first.json()) == (200, 200, second.json())
    assert second.headers["idempotency-replayed"] == "true"
    skips = [event for event in await live.events(workflow["id"]) if event["type"] == "step.skipped"]
    assert len(skips) == 1


async def test_only_tokens_that_may_write_end_steps_of_their_own_tenant(live: Service) -> None:
    workflow = await failed(live, ENLARGE, origin_tenant_id="acme")
    path = path_of(workflow, "enlarge/skip")
    for permissions in ((Permission.READ,), (Permission.APPROVE,), (Permission.RUN,)):
        async with live.as_tenant("acme", permissions=permissions) as client:
            assert (await client.post(path)).status_code == 403
    async with live.as_tenant("other") as other:
        assert (await other.post(path)).status_code == 404
        strange = await upload(other, picture("black"))
    async with live.as_tenant("acme", permissions=(Permission.READ, Permission.WRITE)) as own:
        body = {"result": {"result_image_path": strange}}
        assert (await own.post(path_of(workflow, "enlarge/result"), json=body)).status_code == 422
        assert (await own.post(path)).status_code == 200


async def test_the_last_segments_win_over_an_id_with_slashes(live: Service) -> None:
    workflow = await failed(live, ENLARGE | {"id": "a/items/0"}, ENLARGE | {"id": "b/skip"})
    assert (await skip(live, workflow, "a/items/0")).status_code == 404
    assert (await skip(live, workflow, "a%2Fitems%2F0")).json()["step_id"] == "a/items/0"
    assert (await skip(live, workflow, "b/skip")).json()["step_id"] == "b/skip"


async def test_a_run_of_a_limited_token_may_read_what_a_person_gives_it(
    live: Service, scripted: ConfiguredProvider
) -> None:
    steps = [configured_step("slow", wait=True), ENLARGE | {"optional": True}, FRAME | {"depends_on": ["slow"]}]
    async with live.as_tenant("acme") as full, live.as_subject("alice", "poster") as alice:
        assert (await full.put("/api/v1/definitions/poster", json={"steps": steps})).status_code == 201
        created = await alice.post(WORKFLOWS, json={"definition": {"name": "poster"}})
        workflow = await live.until(created.json()["id"], lambda each: step_of(each, "enlarge")["status"] == "FAILED")
        assert (await full.post(f"{WORKFLOWS}{workflow['id']}/pause")).json()["status"] == "PAUSED"
        path = await upload(full, picture("purple"))
        body = {"result": {"result_image_path": path}}
        assert (await full.post(path_of(workflow, "enlarge/result"), json=body)).status_code == 200
        assert (await full.post(f"{WORKFLOWS}{workflow['id']}/resume")).status_code == 200
        scripted.release(workflow["id"], "slow")
        done = await live.until_ended(workflow["id"])
        assert (done["status"], step_of(done, "frame")["error_message"]) == ("COMPLETED", None)
        assert (await full.delete(f"{ARTIFACTS}/{path}")).status_code == 409


async def test_what_a_person_gives_a_sub_workflow_is_readable_above_it(live: Service) -> None:
    nested = {"name": "nested below the run of alice", "steps": [ENLARGE]}
    below = {"id": "below", "task_type": "SUBWORKFLOW", "config": {"workflow": nested}}
    frame = {"id": "frame", "task_type": "REFINE", "config": {"upscale_factor": 1, "base_image_url": PATH_BELOW}}
    async with live.as_tenant("acme") as full, live.as_subject("alice", "above") as alice:
        assert (await full.put("/api/v1/definitions/above", json={"steps": [below, frame]})).status_code == 201
        created = await alice.post(WORKFLOWS, json={"definition": {"name": "above"}})
        workflow = await live.until_ended(created.json()["id"])
        listed = (await full.get(WORKFLOWS, params={"include_children": True})).json()["workflows"]
        (child,) = [each for each in listed if each["name"] == "nested below the run of alice"]
        body = {"result": {"result_image_path": await upload(full, picture("teal"))}}
        assert (await full.post(path_of(child, "enlarge/result"), json=body)).status_code == 200
        done = await resumed(live, workflow)
        assert (done["status"], step_of(done, "frame")["error_message"]) == ("COMPLETED", None)


async def test_a_file_is_kept_as_long_as_the_run(live: Service) -> None:
    workflow = await failed(live, ENLARGE)
    path = await upload(live.client, picture("orange"))
    await give(live, workflow, "enlarge", {"result_image_path": path})
    assert (await live.client.delete(f"{ARTIFACTS}/{path}")).status_code == 409
    assert (await live.verb(workflow["id"], "cleanup")).status_code == 200
    assert (await live.client.get(f"{ARTIFACTS}/{path}")).status_code == 200  # it belongs to the tenant, not to the run
    assert (await live.client.delete(f"{ARTIFACTS}/{path}")).status_code == 200
