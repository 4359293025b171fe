"""Every way of sending bytes that mean nothing good: an exact response, nothing stored, and the next request works."""

import json
import math
import secrets
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from support.providers.configured_by_steps import JSON, WORKFLOWS, passthrough_step
from support.service import raw_bodies
from support.service.live_service import Service, token
from support.service.raw_bodies import Refused, raw, step

pytestmark = pytest.mark.asyncio(loop_scope="module")

MIB = 1024 * 1024
GOOD = raw()
PATCHES = [
    Refused("NUL", rb'{"name":"\u0000"}', {(("name",), "nul_character")}),
    Refused("lone surrogate", rb'{"description":"\ud800"}', {(("description",), "lone_surrogate")}),
    Refused("NaN", b'{"webhook_url":NaN}', {(("webhook_url",), "finite_number")}),
    Refused("big", b'{"name":9223372036854775808}', {(("name",), "int_out_of_range")}),
    Refused("deep", b'{"name":' * 100_000, {((), "too_deep")}),
    Refused("invalid UTF-8", b'{"name":"\xff"}', {((), "json_invalid")}),
    Refused("byte order mark", b'\xef\xbb\xbf{"name":"x"}', {((), "json_invalid")}),
    Refused("UTF-16", '{"name":"x"}'.encode("utf-16"), {((), "json_invalid")}),
    Refused("twice", b'{"name":"x","name":"y"}', {(("name",), "duplicate_key")}),
    Refused("malformed", b'{"name":"x"', {((), "json_invalid")}),
    Refused("nothing", b"", {((), "missing")}),
    Refused("null", b"null", {((), "dict_type")}),
    Refused("a list", b'[{"name":"x"}]', {((), "dict_type")}),
    Refused("unknown", b'{"steps":[]}', {(("steps",), "extra_forbidden")}),
]
VERB_BODIES = [
    *(
        rb'{"x":"\u0000"}',
        b'{"force":true}',
        b"[]",
        b"1",
        b'""',
        b"{",
        b"\xff",
        b"\xef\xbb\xbf{}",
        b"NaN",
        b"[" * 5_000,
    ),
    *(b'{"a":1,"a":1}', b"\x00", b"false", "{}".encode("utf-16")),
]


def faults_of(response: httpx.Response) -> set[tuple[tuple[str | int, ...], str]]:
    assert response.status_code == 422, f"{response.status_code} {response.text[:300]}"
    assert response.headers["content-type"] == "application/json"
    problem = response.json()
    assert (problem["title"], problem["status"]) == ("Invalid request", 422)
    for fault in problem["detail"]:
        assert fault["loc"][0] == "body"
        assert fault["msg"]
    return {(tuple(fault["loc"][1:]), fault["type"]) for fault in problem["detail"]}


async def stored(live: Service) -> int:
    response = await live.client.get(WORKFLOWS, params={"limit": 1, "include_deleted": True, "include_steps": False})
    assert response.status_code == 200
    return int(response.json()["total"])


async def still_works(live: Service, before: int) -> None:
    """Nothing was stored since *before*, and a good request is still served."""
    assert await stored(live) == before
    response = await live.client.post(WORKFLOWS, content=GOOD, headers=JSON, params={"start": False})
    assert response.status_code == 201


@pytest.mark.parametrize("group", raw_bodies.ALL)
async def test_create_refuses_malformed_bodies(live: Service, group: str) -> None:
    before = await stored(live)
    for case in raw_bodies.ALL[group]:
        response = await live.client.post(WORKFLOWS, content=case.body, headers=JSON)
        assert faults_of(response) == case.faults, case.name
    await still_works(live, before)


async def test_update_refuses_malformed_bodies(live: Service) -> None:
    workflow = await live.create(passthrough_step("a"), start=False)
    for case in PATCHES:
        response = await live.client.patch(WORKFLOWS + workflow["id"], content=case.body, headers=JSON)
        assert faults_of(response) == case.faults, case.name
    assert await live.get(workflow["id"]) == workflow
    assert (await live.client.patch(WORKFLOWS + workflow["id"], json={"name": "good"})).status_code == 200


