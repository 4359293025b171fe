"""Runs of definitions that are stored by name, over the live service."""

import json
from asyncio import sleep, timeout
from typing import Any
from uuid import uuid4

import httpx
import pytest

from support.service.live_service import Service

pytestmark = pytest.mark.asyncio(loop_scope="module")

BASE = "/api/v1/definitions"
WORKFLOWS = "/api/v1/workflows/"
JSON = {"Content-Type": "application/json"}
CONTENT = {
    "inputs": {"product": {"name": "cup", "colour": "red"}, "count": 1},
    "inputs_schema": {"type": "object", "required": ["product"]},
    "config": {"on_failure": "cancel", "step_defaults": {"*": {"timeout_s": 5}}},
    "steps": [{"id": "show", "task_type": "PASSTHROUGH", "config": {"text": "${inputs.product.colour}"}}],
}


@pytest.fixture
def name() -> str:
    """The name of a definition that nobody has stored."""
    return f"d-{uuid4()}"


async def put(live: Service, name: str, body: Any) -> int:
    response = await live.client.put(f"{BASE}/{name}", json=body)
    assert response.is_success, response.text
    version: int = response.json()["version"]
    return version


async def run(
    live: Service, stored: str, /, *, status: int = 201, version: int | None = None, **members: Any
) -> httpx.Response:
    reference = {"name": stored} if version is None else {"name": stored, "version": version}
    response = await live.client.post(WORKFLOWS, json={"definition": reference, **members}, params={"start": False})
    assert response.status_code == status, response.text
    return response


async def test_a_run_has_the_definition_with_its_own_members_merged_over_it(live: Service, name: str) -> None:
    await put(live, name, CONTENT)
    members = {"labels": {"a": "own"}, "description": "All cups"}
    assert (await live.client.patch(f"{BASE}/{name}", json=members)).is_success
    plain = (await run(live, name, origin_instance="tests")).json()
    assert plain["definition"] == {"name": name, "version": 1}
    assert (plain["name"], plain["description"], plain["labels"]) == (name, "All cups", {"a": "own"})
    own: dict[str, Any] = {
        "name": "Mine",
        "description": None,
        "labels": {"b": "mine"},
        "inputs": {"product": {"colour": "blue"}, "count": None},
        "config": {"step_defaults": {"*": None}, "retry": {"max_retries": 1}},
        "origin_instance": "tests",
        "origin_reference": "order 1",
    }
    workflow = (await run(live, name, **own)).json()
    assert workflow["labels"] == {"a": "own", "b": "mine"}
    assert workflow["description"] == "All cups"
    definition = (await live.client.get(f"{WORKFLOWS}{workflow['id']}/definition")).json()
    assert definition["inputs"] == {"product": {"name": "cup", "colour": "blue"}}
    assert definition["config"] == {"on_failure": "cancel", "step_defaults": {}, "retry": {"max_retries": 1}}
    assert (definition["name"], definition["origin_reference"]) == ("Mine", "order 1")
    assert (definition["steps"], definition["inputs_schema"]) == (CONTENT["steps"], CONTENT["inputs_schema"])


async def test_a_run_takes_the_named_version_else_the_default_version_else_the_newest(live: Service, name: str) -> None:
    for height in (64, 128, 256):
        await put(live, name, CONTENT | {"inputs": {"product": {}, "height": height}})

    async def version(wanted: int | None = None) -> int:
        found: int = (await run(live, name, version=wanted, origin_instance="tests")).json()["definition"]["version"]
        return found

    assert [await version(), await version(1)] == [3, 1]
    await live.client.patch(f"{BASE}/{name}", json={"default_version": 2})
    assert [await version(), await version(3)] == [2, 3]


async def test_a_run_keeps_its_copy_when_the_definition_is_deleted(live: Service, name: str) -> None:
    await put(live, name, CONTENT)
    workflow = (await run(live, name, origin_instance="tests")).json()
    before = (await live.client.get(f"{WORKFLOWS}{workflow['id']}/definition")).json()
    assert (await live.client.delete(f"{BASE}/{name}")).is_success
    assert (await live.client.get(f"{WORKFLOWS}{workflow['id']}")).json()["definition"] == {"name": name, "version": 1}
    assert (await live.client.get(f"{WORKFLOWS}{workflow['id']}/definition")).json() == before
    assert (await live.client.post(WORKFLOWS, json=before)).status_code == 201


