"""Key sets: which keys count, and what a client gets from a server that is slow, broken or hostile."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa

from stepwell.api.auth.token_keys import MAX_KEYS, InvalidKeySet, parse_key_set
from stepwell.outbound.key_set_client import KeySetClient, KeySetUnavailable
from support.emulators.base import Fault, Reply
from support.emulators.key_server import FETCH, KeyServer, public_jwk
from support.service.raw_tokens import EC, EC_PUBLIC, ED_PUBLIC, RSA_PUBLIC, pems

GOOD = public_jwk(ED_PUBLIC, "EdDSA", kid="good")
OTHER_CURVE = public_jwk(pems(ec.generate_private_key(ec.SECP384R1()))[1], "ES384", kid="x")
SHORT_RSA = public_jwk(pems(rsa.generate_private_key(65537, 1024))[1], "RS256", kid="x")
PUBLIC_RSA = public_jwk(RSA_PUBLIC, "RS256", kid="x")
PUBLIC_EC = public_jwk(EC_PUBLIC, "ES256", kid="x")
PRIVATE_EC = public_jwk(EC, "ES256", kid="x")  # of a private key, so it is private
ED448 = public_jwk(pems(ed448.Ed448PrivateKey.generate())[1], "EdDSA", kid="x")


def text(*keys: Any) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


@pytest.mark.parametrize(
    "jwk",
    [
        PUBLIC_RSA,
        PUBLIC_RSA | {"use": "sig", "alg": "RS256", "key_ops": ["verify"], "x5c": ["MII"], "x5t": "x"},
        PUBLIC_EC,
        public_jwk(ED_PUBLIC, "EdDSA", alg="EdDSA"),
    ],
)
def test_a_public_key_for_signatures_is_usable(jwk: dict[str, Any]) -> None:
    keys, ignored = parse_key_set(text(jwk))
    assert (len(keys), ignored) == (1, 0)


@pytest.mark.parametrize(
    "jwk",
    [
        {"kty": "oct", "k": "A" * 43, "kid": "x", "alg": "HS256"},
        *(PUBLIC_RSA | {"use": "enc"}, PUBLIC_RSA | {"use": None}, PUBLIC_RSA | {"key_ops": ["encrypt"]}),
        *(PUBLIC_RSA | {"alg": alg} for alg in ("HS256", "RS512", "PS256", "ES256", "none", None, ["RS256"])),
        *(PUBLIC_EC | {"alg": alg} for alg in ("RS256", "ES384")),
        *(PUBLIC_RSA | {"key_ops": "verify"}, PUBLIC_RSA | {"kid": 1}, PUBLIC_RSA | {"kty": ["RSA"]}),
        *(PUBLIC_RSA | {"d": "AQAB"}, PRIVATE_EC, SHORT_RSA, OTHER_CURVE, ED448),
        *(PUBLIC_RSA | {"n": modulus} for modulus in ("", "AQ", "!" * 400, 5, None, "A" * 1_401)),
        *(PUBLIC_RSA | {"e": exponent} for exponent in ("", "AA", "A" * 9, 1)),
        *(PUBLIC_EC | {"crv": curve} for curve in ("P-384", "P-999", "secp256k1", None, 256)),
        *(PUBLIC_EC | {"x": PUBLIC_EC["y"]}, PUBLIC_EC | {"y": "A" * 43}, PUBLIC_EC | {"x": PUBLIC_EC["x"][:-4]}),
        *(GOOD | {"crv": "X25519"}, GOOD | {"x": "AAAA"}, GOOD | {"x": None}),
        *({"kty": "EC"}, {"kty": "RSA", "kid": "x"}, {"kid": "x"}, {}, [], None, "RSA", 1),
    ],
)
def test_another_key_is_ignored_beside_a_good_one(jwk: Any) -> None:
    keys, ignored = parse_key_set(text(jwk, GOOD))
    assert (len(keys), ignored) == (1, 1)
    assert keys.find("good", "EdDSA") is not None
    assert all(keys.find("x", algorithm) is None for algorithm in ("HS256", "RS256", "ES256", "EdDSA"))


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{", b"<html>", b"\xff", b"null", b"[]", b"{}", b'{"keys":{}}', b'{"keys":null}', b'{"keys":[]}'),
        *(b"[" * 100_000, b'{"keys":' * 1_000 + b"1" + b"}" * 1_000, b'{"keys":[],"keys":[]}'),
        *(text(OTHER_CURVE), text(*[GOOD] * (MAX_KEYS + 1)), text(*[{}] * 80_000), b'{"keys":' + b"9" * 99_999 + b"}"),
    ],
)
def test_a_text_without_a_usable_key_is_no_key_set(data: bytes) -> None:
    with pytest.raises(InvalidKeySet):
        parse_key_set(data)


def test_the_first_of_several_keys_of_one_id_and_algorithm_counts() -> None:
    keys, _ = parse_key_set(
        text(GOOD | {"kid": "a"}, PUBLIC_RSA | {"kid": "a"}, PUBLIC_EC | {"kid": "a"}, GOOD | {"kid": "a"})
    )
    found = [keys.find("a", algorithm) for algorithm in ("RS256", "ES256", "EdDSA")]
    assert [key and key.algorithm for key in found] == ["RS256", "ES256", "EdDSA"]
    assert keys.find(None, "EdDSA") is None, "there are two"
    assert keys.find(None, "RS256") == found[0]


@pytest.fixture
async def key_server(tmp_path: Path) -> AsyncIterator[KeyServer]:
    async with KeyServer(tmp_path) as server:
        server.keys = [GOOD]
        yield server


async def fetched(server: KeyServer, deadline_s: float = 30) -> bytes:
    client = KeySetClient(server.address, deadline_s)
    try:
        return await client.fetch()
    finally:
        await client.aclose()


async def test_a_client_returns_the_bytes_of_the_response(key_server: KeyServer) -> None:
    assert await fetched(key_server) == text(GOOD)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Fault.LOSE_BEFORE, "RemoteProtocolError"),
        (Fault.TRUNCATE_AFTER, "RemoteProtocolError"),
        (Fault.HUGE_AFTER, "the response is larger than 262,144 bytes"),
        (Fault.BROKEN, "the response has status 500"),
        (Fault.GATEWAY_AFTER, "the response has status 502"),
        (Fault.BUSY, "the response has status 429"),
        (Fault.HANG_AFTER, "no complete response in 0.3 s"),
        (Fault.DRIP_AFTER, "no complete response in 0.3 s"),
    ],
)
async def test_a_client_gives_up_on_a_response_that_is_slow_huge_or_broken(
    key_server: KeyServer, fault: Fault, why: str
) -> None:
    key_server.plan(FETCH, fault)
    with pytest.raises(KeySetUnavailable, match=why):
        await fetched(key_server, 0.3 if "0.3" in why else 30)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_client_follows_no_redirect(key_server: KeyServer, status: int) -> None:
    key_server.reply = Reply(status, b"", {"Location": f"{key_server.url}/inside"})
    with pytest.raises(KeySetUnavailable, match=f"a redirect .{status}., which isn't followed"):
        await fetched(key_server)
    assert key_server.count("other") == 0


async def test_a_client_reports_that_nothing_listens(key_server: KeyServer) -> None:
    client = KeySetClient("http://127.0.0.1:1/keys")
    with pytest.raises(KeySetUnavailable, match="ConnectError"):
        await client.fetch()
    await client.aclose()
