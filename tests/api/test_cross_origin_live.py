"""Web pages of other origins: what a browser needs to let them call the API, on every response."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from stepwell.api.routes.all_routes import openapi_document, operations
from stepwell.basics.setting_values import Origins
from stepwell.providers.installed_providers import installed_providers
from stepwell.settings import InvalidSettings
from stepwell.testing import MemoryDatabase
from support.providers.configured_by_steps import WORKFLOWS, passthrough_step
from support.service.conformance import conforming_client
from support.service.installed_settings import read_settings
from support.service.live_service import Service, running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")
PAGE = "https://app.example.com"
LISTED = {"Origin": PAGE}
OTHER = [
    "https://app.example.com:8443",
    "http://app.example.com",
    "https://evil.example",
    "null",
    f"{PAGE}, {PAGE}",
    "",
]
PREFLIGHT = {"Access-Control-Request-Method": "DELETE", "Access-Control-Request-Headers": "authorization,x-own"}
# A browser shows these in any case: https://fetch.spec.whatwg.org/#cors-safelisted-response-header-name
SAFE = {"cache-control", "content-language", "content-length", "content-type", "expires", "last-modified", "pragma"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """A service for pages of two origins."""
    origins = Origins.read(f"{PAGE} http://localhost:3000")
    folder = tmp_path_factory.mktemp("shared")
    async with running_service(MemoryDatabase(), folder, cors_origins=origins) as service:
        yield service


def cors_headers(response: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith("access-control-")}


async def test_every_path_responds_to_a_preflight_without_a_token(shared: Service) -> None:
    paths = {operation.path.replace("{", "").replace("}", "") for operation in operations()} | {"/nothing", "/api/v2/x"}
    async with conforming_client(shared.app.api) as stranger:
        for path in paths:
            response = await stranger.options(path, headers=LISTED | PREFLIGHT)
            assert (response.status_code, response.content, response.headers["vary"]) == (204, b"", "Origin"), path
            found = cors_headers(response)
            assert found.pop("access-control-allow-origin") == PAGE
            allowed = found.pop("access-control-allow-headers").split(", ")
            assert {"Authorization", "Content-Type", "Idempotency-Key", "If-Match", "Prefer", "*"} <= set(allowed)
            methods = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
            assert found == {"access-control-allow-methods": methods, "access-control-max-age": "7200"}
            refused = await stranger.options(path, headers={"Origin": OTHER[0]} | PREFLIGHT)
            assert (cors_headers(refused), refused.headers["vary"]) == ({}, "Origin")


async def test_every_response_has_the_headers_for_a_page_of_a_listed_origin(shared: Service) -> None:
    created = await shared.create(passthrough_step("a"), start=False)
    one = f"{WORKFLOWS}{created['id']}"
    json_type = {"Content-Type": "application/json"}
    requests: list[tuple[int, str, str, dict[str, str], bytes]] = [
        (200, "GET", one, {}, b""),
        (200, "GET", "/health/live", {}, b""),
        (200, "GET", "/", {}, b""),
        (307, "GET", "/schema", {}, b""),
        (204, "OPTIONS", one, {}, b""),
        (404, "GET", "/nothing", {}, b""),
        (404, "GET", f"{WORKFLOWS}{uuid4()}", {}, b""),
        (405, "PUT", one, {}, b""),
        (409, "POST", f"{one}/resume", {}, b""),
        (412, "POST", f"{one}/start", {"If-Match": '"x"'}, b""),
        (413, "POST", WORKFLOWS, json_type, b" " * (16 * 1024 * 1024 + 1)),
        (415, "POST", WORKFLOWS, {}, b"x"),
        (422, "POST", WORKFLOWS, json_type, b"{}"),
    ]
    for status, method, path, headers, body in requests:
        for origin in (PAGE, "http://localhost:3000"):
            response = await shared.client.request(method, path, headers=headers | {"Origin": origin}, content=body)
            assert (response.status_code, response.headers["access-control-allow-origin"]) == (status, origin), path
            assert cors_headers(response).keys() == {"access-control-allow-origin", "access-control-expose-headers"}
            assert response.headers["vary"].split(", ")[-1] == "Origin"
    async with conforming_client(shared.app.api) as stranger:
        response = await stranger.get(one, headers=LISTED)
    assert (response.status_code, response.headers["access-control-allow-origin"]) == (401, PAGE)


async def test_streams_have_the_headers_once(shared: Service) -> None:
    created = await shared.create(passthrough_step("a"))
    await shared.until_ended(created["id"])
    for _ in range(2):
        events = f"{WORKFLOWS}{created['id']}/events"
        response = await shared.client.get(events, headers=LISTED | {"Accept": "text/event-stream"})
        assert response.headers["content-type"] == "text/event-stream"
        assert response.headers.get_list("access-control-allow-origin") == [PAGE]
        assert response.headers.get_list("vary") == ["Origin"]


@pytest.mark.parametrize("origin", OTHER)
async def test_a_page_of_another_origin_gets_no_headers(shared: Service, origin: str) -> None:
    response = await shared.client.get("/", headers={"Origin": origin})
    assert (response.status_code, response.headers["vary"], cors_headers(response)) == (200, "Accept, Origin", {})


async def test_a_response_without_an_origin_names_it_in_vary(shared: Service) -> None:
    response = await shared.client.get("/health/live")
    assert (response.headers["vary"], cors_headers(response)) == ("Origin", {})


async def test_a_refusal_while_stopping_has_the_headers(tmp_path: Path) -> None:
    async with running_service(MemoryDatabase(), tmp_path, cors_origins=Origins.read(PAGE)) as service:
        await service.app.stop()
        response = await service.client.post(WORKFLOWS, json={}, headers=LISTED)
        assert (response.status_code, response.headers["access-control-allow-origin"]) == (503, PAGE)


async def test_every_origin_is_allowed_without_a_list(tmp_path: Path) -> None:
    async with running_service(MemoryDatabase(), tmp_path, cors_origins=Origins.read("*")) as service:
        for headers in (LISTED, {"Origin": "null"}, LISTED | {"Cookie": "a=b"}, {}):
            response = await service.client.get("/health/live", headers=headers)
            assert cors_headers(response)["access-control-allow-origin"] == "*"
            assert "vary" not in response.headers


async def test_there_are_no_headers_by_default(api: Service) -> None:
    async with conforming_client(api.app.api) as stranger:
        for response in (
            await stranger.get("/", headers=LISTED),
            await stranger.options("/", headers=LISTED | PREFLIGHT),
        ):
            assert (cors_headers(response), "Origin" in response.headers.get("vary", "")) == ({}, False)


async def test_a_page_can_read_every_header_of_the_document(shared: Service) -> None:
    response = await shared.client.get("/", headers=LISTED)
    exposed = {name.lower() for name in response.headers["access-control-expose-headers"].split(", ")}
    document = json.loads(json.dumps(openapi_document([*installed_providers()])))
    documented = {
        name.lower()
        for methods in document["paths"].values()
        for operation in methods.values()
        for response in operation["responses"].values()
        for name in response.get("headers", {})
    }
    assert documented - SAFE <= exposed
    assert {"retry-after", "ratelimit", "ratelimit-policy", "idempotency-replayed", "preference-applied"} <= exposed
    assert {"location", "link", "etag", "content-disposition", "www-authenticate", "allow"} <= exposed


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("*", ("*",)),
        (f"{PAGE},http://[::1]:8080 , capacitor://localhost", (PAGE, "http://[::1]:8080", "capacitor://localhost")),
        ("http://localhost", ("http://localhost",)),
    ],
)
async def test_origins_are_read_from_the_settings(text: str, origins: tuple[str, ...]) -> None:
    assert read_settings({"STEPWELL_CORS_ORIGINS": text}).cors_origins == origins


@pytest.mark.parametrize(
    "text",
    [
        *(f"{PAGE}/", f"{PAGE}/app", "app.example.com", "HTTPS://app.example.com", "https://App.example.com", "null"),
        *(f"{PAGE}:443", "http://a:80", "https://*.example.com", f"* {PAGE}", "https://u:p@a", "https://", f"{PAGE}?x"),
    ],
)
async def test_what_is_no_origin_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InvalidSettings) as refusal:
        read_settings({"STEPWELL_CORS_ORIGINS": text})
    (line,) = refusal.value.lines
    assert line.startswith(
        "STEPWELL_CORS_ORIGINS: Expected origins as browsers send them, like https://app.example.com"
    )
