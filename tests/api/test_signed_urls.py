"""Signed addresses of artifacts: good for one path, until one moment, for whoever holds them."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio

from stepwell.contract.scopes import Permission
from stepwell.rules.access.signed_urls import SignedUrls
from stepwell.runtime.asgi_scope import http_scope
from stepwell.testing import ManualClock, MemoryDatabase
from support.providers.scripted import ScriptedProvider, Succeed, scripted_step
from support.service.conformance import conforming_client
from support.service.live_service import SECRET, Service, running_service

in_module_loop = pytest.mark.asyncio(loop_scope="module")
AT = datetime(2026, 11, 25, 12, 0, 0, 123000, tzinfo=UTC)
DATA = bytes(range(256)) * 10
LINKS = "/api/v1/artifacts/links"
PATH = "media/0198c0de-0000-7000-8000-000000000001/result.png"


@pytest.fixture
def urls() -> SignedUrls:
    return SignedUrls(SECRET, "https://stepwell.example/", 60)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(clock: ManualClock, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """A service whose workflows store two files each, and whose addresses are good for a minute."""
    provider = ScriptedProvider(default=Succeed(files={"result.png": DATA, "report.bin": DATA}))
    async with AsyncExitStack() as stack:
        service = running_service(
            MemoryDatabase(clock),
            tmp_path_factory.mktemp("api"),
            providers=[provider],
            public_url="http://t.local",
            signed_url_ttl_s=60,
        )
        yield await stack.enter_async_context(service)


@pytest.fixture
def signed() -> SignedUrls:
    """The addresses of `api`, whose secret is the tests'."""
    return SignedUrls(SECRET, "http://t.local", 60)