@pytest.mark.parametrize("verb", ["start", "cleanup", "cancel"])
async def test_verbs_refuse_bodies_that_say_something(live: Service, verb: str) -> None:
    workflow = await live.create(passthrough_step("a"), start=False)
    path = WORKFLOWS + workflow["id"]
    method, path = ("DELETE", path) if verb == "cancel" else ("POST", f"{path}/{verb}")
    for body in VERB_BODIES:
        assert faults_of(await live.client.request(method, path, content=body, headers=JSON)), body[:20]
    assert await live.get(workflow["id"]) == workflow
    assert (await live.client.request(method, path)).status_code == 200


async def test_odd_but_valid_json_is_stored_exactly(live: Service) -> None:
    for body, config in (
        (raw(config=rb'{"x":"\ud83d\ude00"}'), {"x": "\U0001f600"}),
        (raw(config=b'{"x":-0.0}'), {"x": -0.0}),
        (raw(config=b'{"x":9223372036854775807,"y":-9223372036854775808}'), {"x": 2**63 - 1, "y": -(2**63)}),
        (raw(config=b'{"x":1e308,"y":5e-324,"z":1e-999}'), {"x": 1e308, "y": 5e-324, "z": 0.0}),
        (
            raw(config=rb'{"":1,"x y":"\n\t\u001f\u007f","\u00e9":"e\u0301"}'),
            {"": 1, "x y": "\n\t\x1f\x7f", "é": "e\u0301"},
        ),
        (raw(config=rb'{"x":"\\u0000","y":"a\":b"}'), {"x": "\\u0000", "y": 'a":b'}),
        (b" \r\n\t" + raw(config=b'{"x" :\t1}') + b"\n", {"x": 1}),
        (raw(config=b'{"x":"\xef\xbb\xbf\xef\xbf\xbf"}'), {"x": "\ufeff\uffff"}),
        (raw(config=b'{"__proto__":{"x":1},"$ref":"#/"}'), {"__proto__": {"x": 1}, "$ref": "#/"}),
    ):
        response = await live.client.post(WORKFLOWS, content=body, headers=JSON, params={"start": False})
        assert response.status_code == 201, response.text
        assert response.json()["config"] == config
        assert (await live.get(response.json()["id"]))["config"] == config
    response = await live.client.post(WORKFLOWS, content=raw(config=b'{"x":-0.0}'), headers=JSON, params={"start": "0"})
    assert math.copysign(1, response.json()["config"]["x"]) == -1
    response = await live.client.post(WORKFLOWS, content=raw_bodies.nested(64), headers=JSON)
    assert response.status_code == 201
    assert json.dumps(response.json()["config"]).count('"a"') == 63
    done = await live.until_ended(response.json()["id"])
    assert done["config"] == response.json()["config"]


async def test_odd_but_valid_json_is_unchanged_by_a_run(live: Service) -> None:
    """Stored values are read back, mapped and encoded again."""
    deep = step(id=rb'"\u00e9\ud83d\ude00"', config=b'{"x":' * 60 + rb'"\u001f\ud83d\ude00"' + b"}" * 60)
    response = await live.client.post(WORKFLOWS, content=deep, headers=JSON)
    done = await live.until_ended(response.json()["id"])
    assert done["status"] == "COMPLETED"
    assert done["final_step_result"] == done["steps"][0]["config"] == response.json()["steps"][0]["config"]


CONTENT_TYPES = [
    *(None, "", "text/plain", "application/xml", "multipart/form-data; boundary=x", "json", "*/*", "x" * 10_000),
    *(f"application/json; charset={charset}" for charset in ("utf-16", "latin-1", "")),
    *("application/jsonx", "application/problem+json", "application/json, text/plain", "application/json;x=y"),
    *("application/json\x00", "application /json", "application/vnd.api+json", "application/x-www-form-urlencoded"),
]


async def test_bodies_of_other_content_types_are_refused(live: Service) -> None:
    before = await stored(live)
    workflow_id = (await live.create(passthrough_step("a"), start=False))["id"]
    for content_type in CONTENT_TYPES:
        headers = {} if content_type is None else {"Content-Type": content_type}
        for method, path, body in (
            ("POST", WORKFLOWS, GOOD),
            ("PATCH", WORKFLOWS + workflow_id, b'{"name":"x"}'),
            ("POST", f"{WORKFLOWS}{workflow_id}/start", b"{}"),
            ("POST", f"{WORKFLOWS}{workflow_id}/cleanup", b"{}"),
            ("DELETE", WORKFLOWS + workflow_id, b"{}"),
        ):
            response = await live.client.request(method, path, content=body, headers=headers)
            assert response.status_code == 415, (method, path, content_type, response.text)
            assert response.headers["content-type"] == "application/problem+json"
    assert (await live.get(workflow_id))["status"] == "PENDING"
    await still_works(live, before + 1)


