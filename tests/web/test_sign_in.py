"""Sign-in and sign-out over HTTP: by a token, by a one-time URL, and what is refused."""

import asyncio
import re
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio

from stepwell.basics.errors import Unavailable
from stepwell.contract.scopes import Permission, allowed_by
from stepwell.rules.access.sessions import SESSION, SignInCodes
from stepwell.rules.access.token_claims import unverified_claims
from stepwell.testing import ManualClock, MemoryDatabase
from support.service.live_service import EVERYTHING, SECRET, Service, running_service, token
from support.service.raw_tokens import NOW, encoded
from support.service.session_cookies import COOKIE, SAME_ORIGIN, cookie_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIGN_IN, SIGN_OUT, WORKFLOWS = "/ui/sign-in", "/ui/sign-out", "/api/v1/workflows"
TYPED = {"Sec-Fetch-Site": "none"}
PAGE = "/ui/workflows/0198c0de-0000-7000-8000-000000000000?tab=graph"


@pytest.fixture(scope="module")
def clock() -> ManualClock:
    return ManualClock()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(clock: ManualClock, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    async with AsyncExitStack() as stack:
        folder = tmp_path_factory.mktemp("sign-in")
        yield await stack.enter_async_context(running_service(MemoryDatabase(clock), folder))


@pytest.fixture(autouse=True)
def attempts_of_earlier_tests(clock: ManualClock) -> None:
    """Let the time pass that makes up for failed attempts."""
    clock.advance(60)


@pytest_asyncio.fixture(loop_scope="module")
async def browser(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A client that stores cookies, as a browser that shows a page of the service."""
    async with httpx.AsyncClient(transport=service.transport, base_url="http://t.local", headers=SAME_ORIGIN) as client:
        yield client


async def new_url(service: Service, page: str = "/ui", *, tenant: str | None = None, **options: timedelta) -> str:
    own = token(tenant, every=tenant is None)
    return await service.app.sign_in.sign_in_path(own, page=page, **options)


def attributes(response: httpx.Response) -> dict[str, str]:
    """What a page tells its scripts."""
    return dict(re.findall(r'data-([a-z-]+)="([^"]*)"', response.text))


def alert(response: httpx.Response) -> str:
    """The reason that a page shows."""
    (text,) = re.findall(r'role="alert">(.*)</p>', response.text)
    return re.sub("</?code>", "`", text)


async def test_a_pasted_token_signs_in_and_opens_the_page_that_was_asked_for(browser: httpx.AsyncClient) -> None:
    asked = await browser.get(PAGE)
    assert asked.status_code == 303
    assert asked.headers["location"] == f"{SIGN_IN}?next=%2Fui%2Fworkflows%2F{PAGE[14:50]}%3Ftab%3Dgraph"
    form = await browser.get(asked.headers["location"])
    assert f'name="next" value="{PAGE}"' in form.text
    response = await browser.post(SIGN_IN, data={"token": f" {token('acme', every=False)}\n", "next": PAGE})
    assert (response.status_code, response.headers["location"], response.content) == (303, PAGE, b"")
    page = await browser.get(PAGE)
    assert page.status_code == 200
    shown = attributes(page)
    assert (shown["subject"], shown["tenant"], shown["every-tenant"]) == ("tester", "acme", "false")
    assert shown["scopes"].split() == sorted(Permission)
    assert (await browser.get(WORKFLOWS)).status_code == 200


async def test_the_cookie_is_for_this_host_and_not_for_scripts(browser: httpx.AsyncClient) -> None:
    response = await browser.post(SIGN_IN, data={"token": token()})
    (cookie,) = response.headers.get_list("set-cookie")
    value, *flags = cookie.split("; ")
    assert value.startswith(f"{COOKIE}=")
    assert set(flags) == {"HttpOnly", "Max-Age=43200", "Path=/", "SameSite=Lax"}
    https = await browser.post(f"https://t.local{SIGN_IN}", data={"token": token()})
    cookie = https.headers["set-cookie"]
    assert (cookie[: len(COOKIE) + 8], cookie[-8:]) == (f"__Host-{COOKIE}=", "; Secure")


async def test_no_other_host_can_set_the_cookie_of_a_session(service: Service) -> None:
    """A cookie of the domain, which any of its hosts may set, counts as well as the own one only by plain http."""
    foreign = await cookie_of(service, "evil")
    for url, own in (("https://t.local", f"__Host-{COOKIE}"), ("http://t.local", COOKIE)):
        async with httpx.AsyncClient(transport=service.transport, base_url=url, headers=SAME_ORIGIN) as client:
            response = await client.post(SIGN_IN, data={"token": token("acme", every=False)})
            value = response.headers["set-cookie"].partition(";")[0].removeprefix(f"{own}=")
            client.cookies.clear()
            both = {"Cookie": f"{foreign}; {own}={value}"}
            if url.startswith("https"):
                assert attributes(await client.get("/ui", headers=both))["tenant"] == "acme"
                assert (await client.get(WORKFLOWS, headers={"Cookie": foreign})).status_code == 401
                both = {"Cookie": f"{own}=x; {own}={value}"}
            refused = await client.get(WORKFLOWS, headers=both)
            assert (refused.status_code, f"several cookies named {own}, " in refused.json()["detail"]) == (401, True)
            assert (await client.get("/ui", headers=both)).headers["location"] == SIGN_IN
            code = await new_url(service)
            for page in (
                await client.get(SIGN_IN, headers=both),
                await client.post(SIGN_IN, data={"token": token()}, headers=both),
                await client.get(code, headers={**both, **TYPED}),
            ):
                assert (page.status_code, f"several cookies named {own}, " in alert(page)) == (403, True)
                assert "Delete all cookies of that name in the browser" in alert(page)
            assert (await client.get(code, headers=TYPED)).status_code == 303  # it wasn't used


@pytest.mark.parametrize("permissions", [(), (Permission.READ,), EVERYTHING])
async def test_a_session_has_the_permissions_of_its_token(
    browser: httpx.AsyncClient, permissions: tuple[Permission, ...]
) -> None:
    await browser.post(SIGN_IN, data={"token": token("acme", every=False, permissions=permissions)})
    assert attributes(await browser.get("/ui/decisions"))["scopes"] == " ".join(sorted(allowed_by(permissions)))
    assert (await browser.get(WORKFLOWS)).status_code == (200 if Permission.READ in permissions else 403)
    assert (await browser.post(WORKFLOWS, json={})).status_code == (422 if Permission.WRITE in permissions else 403)


async def test_a_token_for_runs_has_no_rights_in_a_session(browser: httpx.AsyncClient) -> None:
    own = token("acme", every=False, permissions=(Permission.RUN,), definitions=["photo-set"])
    await browser.post(SIGN_IN, data={"token": own})
    assert attributes(await browser.get("/ui/decisions"))["scopes"] == ""
    body = {"definition": {"name": "photo-set"}}
    assert (await browser.post(f"{WORKFLOWS}/plan", json=body, headers=SAME_ORIGIN)).status_code == 403
    assert (await browser.get("/api/v1/definitions/photo-set")).status_code == 403


@pytest.mark.parametrize(
    ("pasted", "status", "words"),
    [
        ("", 422, "Paste a token."),
        ("no token", 403, "The token is malformed"),
        (token() + "x", 403, "The token is malformed"),
        (encoded(iat=NOW - 60, exp=NOW - 30), 403, "The token expired at"),
        (encoded(aud="other"), 403, "The claim aud must be"),
        ("x" * 9_000, 403, "longer than 8192 bytes"),
    ],
)
async def test_a_wrong_token_is_refused_in_words(
    browser: httpx.AsyncClient, pasted: str, status: int, words: str
) -> None:
    response = await browser.post(SIGN_IN, data={"token": pasted, "next": "/ui/new"})
    assert response.status_code == status
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert words in alert(response)
    assert 'name="next" value="/ui/new"' in response.text
    assert "set-cookie" not in response.headers
    assert not pasted or pasted not in response.text


async def test_a_form_that_is_too_large_or_senseless_is_refused(browser: httpx.AsyncClient) -> None:
    assert (await browser.post(SIGN_IN, content=b"x" * 40_000)).status_code == 413
    for senseless in (b"", b"\xff\x00", b"a=b&" * 100, b"token", b"[]"):
        assert (await browser.post(SIGN_IN, content=senseless)).status_code == 422


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {},
    ],
)
async def test_no_other_page_can_sign_a_user_in_or_out(service: Service, headers: dict[str, str]) -> None:
    url = await new_url(service)
    code = url.partition("code=")[2]
    async with httpx.AsyncClient(transport=service.transport, base_url="http://t.local") as client:
        for path, data in ((SIGN_IN, {"token": token()}), (SIGN_IN, {"code": code}), (SIGN_OUT, {})):
            response = await client.post(path, data=data, headers=headers)
            assert response.status_code == 403
            assert alert(response) == "The form came from another page than this one. Send it again from here."
            assert "set-cookie" not in response.headers
        assert (await client.get(url, headers=TYPED)).status_code == 303  # it wasn't used


async def test_a_form_of_an_old_browser_is_known_by_its_origin(service: Service) -> None:
    url = await new_url(service)
    async with httpx.AsyncClient(transport=service.transport, base_url="http://t.local") as client:
        asked = await client.get(url)  # without Sec-Fetch-Site: anybody may have opened it
        assert (asked.status_code, "set-cookie" in asked.headers) == (200, False)
        # With the policy no-referrer, the browser would send the origin null.
        assert asked.headers["referrer-policy"] == "strict-origin"
        for data in ({"token": token()}, {"code": url.partition("code=")[2]}):
            response = await client.post(SIGN_IN, data=data, headers={"Origin": "http://t.local"})
            assert response.status_code == 303


async def test_sign_out_ends_the_session_in_this_browser(browser: httpx.AsyncClient) -> None:
    await browser.post(SIGN_IN, data={"token": token()})
    assert "/ui/sign-out" in (await browser.get("/ui")).text
    response = await browser.post(SIGN_OUT)
    assert (response.status_code, response.headers["location"]) == (303, f"{SIGN_IN}?signed-out")
    assert "; Max-Age=0; " in response.headers["set-cookie"]
    assert response.headers["clear-site-data"] == '"cache"'
    assert "You are signed out." in (await browser.get(response.headers["location"])).text
    assert (await browser.get("/ui")).status_code == 303
    assert (await browser.get(WORKFLOWS)).status_code == 401
    assert (await browser.get(SIGN_OUT)).status_code == 405


@pytest.mark.parametrize(
    "next_page", ["https://evil.example/", "//evil.example", "/api/v1/workflows", SIGN_OUT, "\r\nX: y"]
)
async def test_no_other_page_is_opened_after_the_sign_in(browser: httpx.AsyncClient, next_page: str) -> None:
    response = await browser.post(SIGN_IN, data={"token": token(), "next": next_page})
    assert response.headers["location"] == "/ui"
    assert 'name="next" value="/ui"' in (await browser.get(SIGN_IN, params={"next": next_page})).text


async def test_a_one_time_url_signs_in_once(service: Service, browser: httpx.AsyncClient) -> None:
    url = await new_url(service, PAGE, tenant="acme")
    response = await browser.get(url, headers=TYPED)
    assert (response.status_code, response.headers["location"]) == (303, PAGE)
    page = await browser.get(PAGE, headers={"Sec-Fetch-Site": "cross-site"})  # a link in a mail works
    assert (page.status_code, attributes(page)["tenant"]) == (200, "acme")
    for _ in range(2):
        again = await browser.get(url, headers=TYPED)
        assert again.status_code == 403
        assert alert(again) == "This sign-in URL was used before, and works once. `stepwell open` makes a new one."
        assert "set-cookie" not in again.headers


async def test_a_one_time_url_expires(service: Service, browser: httpx.AsyncClient, clock: ManualClock) -> None:
    short, long = await new_url(service), await new_url(service, valid=SESSION)
    clock.advance(600)
    response = await browser.get(short, headers=TYPED)
    assert (response.status_code, alert(response)[:30]) == (403, "This sign-in URL has expired, ")
    assert (await browser.get(long, headers=TYPED)).status_code == 303
    for wrong in (short[:-1], short + "x", f"{SIGN_IN}?code=", f"{SIGN_IN}?code=%00"):
        assert (await browser.get(wrong, headers=TYPED)).status_code == 403


async def test_a_one_time_url_is_of_no_use_elsewhere(service: Service, browser: httpx.AsyncClient) -> None:
    code = (await new_url(service)).partition("code=")[2]
    browser.cookies.set(COOKIE, code)
    assert (await browser.get(WORKFLOWS)).status_code == 401
    browser.cookies.clear()
    for name in ("ticket", "signature", "token"):
        assert (await browser.get("/api/v1/events", params={name: code})).status_code in (401, 403, 422)
    assert (await browser.get(f"{SIGN_IN}?code={code}", headers=TYPED)).status_code == 303


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": ""},
        {"Sec-Fetch-Site": "none", "Sec-Purpose": "prefetch;prerender"},
        {"Sec-Fetch-Site": "none", "Purpose": "prefetch"},
    ],
)
async def test_a_url_that_another_page_or_the_browser_itself_opens_asks_first(
    service: Service, browser: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    url = await new_url(service, PAGE)
    asked = await browser.get(url, headers=headers)
    assert asked.status_code == 200
    assert "set-cookie" not in asked.headers
    (code,) = re.findall(r'name="code" value="([^"]*)"', asked.text)
    response = await browser.post(SIGN_IN, data={"code": code})
    assert (response.status_code, response.headers["location"]) == (303, PAGE)
    assert (await browser.get(url, headers=TYPED)).status_code == 403


@pytest.mark.parametrize("notation", ["/ui/%73ign-in", "/ui/sign%2Din", "/ui//sign-in", SIGN_IN])
async def test_no_notation_of_the_sign_in_page_is_opened_after_a_sign_in(
    service: Service, browser: httpx.AsyncClient, notation: str
) -> None:
    prepared = notation + (await new_url(service, tenant="evil")).removeprefix(SIGN_IN)
    response = await browser.post(SIGN_IN, data={"token": token("acme", every=False), "next": prepared})
    assert (response.status_code, response.headers["location"]) == (303, "/ui")
    asked = await browser.get(prepared)
    assert (asked.status_code, "set-cookie" in asked.headers) == (200, False)


async def test_head_does_not_use_a_url_up(service: Service, browser: httpx.AsyncClient) -> None:
    url = await new_url(service)
    for _ in range(2):
        response = await browser.head(url, headers=TYPED)
        assert (response.status_code, response.content) == (200, b"")
        assert "set-cookie" not in response.headers
    assert (await browser.get(url, headers=TYPED)).status_code == 303


async def test_a_session_of_a_url_ends_with_the_token_that_made_it(service: Service, clock: ManualClock) -> None:
    codes = SignInCodes(SECRET.encode())
    own = token()
    made = codes.read((await service.app.sign_in.sign_in_path(own)).partition("code=")[2], clock.now())
    assert made is not None
    assert made.grant.expires_at.timestamp() == unverified_claims(own)["exp"]


async def test_ending_all_sessions_ends_the_urls_as_well(
    service: Service, browser: httpx.AsyncClient, clock: ManualClock
) -> None:
    await browser.post(SIGN_IN, data={"token": token()})
    before = await new_url(service)
    await service.app.stores.database.sign_ins.end_all()
    clock.advance(5)
    assert (await browser.get("/ui")).status_code == 303
    assert (await browser.get(WORKFLOWS)).status_code == 401
    response = await browser.get(before, headers=TYPED)
    assert (response.status_code, alert(response)[:23]) == (403, "All sessions were ended")
    assert (await browser.get(await new_url(service), headers=TYPED)).status_code == 303
    assert (await browser.get("/ui")).status_code == 200


async def test_a_client_that_fails_often_must_wait(browser: httpx.AsyncClient, clock: ManualClock) -> None:
    for number in range(10):
        wrong = browser.post(SIGN_IN, data={"token": "x"} if number % 2 else {"code": "x"})
        assert (await wrong).status_code == 403
    by_token = await browser.post(SIGN_IN, data={"token": "x", "next": "/ui/new"})
    by_code = await browser.get(f"{SIGN_IN}?code=x", headers=TYPED)
    for response, kept in ((by_token, 'name="next" value="/ui/new"'), (by_code, 'name="code" value="x"')):
        assert (response.status_code, response.headers["retry-after"]) == (429, "6")
        assert alert(response) == "Too many attempts have failed. Try again in 6 s."
        assert kept in response.text
    clock.advance(6)
    assert (await browser.post(SIGN_IN, data={"token": "x"})).status_code == 403


async def test_failures_of_others_at_an_address_keep_nobody_from_signing_in(
    service: Service, browser: httpx.AsyncClient
) -> None:
    failed = [(await browser.post(SIGN_IN, data={"token": "x"})).status_code for _ in range(11)]
    assert failed == [403] * 10 + [429]
    for _ in range(3):
        assert (await browser.post(SIGN_IN, data={"token": token()})).status_code == 303
        assert (await browser.get(await new_url(service), headers=TYPED)).status_code == 303
    assert (await browser.post(SIGN_IN, data={"token": "x"})).status_code == 429


async def test_nobody_can_sign_in_while_the_database_is_away(
    service: Service, browser: httpx.AsyncClient, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = await new_url(service)

    async def away(*_: object) -> None:
        raise Unavailable("the database is away")

    with monkeypatch.context() as outage:
        for name in ("now", "use_code", "ended_at"):
            outage.setattr(service.app.stores.database.sign_ins, name, away)
        for attempt in range(12):
            data = {"token": token()} if attempt % 2 else {"code": url.partition("code=")[2]}
            response = await browser.post(SIGN_IN, data=data)
            assert (response.status_code, alert(response)[:23]) == (503, "Nobody can sign in now:")
            assert int(response.headers["retry-after"]) > 0
            assert ('name="code"' in response.text) == ("code" in data)
        clock.advance(5)
        browser.cookies.set(COOKIE, "x")
        assert (await browser.get("/ui")).status_code == 303
    assert (await browser.get(url, headers=TYPED)).status_code == 303


async def test_no_tenant_holds_up_the_sign_ins_of_others_while_the_database_is_slow(
    service: Service, browser: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_ins, responds_again = service.app.stores.database.sign_ins, asyncio.Event()
    now = sign_ins.now

    async def slow() -> datetime:
        await responds_again.wait()
        return await now()

    def new_url_of(tenant: str) -> Coroutine[None, None, httpx.Response]:
        return browser.post("/ui/sign-in/urls", headers={"Authorization": f"Bearer {token(tenant, every=False)}"})

    monkeypatch.setattr(sign_ins, "now", slow)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        own = [group.create_task(new_url_of("acme")) for _ in range(5)]
        (refused,), waiting = await asyncio.wait(own, return_when=asyncio.FIRST_COMPLETED)
        response = refused.result()
        assert (response.status_code, response.headers["retry-after"]) == (429, "1")
        form = await browser.post(SIGN_IN, data={"token": token("acme", every=False), "next": "/ui/new"})
        assert (form.status_code, form.headers["retry-after"]) == (429, "1")
        assert alert(form).startswith("4 sign-ins of this tenant wait for the database already.")
        other = group.create_task(new_url_of("other"))
        responds_again.set()
    assert [asyncio_task.result().status_code for asyncio_task in (other, *waiting)] == [201] * 5


async def test_no_response_is_stored_or_passes_the_secret_on(
    service: Service,
    browser: httpx.AsyncClient,
    debug_logging: None,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = await new_url(service)
    code = urlsplit(url).query.removeprefix("code=")
    responses = [
        await browser.get(url, headers={"Sec-Fetch-Site": "cross-site"}),
        await browser.get(url, headers=TYPED),
        await browser.get(url, headers=TYPED),
        await browser.put(url),
    ]
    assert [response.status_code for response in responses] == [200, 303, 403, 405]
    assert {response.headers["referrer-policy"] for response in responses} == {"strict-origin"}
    assert {response.headers["cache-control"] for response in responses} == {"no-store"}
    assert code not in "".join(response.text for response in responses[1:])
    for response in (await browser.get(SIGN_IN), await browser.post(SIGN_IN, data={"token": token()})):
        assert response.headers["cache-control"] == "private, no-store"
        assert response.headers["referrer-policy"] == "same-origin"
        assert "script-src 'self'" in response.headers["content-security-policy"]
        assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", response.text) == []

    def fail(*_: object) -> None:
        raise RuntimeError("nobody has foreseen this")

    monkeypatch.setattr(service.app.sign_in.cookies.sessions, "begin", fail)
    unused = await new_url(service)
    assert (await browser.get(unused, headers=TYPED)).status_code == 500
    pasted = token()
    failed = await browser.post(SIGN_IN, data={"token": pasted})
    assert failed.status_code == 500
    logged = capfd.readouterr().err
    assert "nobody has foreseen this" in logged
    for secret in (code, unused.partition("code=")[2], pasted):
        assert secret not in logged
