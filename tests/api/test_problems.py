"""Errors on the wire: one shape for each, nothing leaked, and no request that provokes a 500."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import structlog
from structlog.typing import EventDict

from stepwell.api.openapi.components import EXAMPLE
from stepwell.api.requests.body_buffers import INLINE_BYTES
from stepwell.api.responses.problems import TABLE
from stepwell.basics import errors
from stepwell.basics.errors import (
    ArtifactError,
    AttemptError,
    CallFailed,
    MissingProvider,
    OutcomeUnknown,
    ResultTooLarge,
    StepwellError,
    Unavailable,
    UploadsGone,
)
from stepwell.runtime.asgi_scope import http_scope
from stepwell.testing import MemoryDatabase
from support.providers.configured_by_steps import ConfiguredProvider, configured_step
from support.service.conformance import conforming_client
from support.service.live_service import Service, running_service, token

pytestmark = pytest.mark.asyncio(loop_scope="module")
CREATE = "/api/v1/workflows/"
BODY = json.dumps(EXAMPLE).encode()
JSON = {"Content-Type": "application/json"}


async def created(client: httpx.AsyncClient, *, start: bool = False) -> str:
    """The path of a new workflow of one step."""
    body = EXAMPLE | {"steps": [{"id": "a", "task_type": "PASSTHROUGH"}]}
    response = await client.post(CREATE, params={"start": start}, json=body)
    assert response.status_code == 201, response.text
    return str(response.headers["location"])


def fail(monkeypatch: pytest.MonkeyPatch, reads: object, method: str, error: Exception) -> None:
    """Let *method* of *reads* raise *error*."""

    async def raise_error(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(reads, method, raise_error)


async def test_every_error_of_the_product_has_a_row() -> None:
    defined = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, StepwellError)}
    assert defined - set(TABLE) == {
        StepwellError,
        *(
            AttemptError,
            CallFailed,
            MissingProvider,
            OutcomeUnknown,
            ResultTooLarge,
            UploadsGone,
        ),  # they stay in the engine
    }


async def test_a_problem_has_the_members_of_rfc_9457(client: httpx.AsyncClient) -> None:
    path = f"/api/v1/workflows/{uuid4()}"
    response = await client.get(path)
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json() == {
        "type": "/schema#problem-404",
        "title": "Not found",
        "status": 404,
        "detail": "workflow not found",
        "instance": path,
    }


async def test_a_verb_in_a_wrong_state_reports_the_states_that_allow_it(
    api: Service, client: httpx.AsyncClient, scripted: ConfiguredProvider
) -> None:
    workflow_id = (await api.create(configured_step("a", wait=True)))["id"]
    response = await client.post(f"{CREATE}{workflow_id}/start")
    scripted.release(workflow_id, "a")
    assert response.status_code == 409
    assert response.json()["current_status"] == "RUNNING"
    assert response.json()["allowed_from"] == ["PENDING"]


async def test_unknown_paths_are_404_and_unknown_methods_405(client: httpx.AsyncClient) -> None:
    assert (await client.get("/nothing")).status_code == 404
    response = await client.put(CREATE)
    assert response.status_code == 405
    assert {"GET", "POST"} <= set(response.headers["allow"].split(", "))


async def test_trailing_slashes_are_optional(client: httpx.AsyncClient) -> None:
    location = await created(client)
    for path in ("/api/v1/workflows", CREATE, location, location + "/", location + "/events/", "/health/live/"):
        assert (await client.get(path)).status_code == 200
    assert (await client.post("/api/v1/workflows", params={"start": False}, json=EXAMPLE)).status_code == 201


@pytest.mark.parametrize(
    "content_type",
    [
        *(None, "", ";", "*/*", "json", "text/plain", "application/xml", "application/jsonx"),
        *("multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "application/problem+json"),
        *("application/json; charset=utf-16", "application/json; charset=latin-1", "application/json; version=1"),
        "application/json, text/plain",
    ],
)
@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
async def test_a_body_of_another_content_type_is_a_415(
    client: httpx.AsyncClient, content_type: str | None, method: str
) -> None:
    path = CREATE if method == "POST" else f"{CREATE}{uuid4()}"
    headers = {} if content_type is None else {"Content-Type": content_type}
    response = await client.request(method, path, content=BODY, headers=headers)
    assert response.status_code == 415
    more = ", application/merge-patch+json" if method == "PATCH" else ""
    assert response.headers["accept"] == f"application/json{more}"


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "APPLICATION/JSON", "application/json;charset=utf-8", 'application/json; charset="UTF-8"'],
)
async def test_json_in_utf_8_is_accepted_in_any_notation(client: httpx.AsyncClient, content_type: str) -> None:
    response = await client.post(CREATE, params={"start": False}, content=BODY, headers={"Content-Type": content_type})
    assert response.status_code == 201


async def test_two_content_types_and_encodings_are_refused(client: httpx.AsyncClient) -> None:
    twice = [("Content-Type", "application/json"), ("Content-Type", "application/json")]
    assert (await client.post(CREATE, content=BODY, headers=twice)).status_code == 415
    for encoding in ("br", "deflate", "zstd", "gzip, gzip", "gzip;q=1"):
        response = await client.post(CREATE, content=BODY, headers=JSON | {"Content-Encoding": encoding})
        assert (response.status_code, response.headers["accept-encoding"]) == (415, "gzip")


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"null", b"[]", b"1", b'"x"', b"NaN", b"{}", b"\xff\xfe", b"\xef\xbb\xbf{}", b"{}{}", b"\x00"),
        *(b'{"name": "\xed\xa0\x80"}', b'{"name": "\xc0\xaf"}', b'{"name": "\\ud800"}', b'{"name": "\\u0000"}'),
        *("{}".encode("utf-16"), b"[" * 5000, b'{"a":' * 5000, b"1" * 5000, b"1e999", b'{"name": 1%s}' % (b"0" * 400)),
    ],
)
async def test_a_body_that_is_no_definition_is_a_422(client: httpx.AsyncClient, body: bytes) -> None:
    for method, path in (("POST", CREATE), ("PATCH", f"{CREATE}{uuid4()}")):
        if (method, body) == ("PATCH", b"{}"):
            continue
        response = await client.request(method, path, content=body, headers=JSON)
        assert response.status_code == 422, response.text
        assert response.headers["content-type"] == "application/json"
        assert response.json()["status"] == 422
        assert all(fault["loc"][0] == "body" for fault in response.json()["detail"])


async def test_a_big_body_is_validated_too(client: httpx.AsyncClient) -> None:
    steps = [{"id": f"step {n}", "task_type": "PASSTHROUGH", "config": {"x": "y" * 500}} for n in range(200)]
    big = json.dumps(EXAMPLE | {"steps": steps}).encode()
    assert len(big) > INLINE_BYTES
    assert (await client.post(CREATE, params={"start": False}, content=big, headers=JSON)).status_code == 201
    assert (await client.post(CREATE, content=big[:-1], headers=JSON)).status_code == 422


async def test_a_body_that_is_too_big_is_a_413_with_and_without_a_length(client: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(17):
            yield b" " * 1024 * 1024

    assert (await client.post(CREATE, content=chunks(), headers=JSON)).status_code == 413
    response = await client.post(CREATE, content=b"{}", headers=JSON | {"Content-Length": str(16 * 1024 * 1024 + 1)})
    assert response.status_code == 413
    response = await client.post(CREATE, content=b"{}", headers=JSON | {"Content-Length": "many"})
    assert response.status_code == 400


@pytest.mark.parametrize("body", [b"", b"{}", b"null"])
async def test_verbs_need_no_body_and_ignore_an_empty_one(api: Service, client: httpx.AsyncClient, body: bytes) -> None:
    location = CREATE + (await api.create(configured_step("a", wait=True), start=False))["id"]
    headers = JSON if body else {}
    for method, path in (("POST", "/start"), ("POST", "/pause"), ("POST", "/resume"), ("DELETE", "")):
        response = await client.request(method, location + path, content=body, headers=headers)
        assert response.status_code == 200, response.text
    assert (await client.post(location + "/cleanup", content=body, headers=headers)).status_code == 200


@pytest.mark.parametrize("body", [b'{"force": true}', b"[1]", b"{"])
async def test_verbs_refuse_a_body_that_says_something(client: httpx.AsyncClient, body: bytes) -> None:
    location = await created(client)
    for path in ("/start", "/cleanup"):
        assert (await client.post(location + path, content=body, headers=JSON)).status_code == 422
    assert (await client.get(location)).json()["status"] == "PENDING"


async def test_an_outage_of_the_database_is_a_503(tmp_path: Path) -> None:
    database = MemoryDatabase()
    async with running_service(database, tmp_path) as own:
        location = await created(own.client)
        database.available = False
        for method, path in (("GET", location), ("GET", CREATE), ("DELETE", location), ("GET", "/health/ready")):
            response = await own.client.request(method, path)
            assert response.status_code == 503
            assert int(response.headers["retry-after"]) >= 1
        assert (await own.client.get("/health/live")).status_code == 200
        database.available = True


async def test_a_503_says_when_to_come_back(
    api: Service, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(
        monkeypatch, api.app.services.reads.store, "page", Unavailable("The database doesn't respond.", retry_after_s=7)
    )
    response = await client.get(CREATE)
    assert (response.status_code, response.headers["retry-after"]) == (503, "7")


async def test_a_service_that_stops_serves_reads_and_refuses_writes(tmp_path: Path) -> None:
    async with running_service(MemoryDatabase(), tmp_path) as own:
        location = await created(own.client)
        await own.app.stop()
        for method, path in (
            ("POST", CREATE),
            ("POST", f"{location}/start"),
            ("PATCH", location),
            ("DELETE", location),
        ):
            response = await own.client.request(method, path)
            assert response.status_code == 503
            assert response.headers["retry-after"]
        assert (await own.client.get("/health/ready")).status_code == 503
        assert (await own.client.get(location)).json()["status"] == "PENDING"


@pytest.mark.parametrize("error", [RuntimeError("secret: hunter2"), AttemptError("hunter2", retryable=False)])
async def test_an_unexpected_error_is_logged_and_not_returned(
    api: Service, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    fail(monkeypatch, api.app.services.reads.store, "page", error)
    app: Any = api.app.api
    transport = httpx.ASGITransport(app=app)
    headers = {"Authorization": f"Bearer {token()}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://t.local", headers=headers) as client:
        with structlog.testing.capture_logs() as logs:
            response = await client.get(CREATE)
    assert response.status_code == 500
    assert "hunter2" not in response.text
    assert response.headers["content-type"] == "application/problem+json"
    entry: EventDict = logs[0]
    assert (entry["event"], entry["exc_info"]) == ("request failed", error)


async def test_a_store_that_fails_is_a_503_without_its_words(
    api: Service, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(
        monkeypatch, api.app.services.reads, "artifact", ArtifactError("/var/lib/stepwell/artifacts: Permission denied")
    )
    with structlog.testing.capture_logs() as logs:
        response = await client.get(f"/api/v1/artifacts/media/{uuid4()}/x.png")
    assert response.status_code == 503
    assert "/var/lib" not in response.text
    assert "Permission denied" in logs[0]["error"]


async def test_an_invalid_host_is_a_400(api: Service) -> None:
    async with conforming_client(api.app.api, token(), Host="a b") as client:
        assert (await client.get(CREATE)).status_code == 400


async def test_a_client_that_disconnects_within_its_body_gets_a_400(api: Service) -> None:
    sent: list[Any] = []
    messages = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    auth = f"Bearer {token()}".encode()
    headers = [(b"host", b"t.local"), (b"authorization", auth), (b"content-type", b"application/json")]
    scope: Any = http_scope("POST", CREATE.encode(), headers, server=("t.local", 80))
    await api.app.api(scope, receive, send)
    assert sent[0]["status"] == 400


async def test_requests_are_counted_by_template(tmp_path: Path) -> None:
    async with running_service(MemoryDatabase(), tmp_path) as own:
        client = own.client
        location = await created(client)
        await client.get(location)
        await client.get("/no/such/path/" + "x" * 100)
        await client.request("BREW", location)
        text = (await client.get("/metrics")).text
        assert 'stepwell_http_requests_total{method="POST",route="/api/v1/workflows",status="201"} 1.0' in text
        assert 'route="/api/v1/workflows/{workflow_id}",status="200"} 1.0' in text
        assert 'stepwell_http_requests_total{method="GET",route="unmatched",status="404"} 1.0' in text
        assert 'method="other",route="unmatched",status="405"' in text
        assert "no/such" not in text
        assert "BREW" not in text
