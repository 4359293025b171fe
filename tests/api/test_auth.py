"""Tokens: which hold, which don't, and what a caller may do with one."""

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime
from typing import Any

import httpx
import jwt
import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from stepwell.api.auth import Principal, TokenVerifier, sign_token
from stepwell.api.claims import ClaimRules
from stepwell.api.components import EXAMPLE
from stepwell.api.operations import Permission
from stepwell.domain.errors import Forbidden, InvalidToken
from stepwell.domain.records import EVERY_TENANT, TenantScope
from support.conformance import conforming_client
from support.fake_service import AUDIENCE, ISSUER, RULES, SECRET, FakeApi, token

NOW = int(time.time())
DAY = 86_400  # tests may run long after they were collected
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "tester",
    "iat": NOW,
    "exp": NOW + DAY,
    "scope": "workflows:read workflows:write",
    "tenant_id": "acme",
}
LIST = "/api/v1/workflows/"


def pems(private: Any) -> tuple[str, str]:
    secret = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return secret, public


RSA, RSA_PUBLIC = pems(rsa.generate_private_key(65537, 2048))
EC, EC_PUBLIC = pems(ec.generate_private_key(ec.SECP256R1()))
ED, ED_PUBLIC = pems(ed25519.Ed25519PrivateKey.generate())
OTHER_RSA, _ = pems(rsa.generate_private_key(65537, 2048))


@pytest.fixture
def verifier() -> TokenVerifier:
    return TokenVerifier(SECRET, "HS256", RULES)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw(header: bytes, payload: bytes, key: bytes = SECRET.encode()) -> str:
    """A token of exactly these bytes, rightly signed with HMAC."""
    signed = f"{b64(header)}.{b64(payload)}"
    return f"{signed}.{b64(hmac.new(key, signed.encode(), hashlib.sha256).digest())}"


def encoded(**changes: Any) -> str:
    """A token with changed claims; None leaves a claim out."""
    claims = {name: value for name, value in (CLAIMS | changes).items() if value is not None}
    return raw(b'{"alg":"HS256","typ":"JWT"}', json.dumps(claims).encode())


def payload(text: str) -> str:
    """A token whose payload is the good one with *text* put in front of its members."""
    return raw(b'{"alg":"HS256"}', b"{" + text.encode() + b"," + json.dumps(CLAIMS).encode()[1:])


def number(claim: str, literal: str) -> str:
    """A token with a literal that Python's JSON doesn't write as the value of *claim*."""
    return raw(b'{"alg":"HS256"}', json.dumps(CLAIMS | {claim: "#"}).replace('"#"', literal).encode())


