"""The cache of accepted tokens: a signature is checked once, and a token is accepted until it expires."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest

from stepwell.api.auth.authentication import Principal, TokenVerifier, sign_token
from stepwell.api.auth.claims import LEEWAY_S, ClaimRules
from stepwell.api.auth.token_keys import FixedKey
from stepwell.basics.errors import InvalidToken
from stepwell.persistence.clock import DatabaseClock

SECRET = "a secret of the tests, long enough for HS256"


def new_token(subject: str = "alice", expires_s: int = 60, secret: str = SECRET) -> str:
    return sign_token(
        secret,
        "HS256",
        "stepwell",
        "stepwell",
        subject=subject,
        tenant="t",
        every=False,
        permissions=(),
        expires_s=expires_s,
        now=DatabaseClock().now() - timedelta(seconds=60),
    )


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tokens whose signatures were checked."""
    tokens: list[str] = []
    decode: Callable[..., Any] = jwt.PyJWS.decode

    def record(self: jwt.PyJWS, token: str, *args: Any) -> Any:
        tokens.append(token)
        return decode(self, token, *args)

    monkeypatch.setattr(jwt.PyJWS, "decode", record)
    return tokens


def new_verifier(**options: int) -> TokenVerifier:
    return TokenVerifier(FixedKey(SECRET, "HS256"), ClaimRules("stepwell", "stepwell", 600), **options)


def test_the_signature_of_a_token_is_checked_once(checks: list[str]) -> None:
    verifier = new_verifier()
    token, other = new_token(), new_token("bob")
    first = verifier.verify(token)
    assert isinstance(first, Principal)
    assert [verifier.verify(token) for _ in range(3)] == [first] * 3
    assert checks == [token]
    assert verifier.verify(other).subject == "bob"
    assert verifier.verify(token) == first
    assert checks == [token, other]


def test_a_cached_token_is_refused_once_it_has_expired(monkeypatch: pytest.MonkeyPatch, checks: list[str]) -> None:
    verifier = new_verifier()
    before = time.time()
    token = new_token(expires_s=120)
    after = time.time()
    verifier.verify(token)
    monkeypatch.setattr(time, "time", lambda: before + 60 + LEEWAY_S - 2)
    verifier.verify(token)
    assert checks == [token]
    monkeypatch.setattr(time, "time", lambda: after + 60 + LEEWAY_S + 2)
    for _ in range(2):
        with pytest.raises(InvalidToken, match=r"^The token expired at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\. Get a new"):
            verifier.verify(token)
    assert checks == [token] * 3


@pytest.mark.parametrize("token", [new_token(expires_s=1), new_token(secret=SECRET + "x"), new_token() + "x", "a.b.c"])
def test_a_refused_token_is_checked_again(checks: list[str], token: str) -> None:
    verifier = new_verifier()
    for _ in range(2):
        with pytest.raises(InvalidToken):
            verifier.verify(token)
    assert checks == [token] * 2


def test_the_least_recently_used_token_leaves_a_full_cache(checks: list[str]) -> None:
    verifier = new_verifier(max_cached=3)
    tokens = [new_token(f"subject {n}") for n in range(4)]
    for token in [*tokens[:3], tokens[0], tokens[3]]:
        verifier.verify(token)
    assert checks == tokens
    verifier.verify(tokens[0])  # used after the others
    assert checks == tokens
    verifier.verify(tokens[1])
    assert checks == [*tokens, tokens[1]]


def test_the_cache_contains_no_token() -> None:
    verifier, token = new_verifier(), new_token()
    verifier.verify(token)
    assert token not in repr(vars(verifier))
