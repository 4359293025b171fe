"""The cookie of a session: which requests it authenticates, and until when."""

from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from stepwell.contract.scopes import Permission
from stepwell.rules.access.sessions import SESSION
from stepwell.testing import ManualClock, MemoryDatabase
from support.providers.configured_by_steps import WORKFLOWS, configured_step, passthrough_step
from support.service.conformance import conforming_client
from support.service.live_service import EVERYTHING, Service, running_service, token
from support.service.session_cookies import COOKIE, SAME_ORIGIN, cookie_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

FRESH_S = 5.0


def browser(api: Service, cookie: str, **headers: str) -> httpx.AsyncClient:
    return conforming_client(api.app.api, Cookie=cookie, **headers)


async def status(api: Service, cookie: str, headers: dict[str, str], method: str = "GET") -> int:
    async with conforming_client(api.app.api) as client:
        response = await client.request(method, WORKFLOWS, headers={"Cookie": cookie} | headers)
    return response.status_code


async def test_a_session_sees_what_its_token_sees(api: Service) -> None:
    created = await api.create(passthrough_step("a"), origin_tenant_id="acme")
    path = WORKFLOWS + created["id"]
    for tenant, every, expected in (("acme", False, 200), (None, True, 200), ("other", False, 404), (None, False, 404)):
        async with browser(api, await cookie_of(api, tenant, every=every), **SAME_ORIGIN) as client:
            response = await client.get(path)
            assert response.status_code == expected, (tenant, every)


