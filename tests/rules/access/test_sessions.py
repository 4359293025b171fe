"""Sessions and sign-in codes: what they allow, for how long, and which texts are accepted."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from msgspec import structs

from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.rules.access.sessions import (
    CODE,
    MAX_CODE_CHARS,
    MAX_COOKIE_CHARS,
    SESSION,
    Grant,
    Session,
    Sessions,
    SignInCodes,
    page_path,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)
SECRET = b"a secret of the tests, as long as it has to be"
READER = Grant("reader", TenantScope("acme"), ("workflows:read",), NOW + timedelta(days=30))
SESSIONS, CODES = Sessions(SECRET), SignInCodes(SECRET)


def session(grant: Grant = READER, now: datetime = NOW) -> Session:
    begun = SESSIONS.begin(grant, now)
    assert begun is not None
    return begun


def until(expires_at: datetime) -> Grant:
    return structs.replace(READER, expires_at=expires_at)


@pytest.mark.parametrize(
    ("token_ends", "session_ends"),
    [
        (NOW + timedelta(days=30), NOW + SESSION),
        (NOW + SESSION + TICK, NOW + SESSION),
        (NOW + SESSION, NOW + SESSION),
        (NOW + SESSION - TICK, NOW + SESSION - TICK),
        (NOW + TICK, NOW + TICK),
    ],
)
def test_a_session_ends_after_twelve_hours_and_never_later_than_its_token(
    token_ends: datetime, session_ends: datetime
) -> None:
    begun = session(until(token_ends))
    assert begun == Session(until(session_ends), NOW)
    assert begun.is_active(session_ends - TICK, None)
    assert not begun.is_active(session_ends, None)


@pytest.mark.parametrize("token_ends", [NOW, NOW - timedelta(seconds=5)])
def test_an_expired_token_begins_no_session(token_ends: datetime) -> None:
    assert SESSIONS.begin(until(token_ends), NOW) is None


@pytest.mark.parametrize(("ended_at", "lasts"), [(None, True), (NOW - TICK, True), (NOW, False), (NOW + TICK, False)])
def test_a_session_ends_when_all_are_ended_after_its_beginning(ended_at: datetime | None, *, lasts: bool) -> None:
    assert session().is_active(NOW + TICK, ended_at) == lasts


@pytest.mark.parametrize(
    "grant",
    [
        READER,
        Grant("é\U0001f600", TenantScope(None), (), NOW + SESSION),
        Grant("stepwell up", EVERY_TENANT, ("tenants:all", "workflows:read", "workflows:write"), NOW + TICK),
        Grant(
            "\U0001f600" * 255,
            TenantScope("\U0001f600" * 100),
            ("workflows:approve",) * 4,
            NOW + SESSION,
            "\U0001f600" * 100,
        ),
    ],
)
def test_a_cookie_and_a_code_have_what_the_token_allows(grant: Grant) -> None:
    cookie = SESSIONS.encode(session(grant))
    read = SESSIONS.read(cookie)
    assert read == session(grant)
    page = "/ui?status=FAILED&name=" + "x" * 977
    code_id = uuid4()
    code = CODES.make(code_id, grant, NOW, page=page)
    content = CODES.read(code, NOW)
    assert content is not None
    assert (content.id, content.grant, content.issued_at, content.page) == (code_id, grant, NOW, page)
    assert len(cookie) < MAX_COOKIE_CHARS
    assert len(code) < MAX_CODE_CHARS


def test_a_code_expires_after_ten_minutes_or_when_it_is_said() -> None:
    for code, valid in (
        (CODES.make(uuid4(), READER, NOW, page="/ui"), CODE),
        (CODES.make(uuid4(), READER, NOW, page="/ui", valid=SESSION), SESSION),
    ):
        assert CODES.read(code, NOW + valid - TICK) is not None
        assert CODES.read(code, NOW + valid) is None


def test_changed_and_made_up_texts_are_refused() -> None:
    cookie, code = SESSIONS.encode(session()), CODES.make(uuid4(), READER, NOW, page="/ui")
    other = b"another secret, as long as it has to be"
    assert Sessions(other).read(cookie) is None
    assert SignInCodes(other).read(code, NOW) is None
    for at in range(len(cookie)):
        assert SESSIONS.read(cookie[:at] + ("A" if cookie[at] != "A" else "B") + cookie[at + 1 :]) is None
        assert SESSIONS.read(cookie[:at]) is None
    for made_up in ("", "x", "é", "A" * 40, "A" * 9_000, "=" * 44, cookie + "=", f" {cookie}", cookie + "AAAA"):
        assert SESSIONS.read(made_up) is None
        assert CODES.read(made_up, NOW) is None


def test_a_session_is_no_code_and_a_code_is_no_session() -> None:
    assert CODES.read(SESSIONS.encode(session()), NOW) is None
    assert SESSIONS.read(CODES.make(uuid4(), READER, NOW, page="/ui")) is None


@pytest.mark.parametrize(
    "page",
    [
        "/ui",
        "/ui/",
        "/ui?status=FAILED,RUNNING&label=a%3Db",
        "/ui/workflows/0197a5f0-1c2d-7e3f-8a4b-5c6d7e8f9a0b",
        "/ui/workflows/0197a5f0-1c2d-7e3f-8a4b-5c6d7e8f9a0b?tab=timeline#step-1",
        "/ui?name=..x",
        "/ui?name=100%25&url=https://a.example/%2E",
    ],
)
def test_a_page_of_the_service_is_opened_after_the_sign_in(page: str) -> None:
    assert page_path(page) == page


@pytest.mark.parametrize(
    "page",
    [
        "",
        "/",
        "/uix",
        "ui",
        "/UI",
        "/api/v1/workflows",
        "//evil.example/ui",
        "https://evil.example/ui",
        "/\\evil.example",
        "/ui\\..\\..\\evil",
        "/ui/../api/v1/workflows",
        "/ui/..",
        "/ui/.?x",
        "/ui/%2e%2E/api",
        "/ui/x\r\nSet-Cookie: a=b",
        "/ui/ x",
        "/ui/é",
        "/ui\n",
        "/ui/sign-in?next=/ui",
        "/ui/sign-out",
        "/ui/%73ign-in?code=x",
        "/ui/sign%2Din?code=x",
        "/ui//sign-in?code=x",
        "/ui//",
        "/ui/workflows/%41",
        "/ui?" + "x" * 1_000,
    ],
)
def test_nothing_else_is_opened_after_the_sign_in(page: str) -> None:
    assert page_path(page) == "/ui"
    content = CODES.read(CODES.make(uuid4(), READER, NOW, page=page), NOW)
    assert content is not None
    assert content.page == "/ui"
