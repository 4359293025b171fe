"""Refused tokens: the reason that the caller reads, and none that a forger could use."""

import json
from pathlib import Path

import jwt
import pytest
import structlog

from stepwell.api.auth.authentication import TokenVerifier
from stepwell.api.auth.token_keys import FixedKey
from stepwell.basics.errors import InvalidToken
from stepwell.testing import MemoryDatabase
from support.service.conformance import conforming_client
from support.service.live_service import SECRET, Service, running_service
from support.service.raw_tokens import (
    AUDIENCE,
    CLAIMS,
    DAY,
    EC,
    ED,
    GOOD,
    ISSUER,
    NOW,
    RSA,
    RULES,
    at,
    encoded,
    header,
    number,
    padded,
    payload,
    raw,
    too_long,
    unsigned,
)

LIST = "/api/v1/workflows/"
in_module_loop = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def verifier() -> TokenVerifier:
    return TokenVerifier(FixedKey(SECRET, "HS256"), RULES)


BIG = "The claim exp is not valid: Expected an integer of at most 64 bits."
AUD = "The claim aud must be 'stepwell', or a list with it."
MALFORMED: dict[str, str] = {
    "garbage": "x",
    "dots": "..",
    "two parts": GOOD.rpartition(".")[0],
    "five parts": GOOD + ".x.y",
    "cut": GOOD[:-5],
    "not base64": "!!!.???.###",
    "not ASCII": "é" * 50,
    "NUL": GOOD[:40] + "\x00" + GOOD[40:],
    "a megabyte": "A" * 1_000_000,
    "a megabyte, signed": encoded(padding="x" * 1_000_000),
    "9 kB, signed": encoded(padding="x" * 7_000),
    "padding": GOOD + "=",
    "padding of each part, signed": padded(),
    "signature changed": GOOD[:-10] + ("A" if GOOD[-10] != "A" else "B") + GOOD[-9:],
    "signature of another": GOOD.rpartition(".")[0] + "." + encoded(sub="x").rpartition(".")[2],
    "another secret": header('{"alg":"HS256"}', b"another secret that is long enough!"),
    "empty secret": header('{"alg":"HS256"}', b""),
    "alg none": unsigned("none"),
    "alg nOnE": unsigned("nOnE"),
    "alg None, signed": header('{"alg":"none"}'),
    "alg empty": unsigned(""),
    "alg missing": header("{}"),
    "alg null": header('{"alg":null}'),
    "alg number": header('{"alg":256}'),
    "alg list": header('{"alg":["HS256"]}'),
    "alg HS512": jwt.encode(CLAIMS, SECRET * 2, "HS512"),
    "alg RS256": jwt.encode(CLAIMS, RSA, "RS256"),
    "alg ES256": jwt.encode(CLAIMS, EC, "ES256"),
    "alg EdDSA": jwt.encode(CLAIMS, ED, "EdDSA"),
    "header array": header("[]"),
    "header no JSON": header("{"),
    "header deep": header("[" * 3000),
    "header crit": header('{"alg":"HS256","crit":["x"],"x":1}'),
    "header kid number": header('{"alg":"HS256","kid":1}'),
    "header b64 false": header('{"alg":"HS256","b64":false,"crit":["b64"]}'),
    "payload array": raw(b'{"alg":"HS256"}', b"[]"),
    "payload number": raw(b'{"alg":"HS256"}', b"1"),
    "payload empty": raw(b'{"alg":"HS256"}', b""),
    "payload no UTF-8": raw(b'{"alg":"HS256"}', b'{"sub":"\xff"}'),
    "payload deep": raw(b'{"alg":"HS256"}', b"[" * 5000),
    "payload in UTF-16": raw(b'{"alg":"HS256"}', json.dumps(CLAIMS).encode("utf-16")),
    "header with a member twice": header('{"alg":"HS256","alg":"HS256"}'),
    "header with alg twice, none last": header('{"alg":"HS256","alg":"none"}'),
    "header deep and complete": header('{"alg":"HS256","x":' + "[" * 2000 + "]" * 2000 + "}"),
    "header with a huge number": header('{"alg":"HS256","x":' + "1" * 5000 + "}"),
    "expired, another secret": raw(b'{"alg":"HS256"}', b'{"exp":1}', b"another secret that is long enough!"),
}
RENEW = " Get a new one; `stepwell token` makes it."
_TOO_MANY = ",".join(f'"c{n}":1,"c{n}":1' for n in range(60))
REFUSED: dict[str, tuple[str, str]] = {
    "expired": (encoded(iat=NOW - 700, exp=NOW - 60), f"The token expired at {at(NOW - 60)}.{RENEW}"),
    "expired, a float": (encoded(iat=NOW - 700, exp=NOW - 59.5), f"The token expired at {at(NOW - 60)}.{RENEW}"),
    "exp zero": (encoded(iat=-5, exp=0), f"The token expired at 1970-01-01T00:00:00Z.{RENEW}"),
    "exp negative": (encoded(iat=-5, exp=-1), f"The token expired at 1969-12-31T23:59:59Z.{RENEW}"),
    "exp before iat": (
        encoded(iat=NOW - 600, exp=NOW - 700),
        f"The claim exp must not be before iat. The token expired at {at(NOW - 700)}.{RENEW}",
    ),
    "exp list": (encoded(exp=[NOW + 60]), "The claim exp is not valid: Expected a number, got a list."),
    "exp text": (encoded(exp="soon"), "The claim exp is not valid: Expected a number, got a string."),
    "exp digits": (encoded(exp=str(NOW + DAY)), "The claim exp is not valid: Expected a number, got a string."),
    "exp true": (encoded(exp=True), "The claim exp is not valid: Expected a number, got a boolean."),
    "exp object": (encoded(exp={}), "The claim exp is not valid: Expected a number, got an object."),
    "exp infinite": (number("exp", "1e400"), "The claim exp is not valid: Expected a finite number."),
    "exp NaN": (number("exp", "NaN"), "The claim exp is not valid: Expected a finite number."),
    "exp of 30 digits": (
        number("exp", "9" * 30),
        "The claim exp is not valid: Expected an integer of at most 64 bits.",
    ),
    "exp of 5,000 digits": (number("exp", "9" * 5_000), BIG),
    "exp after the year 9999": (
        encoded(exp=253_402_300_800),
        "The claim exp is not valid: Expected a number <= 253402300799.",
    ),
    "iat infinite": (number("iat", "-Infinity"), "The claim iat is not valid: Expected a finite number."),
    "nbf later": (encoded(nbf=NOW + DAY), f"The token is not valid before {at(NOW + DAY)}."),
    "nbf text": (encoded(nbf="later"), "The claim nbf is not valid: Expected a number, got a string."),
    "iat later": (
        encoded(iat=NOW + DAY, exp=NOW + 2 * DAY),
        f"The token was issued in the future: iat is {at(NOW + DAY)}.",
    ),
    "iat text": (encoded(iat="once"), "The claim iat is not valid: Expected a number, got a string."),
    "no exp": (encoded(exp=None), "The claim exp is missing."),
    "no iat": (encoded(iat=None), "The claim iat is missing."),
    "no iss": (encoded(iss=None), "The claim iss is missing."),
    "no aud": (encoded(aud=None), "The claim aud is missing."),
    "no sub": (encoded(sub=None), "The claim sub is missing."),
    "no claims": (
        raw(b'{"alg":"HS256"}', b"{}"),
        " ".join(f"The claim {name} is missing." for name in ("exp", "iat", "iss", "aud", "sub")),
    ),
    "iss another": (encoded(iss="elsewhere"), "The claim iss must be 'stepwell'."),
    "iss prefix": (encoded(iss=ISSUER[:-1]), "The claim iss must be 'stepwell'."),
    "iss list": (encoded(iss=[ISSUER]), "The claim iss is not valid: Expected a string, got a list."),
    "aud another": (encoded(aud="elsewhere"), AUD),
    "aud empty list": (encoded(aud=[]), AUD),
    "aud list of others": (encoded(aud=["a", "b"]), AUD),
    "aud number": (encoded(aud=1), "The claim aud is not valid: Expected a string or a list, got an integer."),
    "aud with a number": (encoded(aud=[AUDIENCE, 1]), "The claim aud is not valid: Expected a string, got an integer."),
    "expired, of another issuer for others": (
        encoded(iat=NOW - 700, exp=NOW - 60, iss="elsewhere", aud="others"),
        f"The claim iss must be 'stepwell'. {AUD} The token expired at {at(NOW - 60)}.{RENEW}",
    ),
    "sub number": (encoded(sub=1), "The claim sub is not valid: Expected a string, got an integer."),
    "sub empty": (encoded(sub=""), "The claim sub is not valid: Expected a string of length >= 1."),
    "sub long": (encoded(sub="x" * 256), "The claim sub is not valid: Expected a string of length <= 255."),
    "sub NUL": (encoded(sub="a\x00b"), "The claim sub is not valid: String contains a NUL character."),
    "sub newline": (encoded(sub="a\n"), "The claim sub must not contain control characters."),
    "sub surrogate": (encoded(sub="\ud800"), "The claim sub is not valid: String contains a lone surrogate."),
    "jti number": (encoded(jti=1), "The claim jti is not valid: Expected a string, got an integer."),
    "tenant number": (encoded(tenant_id=1), "The claim tenant_id is not valid: Expected a string, got an integer."),
    "tenant list": (encoded(tenant_id=["acme"]), "The claim tenant_id is not valid: Expected a string, got a list."),
    "tenant object": (encoded(tenant_id={}), "The claim tenant_id is not valid: Expected a string, got an object."),
    "tenant true": (encoded(tenant_id=True), "The claim tenant_id is not valid: Expected a string, got a boolean."),
    "tenant null": (number("tenant_id", "null"), "The claim tenant_id is not valid: Expected a string, got null."),
    "tenant empty": (encoded(tenant_id=""), "The claim tenant_id is not valid: Expected a string of length >= 1."),
    "tenant long": (
        encoded(tenant_id="x" * 101),
        "The claim tenant_id is not valid: Expected a string of length <= 100.",
    ),
    "instance null": (
        number("origin_instance", "null"),
        "The claim origin_instance is not valid: Expected a string, got null.",
    ),
    "instance newline": (
        encoded(origin_instance="shop\n"),
        "The claim origin_instance must not contain control characters.",
    ),
    "tenant NUL": (encoded(tenant_id="acme\x00"), "The claim tenant_id is not valid: String contains a NUL character."),
    "tenant newline": (encoded(tenant_id="acme\n"), "The claim tenant_id must not contain control characters."),
    "tenant surrogate": (
        encoded(tenant_id="\udfff"),
        "The claim tenant_id is not valid: String contains a lone surrogate.",
    ),
    "scope list": (encoded(scope=["workflows:read"]), "The claim scope is not valid: Expected a string, got a list."),
    "scope number": (encoded(scope=1), "The claim scope is not valid: Expected a string, got an integer."),
    "exp twice": (payload('"exp":1'), "The claim exp is present more than once."),
    "tenant twice": (payload('"tenant_id":"other"'), "The claim tenant_id is present more than once."),
    "tenant twice, the same": (payload('"tenant_id":"acme"'), "The claim tenant_id is present more than once."),
    "tenant twice, once escaped": (
        payload('"tenant\\u005fid":"other"'),
        "The claim tenant_id is present more than once.",
    ),
    "an unknown claim twice": (payload('"x":1,"x":2'), "The claim x is present more than once."),
    "a member of a claim twice": (payload('"x":{"y":1,"y":2}'), "The claim x contains duplicate members."),
    "a claim with a quoted name twice": (
        payload('"a\\"\\r\\n\\\\é":1,"a\\"\\r\\n\\\\é":2'),
        'The claim a"\r\n\\é is present more than once.',
    ),
    "a claim with a long name twice": (
        payload(f'"{"x" * 65}":1,"{"x" * 65}":2'),
        "A claim is present more than once.",
    ),
    "60 claims twice": (
        payload(_TOO_MANY),
        " ".join(f"The claim c{n} is present more than once." for n in range(5)) + " There are 55 more faults.",
    ),
    "a claim nested deeply": (
        payload('"x":' + "[" * 100 + "]" * 100),
        "The claim x is not valid: Nested deeper than 64 levels.",
    ),
    "one second too long": (
        encoded(exp=NOW + 400 * DAY + 1),
        "The lifetime of the token (exp minus iat) is 34560001 s; STEPWELL_JWT_MAX_LIFETIME_S allows 34560000 s.",
    ),
    "half a second too long": (
        encoded(exp=NOW + 400 * DAY + 0.5),
        "The lifetime of the token (exp minus iat) is 34560000.5 s; STEPWELL_JWT_MAX_LIFETIME_S allows 34560000 s.",
    ),
    "issued long ago": (
        encoded(iat=0),
        too_long(NOW + DAY),
    ),
}
MALFORMED_SAYS = (
    "The token is malformed or longer than 8192 bytes, or its signature is wrong. "
    "Use one that this service's key has signed; `stepwell token` makes it."
)


