"""Paths: which exist, which methods each allows, and where the root leads."""

import re
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from stepwell import __version__
from stepwell.api.routes.all_routes import operations
from stepwell.rules.access.signed_urls import SignedUrls
from stepwell.runtime.asgi_scope import http_scope
from stepwell.testing import ManualClock
from support.providers.configured_by_steps import configured_step
from support.service.conformance import conforming_client
from support.service.live_service import SECRET, Service, token

pytestmark = pytest.mark.asyncio(loop_scope="module")
BROWSERS = [
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "text/html, application/xhtml+xml, image/jxr, */*",
    "TEXT/HTML",
    "application/json;q=0.5, text/html;q=0.6",
]
OTHERS = [None, "", "*/*", "application/json", "text/html;q=0", "application/json, text/html;q=0.9", "text/plain"]


def methods_by_path() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for operation in operations():
        path = re.sub(r"\{\w+\}", str(UUID(int=1)), operation.path)
        found.setdefault(path, {"OPTIONS"}).update({"GET", "HEAD"} if operation.method == "GET" else {operation.method})
    # The rest of the path of a step may also be the id of a step.
    of_steps = ("/decision", "/result", "/skip")
    return {path: methods | ({"GET", "HEAD"} if path.endswith(of_steps) else set()) for path, methods in found.items()}


@pytest.mark.parametrize(("path", "methods"), methods_by_path().items())
async def test_options_lists_what_a_path_allows_without_a_token(api: Service, path: str, methods: set[str]) -> None:
    async with conforming_client(api.app.api) as client:
        for each in {path, path.rstrip("/") or "/", path.rstrip("/") + "/"}:
            response = await client.options(each)
            assert (response.status_code, response.content) == (204, b"")
            assert response.headers["allow"] == ", ".join(sorted(methods))
            patch_types = "application/json, application/merge-patch+json" if "PATCH" in methods else None
            assert response.headers.get("accept-patch") == patch_types
            refused = await client.request("TRACE", each)
            assert refused.status_code == 405
            assert set(refused.headers["allow"].split(", ")) == methods


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"])
@pytest.mark.parametrize(
    "path",
    [
        *("/nothing", "/api", "/api/v1", "/api/v2/workflows", "/api/v1/workflows/x/y"),
        *("/health", "/metrics/x", "/schema/openapi.yaml", "/api/v1/tasks", "/API/v1/workflows", "/%00", "/é?token=x"),
    ],
)
async def test_a_path_that_does_not_exist_is_a_404_that_says_so(api: Service, method: str, path: str) -> None:
    for bearer in (None, token("acme", every=False), "no token"):
        async with conforming_client(api.app.api, bearer) as client:
            response = await client.request(method, path)
        assert response.status_code == 404
        if method != "HEAD":
            sent = response.request.url.raw_path.decode().partition("?")[0]
            assert response.json()["detail"] == f"No route: {method} {sent}. /docs lists all routes."


async def test_the_404_of_a_long_path_is_short(client: httpx.AsyncClient) -> None:
    response = await client.get("/" + "x" * 5_000)
    assert response.json()["detail"] == f"No route: GET /{'x' * 199}. /docs lists all routes."


async def test_an_unknown_id_is_not_a_path_that_does_not_exist(client: httpx.AsyncClient) -> None:
    for path, what in (("workflows/x", "workflow"), (f"tasks/{uuid4()}", "task"), ("artifacts/x", "artifact")):
        response = await client.get(f"/api/v1/{path}")
        assert (response.status_code, response.json()["detail"]) == (404, f"{what} not found")


async def test_options_of_the_server_itself_is_empty(api: Service) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = http_scope("OPTIONS", b"*", [(b"host", b"t.local")], server=("t.local", 80))
    await api.app.api(scope, receive, send)
    assert sent[0]["status"] == 204
    assert b"".join(message.get("body", b"") for message in sent[1:]) == b""
    sent.clear()
    scope["method"] = "GET"
    await api.app.api(scope, receive, send)
    assert sent[0]["status"] == 404


@pytest.mark.parametrize("accept", BROWSERS)
async def test_the_root_redirects_a_browser_to_the_web_page(api: Service, accept: str) -> None:
    async with conforming_client(api.app.api) as client:
        for method in ("GET", "HEAD"):
            response = await client.request(method, "/", headers={"Accept": accept})
            assert (response.status_code, response.headers["location"]) == (307, "/ui")
            assert response.headers["vary"] == "Accept"


@pytest.mark.parametrize("accept", OTHERS)
async def test_the_root_returns_the_paths_of_the_documentation_to_other_clients(
    api: Service, accept: str | None
) -> None:
    async with conforming_client(api.app.api) as client:
        response = await client.get("/", headers={} if accept is None else {"Accept": accept})
        assert (response.status_code, response.headers["vary"]) == (200, "Accept")
        content = response.json()
        assert (content.pop("name"), content.pop("version")) == ("Stepwell", __version__)
        assert sorted(content) == ["openapi", "ready", "schema"]
        for path in content.values():
            assert (await client.get(path)).status_code == (307 if path == "/schema" else 200)


async def test_head_responds_as_get_does_without_the_body(
    api: Service, client: httpx.AsyncClient, clock: ManualClock
) -> None:
    created = await api.create(configured_step("a", files=1))
    location = f"/api/v1/workflows/{created['id']}"
    await api.until_ended(created["id"])
    (task,) = (await client.get(f"{location}/tasks")).json()["tasks"]
    (output,) = task["outputs"]
    paths = ["/", "/health/live", "/health/ready", "/schema", "/schema/openapi.json", "/openapi.json"]
    paths += ["/api/v1/workflows", location]
    paths += ["/manual", "/manual/concepts", "/manual/nothing", "/manual/images/runs.webp"]
    paths += [f"{location}/events", f"{location}/tasks", f"/api/v1/artifacts/{output['path']}", "/api/v1/events"]
    paths += [f"/api/v1/workflows/{uuid4()}", f"{location}?include_steps=x", "/api/v1/providers"]
    for path in paths:
        got = await client.get(path)
        response = await client.head(path)
        assert (response.status_code, response.content) == (got.status_code, b""), path
        assert response.headers == got.headers, path
    async with conforming_client(api.app.api) as stranger:
        assert (await stranger.head(location)).status_code == 401
        signed = SignedUrls(SECRET, "http://t.local", 60).url(output["path"], clock.now())
        assert (await stranger.head(signed)).headers["content-length"] == str(output["size"])
