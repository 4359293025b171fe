"""A token is verified when it first comes, and believed until it expires; nothing else of it is kept."""

import time
from datetime import timedelta

import pytest

from stepwell.api import auth
from stepwell.api.auth import Principal, TokenVerifier, sign_token
from stepwell.api.claims import LEEWAY_S, ClaimRules
from stepwell.domain.errors import InvalidToken
from stepwell.persistence.clock import DatabaseClock

SECRET = "a secret of the tests, long enough for HS256"


def made(subject: str = "alice", expires_s: int = 60, secret: str = SECRET) -> str:
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


class Verifier(TokenVerifier):
    """Counts how often it looks at a signature."""

    def __init__(self) -> None:
        super().__init__(SECRET, "HS256", ClaimRules("stepwell", "stepwell", 600))
        self.looked = 0

    def _checked(self, token: str) -> auth._Known:
        self.looked += 1
        return super()._checked(token)


def test_the_same_token_is_looked_at_once() -> None:
    verifier = Verifier()
    token, other = made(), made("bob")
    first = verifier.verify(token)
    assert isinstance(first, Principal)
    assert [verifier.verify(token) for _ in range(3)] == [first] * 3
    assert verifier.looked == 1
    assert verifier.verify(other).subject == "bob"
    assert verifier.verify(token) == first
    assert verifier.looked == 2


def test_a_known_token_is_refused_once_it_has_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    verifier = Verifier()
    token = made(expires_s=120)
    verifier.verify(token)
    at = time.time()
    monkeypatch.setattr(time, "time", lambda: at + 60 + LEEWAY_S - 2)
    verifier.verify(token)
    assert verifier.looked == 1
    monkeypatch.setattr(time, "time", lambda: at + 60 + LEEWAY_S + 2)
    for _ in range(2):
        with pytest.raises(InvalidToken, match=r"^The token expired at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\.$"):
            verifier.verify(token)
    assert verifier._known == {}


@pytest.mark.parametrize("token", [made(expires_s=1), made(secret=SECRET + "x"), made() + "x", "a.b.c", "", "\xff"])
def test_what_does_not_hold_is_not_remembered(token: str) -> None:
    verifier = Verifier()
    for _ in range(2):
        with pytest.raises(InvalidToken):
            verifier.verify(token)
    assert verifier.looked == 2
    assert verifier._known == {}


def test_only_so_many_are_remembered_and_as_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "MAX_KNOWN", 3)
    verifier = Verifier()
    tokens = [made(f"subject {n}") for n in range(4)]
    for token in [*tokens[:3], tokens[0], tokens[3]]:
        verifier.verify(token)
    assert {type(digest) for digest in verifier._known} == {bytes}
    assert {len(digest) for digest in verifier._known} == {32}
    assert len(verifier._known) == 3
    assert verifier.looked == 4
    verifier.verify(tokens[0])  # used after the others
    assert verifier.looked == 4
    verifier.verify(tokens[1])
    assert verifier.looked == 5
