"""Counts by status and definitions, over the live service."""

from typing import Any

import pytest

from support.providers.configured_by_steps import WORKFLOWS, passthrough_step
from support.service.live_service import Service

pytestmark = pytest.mark.asyncio(loop_scope="module")

COUNTS = "/api/v1/workflows/counts"
JSON = {"Content-Type": "application/json"}
FULL: dict[str, Any] = {
    "name": "Ünïcode",
    "description": "d",
    "origin_instance": "definitions",
    "origin_zone": "eu",
    "origin_tenant_id": "acme",
    "origin_reference": "order 7",
    "webhook_url": "https://example.com/hook",
    "suppress_subtask_events": False,
    "config": {"mine": {"a": [1.0, None]}, "retry": {"max_retries": 7}},
    "labels": {"team": "a"},
    "steps": [
        {"id": "a", "task_type": "PASSTHROUGH", "config": {"x": 1.5, "none": None}},
        {
            "id": "b",
            "task_type": "PASSTHROUGH",
            "depends_on": ["a"],
            "input_mappings": [{"from_step": "a", "from_field": "x", "to_field": "y", "transform": "TO_STRING"}],
            "max_retries": 0,
        },
    ],
}


async def test_counts_have_each_status_and_keep_to_the_filters(live: Service) -> None:
    for labels in ({"n": "1"}, {"n": "2"}, {"n": "1"}):
        await live.create(passthrough_step("a"), start=False, origin_instance="counts", labels=labels)
    cancelled = await live.create(passthrough_step("a"), start=False, origin_instance="counts")
    await live.verb(cancelled["id"], "cancel")
    for query, pending, ended in (("", 3, 1), ("&label=n:1", 2, 0), ("&status=CANCELLED,FAILED", 0, 1)):
        response = await live.client.get(f"{COUNTS}?origin_instance=counts{query}")
        assert response.status_code == 200
        others = dict.fromkeys(("RUNNING", "PAUSED", "COMPLETED", "FAILED"), 0)
        assert response.json()["counts"] == {"PENDING": pending, "CANCELLED": ended} | others
        assert response.json()["total"] == pending + ended
    async with live.as_tenant("nobody") as client:
        assert (await client.get(COUNTS)).json()["total"] == 0
    for query in ("skip=1", "limit=1", "order=created_at", "status=x", "label=x"):
        assert (await live.client.get(f"{COUNTS}?{query}")).status_code == 422


async def test_a_definition_is_the_one_that_was_sent(live: Service) -> None:
    created = (await live.client.post(WORKFLOWS, params={"start": False}, json=FULL)).json()
    response = await live.client.get(f"{WORKFLOWS}{created['id']}/definition")
    assert response.json() == FULL
    again = await live.client.post(WORKFLOWS, params={"start": False}, content=response.content, headers=JSON)
    assert again.status_code == 201
    same = await live.client.get(f"{WORKFLOWS}{again.json()['id']}/definition")
    assert same.content == response.content
    await live.client.patch(f"{WORKFLOWS}{created['id']}", json={"name": "m", "labels": None})
    changed = await live.client.get(f"{WORKFLOWS}{created['id']}/definition")
    assert changed.json() == {name: FULL[name] for name in FULL if name != "labels"} | {"name": "m"}
    assert changed.headers["etag"] != response.headers["etag"]


async def test_a_definition_leaves_out_nulls_and_defaults(live: Service) -> None:
    least = {"name": "n", "origin_instance": "o", "steps": [{"id": "a", "task_type": "PASSTHROUGH"}]}
    body: dict[str, Any] = least | {"description": None, "config": {}, "suppress_subtask_events": True, "labels": {}}
    created = (await live.client.post(WORKFLOWS, params={"start": False}, json=body)).json()
    assert (await live.client.get(f"{WORKFLOWS}{created['id']}/definition")).json() == least


async def test_a_long_definition_is_sent_whole(live: Service) -> None:
    steps = [{"id": f"s{i}", "task_type": "PASSTHROUGH", "config": {"text": "x" * 1_000}} for i in range(1_500)]
    body: dict[str, Any] = {"name": "n", "origin_instance": "o", "steps": steps}
    async with live.unchecked_client() as client:
        created = (await client.post(WORKFLOWS, params={"start": False}, json=body)).json()
        assert (await client.get(f"{WORKFLOWS}{created['id']}/definition")).json() == body


async def test_the_definition_of_another_tenant_s_workflow_is_unknown(live: Service) -> None:
    created = await live.create(passthrough_step("a"), start=False, origin_tenant_id="a")
    async with live.as_tenant("b") as client:
        assert (await client.get(f"{WORKFLOWS}{created['id']}/definition")).status_code == 404
    assert (await live.client.get(f"{WORKFLOWS}nope/definition")).status_code == 404
