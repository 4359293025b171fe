"""SUBWORKFLOW steps that name a stored definition, over the live service."""

import json
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest

from stepwell.api.responses.sent_definition import with_deleted
from support.database.postgres import connected
from support.service.live_service import Service

pytestmark = pytest.mark.asyncio(loop_scope="module")

BASE = "/api/v1/definitions"
WORKFLOWS = "/api/v1/workflows/"


@pytest.fixture
def names() -> list[str]:
    """The names of definitions that nobody has stored."""
    return [f"{letter}-{uuid4()}" for letter in "abcdef"]


def sub(name: str, version: int | None = None, **config: Any) -> dict[str, Any]:
    reference = {"name": name} if version is None else {"name": name, "version": version}
    return {"id": f"run {name[0]}", "task_type": "SUBWORKFLOW", "config": {"definition": reference, **config}}


def show(text: str) -> dict[str, Any]:
    return {"id": "show", "task_type": "PASSTHROUGH", "config": {"text": text}}


def content(*steps: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"steps": list(steps), **members}


async def put(live: Service, name: str, body: Any, status: int = 201) -> Any:
    response = await live.client.put(f"{BASE}/{name}", json=body)
    assert response.status_code == status, response.text
    return response.json()


async def definition_of(live: Service, workflow_id: str) -> dict[str, Any]:
    definition: dict[str, Any] = (await live.client.get(f"{WORKFLOWS}{workflow_id}/definition")).json()
    return definition


async def test_a_run_keeps_the_versions_that_its_names_meant_at_create(live: Service, names: list[str]) -> None:
    inner, outer, *_ = names
    await put(live, inner, content(show("first ${inputs.word}"), inputs={"word": "own"}))
    await put(live, outer, content(sub(inner, inputs={"word": "given"})))
    workflow = await live.create(sub(outer), start=False)
    await put(live, inner, content(show("second")))
    await put(live, outer, content(show("nothing")))
    await live.verb(workflow["id"], "start")
    ended = await live.until_ended(workflow["id"])
    assert ended["status"] == "COMPLETED", ended
    assert ended["final_step_result"]["final"]["final"]["text"] == "first given"
    listed = await live.client.get(WORKFLOWS, params={"include_children": True, "definition": f"{inner}@1"})
    assert [each["definition"] for each in listed.json()["workflows"]] == [{"name": inner, "version": 1}]
    definition = await definition_of(live, workflow["id"])
    assert definition["steps"][0]["config"] == {"definition": {"name": outer, "version": 1}}


async def test_after_a_deletion_the_definition_of_a_run_has_the_copy(live: Service, names: list[str]) -> None:
    inner, outer, *_ = names
    await put(live, inner, content(show("text")))
    await put(live, outer, content(sub(inner)))
    workflow = await live.create(sub(outer))
    await live.until_ended(workflow["id"])
    assert (await live.client.delete(f"{BASE}/{inner}")).json()["referred_by"] == [outer]
    whole = await definition_of(live, workflow["id"])
    assert whole["steps"][0]["config"]["definition"] == {"name": outer, "version": 1}
    assert (await live.client.delete(f"{BASE}/{outer}")).json()["referred_by"] == []
    whole = await definition_of(live, workflow["id"])
    (step,) = whole["steps"][0]["config"]["workflow"]["steps"]
    assert step["config"]["workflow"] == {"name": inner, **content(show("text"))}
    again = await live.client.post(WORKFLOWS, json=whole)
    assert again.status_code == 201, again.text
    assert (await live.until_ended(again.json()["id"]))["status"] == "COMPLETED"


async def test_copies_of_deleted_definitions_are_only_put_into_sub_workflows() -> None:
    plain, by_name = json.dumps(show("text")).encode(), json.dumps(sub("a", 1)).encode()
    copies = {"a@1": content(show("text"))}
    unchanged, changed = with_deleted([plain, by_name], copies)
    assert unchanged is plain  # it isn't even decoded
    assert json.loads(changed)["config"] == {"workflow": copies["a@1"]}