@pytest.mark.parametrize(
    ("members", "loc", "kind"),
    [
        ({"definition": {"name": "no-such"}}, ["body", "definition", "name"], "unknown_definition"),
        ({"definition": {"name": "Photo Set"}}, ["body", "definition", "name"], "string_pattern_mismatch"),
        ({"definition": {"version": 1}}, ["body", "definition", "name"], "missing"),
        ({"definition": "photo-set"}, ["body", "definition"], "dict_type"),
        ({"version": 2}, ["body", "definition", "version"], "unknown_version"),
        ({"version": 0}, ["body", "definition", "version"], "greater_than_equal"),
        ({"steps": CONTENT["steps"]}, ["body", "steps"], "extra_forbidden"),
        ({"inputs_schema": {}}, ["body", "inputs_schema"], "extra_forbidden"),
        ({"inputs": {"product": None}}, ["body", "inputs", "product"], "missing"),
        ({"config": {"on_failure": "never"}}, ["body", "config", "on_failure"], "enum"),
    ],
)
async def test_a_run_that_is_refused_says_where_and_plan_says_the_same(
    live: Service, name: str, members: dict[str, Any], loc: list[str], kind: str
) -> None:
    await put(live, name, CONTENT)
    version = {} if "version" not in members else {"version": members["version"]}
    own = {member: value for member, value in members.items() if member != "version"}
    body = {"origin_instance": "tests", "definition": {"name": name, **version}, **own}
    for path in (WORKFLOWS, f"{WORKFLOWS}plan"):
        response = await live.client.post(path, json=body)
        assert response.status_code == 422, response.text
        assert [(fault["loc"], fault["type"]) for fault in response.json()["detail"]] == [(loc, kind)]


async def test_null_means_absent_in_a_run_and_in_a_plain_create(live: Service, name: str) -> None:
    await put(live, name, CONTENT)
    absent = dict.fromkeys(("steps", "inputs_schema", "inputs", "config", "labels", "webhook_url"))
    by_name = {"definition": {"name": name}, "origin_instance": "tests", **absent}
    plain = {**CONTENT, "definition": None, "name": "n", "origin_instance": "tests"}
    async with live.unchecked_client() as client:  # the OpenAPI document has no null for members of the other kind
        for body, reference in ((by_name, {"name": name, "version": 1}), (plain, None)):
            response = await client.post(WORKFLOWS, json=body)
            assert response.status_code == 201, response.text
            assert response.json()["definition"] == reference


async def test_the_member_definition_may_be_written_with_escapes(live: Service, name: str) -> None:
    await put(live, name, CONTENT)
    body = json.dumps({"definition": {"name": name}, "origin_instance": "tests"})
    for letter in "definto":
        escaped = body.replace("definition", "definition".replace(letter, f"\\u{ord(letter):04X}"))
        response = await live.client.post(f"{WORKFLOWS}plan", content=escaped, headers=JSON)
        assert response.status_code == 200, response.text


async def test_a_run_that_is_too_large_with_its_definition_is_refused(live: Service, name: str) -> None:
    half = "x" * (9 * 1024 * 1024)
    await put(live, name, CONTENT | {"config": {"first": half}})
    body = {"definition": {"name": name}, "origin_instance": "tests", "config": {"second": half}}
    response = await live.client.post(f"{WORKFLOWS}plan", json=body)
    assert [fault["type"] for fault in response.json()["detail"]] == ["too_large"]


