"""The items of a step over the live service: pages of them, and the paths that lead to them."""

from typing import Any
from urllib.parse import quote

import pytest

from support.providers.configured_by_steps import WORKFLOWS
from support.service.live_service import Service, step_of
from support.workflows.definitions import join

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def ended(live: Service, *steps: dict[str, Any], **members: Any) -> dict[str, Any]:
    created = await live.create(*steps, **members)
    return await live.until_ended(created["id"])


def items_path(workflow: dict[str, Any], step_id: str, query: str = "") -> str:
    return f"{WORKFLOWS}{workflow['id']}/steps/{step_id}/items{query}"


async def items_of(live: Service, workflow: dict[str, Any], step_id: str, query: str = "") -> Any:
    response = await live.client.get(items_path(workflow, step_id, query))
    assert response.status_code == 200, response.text
    return response.json()


async def test_items_are_listed_with_their_values_and_results(live: Service) -> None:
    for_each = {"items": ["red", {"x": 1}, None], "as": "word"}
    workflow = await ended(live, join("a", for_each=for_each, config={"text": "a ${item}"}))
    step = step_of(workflow, "a")
    assert step["status"] == "FAILED", step
    counts = {"total": 3, "pending": 0, "running": 0, "completed": 2, "failed": 1, "retries": 0, "skipped": 0}
    assert step["items"] == counts
    page = await items_of(live, workflow, "a")
    assert {name: page[name] for name in ("total", "skip", "limit")} == {"total": 3, "skip": 0, "limit": 50}
    assert [(each["item"], each["value"], each["status"]) for each in page["items"]] == [
        (0, "red", "COMPLETED"),
        (1, {"x": 1}, "COMPLETED"),
        (2, None, "FAILED"),
    ]
    assert page["items"][0]["result"] == {"text": "a red", "word": "red"}
    assert (page["items"][0]["retry_count"], page["items"][0]["runs"]) == (0, None)
    assert page["items"][2]["result"] is None
    assert "is null" in page["items"][2]["error_message"]
    task = (await live.client.get(f"/api/v1/tasks/{page['items'][0]['task_id']}")).json()
    assert (task["step_id"], task["status"]) == ("a", "COMPLETED")


async def test_a_definition_has_for_each_as_it_was_sent(live: Service) -> None:
    for_each = {"items": [{"x": 1}], "as": None, "on_item_failure": "collect"}
    workflow = await ended(live, join("a", for_each=for_each), join("b", for_each={"count": 1}))
    definition = (await live.client.get(f"{WORKFLOWS}{workflow['id']}/definition")).json()
    assert [step["for_each"] for step in definition["steps"]] == [for_each, {"count": 1}]


async def test_pages_of_items_skip_and_filter(live: Service) -> None:
    workflow = await ended(live, join("a", for_each={"count": 5}))
    page = await items_of(live, workflow, "a", "?skip=1&limit=2")
    assert ([each["value"] for each in page["items"]], page["total"]) == ([1, 2], 5)
    assert (await items_of(live, workflow, "a", "?status=FAILED"))["items"] == []
    some = await items_of(live, workflow, "a", "?status=FAILED,COMPLETED&skip=4")
    assert ([each["item"] for each in some["items"]], some["total"]) == ([4], 5)
    refused = await live.client.get(items_path(workflow, "a", "?status=DONE"))
    assert (refused.status_code, refused.json()["detail"][0]["loc"]) == (422, ["query", "status"])


async def test_a_page_that_is_large_is_sent_in_slices(live: Service) -> None:
    texts = [f"{number}" * 300_000 for number in range(8)]
    workflow = await ended(live, join("a", for_each={"items": texts}, config={"n": 1}))
    page = await items_of(live, workflow, "a", "?skip=1&limit=6")
    assert [each["value"][0] for each in page["items"]] == list("123456")
    assert [each["result"]["item"][0] for each in page["items"]] == list("123456")
    assert {name: page[name] for name in ("total", "skip", "limit")} == {"total": 8, "skip": 1, "limit": 6}


async def test_a_step_without_for_each_has_no_items(live: Service) -> None:
    workflow = await ended(live, join("a"))
    response = await live.client.get(items_path(workflow, "a"))
    assert (response.status_code, response.json()["detail"]) == (404, "items (the step has no for_each) not found")
    unknown = await live.client.get(items_path(workflow, "b"))
    assert (unknown.status_code, unknown.json()["detail"]) == (404, "step not found")


async def test_a_step_whose_id_ends_in_items_is_read_by_its_encoded_id(live: Service) -> None:
    workflow = await ended(live, join("a/items", for_each={"count": 2}), join("a", for_each={"count": 1}))
    path = f"{WORKFLOWS}{workflow['id']}/steps/"
    encoded = quote("a/items", safe="")
    assert (await live.client.get(path + encoded)).json()["step_id"] == "a/items"
    assert (await live.client.get(path + encoded + "/items")).json()["total"] == 2
    assert (await live.client.get(path + "a/items")).json()["total"] == 1
    assert (await live.client.get(path + "a/items/items/")).json()["total"] == 2
    assert (await live.client.head(path + "a/items")).status_code == 200