async def test_items_and_steps_in_place_run_named_definitions(live: Service, names: list[str]) -> None:
    inner, outer, *_ = names
    await put(live, inner, content(show("${inputs.item}")))
    each = sub(inner) | {"for_each": {"items": ["x", "y"]}}
    place = {"id": "place", "task_type": "SUBWORKFLOW", "config": {"workflow": {"name": "in place", "steps": [each]}}}
    await put(live, outer, content(place))
    run = await live.client.post(WORKFLOWS, json={"definition": {"name": outer}, "origin_instance": "tests"})
    ended = await live.until_ended(run.json()["id"])
    assert ended["status"] == "COMPLETED", ended
    items = ended["final_step_result"]["final"]["items"]
    assert [item["final"]["text"] for item in items] == ["x", "y"]
    plan = await live.client.post(f"{WORKFLOWS}plan", json={"definition": {"name": outer}, "origin_instance": "tests"})
    assert plan.status_code == 200, plan.text


async def test_a_name_that_cannot_be_resolved_is_refused_at_put_create_and_plan(
    live: Service, names: list[str]
) -> None:
    inner, archived, chain, *_ = names
    await put(live, inner, content(show("text")))
    await put(live, archived, content(show("text")))
    await put(live, chain, content(sub(archived)))
    await live.client.patch(f"{BASE}/{archived}", json={"archived": True})
    place = ["body", "steps", 0, "config", "definition"]
    both = sub(inner, workflow={"name": "n", "steps": [show("text")]})
    for step, loc, kind in (
        (sub("no-such"), [*place, "name"], "unknown_definition"),
        (sub(inner, 2), [*place, "version"], "unknown_version"),
        (sub("No name"), [*place, "name"], "string_pattern_mismatch"),
        (sub(archived), [*place, "name"], "archived_definition"),
        (sub(chain), [*place, "steps", 0, "config", "definition", "name"], "archived_definition"),
        (both, [*place[:-1], "workflow"], "conflict"),
    ):
        for method, path, body in (
            ("PUT", f"{BASE}/{names[-1]}", content(step)),
            ("POST", WORKFLOWS, content(step, name="n", origin_instance="tests")),
            ("POST", f"{WORKFLOWS}plan", content(step, name="n", origin_instance="tests")),
        ):
            response = await live.client.request(method, path, json=body)
            assert response.status_code == 422, response.text
            assert [(fault["loc"], fault["type"]) for fault in response.json()["detail"]] == [(loc, kind)]


async def test_a_version_may_be_an_integral_float(live: Service, names: list[str]) -> None:
    await put(live, names[0], content(show("text")))
    step = sub(names[0])
    step["config"]["definition"]["version"] = 1.0
    ended = await live.until_ended((await live.create(step))["id"])
    assert ended["status"] == "COMPLETED", ended


async def test_null_beside_a_workflow_in_place_names_nothing(live: Service, names: list[str]) -> None:
    await put(live, names[0], content(show("text")))
    in_place = {"definition": None, "workflow": {"name": "in place", "steps": [show("text")]}}
    workflow = await live.create(sub(names[0]), {"id": "in place", "task_type": "SUBWORKFLOW", "config": in_place})
    ended = await live.until_ended(workflow["id"])
    assert ended["status"] == "COMPLETED", ended


async def test_a_reference_with_escapes_is_resolved_and_refused_as_any_other(live: Service, names: list[str]) -> None:
    await put(live, names[0], content(show("text")))
    both = sub(names[0], workflow={"name": "n", "steps": [show("text")]})
    for step, status, faults in ((sub(names[0]), 201, []), (both, 422, ["conflict"])):
        body = json.dumps(content(step, name="n", origin_instance="tests"))
        escaped = body.replace('"definition"', '"\\u0064efinition"')
        response = await live.client.post(WORKFLOWS, content=escaped, headers={"Content-Type": "application/json"})
        assert response.status_code == status, response.text
        assert [fault["type"] for fault in response.json().get("detail", [])] == faults


async def test_a_cycle_is_refused_and_names_its_way(live: Service, names: list[str]) -> None:
    first, second, third, *_ = names
    await put(live, first, content(show("text")))
    await put(live, second, content(sub(first)))
    await put(live, third, content(sub(second)))
    refused = await put(live, first, content(sub(third)), 422)
    assert refused["detail"][0]["type"] == "cycle"
    assert f"{first} → {third} → {second} → {first}" in refused["detail"][0]["msg"]


