"""Reruns over the live service: by another version of a stored definition, by tokens for runs, after steps by hand."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from support.providers.configured_by_steps import WORKFLOWS, configured_step
from support.service.live_service import Service
from support.workflows.reused_results import reused

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEFINITIONS = "/api/v1/definitions"


@pytest.fixture
def name() -> str:
    """The name of a definition that nobody has stored."""
    return f"d-{uuid4()}"


async def put(client: httpx.AsyncClient, name: str, *steps: dict[str, Any]) -> None:
    response = await client.put(f"{DEFINITIONS}/{name}", json={"steps": list(steps), "inputs": {"of": "glass"}})
    assert response.status_code == 201, response.text


async def run_by_name(
    live: Service, name: str, client: httpx.AsyncClient | None = None, **members: Any
) -> dict[str, Any]:
    body = {"definition": {"name": name}, **members}
    response = await (client or live.client).post(WORKFLOWS, json=body)
    assert response.status_code == 201, response.text
    return await live.until_ended(response.json()["id"])


async def rerun(live: Service, workflow: dict[str, Any], status: int = 201, **changes: Any) -> dict[str, Any]:
    response = await live.client.post(f"{WORKFLOWS}{workflow['id']}/rerun", json=changes)
    assert response.status_code == status, response.text
    body: dict[str, Any] = response.json()
    return await live.until_ended(body["id"]) if status == 201 else body


def draw(**orders: Any) -> dict[str, Any]:
    return configured_step("draw", result={"text": "a vase"}, material="${inputs.of}", **orders)


async def test_another_version_of_the_definition_takes_over_what_it_has_in_common(live: Service, name: str) -> None:
    refine = configured_step("refine", "draw", strength=1)
    await put(live.client, name, draw(), refine)
    first = await run_by_name(live, name, origin_instance="tests")
    await put(live.client, name, draw(), configured_step("refine", "draw", strength=2), configured_step("more"))
    second = await rerun(live, first, definition={"name": name, "version": 2})
    assert reused(second) == ["draw"]
    assert (second["definition"], second["derived_from"]) == ({"name": name, "version": 2}, first["id"])
    newest = await rerun(live, first, definition={"name": name}, config={"refine": {"strength": 1}})
    assert reused(newest) == ["draw", "refine"]
    assert newest["definition"] == {"name": name, "version": 2}
    assert reused(await rerun(live, second, definition={"name": name, "version": 1}, inputs={"of": "clay"})) == []
    assert reused(await rerun(live, first)) == ["draw", "refine"], "without a definition, it is that of the old run"


async def test_an_archived_or_unknown_definition_is_refused(live: Service, name: str) -> None:
    await put(live.client, name, draw())
    first = await run_by_name(live, name, origin_instance="tests")
    for reference in ({"name": name, "version": 7}, {"name": f"{name}x"}):
        refused = await rerun(live, first, 422, definition=reference)
        assert refused["detail"][0]["loc"][:2] == ["body", "definition"]
    await live.client.patch(f"{DEFINITIONS}/{name}", json={"archived": True})
    await rerun(live, first, 409, definition={"name": name})
    assert reused(await rerun(live, first)) == ["draw"], "the run has its own copy"


async def test_a_token_for_runs_neither_reruns_nor_reuses(live: Service, name: str) -> None:
    async with live.as_tenant("acme") as full, live.as_subject("alice", name) as alice:
        await put(full, name, draw())
        first = await run_by_name(live, name, alice)
        assert first["status"] == "COMPLETED"
        again = await alice.post(f"{WORKFLOWS}{first['id']}/rerun", json={})
        body = {"definition": {"name": name}, "reuse": {"from": first["id"]}}
        with_reuse = await alice.post(WORKFLOWS, json=body)
        assert (again.status_code, with_reuse.status_code) == (403, 403)


async def test_the_new_run_belongs_to_the_tenant_of_the_old_one(live: Service, name: str) -> None:
    async with live.as_tenant("acme") as acme:
        await put(acme, name, draw())
        first = await run_by_name(live, name, acme, origin_instance="tests")
    both: tuple[dict[str, Any], ...] = ({}, {"definition": {"name": name}})
    for changes in both:
        second = await rerun(live, first, **changes)
        assert reused(second) == ["draw"]
        assert second["origin_tenant_id"] == first["origin_tenant_id"]


async def test_a_step_ended_by_hand_runs_and_the_others_are_taken_over(live: Service) -> None:
    steps = (
        draw(),
        configured_step("mend", "draw", breaks=True, members={"max_retries": 0}),
        configured_step("last", "mend"),
        configured_step("after", members={"for_each": {"items": [1, 2]}}, item="${item}"),
    )
    first = await live.until_ended((await live.create(*steps))["id"])
    assert first["status"] == "FAILED"
    response = await live.client.post(f"{WORKFLOWS}{first['id']}/steps/mend/result", json={"result": {"mended": True}})
    assert response.status_code == 200, response.text
    await live.verb(first["id"], "resume")
    first = await live.until_ended(first["id"])
    assert first["status"] == "COMPLETED"
    second = await rerun(live, first, config={"mend": {"breaks": False}})
    assert reused(second) == ["draw", "last"]
    tasks = await live.tasks(second["id"])
    assert [task["step_id"] for task in tasks] == ["mend"]
    items = (await live.client.get(f"{WORKFLOWS}{second['id']}/steps/after/items")).json()["items"]
    assert all(item["reused_from"]["workflow_id"] == first["id"] for item in items)