@pytest.mark.parametrize("name", MALFORMED)
def test_every_malformed_or_forged_token_is_refused_in_the_same_words(verifier: TokenVerifier, name: str) -> None:
    with pytest.raises(InvalidToken) as refused:
        verifier.verify(MALFORMED[name])
    assert str(refused.value) == MALFORMED_SAYS


@pytest.mark.parametrize("name", REFUSED)
def test_the_reason_is_reported_if_the_signature_is_valid(verifier: TokenVerifier, name: str) -> None:
    bad, reason = REFUSED[name]
    with pytest.raises(InvalidToken) as refused:
        verifier.verify(bad)
    assert str(refused.value) == reason


@pytest.mark.parametrize("name", REFUSED)
def test_no_reason_is_reported_if_the_signature_is_wrong(verifier: TokenVerifier, name: str) -> None:
    signed, _, signature = REFUSED[name][0].rpartition(".")
    with pytest.raises(InvalidToken) as refused:
        verifier.verify(f"{signed}.{signature[1:]}{'A' if signature[0] != 'A' else 'B'}")
    assert str(refused.value) == MALFORMED_SAYS


@pytest.mark.parametrize("name", [name for name in (*MALFORMED, *REFUSED) if name not in ("not ASCII", "NUL")])
@in_module_loop
async def test_a_401_has_the_reason_in_its_detail_and_its_challenge(api: Service, name: str) -> None:
    bad, reason = (MALFORMED[name], MALFORMED_SAYS) if name in MALFORMED else REFUSED[name]
    async with conforming_client(api.app.api) as client:
        with structlog.testing.capture_logs() as logs:
            response = await client.get(LIST, headers={"Authorization": f"Bearer {bad}"})
    assert response.status_code == 401
    described = reason.replace('"', "'").replace("\r\n\\é", "????")
    challenge = f'Bearer realm="stepwell", error="invalid_token", error_description="{described}"'
    assert response.headers["www-authenticate"] == challenge
    assert response.json()["detail"] == reason
    assert not logs


async def test_an_issuer_in_any_characters_fits_into_the_challenge(tmp_path: Path) -> None:
    service = running_service(MemoryDatabase(), tmp_path, jwt_issuer='https://"ä"\\\n')
    async with service as own, conforming_client(own.app.api, GOOD) as client:
        response = await client.get(LIST)
    assert response.json()["detail"] == "The claim iss must be 'https://\"ä\"\\\n'."
    assert response.headers["www-authenticate"].endswith("error_description=\"The claim iss must be 'https://'?'??'.\"")