async def test_a_definition_that_is_deleted_before_it_is_read_is_unknown(
    live: Service, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(live, name, CONTENT)
    definitions = type(live.app.services.definitions)
    read = definitions.content

    async def deleted_first(self: Any, *args: Any) -> bytes:
        await live.client.delete(f"{BASE}/{name}")
        content: bytes = await read(self, *args)
        return content

    monkeypatch.setattr(definitions, "content", deleted_first)
    response = await run(live, name, status=422, origin_instance="tests")
    assert [fault["type"] for fault in response.json()["detail"]] == ["unknown_definition"]


async def test_an_archived_definition_is_not_run(live: Service, name: str) -> None:
    await put(live, name, CONTENT)
    await live.client.patch(f"{BASE}/{name}", json={"archived": True})
    body = {"definition": {"name": name}, "origin_instance": "tests"}
    for path in (WORKFLOWS, f"{WORKFLOWS}plan"):
        response = await live.client.post(path, json=body)
        assert (response.status_code, response.json()["title"]) == (409, "Definition archived")
        assert f"definition {name} is archived" in response.json()["detail"]


async def test_the_plan_of_a_run_is_that_of_its_definition(live: Service, name: str) -> None:
    await put(live, name, CONTENT)
    by_name = await live.client.post(f"{WORKFLOWS}plan", json={"definition": {"name": name}, "origin_instance": "a"})
    whole = await live.client.post(f"{WORKFLOWS}plan", json={**CONTENT, "name": name, "origin_instance": "a"})
    assert by_name.status_code == 200
    assert by_name.json() == whole.json()


async def test_a_repeated_request_returns_its_run_after_the_definition_has_changed(live: Service, name: str) -> None:
    await put(live, name, CONTENT)
    body, headers = {"definition": {"name": name}, "origin_instance": "tests"}, {"Idempotency-Key": str(uuid4())}
    first = await live.client.post(WORKFLOWS, json=body, headers=headers)
    await put(live, name, CONTENT | {"inputs": {"product": {}}})
    await live.client.patch(f"{BASE}/{name}", json={"archived": True})
    again = await live.client.post(WORKFLOWS, json=body, headers=headers)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    assert again.json()["id"] == first.json()["id"]
    assert again.json()["definition"] == {"name": name, "version": 1}


async def test_lenient_handling_ignores_unknown_members_of_a_run(live: Service, name: str) -> None:
    await put(live, name, CONTENT)
    body = {"definition": {"name": name}, "origin_instance": "tests", "extra": 1}
    response = await live.client.post(WORKFLOWS, json=body, headers={"Prefer": "handling=lenient"})
    assert response.status_code == 201, response.text


async def test_another_tenants_definition_is_unknown(live: Service, name: str) -> None:
    await put(live, name, CONTENT)
    async with live.as_tenant("another-tenant") as other:
        response = await other.post(WORKFLOWS, json={"definition": {"name": name}, "origin_instance": "tests"})
    assert response.status_code == 422
    assert response.json()["detail"][0]["type"] == "unknown_definition"


async def test_lists_counts_events_and_decisions_filter_by_definition(live: Service, name: str) -> None:
    wait = {"id": "decide", "task_type": "APPROVAL", "config": {"message": "Good?"}}
    nested = {"id": "below", "task_type": "SUBWORKFLOW", "config": {"workflow": {"name": "n", "steps": [wait]}}}
    first, second = await put(live, name, {"steps": [wait]}), await put(live, name, {"steps": [nested]})
    body: dict[str, Any] = {"origin_instance": "tests"}
    for stored, version in ((name, first), (name, second), (f"{name}-other", None)):
        if version is None:
            await put(live, stored, {"steps": [wait]})
        reference = {"name": stored} if version is None else {"name": stored, "version": version}
        response = await live.client.post(WORKFLOWS, json={**body, "definition": reference})
        assert response.status_code == 201, response.text
        decision = await waiting_decision(live, response.json()["id"])
        assert (decision["workflow_id"] == response.json()["id"]) is (version != second)
    both, one = {"definition": name}, {"definition": f"{name}@{first}"}
    for params, expected in ((both, [second, first]), (one, [first]), ({"definition": f"{name}@3"}, [])):
        listed = (await live.client.get(WORKFLOWS, params=params)).json()
        assert [each["definition"]["version"] for each in listed["workflows"]] == expected
        assert listed["total"] == len(expected)
        counted = (await live.client.get(f"{WORKFLOWS}counts", params=params)).json()
        assert counted["total"] == len(expected)
        decisions = (await live.client.get("/api/v1/decisions", params={**params, "total": True})).json()
        assert (len(decisions["decisions"]), decisions["total"]) == (len(expected), len(expected))
        feed = (await live.client.get("/api/v1/events", params={**params, "type": "workflow.created"})).json()
        assert len(feed["events"]) == len(expected)


async def waiting_decision(live: Service, workflow_id: str) -> dict[str, Any]:
    """Return the open decision of the workflow or of its sub-workflow, as soon as there is one."""
    async with timeout(60):
        while True:
            response = await live.client.get("/api/v1/decisions", params={"workflow_id": workflow_id})
            if found := response.json()["decisions"]:
                decision: dict[str, Any] = found[0]
                return decision
            await sleep(0.02)


@pytest.mark.parametrize("value", ["Photo", "photo@", "photo@0", "photo@x", "photo@1@2", ""])
async def test_a_filter_that_is_no_definition_is_refused(live: Service, value: str) -> None:
    for path in (WORKFLOWS, f"{WORKFLOWS}counts", "/api/v1/decisions", "/api/v1/events", "/api/v1/costs"):
        response = await live.client.get(path, params={"definition": value})
        assert [fault["loc"] for fault in response.json()["detail"]] == [["query", "definition"]]