@pytest_asyncio.fixture(loop_scope="module")
async def stranger(api: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a token."""
    async with conforming_client(api.app.api) as client:
        yield client


def target(url: str) -> str:
    return "/" + url.split("/", 3)[3]


def test_an_address_stands_under_the_base_and_verifies(urls: SignedUrls) -> None:
    url = urls.url(PATH, AT)
    assert url.startswith(f"https://stepwell.example/api/v1/artifacts/{PATH}?expires=")
    assert urls.verify(target(url), AT)


@pytest.mark.parametrize(("seconds", "holds"), [(0, True), (58, True), (60, False), (3600, False)])
def test_an_address_expires(urls: SignedUrls, seconds: int, holds: bool) -> None:  # noqa: FBT001
    assert urls.verify(target(urls.url(PATH, AT)), AT + timedelta(seconds=seconds)) is holds


def test_an_address_with_another_path_moment_or_secret_is_refused(urls: SignedUrls) -> None:
    url = target(urls.url(PATH, AT))
    expires = int(AT.timestamp()) + 60
    assert not urls.verify(url.replace("result", "resulu"), AT)
    assert not urls.verify(url.replace(str(expires), str(expires + 1)), AT)
    assert not SignedUrls("x" * 32, "https://stepwell.example", 60).verify(url, AT)
    # Digits must not be able to wander between the signed parts.
    assert not urls.verify(url.replace("/media", "/1%0Amedia"), AT)


@pytest.mark.parametrize("signature", ["", "0", "0" * 64, "é" * 64, "\udcff", "A" * 100_000, "\u0661" * 64])
def test_a_made_up_signature_is_refused(urls: SignedUrls, signature: str) -> None:
    assert not urls.verify(f"/api/v1/artifacts/{PATH}?expires={2**62}&signature={signature}", AT)


@pytest.mark.parametrize("name", ["a b", "a%20b", "a+b", "ä", "a?b", "a&b", "a=b", "%"])
def test_an_address_of_any_path_verifies(urls: SignedUrls, name: str) -> None:
    url = target(urls.url(name, AT))
    assert urls.verify(url, AT)
    assert not urls.verify(url.replace("%", "%25"), AT) or "%" not in url


@pytest.mark.parametrize("form", ["&w=64", "&w=9999", "&download=1", "&w=1024&download=1"])
def test_an_address_may_ask_for_another_form_of_its_file(urls: SignedUrls, form: str) -> None:
    url = target(urls.url(PATH, AT))
    assert urls.verify(url + form, AT)
    assert not urls.verify(url[:-1] + ("0" if url[-1] != "0" else "1") + form, AT)


@pytest.mark.parametrize(
    "form", ["&w=", "&w=64&w=64", "&download=1&w=64", "&download=0", "&w=12345", "&w=64&", "&w=%36", "&download=1&x=1"]
)
def test_no_other_addition_to_an_address_is_accepted(urls: SignedUrls, form: str) -> None:
    assert not urls.verify(target(urls.url(PATH, AT)) + form, AT)


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SignedUrls("short", "https://stepwell.example", 60)


async def stored(api: Service, name: str = "result.png") -> str:
    """The path of a new file of the tenant acme."""
    created = await api.create(scripted_step("a"), origin_tenant_id="acme")
    await api.until_ended(created["id"])
    (task,) = (await api.client.get(f"/api/v1/workflows/{created['id']}/tasks")).json()["tasks"]
    (path,) = [output["path"] for output in task["outputs"] if output["path"].endswith(name)]
    return str(path)


def local(url: str) -> str:
    return url.removeprefix("http://t.local")


@in_module_loop
async def test_a_signed_address_needs_no_token(
    api: Service, stranger: httpx.AsyncClient, signed: SignedUrls, clock: ManualClock
) -> None:
    path = await stored(api)
    response = await stranger.get(local(signed.url(path, clock.now())))
    assert response.status_code == 200
    assert response.content == DATA
    assert response.headers["content-type"] == "image/png"
    assert response.headers["content-length"] == "2560"
    assert response.headers["content-disposition"] == "inline"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-security-policy"] == "sandbox; default-src 'none'"
    download = await stranger.get(local(signed.url(path, clock.now())) + "&download=1")
    assert download.headers["content-disposition"] == 'attachment; filename="result.png"'


@in_module_loop
async def test_no_response_to_a_signed_url_is_stored_or_passed_on(
    api: Service, stranger: httpx.AsyncClient, signed: SignedUrls, clock: ManualClock
) -> None:
    path = await stored(api)
    url = local(signed.url(path, clock.now()))
    etag = f'"{hashlib.sha256(DATA).hexdigest()}"'
    for sent, headers, status in (
        (url, {}, 200),
        (url, {"Range": "bytes=0-1"}, 206),
        (url, {"If-None-Match": etag}, 304),
        (url, {"Range": "bytes=9999-"}, 416),
        (url.replace("result", "resulu"), {}, 403),
    ):
        response = await stranger.get(sent, headers=headers)
        assert response.status_code == status
        assert response.headers["referrer-policy"] == "no-referrer"
        assert response.headers.get_list("cache-control") == ["no-store"]
    with_token = await api.client.get(f"/api/v1/artifacts/{path}")
    assert with_token.headers["cache-control"] == "private, no-cache"


@in_module_loop
async def test_a_signature_is_in_no_log_and_no_problem_even_after_an_unexpected_error(
    api: Service,
    stranger: httpx.AsyncClient,
    signed: SignedUrls,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    debug_logging: None,
    capfd: pytest.CaptureFixture[str],
) -> None:
    async def fail(*_: Any) -> None:
        raise RuntimeError("nobody has foreseen this")

    url = local(signed.url(await stored(api), clock.now()))
    refused = await stranger.get(url, headers={"Range": "bytes=9999-"})
    monkeypatch.setattr(api.app.services.reads, "artifact", fail)
    assert (refused.status_code, await status_of(api.app.api, url)) == (416, 500)
    logged = capfd.readouterr().err
    assert "nobody has foreseen this" in logged
    assert url.partition("signature=")[2] not in logged + refused.text


@in_module_loop
async def test_a_link_opens_a_file_until_it_expires(
    api: Service, stranger: httpx.AsyncClient, clock: ManualClock
) -> None:
    path = await stored(api)
    async with api.as_tenant("acme", permissions=(Permission.READ,)) as owner:
        response = await owner.post(LINKS, json={"path": path, "ttl_s": 30})
        longest = await owner.post(LINKS, json={"path": path})
    expires = datetime.fromisoformat(response.json()["expires_at"])
    assert expires == (clock.now() + timedelta(seconds=30)).replace(microsecond=0)
    assert datetime.fromisoformat(longest.json()["expires_at"]) == expires + timedelta(seconds=30)
    url = response.json()["url"]
    assert url.startswith(f"http://t.local/api/v1/artifacts/{path}?expires={int(expires.timestamp())}&signature=")
    assert (await stranger.get(local(url))).content == DATA
    assert (await stranger.get(local(url) + "&download=1")).status_code == 200
    clock.advance(30)
    assert (await stranger.get(local(url))).status_code == 403
    assert (await stranger.get(local(longest.json()["url"]))).status_code == 200


@in_module_loop
async def test_a_link_is_for_a_file_of_the_tokens_tenant_and_for_no_longer_than_the_setting_says(api: Service) -> None:
    path = await stored(api)
    for tenant, body, status in (
        ("other", {"path": path}, 404),
        (None, {"path": path}, 404),
        ("acme", {"path": path.replace("result", "other")}, 404),
        ("acme", {"path": "media/../etc/passwd"}, 404),
        ("acme", {"path": f"/{path}"}, 404),
        ("acme", {"path": path, "ttl_s": 61}, 422),
        ("acme", {"path": path, "ttl_s": 0}, 422),
        ("acme", {"path": path, "w": 64}, 422),
        ("acme", {}, 422),
    ):
        async with api.as_tenant(tenant) as client:
            response = await client.post(LINKS, json=body)
        assert response.status_code == status, body
        if body.get("ttl_s") == 61:
            assert response.json()["detail"] == [
                {
                    "loc": ["body", "ttl_s"],
                    "msg": "Expected at most 60, the value of STEPWELL_SIGNED_URL_TTL_S",
                    "type": "less_than_equal",
                }
            ]


@in_module_loop
async def test_expired_and_forged_addresses_are_refused(
    api: Service, stranger: httpx.AsyncClient, signed: SignedUrls, clock: ManualClock
) -> None:
    path = await stored(api)
    url = local(signed.url(path, clock.now()))
    assert (await stranger.get(url[:-1] + ("0" if url[-1] != "0" else "1"))).status_code == 403
    assert (await stranger.get(url.replace("result", "resulu"))).status_code == 403
    assert (await stranger.get(url.partition("&")[0])).status_code == 401
    assert (await stranger.get(url.partition("?")[0])).status_code == 401
    assert (await stranger.get(url.replace("expires=1", "expires=x"))).status_code == 403
    clock.advance(61)
    assert (await stranger.get(url)).status_code == 403


def other_notations(made: str) -> dict[str, str]:
    """Targets that mean the same as *made* to a lenient reader."""
    path, _, query = made.partition("?")
    first, second = query.split("&")
    expires, signature = first.removeprefix("expires="), second.removeprefix("signature=")
    digit = next(n for n, character in enumerate(signature) if character.isalpha())
    return {
        "order": f"{path}?{second}&{first}",
        "signature twice": f"{made}&{second}",
        "expires twice": f"{path}?{first}&{query}",
        "expires twice, later": f"{made}&expires=9999999999",
        "another parameter": f"{made}&x=1",
        "another parameter in front": f"{path}?x=1&{query}",
        "ampersand at the end": f"{made}&",
        "ampersand at the beginning": f"{path}?&{query}",
        "two ampersands": f"{path}?{first}&&{second}",
        "semicolon": f"{path}?{first};{second}",
        "two question marks": f"{path}??{query}",
        "name escaped": f"{path}?expire%73={expires}&{second}",
        "name of the signature escaped": f"{path}?{first}&%73ignature={signature}&signature=",
        "name in capitals": f"{path}?EXPIRES={expires}&{second}",
        "name with a space": f"{path}?+expires={expires}&{second}",
        "digit escaped": f"{path}?expires=%3{expires[0]}{expires[1:]}&{second}",
        "plus": f"{path}?expires=%2B{expires}&{second}",
        "leading zero": f"{path}?expires=0{expires}&{second}",
        "fraction": f"{path}?expires={expires}.0&{second}",
        "exponent": f"{path}?expires={expires}e0&{second}",
        "underscore": f"{path}?expires={expires[0]}_{expires[1:]}&{second}",
        "space before": f"{path}?expires=+{expires}&{second}",
        "space behind": f"{path}?expires={expires}%20&{second}",
        "other digits": f"{path}?expires={quote(expires.translate(ARABIC))}&{second}",
        "raw bytes of other digits": f"{path}?expires={expires.translate(ARABIC).encode().decode('latin-1')}&{second}",
        "capital": f"{path}?{first}&signature={signature[:digit]}{signature[digit:].capitalize()}",
        "capitals": f"{path}?{first}&signature={signature.upper()}",
        "padded": f"{made}=",
        "newline": f"{made}%0A",
        "raw newline": f"{made}\n",
        "space": f"{made}+",
        "NUL": f"{made}%00",
        "hex escaped": f"{path}?{first}&signature=%{ord(signature[0]):x}{signature[1:]}",
        "slash at the end": f"{path}/?{query}",
        "two slashes": f"{path.replace('/media/', '//media/')}?{query}",
        "two slashes in front": f"/{made}",
        "dots": f"{path.replace('/media/', '/./media/')}?{query}",
        "up and down": f"{path.replace('/media/', '/media/../media/')}?{query}",
        "letter escaped": f"{path.replace('/media/', '/%6dedia/')}?{query}",
        "letter escaped in capitals": f"{path.replace('/media/', '/%6Dedia/')}?{query}",
        "slash escaped": f"{path.replace('/media/', '/media%2F')}?{query}",
        "full stop escaped": f"{path.replace('.png', '%2Epng')}?{query}",
        "case of the name": f"{path.replace('.png', '.PNG')}?{query}",
        "case of the folder": f"{path.replace('/media/', '/Media/')}?{query}",
        "prefix escaped": f"{path.replace('/api/', '/%61pi/')}?{query}",
        "path parameter": f"{path};x=1?{query}",
        "space behind the path": f"{path}%20?{query}",
    }


ARABIC = {ord("0") + n: 0x0660 + n for n in range(10)}
MADE = target(SignedUrls(SECRET, "http://t.local", 60).url(PATH, AT))


async def status_of(app: Any, sent: str) -> int:
    """The status for exactly this target: httpx would normalise it."""
    started: list[int] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            started.append(message["status"])

    scope: Any = http_scope("GET", sent.encode("latin-1"), [(b"host", b"t.local")], server=("t.local", 80))
    await app(scope, receive, send)
    return started[0]


@in_module_loop
@pytest.mark.parametrize("name", other_notations(MADE))
async def test_no_other_notation_of_a_signed_url_opens_the_file(
    api: Service, signed: SignedUrls, clock: ManualClock, name: str
) -> None:
    path = await stored(api)
    url = target(signed.url(path, clock.now()))
    assert await status_of(api.app.api, url) == 200
    assert await status_of(api.app.api, other_notations(url)[name]) in (403, 404)


@in_module_loop
async def test_a_signature_opens_nothing_but_artifacts(
    api: Service, stranger: httpx.AsyncClient, signed: SignedUrls, clock: ManualClock
) -> None:
    path = await stored(api)
    query = signed.url(path, clock.now()).partition("?")[2]
    assert (await stranger.get(f"/api/v1/workflows/?{query}")).status_code == 401


@in_module_loop
async def test_a_token_reads_its_tenants_artifacts_alone(api: Service, client: httpx.AsyncClient) -> None:
    path = await stored(api, "report.bin")
    for tenant, status in [("acme", 200), ("other", 404), (None, 404)]:
        async with api.as_tenant(tenant) as caller:
            response = await caller.get(f"/api/v1/artifacts/{path}")
            assert response.status_code == status
    assert (await client.get(f"/api/v1/artifacts/{path}")).headers["content-disposition"] == (
        'attachment; filename="report.bin"'
    )


@in_module_loop
async def test_a_known_etag_spares_the_bytes(api: Service, client: httpx.AsyncClient) -> None:
    path = await stored(api)
    first = await client.get(f"/api/v1/artifacts/{path}")
    again = await client.get(f"/api/v1/artifacts/{path}", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@in_module_loop
async def test_a_file_that_the_store_lost_is_a_404(api: Service, client: httpx.AsyncClient) -> None:
    path = await stored(api)
    (api.artifacts / path).unlink()
    assert (await client.get(f"/api/v1/artifacts/{path}")).status_code == 404


@pytest.mark.parametrize(
    "path",
    ["x", "media/../etc/passwd", "media/%00/x", "%2e%2e/%2e%2e/etc/passwd", "media/1/2/3", "/etc/passwd", "media/a%0a"],
)
@in_module_loop
async def test_odd_paths_are_a_404_and_reach_no_database(
    api: Service, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    async def refuse(*_: Any) -> None:
        raise AssertionError("the path reached the service")

    monkeypatch.setattr(api.app.services.reads, "artifact", refuse)
    assert (await client.get(f"/api/v1/artifacts/{path}")).status_code == 404
