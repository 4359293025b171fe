"""Definitions that are stored by name, over the live service."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from stepwell.contract.scopes import Permission
from stepwell.testing import MemoryDatabase
from support.service.live_service import Service, running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

BASE = "/api/v1/definitions"


def content(*ids: str, **members: Any) -> dict[str, Any]:
    return {"steps": [{"id": step_id, "task_type": "PASSTHROUGH"} for step_id in ids], **members}


@pytest.fixture
def path() -> str:
    """The path of a definition that nobody has stored."""
    return f"{BASE}/{uuid4()}"


async def put(client: httpx.AsyncClient, path: str, body: Any, status: int = 201, **options: Any) -> httpx.Response:
    response = await client.put(path, json=body, **options)
    assert response.status_code == status, response.text
    return response


async def test_a_stored_definition_is_returned_as_it_was_sent_in_each_version(live: Service, path: str) -> None:
    first = content("a", config={"on_failure": "cancel", "x": 1.0}, inputs={"b": 1, "a": None})
    created = await put(live.client, path, first)
    assert created.headers["location"] == path
    shown = created.json()
    assert shown == {
        "name": path.removeprefix(f"{BASE}/"),
        "version": 1,
        "default_version": None,
        "archived": False,
        "labels": {},
        "description": None,
        "created_by": "tester",
        "created_at": shown["created_at"],
        "definition": first,
        "warnings": [],
    }
    second = content("a", "b", inputs_schema={"type": "object"})
    await put(live.client, path, second)
    for version, expected in ((None, second), (1, first), (2, second)):
        response = await live.client.get(path, params={} if version is None else {"version": version})
        assert (response.json()["version"], response.json()["definition"]) == (version or 2, expected)
    versions = (await live.client.get(f"{path}/versions")).json()["versions"]
    assert [(each["version"], each["created_by"]) for each in versions] == [(2, "tester"), (1, "tester")]
    assert versions[1]["created_at"] == shown["created_at"]
    assert (await live.client.get(path, params={"version": 3})).status_code == 404


async def test_equal_content_is_stored_once_however_it_is_written(live: Service, path: str) -> None:
    stored = (await put(live.client, path, content("a", config={"x": 1, "y": [2]}, inputs={}))).json()
    text = (
        '{"inputs": {}, "config": {"y": [2.0],  "x": 1.0}, "inputs_schema": null,'
        ' "steps": [{"task_type": "PASSTHROUGH", "id": "a"}]}'
    )
    again = await live.client.put(path, content=text, headers={"Content-Type": "application/json"})
    assert (again.status_code, again.json()) == (200, stored)
    await put(live.client, path, content("b"))
    back = await put(live.client, path, content("a", config={"x": 1, "y": [2]}, inputs={}))
    assert back.json()["version"] == 3


async def test_the_second_of_two_editors_gets_a_412(live: Service, path: str) -> None:
    base = (await put(live.client, path, content("a"), headers={"If-None-Match": "*"})).headers["etag"]
    assert base == (await live.client.get(path)).headers["etag"]
    responses = await asyncio.gather(
        *(live.client.put(path, json=content(each), headers={"If-Match": base}) for each in "bcdef")
    )
    assert sorted(response.status_code for response in responses) == [201, 412, 412, 412, 412]
    (winner,) = [response for response in responses if response.status_code == 201]
    present = await live.client.get(path)
    assert (present.headers["etag"], present.json()["version"]) == (winner.headers["etag"], 2)
    await put(live.client, path, content("z"), 412, headers={"If-None-Match": "*"})
    await put(live.client, path, content("z"), headers={"If-Match": winner.headers["etag"]})
    await put(live.client, f"{path}-new", content("z"), 412, headers={"If-Match": "*"})


async def test_each_change_of_a_name_changes_the_etag_and_a_known_one_is_a_304(live: Service, path: str) -> None:
    etags = [(await put(live.client, path, content("a"))).headers["etag"]]
    for members in ({"archived": True}, {"labels": {"a": "b"}}, {"description": "d"}, {"default_version": 1}):
        changed = await live.client.patch(path, json=members, headers={"If-Match": etags[-1]})
        assert changed.status_code == 200, changed.text
        assert changed.json() | members == changed.json()
        assert (await live.client.get(path)).json() == changed.json()
        etags.append(changed.headers["etag"])
        stale = await live.client.patch(path, json={"archived": False}, headers={"If-Match": etags[-2]})
        assert stale.status_code == 412
    assert len(set(etags)) == 5
    known = await live.client.get(path, headers={"If-None-Match": etags[-1]})
    assert (known.status_code, known.headers["etag"]) == (304, etags[-1])
    response = await live.client.patch(path, json={"default_version": 2})
    assert response.json()["detail"][0]["loc"] == ["body", "default_version"]


async def test_a_dry_run_only_checks(live: Service, path: str) -> None:
    response = await put(live.client, path, content("a"), 200, params={"dry_run": True})
    assert response.json()["version"] == 1
    assert (await live.client.get(path)).status_code == 404
    await put(live.client, path, {"steps": []}, 422, params={"dry_run": True})
    await put(live.client, path, content("a"))
    await put(live.client, path, content("b"), 412, params={"dry_run": True}, headers={"If-None-Match": "*"})
    assert (await live.client.get(path)).json()["version"] == 1


async def test_put_checks_what_create_checks_and_names_all_faults(live: Service, path: str) -> None:
    step = {"id": "a", "task_type": "PASSTHROUGH", "depends_on": ["nobody"], "input_mappings": [{}]}
    body = {"steps": [step], "name": "n", "origin_instance": "o", "webhook_url": "u", "config": {"on_failure": "maybe"}}
    response = await put(live.client, path, body, 422)
    found = {(fault["type"], *fault["loc"][1:]) for fault in response.json()["detail"]}
    assert {("extra_forbidden", name) for name in ("name", "origin_instance", "webhook_url")} <= found
    assert {("missing", "steps", 0, "input_mappings", 0, "from_step"), ("enum", "config", "on_failure")} <= found
    assert ("unknown_step", "steps", 0, "depends_on", 0) in found
    bodies: list[Any] = [[], None, {}, {"steps": None}]
    for refused in bodies:
        await put(live.client, path, refused, 422)
    lenient = await put(live.client, path, content("a") | {"name": "n"}, headers={"Prefer": "handling=lenient"})
    assert lenient.json()["definition"] == content("a")
    for name in ("A", "-a", "a_b", "x" * 64):
        response = await put(live.client, f"{BASE}/{name}", content("a"), 422)
        assert response.json()["detail"][0]["loc"] == ["path", "name"]
        assert (await live.client.get(f"{BASE}/{name}")).status_code == 404


async def test_required_inputs_may_be_missing_but_those_that_are_there_must_fit(live: Service, path: str) -> None:
    person = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
    schema = {
        "type": "object",
        "required": ["prompt", "count"],
        "properties": {"prompt": {"type": "string"}, "count": {"type": "integer"}, "person": person},
        "anyOf": [{"required": ["prompt"]}, {"required": ["count"]}],
        "minProperties": 2,
    }
    await put(live.client, path, content("a", inputs_schema=schema))
    await put(live.client, path, content("a", inputs_schema=schema, inputs={"person": {}, "count": 2}))
    response = await put(live.client, path, content("a", inputs_schema=schema, inputs={"person": {"name": 1}}), 422)
    assert [fault["loc"] for fault in response.json()["detail"]] == [["body", "inputs", "person", "name"]]
    choice = {"oneOf": [{"required": ["a"], "properties": {"b": {"type": "string"}}}, {"properties": {"b": False}}]}
    await put(live.client, path, content("a", inputs_schema=choice, inputs={"b": "text"}))
    await put(live.client, path, content("a", inputs_schema=choice, inputs={"b": 1}), 422)
    await put(live.client, path, content("a", inputs_schema={"type": "nothing"}), 422)


async def test_warnings_are_those_of_create(live: Service, path: str) -> None:
    body = content("b")
    body["steps"][0]["config"] = {"text": "${inputs.missing}"}
    stored = (await put(live.client, path, body)).json()
    created = await live.create(*body["steps"], start=False)
    assert stored["warnings"] == created["warnings"]
    assert [each["type"] for each in stored["warnings"]] == ["unknown_member"]
    assert (await put(live.client, path, body, 200)).json()["warnings"] == stored["warnings"]


async def test_a_deletion_removes_all_versions_and_the_numbers_go_on(live: Service, path: str) -> None:
    name = path.removeprefix(f"{BASE}/")
    await put(live.client, path, content("a"))
    etag = (await put(live.client, path, content("b"))).headers["etag"]
    await live.client.patch(path, json={"archived": True})
    assert (await live.client.delete(path, headers={"If-Match": etag})).status_code == 412
    response = await live.client.delete(path)
    assert response.json() == {"name": name, "versions": 2, "referred_by": []}
    for gone in (path, f"{path}?version=1", f"{path}/versions"):
        assert (await live.client.get(gone)).status_code == 404
    assert (await live.client.delete(path)).status_code == 404
    assert (await live.client.patch(path, json={})).status_code == 404
    stored = (await put(live.client, path, content("b"), headers={"If-None-Match": "*"})).json()
    assert (stored["version"], stored["archived"]) == (3, False)


async def test_a_list_has_pages_and_filters(live: Service) -> None:
    prefix = uuid4().hex
    names = [f"{prefix}-{letter}" for letter in "abcde"]
    for name in names:
        await put(live.client, f"{BASE}/{name}", content("a"))
    await live.client.patch(f"{BASE}/{names[4]}", json={"archived": True})
    await live.client.patch(f"{BASE}/{names[1]}", json={"labels": {"team": "x&y"}})

    async def listed(**params: Any) -> list[str]:
        found: list[str] = []
        response = await live.client.get(BASE, params={"name": prefix, **params})
        while True:
            assert response.status_code == 200, response.text
            found += [each["name"] for each in response.json()["definitions"]]
            if "next" not in response.links:
                return found
            response = await live.client.get(response.links["next"]["url"])

    assert await listed() == await listed(limit=1) == await listed(limit=4) == names[:4]
    assert await listed(archived=True, limit=1) == names[4:]
    assert await listed(label="team:x&y", limit=1) == [names[1]]
    (entry,) = (await live.client.get(BASE, params={"name": names[0]})).json()["definitions"]
    whole = (await live.client.get(f"{BASE}/{names[0]}")).json()
    assert entry == {member: value for member, value in whole.items() if member != "definition"}
    for params in ({"cursor": "x"}, {"label": "team"}, {"limit": 201}, {"nmae": "a"}):
        assert (await live.client.get(BASE, params=params)).status_code == 422


async def test_definitions_of_tenants_are_apart_and_a_token_for_all_names_one(live: Service, path: str) -> None:
    async with live.as_tenant("acme") as acme, live.as_tenant("other") as other, live.as_tenant() as nobody:
        await put(acme, path, content("acme"))
        await put(live.client, path, content("nobody"))
        every = await live.client.get(path, params={"origin_tenant_id": "acme"})
        assert every.json() == (await acme.get(path)).json()
        assert (await nobody.get(path)).json()["definition"] == content("nobody")
        assert (await other.get(path)).status_code == 404
        named = {"origin_tenant_id": "acme"}
        assert (await other.get(path, params=named)).status_code == 403
        await put(other, path, content("b"), 403, params=named)
        await put(live.client, path, content("b"), params=named)
        assert (await acme.get(path)).json()["version"] == 2
        name = path.removeprefix(f"{BASE}/")
        for client, params, expected in ((acme, {}, 1), (other, {}, 0), (live.client, named, 1)):
            found = await client.get(BASE, params={"name": name, **params})
            assert len(found.json()["definitions"]) == expected


async def test_reading_and_writing_need_scopes_of_their_own(live: Service, path: str) -> None:
    writes, reads = (Permission.WRITE, Permission.WRITE_DEFINITIONS), (Permission.READ, Permission.READ_DEFINITIONS)
    async with live.as_tenant(permissions=writes) as writer, live.as_tenant(permissions=reads) as reader:
        await put(writer, path, content("a"))
        await put(reader, path, content("b"), 403)
        assert (await reader.patch(path, json={})).status_code == 403
        assert (await reader.delete(path)).status_code == 403
        assert (await reader.get(path)).status_code == 200
        for each in (path, BASE, f"{path}/versions"):
            assert (await writer.get(each)).status_code == 403


async def test_beyond_the_limits_of_the_settings_a_put_is_a_507(tmp_path: Path, path: str) -> None:
    limits: dict[str, Any] = {"max_definitions_per_tenant": 2, "max_versions_per_definition": 2}
    async with running_service(MemoryDatabase(), tmp_path, **limits, definition_quota_bytes=1_024) as service:
        client, other = service.client, f"{path}-other"
        for body in (content("a"), content("b")):
            await put(client, path, body)
        full = await put(client, path, content("c"), 507)
        assert "2 versions" in full.json()["detail"]
        await put(client, path, content("b"), 200)
        await put(client, other, content("a"))
        for dry_run in (False, True):
            await put(client, f"{path}-third", content("a"), 507, params={"dry_run": dry_run})
        await put(client, f"{path}-third", content("a"), params={"origin_tenant_id": "acme"})
        large = content("a", inputs={"text": "x" * 1_000})
        assert "1,024 bytes" in (await put(client, other, large, 507)).json()["detail"]
        assert (await client.delete(path)).status_code == 200
        await put(client, f"{path}-third", content("a"))


async def test_a_large_definition_is_stored_and_returned_whole(live: Service, path: str) -> None:
    large = content("a", inputs={"text": "ä" * 1_000_000})
    stored = (await put(live.client, path, large)).json()
    assert stored["definition"] == large
    assert (await put(live.client, path, large, 200)).json() == stored
    assert (await live.client.get(path)).json()["definition"] == large
