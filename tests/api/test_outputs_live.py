"""The outputs of a run: the files of results that count, of its items and of its sub-workflows at any depth."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from support.providers.configured_by_steps import (
    FAILURE,
    WORKFLOWS,
    ConfiguredProvider,
    configured_step,
    passthrough_step,
)
from support.service.live_service import Service, step_of
from support.workflows.sub_workflows import runs

pytestmark = pytest.mark.asyncio(loop_scope="module")

REPEATED = {"repeat": {"until": "done", "max": 2, "best": "score"}}  # equal scores: the first run counts
SCORE = {"score": 1}


@pytest.fixture(params=["api", "live"])
def service(request: pytest.FixtureRequest) -> Service:
    """The service in memory, and on PostgreSQL."""
    found: Service = request.getfixturevalue(request.param)
    return found


def judged(*steps: dict[str, Any], **members: Any) -> dict[str, Any]:
    """A step that repeats a sub-workflow. The sub-workflow's final result is what `best` compares."""
    step = runs(*steps, **members)
    step["repeat"] = {"until": "final.done", "max": 2, "best": "final.score"}
    return step


async def ended(service: Service, *steps: dict[str, Any], **members: Any) -> dict[str, Any]:
    created = await service.create(*steps, **members)
    return await service.until_ended(created["id"])