def at(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def header(text: str, key: bytes = SECRET.encode()) -> str:
    return raw(text.encode(), json.dumps(CLAIMS).encode(), key)


def unsigned(alg: str) -> str:
    return f"{b64(json.dumps({'alg': alg}).encode())}.{b64(json.dumps(CLAIMS).encode())}."


def too_long(seconds: object) -> str:
    return f"The lifetime of the token (exp minus iat) is {seconds} s; STEPWELL_JWT_MAX_LIFETIME_S allows 34560000 s."


GOOD = encoded()
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
_TOO_MANY = ",".join(f'"c{n}":1,"c{n}":1' for n in range(60))
REFUSED: dict[str, tuple[str, str]] = {
    "expired": (encoded(iat=NOW - 700, exp=NOW - 60), f"The token expired at {at(NOW - 60)}."),
    "expired, a float": (encoded(iat=NOW - 700, exp=NOW - 59.5), f"The token expired at {at(NOW - 60)}."),
    "exp zero": (encoded(iat=-5, exp=0), "The token expired at 1970-01-01T00:00:00Z."),
    "exp negative": (encoded(iat=-5, exp=-1), "The token expired at 1969-12-31T23:59:59Z."),
    "exp before iat": (
        encoded(iat=NOW - 600, exp=NOW - 700),
        f"The claim exp must not be before iat. The token expired at {at(NOW - 700)}.",
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
        f"The claim iss must be 'stepwell'. {AUD} The token expired at {at(NOW - 60)}.",
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
    "tenant NUL": (encoded(tenant_id="acme\x00"), "The claim tenant_id is not valid: String contains a NUL character."),
    "tenant newline": (encoded(tenant_id="acme\n"), "The claim tenant_id must not contain control characters."),
    "tenant surrogate": (
        encoded(tenant_id="\udfff"),
        "The claim tenant_id is not valid: String contains a lone surrogate.",
    ),
    "scope list": (encoded(scope=["workflows:read"]), "The claim scope is not valid: Expected a string, got a list."),
    "scope number": (encoded(scope=1), "The claim scope is not valid: Expected a string, got an integer."),
    "exp twice": (payload('"exp":1'), "The claim exp is given more than once."),
    "tenant twice": (payload('"tenant_id":"other"'), "The claim tenant_id is given more than once."),
    "tenant twice, the same": (payload('"tenant_id":"acme"'), "The claim tenant_id is given more than once."),
    "tenant twice, once escaped": (
        payload('"tenant\\u005fid":"other"'),
        "The claim tenant_id is given more than once.",
    ),
    "an unknown claim twice": (payload('"x":1,"x":2'), "The claim x is given more than once."),
    "a member of a claim twice": (payload('"x":{"y":1,"y":2}'), "The claim x has a member more than once."),
    "a claim with a quoted name twice": (
        payload('"a\\"\\r\\n\\\\é":1,"a\\"\\r\\n\\\\é":2'),
        'The claim a"\r\n\\é is given more than once.',
    ),
    "a claim with a long name twice": (
        payload(f'"{"x" * 65}":1,"{"x" * 65}":2'),
        "A claim is given more than once.",
    ),
    "60 claims twice": (
        payload(_TOO_MANY),
        " ".join(f"The claim c{n} is given more than once." for n in range(5)) + " There are 55 more faults.",
    ),
    "a claim nested deeply": (
        payload('"x":' + "[" * 2000 + "]" * 2000),
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
MALFORMED_SAYS = "The token is malformed or longer than 8192 bytes, or its signature is wrong."


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
async def test_a_401_has_the_reason_in_its_detail_and_its_challenge(api: FakeApi, name: str) -> None:
    bad, reason = (MALFORMED[name], MALFORMED_SAYS) if name in MALFORMED else REFUSED[name]
    async with conforming_client(api.app) as client:
        with structlog.testing.capture_logs() as logs:
            answer = await client.get(LIST, headers={"Authorization": f"Bearer {bad}"})
    assert answer.status_code == 401
    described = reason.replace('"', "'").replace("\r\n\\é", "????")
    challenge = f'Bearer realm="stepwell", error="invalid_token", error_description="{described}"'
    assert answer.headers["www-authenticate"] == challenge
    assert answer.json()["detail"] == reason
    assert not logs
    assert not api.service.calls


async def test_an_issuer_in_any_characters_fits_into_the_challenge() -> None:
    api = FakeApi(ClaimRules('https://"ä"\\\n', AUDIENCE, 34_560_000))
    async with conforming_client(api.app, GOOD) as client:
        answer = await client.get(LIST)
    assert answer.json()["detail"] == "The claim iss must be 'https://\"ä\"\\\n'."
    assert answer.headers["www-authenticate"].endswith("error_description=\"The claim iss must be 'https://'?'??'.\"")


def test_a_good_token(verifier: TokenVerifier) -> None:
    assert verifier.verify(GOOD) == Principal(
        "tester", TenantScope(tenant="acme"), frozenset({"workflows:read", "workflows:write"})
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": NOW + DAY + 0.5, "iat": NOW - 0.5},
        {"exp": NOW + 400 * DAY},
        {"aud": [AUDIENCE, "other"]},
        {"jti": "1", "extra": {"a": [1]}},
        {"scope": ""},
        {"scope": None},
    ],
)
def test_tokens_that_hold(verifier: TokenVerifier, changes: dict[str, Any]) -> None:
    assert verifier.verify(encoded(**changes)).subject == "tester"


def test_clocks_may_differ_a_little(verifier: TokenVerifier) -> None:
    now = int(time.time())
    assert verifier.verify(encoded(iat=now - 60, exp=now - 5)).subject == "tester"
    assert verifier.verify(encoded(iat=now + 5, nbf=now + 5)).subject == "tester"


@pytest.mark.parametrize("gap", ["\t", "\n", "\x0b", "\x1f", "\x85", "\xa0", "\u2003", "\u3000", ","])
def test_only_spaces_separate_scopes(verifier: TokenVerifier, gap: str) -> None:
    one = f"workflows:read{gap}workflows:write"
    assert verifier.verify(encoded(scope=one)).permissions == {one}
    assert verifier.verify(encoded(scope=f"  {one}  tenants:all ")).permissions == {one, "tenants:all"}
    assert verifier.verify(encoded(scope=f"{gap}tenants:all")).scope == TenantScope(tenant="acme")


def test_key_hints_in_the_header_count_for_nothing(verifier: TokenVerifier) -> None:
    hints = '"jku":"https://evil.example","x5u":"https://evil.example","jwk":{"kty":"oct","k":"AA"},"kid":"../x"'
    assert verifier.verify(header(f'{{"alg":"HS256",{hints}}}')).subject == "tester"


@pytest.mark.parametrize(
    ("algorithm", "private", "public"), [("RS256", RSA, RSA_PUBLIC), ("ES256", EC, EC_PUBLIC), ("EdDSA", ED, ED_PUBLIC)]
)
def test_public_keys(algorithm: str, private: str, public: str) -> None:
    verifier = TokenVerifier(public, algorithm, RULES)
    assert verifier.verify(jwt.encode(CLAIMS, private, algorithm)).scope == TenantScope(tenant="acme")
    # The public key is public: whoever signs with it as an HMAC secret must get nowhere.
    forged = header('{"alg":"HS256"}', public.encode())
    mislabelled = header(json.dumps({"alg": algorithm}), public.encode())
    others = [
        jwt.encode(CLAIMS, key, kind)
        for kind, key in [("RS256", OTHER_RSA), ("RS256", RSA), ("ES256", EC), ("EdDSA", ED), ("PS256", RSA)]
        if (kind, key) != (algorithm, private)
    ]
    for bad in (forged, mislabelled, *others, GOOD, unsigned("none")):
        with pytest.raises(InvalidToken):
            verifier.verify(bad)


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        ("short", "HS256"),
        ("x" * 31, "HS256"),
        ("", "HS256"),
        (RSA_PUBLIC, "HS256"),
        (EC_PUBLIC, "HS256"),
        ('{"kty":"oct","k":"' + "A" * 60 + '"}', "HS256"),
        (EC_PUBLIC, "RS256"),
        (RSA_PUBLIC, "ES256"),
        (RSA_PUBLIC, "EdDSA"),
        (pems(rsa.generate_private_key(65537, 1024))[1], "RS256"),
        (pems(ec.generate_private_key(ec.SECP384R1()))[1], "ES256"),
        (SECRET, "RS256"),
        (SECRET, "ES256"),
        (SECRET, "EdDSA"),
        ("-----BEGIN PUBLIC KEY-----\nAA\n-----END PUBLIC KEY-----", "RS256"),
        (SECRET, "none"),
        (SECRET, "HS512"),
        (SECRET, ""),
    ],
)
def test_keys_that_dont_fit_are_refused_at_once(key: str, algorithm: str) -> None:
    with pytest.raises(ValueError, match=r"JWT|key") as caught:
        TokenVerifier(key, algorithm, RULES)
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize(
    ("algorithm", "key", "public"),
    [("HS256", SECRET, SECRET), ("RS256", RSA, RSA_PUBLIC), ("ES256", EC, EC_PUBLIC), ("EdDSA", ED, ED_PUBLIC)],
)
def test_signed_tokens_hold(algorithm: str, key: str, public: str) -> None:
    made = sign_token(
        key,
        algorithm,
        ISSUER,
        AUDIENCE,
        subject="cli",
        tenant=None,
        every=True,
        permissions=(Permission.READ,),
        expires_s=DAY,
        now=datetime.fromtimestamp(NOW, UTC),
    )
    principal = TokenVerifier(public, algorithm, RULES).verify(made)
    assert principal == Principal("cli", EVERY_TENANT, frozenset({"workflows:read", "tenants:all"}))


def test_whose_workflows_a_token_sees(verifier: TokenVerifier) -> None:
    assert verifier.verify(token("acme")).scope == TenantScope(tenant="acme")
    assert verifier.verify(token()).scope == TenantScope()
    assert verifier.verify(token(every=True)).scope == EVERY_TENANT
    assert verifier.verify(token("acme", every=True)).scope == EVERY_TENANT


@pytest.mark.parametrize(
    ("scope", "named", "tenant"),
    [
        (TenantScope(tenant="acme"), "acme", "acme"),
        (TenantScope(tenant="acme"), None, "acme"),
        (TenantScope(), None, None),
        (EVERY_TENANT, None, None),
        (EVERY_TENANT, "other", "other"),
    ],
)
def test_the_tenant_of_a_new_workflow(scope: TenantScope, named: str | None, tenant: str | None) -> None:
    assert Principal("x", scope).tenant_for(named) == tenant


@pytest.mark.parametrize(
    ("scope", "named"),
    [(TenantScope(tenant="acme"), "other"), (TenantScope(tenant="acme"), ""), (TenantScope(), "acme")],
)
def test_the_tenant_of_another_cant_be_named(scope: TenantScope, named: str) -> None:
    with pytest.raises(Forbidden):
        Principal("x", scope).tenant_for(named)


async def test_tenants_at_create_over_http(api: FakeApi) -> None:
    async with conforming_client(api.app, token("acme")) as client:
        assert (await client.post(LIST, json=EXAMPLE)).json()["origin_tenant_id"] == "acme"
        answer = await client.post(LIST, json=EXAMPLE | {"origin_tenant_id": "other"})
        assert answer.status_code == 403
    assert len(api.service.workflows) == 1
    assert api.service.actor == "tester"


@pytest.mark.parametrize(
    "value",
    [None, "", "Bearer", "Bearer ", "Basic dTpw", "Token " + GOOD, GOOD, "Bearer\t" + GOOD, "Bearer, Bearer " + GOOD],
)
async def test_a_request_without_a_bearer_token_gets_no_error_code(api: FakeApi, value: str | None) -> None:
    async with conforming_client(api.app) as client:
        answer = await client.get(LIST, headers={} if value is None else {"Authorization": value})
    assert answer.status_code == 401
    if value is None:
        reason = "A bearer token is required, in the header Authorization: Bearer <token>."
    else:
        reason = "The header Authorization must have the form Bearer <token>."
    assert answer.json()["detail"] == reason
    assert answer.headers["www-authenticate"] == f'Bearer realm="stepwell", error_description="{reason}"'


async def test_the_scheme_in_any_case_and_only_once(api: FakeApi) -> None:
    good = token(every=True)
    async with conforming_client(api.app) as client:
        assert (await client.get(LIST, headers={"Authorization": f"bEARER  {good}"})).status_code == 200
        twice = [("Authorization", f"Bearer {good}"), ("Authorization", f"Bearer {good}")]
        answer = await client.get(LIST, headers=twice)
    assert (answer.status_code, answer.json()["detail"]) == (401, "The header Authorization must be sent once.")


async def test_scopes_are_needed(api: FakeApi, client: httpx.AsyncClient) -> None:
    location = (await client.post(LIST, json=EXAMPLE)).headers["location"]
    reads = [("GET", LIST), ("GET", location), ("GET", location + "/tasks"), ("GET", location + "/events")]
    writes = [("POST", LIST), ("PATCH", location), ("DELETE", location)]
    writes += [("POST", f"{location}/{verb}") for verb in ("start", "pause", "resume", "cleanup")]
    none: tuple[Permission, ...] = ()
    for permissions, refused in [((Permission.READ,), writes), ((Permission.WRITE,), reads), (none, reads + writes)]:
        async with conforming_client(api.app, token(every=True, permissions=permissions)) as caller:
            for method, path in refused:
                assert (await caller.request(method, path)).status_code == 403, (method, path)
    assert api.service.calls == ["create"]


async def test_the_token_is_looked_at_before_anything_else(api: FakeApi) -> None:
    api.service.draining = True
    async with conforming_client(api.app) as client:
        for method, path in [("GET", LIST + "no-id"), ("POST", LIST + "?start=x"), ("GET", LIST + "?limit=x")]:
            answer = await client.request(method, path, content=b"{" if method == "POST" else b"")
            assert answer.status_code == 401


async def test_open_routes_ignore_tokens(api: FakeApi) -> None:
    async with conforming_client(api.app, "garbage") as client:
        for path in ("/health/live", "/health/ready", "/metrics", "/schema", "/schema/openapi.json"):
            assert (await client.get(path)).status_code == 200
