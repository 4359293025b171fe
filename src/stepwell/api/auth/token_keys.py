"""The keys that verify tokens: one that is configured, or those of a key set."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jwt

from stepwell.basics.errors import InvalidToken

SYMMETRIC = "HS256"
ALGORITHMS = (SYMMETRIC, "RS256", "ES256", "EdDSA")


class VerificationKey(NamedTuple):
    """A key in the form that pyjwt uses, and the one algorithm that it is for."""

    key: Any
    algorithm: str


class UnknownKey(InvalidToken):
    """No known key fits the token. A fetch of the key set may find it."""


class TokenKeys(Protocol):
    """The source of the keys that verify tokens."""

    def key_for(self, token: str) -> VerificationKey | None:
        """Return the key that must have signed *token*; None if its header is malformed. Raises `UnknownKey`."""

    def note_use(self) -> None:
        """Note that a token is being verified, because keys that are in use are kept up to date."""

    async def refresh(self) -> None:
        """Look for keys that aren't known yet. Raises `Unavailable` if that isn't possible now."""

    async def run(self) -> None:
        """Fetch keys whenever they are needed, until the service stops."""

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call *callback* whenever the keys have changed. Tokens must be verified again then."""


class FixedKey:
    """One configured key: a shared secret, or a public key as PEM. The algorithm in a token's header is ignored.

    Raises `ValueError` if *key* doesn't fit the algorithm or is too short.
    """

    def __init__(self, key: str | bytes, algorithm: str) -> None:
        self._key = VerificationKey(parse_key(key, algorithm), algorithm)

    def key_for(self, _token: str) -> VerificationKey:
        return self._key

    def note_use(self) -> None:
        pass

    async def refresh(self) -> None:
        pass

    async def run(self) -> None:
        pass

    def on_change(self, callback: Callable[[], None]) -> None:
        pass


def parse_key(key: Any, algorithm: str) -> Any:
    """Return *key* in the form that pyjwt uses, parsed once. Raises `ValueError`, without the key."""
    if algorithm not in ALGORITHMS:
        raise ValueError(f"the JWT algorithm must be one of {', '.join(ALGORITHMS)}")
    method = jwt.get_algorithm_by_name(algorithm)
    try:
        parsed = method.prepare_key(key)
    except (jwt.PyJWTError, ValueError, TypeError):
        raise ValueError(f"the JWT key is none for {algorithm}") from None
    if too_short := method.check_key_length(parsed):
        raise ValueError(too_short)
    return parsed