async def page_of(service: Service, workflow_id: str, **query: Any) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page of the list, and the address of the next one."""
    response = await service.client.get(f"{WORKFLOWS}{workflow_id}/outputs", params=query)
    assert response.status_code == 200, response.text
    return response.json()["outputs"], response.links.get("next", {}).get("url")


async def outputs_of(service: Service, workflow_id: str) -> list[dict[str, Any]]:
    outputs, next_page = await page_of(service, workflow_id, limit=1000)
    assert next_page is None
    return outputs


def paths_of(outputs: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(each["step_path"], each["name"]) for each in outputs]


async def walk(
    service: Service, workflow_id: str, above: str = "", *, final: bool = True
) -> AsyncIterator[tuple[str, str, bool]]:
    """Yield the step path, the path and `final` of each file, found by the results of steps, items and sub-workflows.

    The ids of the steps need no encoding.
    """
    workflow, below = await service.get(workflow_id), list[tuple[str, str, bool]]()
    for step in workflow["steps"]:
        units, is_final = [(step["step_id"], step)], final and step["step_id"] == workflow["final_step_id"]
        if step["items"] is not None:
            response = await service.client.get(f"{WORKFLOWS}{workflow_id}/steps/{step['step_id']}/items?limit=1000")
            units = [(f"{step['step_id']}/{item['item']}", item) for item in response.json()["items"]]
        for name, unit in units:
            if unit["result"] is None:
                continue
            if step["task_type"] == "SUBWORKFLOW":
                below.append((unit["result"]["workflow_id"], f"{above}{name}/", is_final))
            tasks = await service.tasks(workflow_id)
            for output in (output for task in tasks for output in task["outputs"]):
                if output["path"] in json.dumps(unit["result"]):
                    yield f"{above}{name}", output["path"], is_final
    for child, path, is_final in below:
        async for found in walk(service, child, path, final=is_final):
            yield found


async def test_the_list_equals_a_walk_over_steps_items_and_sub_workflows(service: Service) -> None:
    deep = runs(configured_step("x", files=1), configured_step("y", "x", files=2), step_id="deep")
    workflow = await ended(
        service,
        configured_step("retried", files=1, fails=1, retryable=True),
        configured_step("each", files=2, members={"for_each": {"count": 12}}),
        configured_step("again", files=1, result=SCORE, members=REPEATED),
        configured_step("both", files=1, result=SCORE, members={**REPEATED, "for_each": {"count": 2}}),
        passthrough_step("text", x=1),
        runs(configured_step("large", files=1), deep, step_id="subs", for_each={"count": 3}),
        judged(configured_step("judge", files=1, result=SCORE), step_id="best"),
        runs(passthrough_step("none"), step_id="empty"),
        runs(
            configured_step("p", files=1),
            runs(configured_step("q", files=1), step_id="deepest", depends_on=["p"]),
            step_id="last",
            depends_on=["retried", "each", "again", "both", "text", "subs", "best", "empty"],
        ),
        config={"retry": {"base_s": 0}},
    )
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    listed = await outputs_of(service, workflow["id"])
    found = [each async for each in walk(service, workflow["id"])]
    assert [(each["step_path"], each["path"], each["final"]) for each in listed] == found
    assert [each["step_path"] for each in listed if each["final"]] == ["last/deepest/q"]
    assert len(found) == 1 + 24 + 1 + 2 + 3 * (1 + 3) + 1 + 2
    for each in listed:
        task = (await service.client.get(f"/api/v1/tasks/{each['task_id']}")).json()
        stored = next(output for output in task["outputs"] if output["path"] == each["path"])
        assert stored == {name: each[name] for name in ("path", "size", "sha256")}
        assert (each["name"], each["media_type"]) == (each["path"].split("/")[2], "application/octet-stream")
    for limit in (1, 7):
        pages = list[dict[str, Any]]()
        address: str | None = f"{WORKFLOWS}{workflow['id']}/outputs?limit={limit}"
        while address is not None:
            response = await service.client.get(address)
            assert 0 < len(response.json()["outputs"]) <= limit
            pages += response.json()["outputs"]
            address = response.links.get("next", {}).get("url")
        assert pages == listed
    child = next(step for step in workflow["steps"] if step["step_id"] == "last")["result"]["workflow_id"]
    below = await outputs_of(service, child)
    assert [(each["step_path"], each["final"]) for each in below] == [("p", False), ("deepest/q", True)]


async def test_files_that_the_final_result_names_are_final_at_any_depth(service: Service) -> None:
    def names(step: str, field: str = "paths[0]", **members: Any) -> dict[str, Any]:
        mapping = {"from_step": step, "from_field": field, "to_field": "chosen"}
        return passthrough_step("last", step) | {"input_mappings": [mapping], **members}

    child = configured_step("pair", files=2), configured_step("other", files=1), names("pair")
    each = runs(*child, step_id="each", for_each={"count": 2}, depends_on=["own"])
    nested = await ended(service, configured_step("own", files=1), each)
    found = [(each["step_path"], each["name"]) for each in await outputs_of(service, nested["id"]) if each["final"]]
    assert found == [("each/0/pair", "file-0.bin"), ("each/1/pair", "file-0.bin")]

    each["config"]["workflow"]["steps"] = [configured_step("pair", files=2)]
    chosen = await ended(service, configured_step("own", files=1), each, names("each", "items[1].final.paths"))
    found = [(each["step_path"], each["name"]) for each in await outputs_of(service, chosen["id"]) if each["final"]]
    assert found == [("each/1/pair", "file-0.bin"), ("each/1/pair", "file-1.bin")]

    copied = {"for_each": {"from_step": "own", "from_field": "paths"}, "config": {"chosen": "${item}"}}
    items = await ended(service, configured_step("own", files=2), passthrough_step("last", "own") | copied)
    assert [each["final"] for each in await outputs_of(service, items["id"])] == [True, True]


async def test_files_of_a_failed_run_count_where_their_steps_completed(service: Service) -> None:
    workflow = await ended(
        service,
        configured_step("each", files=1, breaks=True, members={"for_each": {"items": [1]}}),
        runs(configured_step("done", files=1), configured_step("bad", "done", files=1, breaks=True)),
        config={"on_failure": "continue"},
    )
    assert (workflow["status"], FAILURE in workflow["error_message"]) == ("FAILED", True)
    assert paths_of(await outputs_of(service, workflow["id"])) == [("sub/done", "file-0.bin")]


async def test_no_run_of_a_repetition_counts_before_its_end(service: Service, scripted: ConfiguredProvider) -> None:
    step = configured_step("again", files=1, wait=True, result=SCORE, members=REPEATED)
    created = await service.create(step)
    await service.until(created["id"], lambda workflow: workflow["steps"][0]["status"] == "RUNNING")
    await service.verb(created["id"], "pause")
    scripted.release(created["id"], "again")
    await service.until(created["id"], lambda workflow: workflow["steps"][0]["status"] == "PENDING")
    assert len([output for task in await service.tasks(created["id"]) for output in task["outputs"]]) == 1
    assert await outputs_of(service, created["id"]) == []
    await service.verb(created["id"], "resume")
    await service.until_ended(created["id"])
    assert paths_of(await outputs_of(service, created["id"])) == [("again", "file-0.bin")]


async def test_only_the_present_sub_workflow_of_a_repetition_counts_before_its_end(
    service: Service, scripted: ConfiguredProvider
) -> None:
    second = configured_step("second", "first", files=1, wait=True, result=SCORE)
    created = await service.create(judged(configured_step("first", files=1), second))
    seen = list[str]()
    for _ in range(2):
        await service.until(
            created["id"], lambda workflow: _child(workflow) is not None and _child(workflow) not in seen
        )
        child = str(_child(await service.get(created["id"])))
        seen.append(child)
        await service.until(child, lambda workflow: workflow["steps"][1]["status"] == "RUNNING")
        (output,) = await outputs_of(service, created["id"])
        (task, *_) = await service.tasks(child)
        assert (output["step_path"], output["task_id"]) == ("sub/first", task["id"])
        scripted.release(child, "second")
    done = await service.until_ended(created["id"])
    assert done["steps"][0]["result"]["workflow_id"] == seen[0]
    tasks = [task["id"] for task in await service.tasks(seen[0])]
    assert [each["task_id"] for each in await outputs_of(service, created["id"])] == tasks


async def test_a_list_goes_on_behind_a_sub_workflow_that_counts_no_longer(
    service: Service, scripted: ConfiguredProvider
) -> None:
    wait = configured_step("wait", "first", wait=True, result=SCORE)
    created = await service.create(judged(configured_step("first", files=2), wait, step_id="sub"))
    seen = list[str]()
    next_page: str | None = None
    for _ in range(2):
        await service.until(
            created["id"], lambda workflow: _child(workflow) is not None and _child(workflow) not in seen
        )
        seen.append(str(_child(await service.get(created["id"]))))
        await service.until(seen[-1], lambda workflow: workflow["steps"][1]["status"] == "RUNNING")
        if next_page is None:
            _, next_page = await page_of(service, created["id"], limit=1)
            scripted.release(seen[-1], "wait")
    assert next_page is not None
    (task, *_) = await service.tasks(seen[1])
    (output,) = (await service.client.get(next_page)).json()["outputs"]
    assert output["task_id"] == task["id"]
    await service.verb(created["id"], "cancel")  # else the service waits for the attempt when it stops


def _child(workflow: dict[str, Any]) -> str | None:
    waiting = workflow["steps"][0]["waiting_for"]
    return None if waiting is None else waiting["workflow_id"]


async def test_the_parts_of_a_step_path_are_names_of_folders(service: Service) -> None:
    workflow = await ended(
        service,
        configured_step("Ä/b", files=1),
        configured_step("LARGE", files=1),
        runs(configured_step("..", files=1), configured_step("é", files=1), step_id="large"),
    )
    assert [each["step_path"] for each in await outputs_of(service, workflow["id"])] == [
        "%C3%84%2Fb",
        "LARGE",
        "large~2/%2E%2E",
        "large~2/%C3%A9",
    ]


async def test_a_list_belongs_to_its_tenant_and_has_an_etag(service: Service) -> None:
    workflow = await ended(service, configured_step("a", texts={"a.json": "{}", "b.PNG": "x"}), origin_tenant_id="t")
    path = f"{WORKFLOWS}{workflow['id']}/outputs"
    async with service.as_tenant("other") as other, service.as_tenant("t") as own:
        assert (await other.get(path)).status_code == 404
        response = await own.get(path)
        assert [each["media_type"] for each in response.json()["outputs"]] == ["application/json", "image/png"]
        assert response.headers["Link"] == f'<{path}?limit=50>; rel="first"'
        assert (await own.get(path, headers={"If-None-Match": response.headers["ETag"]})).status_code == 304


async def test_a_page_that_does_not_exist_is_refused(service: Service) -> None:
    workflow = await ended(service, configured_step("a", files=2))
    path = f"{WORKFLOWS}{workflow['id']}/outputs"
    for query in ("cursor=x", "limit=0", "limit=1001", "skip=1"):
        refused = await service.client.get(f"{path}?{query}")
        assert (refused.status_code, refused.json()["detail"][0]["loc"]) == (422, ["query", query.split("=")[0]])
    _, next_page = await page_of(service, workflow["id"], limit=1)
    assert next_page is not None
    other = await ended(service, configured_step("a", files=2))
    _, cursor = next_page.split("&cursor=")
    assert await page_of(service, other["id"], cursor=cursor) == ([], None)


async def test_files_that_a_cleanup_deletes_are_gone(service: Service) -> None:
    workflow = await ended(service, runs(configured_step("a", files=1)))
    assert len(await outputs_of(service, workflow["id"])) == 1
    await service.client.post(f"{WORKFLOWS}{workflow['id']}/cleanup", params={"cleanup_tasks": False})
    assert len(await outputs_of(service, workflow["id"])) == 1
    await service.client.post(f"{WORKFLOWS}{workflow['id']}/cleanup")
    async with asyncio.timeout(60):  # the sub-workflow is cleaned up after its parent
        while await outputs_of(service, workflow["id"]):
            await asyncio.sleep(0.01)


async def test_files_of_results_by_hand_are_listed_where_their_steps_are(service: Service) -> None:
    files = [await uploaded(service, text) for text in ("first", "second", "third", "fourth")]
    each = configured_step("each", members={"for_each": {"items": [1, 2, 3], "as": "fails"}}, files=1)
    steps = [
        configured_step("a", files=1),
        configured_step("b", "a", breaks=True, members={"optional": True}),
        each | {"optional": True},
        configured_step("last", "each", files=1, breaks=True, members={"run_if": "all_ended"}),
    ]
    workflow = await ended(service, *steps)
    assert workflow["status"] == "FAILED"
    path = f"{WORKFLOWS}{workflow['id']}/steps"
    for end, result in (
        ("b/result", {"picture": files[0], "more": [files[1], files[0]]}),
        ("each/items/1/result", {"picture": files[2]}),
        ("each/items/0/skip", None),
        ("last/result", {"paths": [files[3], f"{files[3]} in a text"]}),
    ):
        given = await service.client.post(f"{path}/{end}", json=result and {"result": result})
        assert given.status_code == 200, given.text
    own = step_of(workflow, "a")["result"]["paths"][0]
    listed = await outputs_of(service, workflow["id"])
    assert [(each["step_path"], each["path"], each["final"]) for each in listed] == [
        ("a", own, False),
        ("b", files[0], False),
        ("b", files[1], False),
        ("each/1", files[2], False),
        ("last", files[3], True),
    ]
    assert [each["size"] for each in listed[1:]] == [len(text) for text in ("first", "second", "third", "fourth")]
    assert [each["task_id"] for each in listed] == [each["path"].split("/")[1] for each in listed]
    pages: list[Any] = []
    address: str | None = f"{WORKFLOWS}{workflow['id']}/outputs?limit=1"
    while address:
        response = await service.client.get(address)
        pages += response.json()["outputs"]
        address = response.links.get("next", {}).get("url")
    assert pages == listed


async def uploaded(service: Service, text: str) -> str:
    headers = {"Content-Type": "text/plain"}
    response = await service.client.post("/api/v1/artifacts", content=text, headers=headers)
    path: str = response.json()["artifacts"][0]["path"]
    return path