async def test_definitions_that_are_named_too_deep_or_too_large_are_refused(live: Service, names: list[str]) -> None:
    await put(live, names[0], content(show("text")))
    for below, name in pairwise(names):
        await put(live, name, content(sub(below)))
    refused = await put(live, f"g-{uuid4()}", content(sub(names[5])), 422)
    assert [fault["type"] for fault in refused["detail"]] == ["too_deep"]
    wide = f"w-{uuid4()}"
    await put(live, wide, content(*(show("text") | {"id": f"s{number}"} for number in range(1_000))))
    many = [sub(wide) | {"id": f"s{number}"} for number in range(10)]
    refused = await put(live, f"g-{uuid4()}", content(*many), 422)
    assert [fault["type"] for fault in refused["detail"]] == ["too_long"]


async def test_what_steps_name_counts_as_if_it_stood_in_the_body(live: Service, names: list[str]) -> None:
    large, many, *_ = names
    await put(live, large, content(show("text"), config={"note": "x" * (6 * 1024 * 1024)}))
    refused = await put(live, names[-1], content(*(sub(large) | {"id": f"s{each}"} for each in range(3))), 422)
    assert [fault["type"] for fault in refused["detail"]] == ["too_large"]
    await put(live, many, content(show("text"), config={"note": [0] * 400_000}))
    refused = await put(live, names[-1], content(*(sub(many) | {"id": f"s{each}"} for each in range(3))), 413)
    assert "1,000,000 JSON values" in refused["detail"]


async def test_a_warning_about_a_named_definition_has_its_place_in_what_was_sent(
    live: Service, names: list[str]
) -> None:
    inner, outer, *_ = names
    await put(live, inner, content({"id": "ask", "task_type": "APPROVAL", "config": {"message": "Good?"}}))
    await put(live, outer, content(sub(inner)))
    workflow = await live.create(sub(outer), start=False, webhook_url="https://example.com/hook")
    loc = ["body", "steps", 0, "config", "definition", "steps", 0, "config", "definition", "steps", 0]
    assert [(each["loc"], each["type"]) for each in workflow["warnings"]] == [(loc, "no_webhook")]


async def test_a_dry_run_shows_the_sub_workflows_by_name(live: Service, names: list[str]) -> None:
    inner, outer, *_ = names
    await put(live, inner, content(show("text")))
    await put(live, outer, content(sub(inner)))
    workflow = await live.create(sub(outer), start=False)
    forecast = (await live.client.post(f"{WORKFLOWS}{workflow['id']}/start", params={"dry_run": True})).json()
    (below,) = forecast["sub_workflows"]
    assert below["dry_run"]["allowed"], forecast
    assert len(below["dry_run"]["sub_workflows"]) == 1


async def test_a_step_whose_definition_was_deleted_with_its_root_says_so(live: Service, names: list[str]) -> None:
    await put(live, names[0], content(show("text")))
    workflow = await live.create(sub(names[0]), start=False)
    async with connected(live.dsn) as sql:
        await sql.execute("UPDATE workflows SET named_definitions = NULL WHERE id = $1", workflow["id"])
    forecast = (await live.client.post(f"{WORKFLOWS}{workflow['id']}/start", params={"dry_run": True})).json()
    assert not forecast["sub_workflows"][0]["dry_run"]["allowed"]
    await live.verb(workflow["id"], "start")
    (step,) = (await live.until_ended(workflow["id"]))["steps"]
    assert f"which has {names[0]}@1, was deleted" in step["error_message"]


async def test_another_tenants_definition_is_unknown_to_a_step(live: Service, names: list[str]) -> None:
    await put(live, names[0], content(show("text")))
    async with live.as_tenant("another") as client:
        body = content(sub(names[0]), name="n", origin_instance="tests")
        response = await client.post(WORKFLOWS, json=body)
    assert [fault["type"] for fault in response.json()["detail"]] == ["unknown_definition"]
