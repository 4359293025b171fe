"""The keys that verify tokens: one that is configured, or those of a set of public keys (RFC 7517) that is fetched.

What must hold:
- A token is verified with a key of the set by the algorithm of that key alone: RS256, ES256 or EdDSA.
- Known keys are used until another set has been fetched. So tokens are accepted while the URL can't be reached, is slow
  or returns something else, and no such token waits for a fetch.
- One fetch runs at a time, and two begin at least `FETCH_PAUSE_S` apart. Only tokens cause fetches: one whose key
  isn't known waits for the fetch, and any other one causes it in the background once the set is `FRESH_S` old.
- A key that has left the set verifies no more tokens, including those that were accepted before.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

import jwt
import structlog
from anyio import to_thread
from jwt import PyJWK, PyJWTError
from jwt.utils import base64url_decode

from stepwell.basics.errors import InvalidRequest, InvalidToken, Unavailable
from stepwell.basics.strict_json.decode import decode_body
from stepwell.ports.clock import Clock

log = structlog.get_logger(__name__)

SYMMETRIC = "HS256"
ALGORITHMS = (SYMMETRIC, "RS256", "ES256", "EdDSA")
FETCH_PAUSE_S: Final = 30.0
FRESH_S: Final = 300.0
MAX_KEYS: Final = 100
_MAX_MEMBER = 1_400  # characters: an RSA modulus of 8,192 bits. Longer ones would make each verification slow
_MAX_EXPONENT = 8
# By `kty`: the algorithm, the curve, and the members of the public key.
_KINDS: dict[object, tuple[str, str | None, tuple[str, ...]]] = {
    "RSA": ("RS256", None, ("n", "e")),
    "EC": ("ES256", "P-256", ("crv", "x", "y")),
    "OKP": ("EdDSA", "Ed25519", ("crv", "x")),
}
_PUBLIC_ALGORITHMS = tuple(kind[0] for kind in _KINDS.values())
_WAIT_S = 10.0  # a fetch takes less
_NOT_NOW = "The keys that verify tokens can't be fetched now."
_UNKNOWN = "The key set has no key for the token: kid must name one of its keys, and alg that key's algorithm."


class VerificationKey(NamedTuple):
    """A key in the form that pyjwt uses, and the one algorithm that it is for."""

    key: Any
    algorithm: str


class UnknownKey(InvalidToken):
    """No known key fits the token. A fetch of the key set may find it."""


class TokenKeys(Protocol):
    def key_for(self, token: str) -> VerificationKey | None:
        """Return the key that must have signed *token*; None if its header is malformed. Raises `UnknownKey`."""

    def note_use(self) -> None:
        """Note that a token is being verified, because only keys that are in use are fetched again."""

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


class InvalidKeySet(Exception):
    """A text isn't a key set with a usable key. The message doesn't quote it."""


class KeySet:
    """The usable keys of a set, by `kid` and algorithm. Of several keys with the same, the first counts."""

    def __init__(self, keys: Iterable[tuple[str | None, VerificationKey]] = ()) -> None:
        self._named: dict[tuple[str, str], VerificationKey] = {}
        self._by_algorithm: dict[str, list[VerificationKey]] = {}
        for kid, key in keys:
            self._by_algorithm.setdefault(key.algorithm, []).append(key)
            if kid is not None:
                self._named.setdefault((kid, key.algorithm), key)

    def __len__(self) -> int:
        return sum(map(len, self._by_algorithm.values()))

    def find(self, kid: str | None, algorithm: Any) -> VerificationKey | None:
        """Return the key of that id. Without an id, the only key of the algorithm counts; None if there are several."""
        if kid is not None:
            return self._named.get((kid, algorithm))
        keys = self._by_algorithm.get(algorithm, [])
        return keys[0] if len(keys) == 1 else None


class FetchedKeys:
    """The keys of the set that *fetch* returns, as a `TokenKeys`.

    *own* verifies tokens with HS256, if there is one. It is the service's own secret, and never part of the set.
    """

    def __init__(self, fetch: Callable[[], Awaitable[bytes]], clock: Clock, own: FixedKey | None) -> None:
        self._fetch, self._clock, self._own = fetch, clock, own
        self._text, self._keys = b"", KeySet()
        self._callbacks: list[Callable[[], None]] = []
        self._wanted = asyncio.Event()
        self._fetch_end: asyncio.Event | None = None  # None while no fetch is wanted or runs
        self._failed = False
        self._next_fetch_at = self._fresh_until = -math.inf

    def key_for(self, token: str) -> VerificationKey | None:
        header = _header(token)
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm == SYMMETRIC and self._own is not None:
            return self._own.key_for(token)
        if algorithm not in _PUBLIC_ALGORITHMS or not (kid is None or isinstance(kid, str)):
            return None
        if (key := self._keys.find(kid, algorithm)) is None:
            raise UnknownKey(_UNKNOWN)
        return key

    def note_use(self) -> None:
        if self._clock.monotonic() >= self._fresh_until and len(self._keys):
            self._start_fetch()

    async def refresh(self) -> None:
        self._start_fetch()
        try:
            if self._fetch_end is not None:
                async with asyncio.timeout(_WAIT_S):
                    await self._fetch_end.wait()
        except TimeoutError:
            raise Unavailable(_NOT_NOW) from None
        if self._failed:
            raise Unavailable(_NOT_NOW, max(math.ceil(self._next_fetch_at - self._clock.monotonic()), 1))

    def on_change(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def _start_fetch(self) -> None:
        now = self._clock.monotonic()
        if self._fetch_end is None and now >= self._next_fetch_at:
            self._next_fetch_at = now + FETCH_PAUSE_S
            self._fetch_end = asyncio.Event()
            self._wanted.set()

    async def run(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self._fetch_keys()

    async def _fetch_keys(self) -> None:
        self._failed = True
        try:
            text = await self._fetch()
            if text != self._text:
                keys, ignored = await to_thread.run_sync(partial(parse_key_set, text))
                self._text, self._keys = text, keys
                log.info("key_set.changed", action="fetch", keys=len(keys), ignored=ignored)
                for callback in self._callbacks:
                    callback()
            self._failed = False
            self._fresh_until = self._clock.monotonic() + FRESH_S
        except Exception as error:  # noqa: BLE001 - known keys are used, whatever is wrong with the URL
            log.warning("key_set.unavailable", action="fetch", error=str(error), known_keys=len(self._keys))
        finally:
            if self._fetch_end is not None:
                self._fetch_end.set()
            self._fetch_end = None


def parse_key_set(text: bytes) -> tuple[KeySet, int]:
    """Return the usable keys of a key set, and the number of those that are ignored. Raises `InvalidKeySet`.

    A key is ignored if it isn't for signatures, belongs to another algorithm, is symmetric, private, too short or too
    long, or isn't valid.
    """
    try:
        value = decode_body(text)
    except InvalidRequest:
        raise InvalidKeySet("the response isn't JSON, or is too deep") from None
    entries = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(entries, list):
        raise InvalidKeySet("the response isn't an object with a list of keys")
    if len(entries) > MAX_KEYS:
        raise InvalidKeySet(f"the response has more than {MAX_KEYS} keys")
    keys = [key for entry in entries if (key := _usable_key(entry)) is not None]
    if not keys:
        raise InvalidKeySet("the response has no key for RS256, ES256 or EdDSA")
    return KeySet(keys), len(entries) - len(keys)


def _usable_key(entry: Any) -> tuple[str | None, VerificationKey] | None:
    if not isinstance(entry, dict) or entry.get("kty") not in tuple(_KINDS):
        return None
    algorithm, curve, members = _KINDS[entry["kty"]]
    kid, operations = entry.get("kid"), entry.get("key_ops", ["verify"])
    public = {name: entry.get(name) for name in members}
    if (
        "d" in entry  # a private key, with which every reader of the set could sign
        or not (kid is None or isinstance(kid, str))
        or entry.get("use", "sig") != "sig"
        or entry.get("alg", algorithm) != algorithm
        or not (isinstance(operations, list) and "verify" in operations)
        or public.get("crv") != curve
        or not all(isinstance(member, str) and len(member) <= _MAX_MEMBER for member in public.values())
        or len(public.get("e") or "") > _MAX_EXPONENT
    ):
        return None
    try:
        key = parse_key(PyJWK({"kty": entry["kty"], **public}, algorithm).key, algorithm)
    except (PyJWTError, ValueError):
        return None
    return kid, VerificationKey(key, algorithm)


def _header(token: str) -> dict[str, Any]:
    """Return the header of *token*; an empty one if it is malformed."""
    try:
        header = decode_body(base64url_decode(token.partition(".")[0]))
    except (InvalidRequest, ValueError):
        return {}
    return header if isinstance(header, dict) else {}
