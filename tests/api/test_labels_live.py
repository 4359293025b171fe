"""Labels over the live service: on create, PATCH, and in what is read."""

from typing import Any

import httpx
import pytest

from support.service.live_service import Service

pytestmark = pytest.mark.asyncio(loop_scope="module")

STEP = {"id": "a", "task_type": "PASSTHROUGH"}


async def patch(live: Service, workflow_id: str, **members: Any) -> httpx.Response:
    return await live.client.patch(f"/api/v1/workflows/{workflow_id}", json=members)


async def test_an_update_keeps_replaces_or_clears_the_labels(live: Service) -> None:
    created = await live.create(STEP, labels={"team": "a", "campaign": "spring"})
    assert created["labels"] == {"campaign": "spring", "team": "a"}
    await live.until_ended(created["id"])
    for members, labels in (
        ({"name": "m"}, created["labels"]),
        ({"labels": {"team": "b"}}, {"team": "b"}),
        ({"labels": {}}, {}),
        ({"labels": {"x/y.z": ""}}, {"x/y.z": ""}),
        ({"labels": None}, {}),
    ):
        response = await patch(live, created["id"], **members)
        assert (response.status_code, response.json()["labels"]) == (200, labels)
        assert (await live.get(created["id"]))["labels"] == labels
    changes = [e["data"]["changed"] for e in await live.events(created["id"]) if e["type"] == "workflow.updated"]
    assert changes == [["name"], *[["labels"]] * 4]


async def test_new_labels_change_the_etags_of_the_workflow_and_of_its_list(live: Service) -> None:
    created = await live.create(STEP, start=False, origin_instance="labels")
    paths = (f"/api/v1/workflows/{created['id']}", "/api/v1/workflows?origin_instance=labels")
    etags = [(await live.client.get(path)).headers["etag"] for path in paths]
    await patch(live, created["id"], labels={"a": "1"})
    for path, etag in zip(paths, etags, strict=True):
        assert (await live.client.get(path, headers={"If-None-Match": etag})).status_code == 200


async def test_a_create_with_an_idempotency_key_stores_its_labels_once(live: Service) -> None:
    body = {"name": "n", "origin_instance": "labels", "steps": [STEP], "labels": {"a": "1"}}
    responses = [
        await live.client.post("/api/v1/workflows/", json=body, headers={"Idempotency-Key": "labels"}) for _ in "12"
    ]
    assert responses[0].json()["labels"] == {"a": "1"}
    assert responses[0].content == responses[1].content
    assert (await live.get(responses[0].json()["id"]))["labels"] == {"a": "1"}


async def test_malformed_labels_are_refused_by_their_place(live: Service) -> None:
    body = {"name": "n", "origin_instance": "labels", "steps": [STEP], "labels": {"a b": "1", "c": None}}
    response = await live.client.post("/api/v1/workflows/", json=body)
    assert response.status_code == 422
    assert [fault["loc"] for fault in response.json()["detail"]] == [["body", "labels", "a b"], ["body", "labels", "c"]]
