"""Shortening of results: their bound, and what is left of them."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import json

from stepwell.client import AsyncStepwell
from stepwell.contract.scopes import Permission
from stepwell.mcp.service_access import ServiceAccess, scopes_of
from stepwell.mcp.shortening import MAX_BYTES, shorten, shorten_object, shorten_text
from support.service.live_service import token

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)


@settings(max_examples=30)
@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=5))
def test_a_short_value_stays_as_it_is(value: dict[str, Any]) -> None:
    assert shorten(value) == (value, False)
    assert shorten_object(value, 10_000) == value


def test_a_long_value_keeps_its_form_and_its_beginning() -> None:
    value = {"steps": [{"id": f"step-{number}", "error": "e" * 1_000} for number in range(5_000)], "total": 5_000}
    short, is_shortened = shorten(value)
    assert is_shortened
    assert len(json.encode(short)) <= MAX_BYTES
    assert short["total"] == 5_000
    assert [step["id"] for step in short["steps"]] == [f"step-{number}" for number in range(len(short["steps"]))]
    assert len(short["steps"]) >= 20


def test_a_long_object_becomes_the_beginning_of_its_json() -> None:
    assert shorten_object({"text": "é" * 1_000}, 20) == {"shortened": '{"text":"éééééééééé…'}
    assert shorten_object(None, 20) is None


def test_a_long_text_ends_with_an_ellipsis() -> None:
    assert (shorten_text("abcd", 4), shorten_text("abcde", 4)) == ("abcd", "abc…")


def allows(token: str | None, permission: Permission) -> bool:
    return ServiceAccess(AsyncStepwell("http://t.local", token=""), scopes_of(token), local_files=False).allows(
        permission
    )


def test_a_token_says_whether_it_may_write() -> None:
    assert allows(token(), Permission.WRITE)
    assert not allows(token(permissions=()), Permission.APPROVE)
    for unreadable in (None, "", "a.b.c", "not a token", "e30.e30.e30", "W10.W10.W10"):
        assert allows(unreadable, Permission.WRITE)
    approver = token(permissions=(Permission.APPROVE,))
    assert allows(approver, Permission.APPROVE)
    assert not allows(approver, Permission.WRITE)