async def test_a_body_in_another_encoding_than_gzip_is_refused(live: Service) -> None:
    before = await stored(live)
    for encoding in ("br", "gzip, identity", "x"):
        response = await live.client.post(WORKFLOWS, content=GOOD, headers=JSON | {"Content-Encoding": encoding})
        assert response.status_code == 415, encoding
    await still_works(live, before)


async def test_a_body_of_more_than_16_mib_is_refused(live: Service) -> None:
    async def chunks(size: int) -> AsyncIterator[bytes]:
        for _ in range(0, size, MIB):
            yield b" " * min(MIB, size)

    before = await stored(live)
    big = b" " * (16 * MIB + 1 - len(GOOD)) + GOOD
    assert (await live.client.post(WORKFLOWS, content=big, headers=JSON)).status_code == 413
    assert (await live.client.post(WORKFLOWS, content=chunks(17 * MIB), headers=JSON)).status_code == 413
    made = WORKFLOWS + (await live.create(passthrough_step("a"), start=False))["id"]
    assert (await live.client.patch(made, content=big, headers=JSON)).status_code == 413
    assert (await live.client.post(made + "/start", content=big, headers=JSON)).status_code == 413
    assert (await live.client.request("DELETE", made, content=big, headers=JSON)).status_code == 413
    await still_works(live, before + 1)
    response = await live.client.post(WORKFLOWS, content=big[1:], headers=JSON, params={"start": False})
    assert response.status_code == 201


async def test_a_wrong_content_length_is_refused(live: Service) -> None:
    before = await stored(live)
    for length, status in (("x", 400), (str(16 * MIB + 1), 413), ("9" * 30, 413)):
        response = await live.client.post(WORKFLOWS, content=b"{}", headers=JSON | {"Content-Length": length})
        assert response.status_code == status, length
    await still_works(live, before)


@pytest.mark.extended
async def test_ten_thousand_steps_are_accepted_and_one_more_is_refused(live: Service) -> None:
    before = await stored(live)
    steps = [passthrough_step(str(number), *([str(number - 1)] if number else [])) for number in range(10_001)]
    body: dict[str, Any] = {"name": "n", "origin_instance": "o", "steps": steps}
    response = await live.client.post(WORKFLOWS, json=body)
    assert faults_of(response) == {(("steps",), "too_long")}
    assert await stored(live) == before
    del steps[-1]
    async with live.unchecked_client() as client:
        response = await client.post(WORKFLOWS, json=body, params={"start": False})
        assert response.status_code == 201
        assert (response.json()["total_steps"], len(response.json()["steps"])) == (10_000, 10_000)
        response = await client.post(f"{WORKFLOWS}{response.json()['id']}/cleanup")
        assert response.json()["workflow"]["status"] == "CANCELLED"


@pytest.mark.parametrize("query", ["%00", "a=%00", "%ff=1", "a=%ed%a0%80", "a=%c0%af", "start=%00", "\u00ff%ff"])
async def test_broken_queries_are_refused_everywhere(live: Service, query: str) -> None:
    workflow_id = (await live.create(passthrough_step("a"), start=False))["id"]
    before = await stored(live)
    one = WORKFLOWS + workflow_id
    for method, path in (
        *(("GET", WORKFLOWS), ("GET", one), ("GET", one + "/tasks"), ("GET", one + "/events"), ("DELETE", one)),
        *(("POST", f"{one}/{verb}") for verb in ("start", "pause", "resume", "cleanup")),
        ("GET", f"/api/v1/tasks/{workflow_id}"),
    ):
        response = await live.client.request(method, f"{path}?{query}")
        assert response.status_code == 422, (method, path, response.text)
        assert response.json()["detail"][0]["loc"][0] == "query"
    for method, path in (("POST", WORKFLOWS), ("PATCH", one)):
        response = await live.client.request(method, f"{path}?{query}", content=GOOD, headers=JSON)
        assert response.status_code == 422, (method, path, response.text)
    assert (await live.get(workflow_id))["status"] == "PENDING"
    await still_works(live, before)


