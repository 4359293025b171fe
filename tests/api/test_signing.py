"""Signed addresses of artifacts: good for one path, until one moment, for whoever holds them."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx
import pytest

from stepwell.domain.signing import SignedUrls
from support.conformance import conforming_client
from support.fake_service import AT, SECRET, FakeApi, token

PATH = "media/0198c0de-0000-7000-8000-000000000001/result.png"


@pytest.fixture
def urls() -> SignedUrls:
    return SignedUrls(SECRET, "https://stepwell.example/", 60)


@pytest.fixture
async def stranger(api: FakeApi) -> AsyncIterator[httpx.AsyncClient]:
    async with conforming_client(api.app) as client:
        yield client


def parts(url: str) -> tuple[int, str]:
    query = parse_qs(urlsplit(url).query)
    return int(query["expires"][0]), query["signature"][0]


def test_an_address_stands_under_the_base_and_verifies(urls: SignedUrls) -> None:
    url = urls.url(PATH, AT)
    assert url.startswith(f"https://stepwell.example/api/v1/artifacts/{PATH}?expires=")
    assert urls.verify(PATH, *parts(url), AT)


@pytest.mark.parametrize(("seconds", "holds"), [(0, True), (58, True), (60, False), (3600, False)])
def test_it_expires(urls: SignedUrls, seconds: int, holds: bool) -> None:  # noqa: FBT001
    assert urls.verify(PATH, *parts(urls.url(PATH, AT)), AT + timedelta(seconds=seconds)) is holds


def test_path_moment_and_secret_are_signed(urls: SignedUrls) -> None:
    expires, signature = parts(urls.url(PATH, AT))
    assert not urls.verify(PATH + "x", expires, signature, AT)
    assert not urls.verify(PATH, expires + 1, signature, AT)
    assert not SignedUrls("x" * 32, "https://stepwell.example", 60).verify(PATH, expires, signature, AT)
    # Digits must not be able to wander between the signed parts.
    assert not urls.verify(f"1\n{PATH}", expires, signature, AT)


@pytest.mark.parametrize("signature", ["", "0", "0" * 64, "é" * 64, "\udcff", "A" * 100_000])
def test_a_made_up_signature_fails(urls: SignedUrls, signature: str) -> None:
    assert not urls.verify(PATH, 2**62, signature, AT)


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SignedUrls("short", "https://stepwell.example", 60)


async def stored(api: FakeApi, client: httpx.AsyncClient, *, name: str = "result.png", tenant: str = "acme") -> str:
    created = await client.post("/api/v1/workflows/", json=WORKFLOW | {"origin_tenant_id": tenant})
    assert created.status_code == 201, created.text
    record = next(iter(api.service.workflows.values()))
    task_id = uuid4()
    output = await api.files.put(f"media/{task_id}/{name}", bytes(range(256)) * 10)
    api.service.add_task(record, output, task_id=task_id)
    return output.path


WORKFLOW = {
    "name": "one",
    "origin_instance": "tests",
    "steps": [{"id": "a", "task_type": "PASSTHROUGH"}],
}


def local(url: str) -> str:
    return url.removeprefix("http://t.local")


async def test_a_signed_address_needs_no_token(
    api: FakeApi, client: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    path = await stored(api, client)
    answer = await stranger.get(local(api.signed_urls.url(path, AT)))
    assert answer.status_code == 200
    assert answer.content == api.files.files[path]
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-length"] == "2560"
    assert answer.headers["content-disposition"] == "inline"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"


async def test_expired_and_forged_addresses_are_refused(
    api: FakeApi, client: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    path = await stored(api, client)
    url = local(api.signed_urls.url(path, AT))
    assert (await stranger.get(url[:-1] + ("0" if url[-1] != "0" else "1"))).status_code == 403
    assert (await stranger.get(url.replace("result", "resulu"))).status_code == 403
    assert (await stranger.get(url.partition("&")[0])).status_code == 401
    assert (await stranger.get(url.partition("?")[0])).status_code == 401
    assert (await stranger.get(url.replace("expires=1", "expires=x"))).status_code == 422
    api.clock.at = datetime.fromtimestamp(AT.timestamp() + 61, AT.tzinfo)
    assert (await stranger.get(url)).status_code == 403


async def test_a_signature_opens_nothing_but_artifacts(
    api: FakeApi, client: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    path = await stored(api, client)
    query = api.signed_urls.url(path, AT).partition("?")[2]
    assert (await stranger.get(f"/api/v1/workflows/?{query}")).status_code == 401


async def test_a_token_reads_its_tenants_artifacts_alone(api: FakeApi, client: httpx.AsyncClient) -> None:
    path = await stored(api, client, name="report.bin")
    for tenant, status in [("acme", 200), ("other", 404), (None, 404)]:
        async with conforming_client(api.app, token(tenant)) as caller:
            answer = await caller.get(f"/api/v1/artifacts/{path}")
            assert answer.status_code == status
    assert (await client.get(f"/api/v1/artifacts/{path}")).headers["content-disposition"] == (
        'attachment; filename="report.bin"'
    )


async def test_a_known_etag_spares_the_bytes(api: FakeApi, client: httpx.AsyncClient) -> None:
    path = await stored(api, client)
    first = await client.get(f"/api/v1/artifacts/{path}")
    again = await client.get(f"/api/v1/artifacts/{path}", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_a_file_that_the_store_lost_is_a_404(api: FakeApi, client: httpx.AsyncClient) -> None:
    path = await stored(api, client)
    api.files.files.clear()
    assert (await client.get(f"/api/v1/artifacts/{path}")).status_code == 404


@pytest.mark.parametrize(
    "path",
    ["x", "media/../etc/passwd", "media/%00/x", "%2e%2e/%2e%2e/etc/passwd", "media/1/2/3", "/etc/passwd", "media/a%0a"],
)
async def test_odd_paths_are_a_404_and_reach_no_database(api: FakeApi, client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(f"/api/v1/artifacts/{path}")).status_code == 404
    assert "artifact" not in api.service.calls