async def test_a_session_may_do_what_its_token_may_do(api: Service) -> None:
    body = {"name": "x", "origin_instance": "tests", "steps": [passthrough_step("a")]}
    for permissions, reads, writes in (
        ((), 403, 403),
        ((Permission.READ,), 200, 403),
        ((Permission.WRITE,), 403, 201),
        (EVERYTHING, 200, 201),
    ):
        async with browser(api, await cookie_of(api, "acme", permissions=permissions), **SAME_ORIGIN) as client:
            assert (await client.get(WORKFLOWS)).status_code == reads
            response = await client.post(WORKFLOWS, json=body)
            assert response.status_code == writes
            if writes == 201:
                assert response.json()["origin_tenant_id"] == "acme"


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
@pytest.mark.parametrize(
    ("headers", "accepted"),
    [
        (SAME_ORIGIN, True),
        (SAME_ORIGIN | {"Origin": "null"}, True),
        ({"Origin": "http://t.local"}, True),
        ({"Origin": "http://127.0.0.1:9000"}, True),
        ({"Origin": "https://t.local"}, False),
        ({"Origin": "http://t.local:8000"}, False),
        ({"Origin": "null"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://t.local"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({}, False),
    ],
)
async def test_only_a_page_of_this_service_can_use_the_cookie(
    api: Service, method: str, headers: dict[str, str], *, accepted: bool
) -> None:
    accepted_status = 422 if method == "POST" else 200
    body = {} if method == "POST" else {"content-type": "text/plain"}
    assert await status(api, await cookie_of(api, every=True), headers | body, method) in (
        (accepted_status, 415) if accepted else (403,)
    )


async def test_a_refusal_says_why(api: Service) -> None:
    own = await cookie_of(api, every=True)
    for headers, status_code, words in (
        ({}, 403, "Browsers send them to https and to localhost"),
        ({"Sec-Fetch-Site": "cross-site"}, 403, "only from pages of this service"),
        (SAME_ORIGIN | {"Cookie": f"{COOKIE}=forged"}, 401, "The session has ended. Sign in again."),
        (SAME_ORIGIN | {"Cookie": f"{COOKIE}="}, 401, "The session has ended. Sign in again."),
        (SAME_ORIGIN | {"Cookie": f"{own}; {own}"}, 401, "several cookies named stepwell-session-"),
        (SAME_ORIGIN | {"Cookie": own.replace("9000", "9001")}, 401, "A bearer token is required"),
        (SAME_ORIGIN | {"Cookie": "other=1; x"}, 401, "A bearer token is required"),
    ):
        async with conforming_client(api.app.api) as client:
            response = await client.get(WORKFLOWS, headers={"Cookie": own} | headers)
        assert response.status_code == status_code
        assert words in response.json()["detail"]
        assert f"{COOKIE}=" not in response.text
        assert ("www-authenticate" in response.headers) == (status_code == 401)


async def test_a_service_with_a_public_url_accepts_the_cookie_there_and_at_loopback_addresses_alone(
    clock: ManualClock, tmp_path: Path
) -> None:
    public = running_service(MemoryDatabase(clock), tmp_path, public_url="https://Stepwell.example.com:8443/x")
    async with public as service:
        cookie = (await cookie_of(service)).replace(COOKIE, "stepwell-session-8443")
        for host in ("stepwell.example.com", "STEPWELL.example.com:8443", "localhost:1", "127.0.0.2", "[::1]:9000"):
            assert await status(service, cookie, SAME_ORIGIN | {"Host": host}) == 200, host
        for host in ("", "t.local", "example.com", "stepwell.example.com.evil.test", "localhost.evil.test", "10.0.0.1"):
            headers = SAME_ORIGIN | {"Host": host, "Cookie": cookie}
            async with httpx.AsyncClient(transport=service.transport, base_url="http://t.local", headers=headers) as at:
                refused, page = await at.get(WORKFLOWS), await at.get("/ui/sign-in")
                assert (refused.status_code, page.status_code) == (403, 403), host
                assert "host of STEPWELL_PUBLIC_URL, https://stepwell.example.com:8443, and" in refused.json()["detail"]
                assert "host of STEPWELL_PUBLIC_URL, https://stepwell.example.com:8443, and" in page.text
                assert (await at.get("/ui")).headers["location"] == "/ui/sign-in"
                assert (await at.post("/ui/sign-in", data={"token": token()})).status_code == 403
                assert (await at.get(WORKFLOWS, headers={"Authorization": f"Bearer {token()}"})).status_code == 200


async def test_a_public_address_has_one_meaning_however_it_is_written(clock: ManualClock, tmp_path: Path) -> None:
    public = running_service(MemoryDatabase(clock), tmp_path, public_url="http://[2001:DB8:0:0::1]:9000")
    async with public as service:
        cookie = await cookie_of(service)
        for headers in (SAME_ORIGIN, {"Origin": "http://[2001:db8::1]:9000"}):
            assert await status(service, cookie, headers | {"Host": "[2001:db8::1]:9000"}) == 200


async def test_the_cookie_is_found_among_others(api: Service) -> None:
    own = await cookie_of(api, every=True)
    for cookies in (f"a=b; {own}", f"{own};a=b", f"a;{own};;", f'x="{own}"; {own}'):
        assert await status(api, cookies, SAME_ORIGIN) == 200
    # HTTP/2 may send each cookie in a header of its own.
    async with conforming_client(api.app.api) as client:
        headers = [("cookie", "a=b"), ("cookie", own), ("sec-fetch-site", "same-origin")]
        assert (await client.get(WORKFLOWS, headers=headers)).status_code == 200


async def test_a_token_precedes_the_cookie(api: Service) -> None:
    created = await api.create(passthrough_step("a"), origin_tenant_id="acme")
    path = WORKFLOWS + created["id"]
    acme, other = await cookie_of(api, "acme"), await cookie_of(api, "other")
    async with conforming_client(api.app.api, token("acme", every=False), Cookie=other, **SAME_ORIGIN) as client:
        assert (await client.get(path)).status_code == 200
    async with conforming_client(api.app.api, token("other", every=False), Cookie=acme, **SAME_ORIGIN) as client:
        assert (await client.get(path)).status_code == 404
    async with conforming_client(api.app.api, "no token", Cookie=acme, **SAME_ORIGIN) as client:
        assert (await client.get(path)).status_code == 401
    # A program may send a cookie that no page sends.
    async with conforming_client(api.app.api, token("acme", every=False), Cookie=acme) as client:
        assert (await client.get(path)).status_code == 200


async def test_a_signed_url_and_a_ticket_work_beside_a_cookie_from_wherever_the_user_comes(api: Service) -> None:
    created = await api.create(configured_step("a", files=1), origin_tenant_id="acme")
    await api.until_ended(created["id"])
    (task,) = await api.tasks(created["id"])
    path = task["outputs"][0]["path"]
    async with api.as_tenant("acme") as client:
        signed = (await client.post("/api/v1/artifacts/links", json={"path": path})).json()["url"]
    url, path = httpx.URL(signed), f"/api/v1/artifacts/{path}"
    foreign = {"Cookie": await cookie_of(api, "other"), "Sec-Fetch-Site": "cross-site"}
    async with conforming_client(api.app.api) as client:
        assert (await client.get(url.raw_path.decode(), headers=foreign)).status_code == 200
        assert (await client.get(path, headers=foreign)).status_code == 403
        own = {"Cookie": await cookie_of(api, "acme")} | SAME_ORIGIN
        assert (await client.get(path, headers=own)).status_code == 200
        ticket = (await client.post("/api/v1/events/tickets", headers=own)).json()["ticket"]
        response = await client.get("/api/v1/events", params={"ticket": ticket}, headers=foreign)
        assert response.status_code == 200


async def test_a_session_ends_at_its_time(api: Service, clock: ManualClock) -> None:
    short = await cookie_of(api, every=True, lasts=timedelta(seconds=90))
    long = await cookie_of(api, every=True, lasts=timedelta(days=30))
    clock.advance(89)
    assert await status(api, short, SAME_ORIGIN) == 200
    clock.advance(1)
    assert await status(api, short, SAME_ORIGIN) == 401
    clock.advance(SESSION.total_seconds() - 91)
    assert await status(api, long, SAME_ORIGIN) == 200
    clock.advance(1)
    assert await status(api, long, SAME_ORIGIN) == 401


async def test_only_the_browser_caches_what_a_session_reads(api: Service) -> None:
    own = {"Cookie": await cookie_of(api, every=True)} | SAME_ORIGIN
    async with conforming_client(api.app.api) as client:
        assert (await client.get(WORKFLOWS, headers=own)).headers["cache-control"] == "private, no-cache"
        assert (await client.get("/schema/openapi.json", headers=own)).headers.get("cache-control") is None
    assert (await api.client.get(WORKFLOWS)).headers.get("cache-control") is None


async def test_all_sessions_end_within_seconds_after_they_were_ended(api: Service, clock: ManualClock) -> None:
    before = await cookie_of(api, every=True)
    assert await status(api, before, SAME_ORIGIN) == 200
    await api.app.stores.database.sign_ins.end_all()
    after = await cookie_of(api, every=True)
    clock.advance(FRESH_S)
    assert await status(api, before, SAME_ORIGIN) == 401
    assert await status(api, after, SAME_ORIGIN) == 200


async def test_nothing_outside_the_api_needs_or_reads_the_cookie(api: Service) -> None:
    own = await cookie_of(api, every=True)
    async with conforming_client(api.app.api, Cookie=own) as client:
        for path in ("/", "/health/live", "/health/ready", "/metrics", "/schema/openapi.json", "/manual"):
            assert (await client.get(path)).status_code == 200
        assert (await client.get(f"{WORKFLOWS}{uuid4()}")).status_code == 403