@pytest.mark.parametrize(
    ("path", "query", "loc"),
    [
        ("", "start=maybe", "start"),
        ("", "start=", "start"),
        ("", "start=true&start=true", "start"),
        ("/cleanup", "cleanup_tasks=2", "cleanup_tasks"),
        ("/cleanup", "cleanup_tasks=false&cleanup_tasks=true", "cleanup_tasks"),
        ("?", "include_steps=nein", "include_steps"),
        ("/tasks", "include_deleted=01", "include_deleted"),
        ("/events", "limit=1001", "limit"),
        ("/events", "after=1.0", "after"),
        ("/events", "after=" + "9" * 5_000, "after"),
    ],
)
async def test_query_values_that_do_not_fit_are_refused(live: Service, path: str, query: str, loc: str) -> None:
    workflow = await live.create(passthrough_step("a"), start=False)
    before = await stored(live)
    if path == "":
        response = await live.client.post(f"{WORKFLOWS}?{query}", content=GOOD, headers=JSON)
    else:
        method = "POST" if path == "/cleanup" else "GET"
        response = await live.client.request(method, f"{WORKFLOWS}{workflow['id']}{path.strip('?')}?{query}")
    assert response.status_code == 422
    assert [fault["loc"] for fault in response.json()["detail"]] == [["query", loc]]
    assert await live.get(workflow["id"]) == workflow
    await still_works(live, before)


ODD_PATHS = [
    *("%00", "a%00b", "%ff", "%ed%a0%80", "..", "../..", "..%2f..%2fetc%2fpasswd", "%2e%2e", "a//b", "\\", ";"),
    *("x" * 20_000, "%", "%zz", "%u0000", "*", "'; DROP TABLE workflows; --", "\U0001f600", "%0d%0aX: y"),
]


@pytest.mark.parametrize("base", [WORKFLOWS, "/api/v1/tasks/", "/api/v1/artifacts/", "/", "/schema/"])
async def test_odd_paths_are_not_found(live: Service, base: str) -> None:
    before = await stored(live)
    for path in ODD_PATHS:
        for method in ("GET", "POST", "DELETE", "PATCH"):
            response = await live.client.request(method, base + path)
            # The client resolves dots itself, and GET of the root exists.
            statuses = (200,) if (method, response.request.url.path) == ("GET", "/") else (404, 405)
            assert response.status_code in statuses, (method, path, response.status_code, response.text)
    await still_works(live, before)


@pytest.mark.parametrize("method", ["PUT", "TRACE", "BREW", "POST\u00e9", "X" * 5_000])
async def test_other_methods_are_refused(live: Service, method: str) -> None:
    before = await stored(live)
    response = await live.client.request(method, WORKFLOWS, content=GOOD, headers=JSON)
    assert response.status_code in (400, 405), response.status_code
    await still_works(live, before)


async def test_odd_headers_are_refused_or_ignored(live: Service) -> None:
    before = await stored(live)
    good = f"Bearer {token()}".encode()
    for name, value, status in (
        *((b"Authorization", value, 401) for value in (b"", b"Bearer", b"Bearer \x00", good + b"\x00", good + b"\xff")),
        *(
            (b"Authorization", value, 401)
            for value in (b"Basic eDp5", b"Bearer a.b.c", b"\xff\xfe", b"Bearer " + b"x" * MIB)
        ),
        *(
            (name, b"\x00\xff\xed\xa0\x80", 200)
            for name in (b"Accept", b"If-None-Match", b"X-Request-Id", b"User-Agent")
        ),
        *((name, b"x" * 100_000, 200) for name in (b"Accept", b"Cookie", b"Accept-Language", b"Range")),
        (b"Host", b"a b", 400),
        (b"Host", b"\xff", 400),
    ):
        response = await live.client.get(WORKFLOWS, params={"limit": 1}, headers=[(name, value)])
        assert response.status_code == status, (name, value[:40], response.text[:200])
    twice = [(b"Authorization", good), (b"Authorization", good)]
    async with httpx.AsyncClient(transport=live.transport, base_url="http://t.local") as client:
        assert (await client.get(WORKFLOWS, headers=twice)).status_code == 401
    await still_works(live, before)


async def test_random_bytes_are_refused_as_a_body(live: Service) -> None:
    before = await stored(live)
    for size in (1, 2, 10, 100, 1_000, 100_000):
        for body in (secrets.token_bytes(size), b'{"name":"' + secrets.token_bytes(size) + b'"}'):
            response = await live.client.post(WORKFLOWS, content=body, headers=JSON)
            assert response.status_code == 422, body.hex()[:200]
    await still_works(live, before)
