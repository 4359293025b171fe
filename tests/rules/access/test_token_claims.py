"""The claims of a token that isn't verified."""

from base64 import urlsafe_b64encode

import pytest
from msgspec import json

from stepwell.rules.access.token_claims import unverified_claims


def token(payload: bytes) -> str:
    return f"header.{urlsafe_b64encode(payload).decode().rstrip('=')}.signature"


@pytest.mark.parametrize("claims", [{}, {"exp": 1}, {"exp": 12.5, "sub": "ä"}, {"scope": "a b", "x": None}])
def test_the_claims_are_read_whatever_their_length(claims: dict[str, object]) -> None:
    assert unverified_claims(token(json.encode(claims))) == claims


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no token",
        "a.b",
        "a.b.c.d",
        "a.é.c",
        "a.!!!.c",
        token(b"{"),
        token(b"[1]"),
        token(b"\xff"),
        token(b"[" * 100_000),
    ],
)
def test_what_is_no_json_web_token_has_no_claims(text: str) -> None:
    assert unverified_claims(text) == {}
