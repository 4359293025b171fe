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
from stepwell.api.openapi import EXAMPLE
from stepwell.api.operations import Permission
from stepwell.domain.errors import Forbidden, Unauthenticated
from stepwell.domain.records import EVERY_TENANT, TenantScope
from support.conformance import conforming_client
from support.fake_service import AUDIENCE, ISSUER, SECRET, FakeApi, token

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
    return TokenVerifier(SECRET, "HS256", ISSUER, AUDIENCE)


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


def header(text: str, key: bytes = SECRET.encode()) -> str:
    return raw(text.encode(), json.dumps(CLAIMS).encode(), key)


def unsigned(alg: str) -> str:
    return f"{b64(json.dumps({'alg': alg}).encode())}.{b64(json.dumps(CLAIMS).encode())}."


GOOD = encoded()
BAD: dict[str, str] = {
    "nothing": "",
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
    "expired": encoded(iat=NOW - 700, exp=NOW - 60),
    "exp zero": encoded(exp=0),
    "exp negative": encoded(exp=-1),
    "exp list": encoded(exp=[NOW + 60]),
    "exp text": encoded(exp="soon"),
    "exp object": encoded(exp={}),
    "exp huge": raw(b'{"alg":"HS256"}', json.dumps(CLAIMS).replace(str(NOW + DAY), "1e400").encode()),
    "nbf later": encoded(nbf=NOW + DAY),
    "nbf text": encoded(nbf="later"),
    "iat later": encoded(iat=NOW + DAY),
    "iat text": encoded(iat="once"),
    "no exp": encoded(exp=None),
    "no iat": encoded(iat=None),
    "no iss": encoded(iss=None),
    "no aud": encoded(aud=None),
    "no sub": encoded(sub=None),
    "iss another": encoded(iss="elsewhere"),
    "iss prefix": encoded(iss=ISSUER[:-1]),
    "iss list": encoded(iss=[ISSUER]),
    "aud another": encoded(aud="elsewhere"),
    "aud empty list": encoded(aud=[]),
    "aud list of others": encoded(aud=["a", "b"]),
    "aud number": encoded(aud=1),
    "aud with a number": encoded(aud=[AUDIENCE, 1]),
    "sub number": encoded(sub=1),
    "sub empty": encoded(sub=""),
    "sub long": encoded(sub="x" * 256),
    "sub NUL": encoded(sub="a\x00b"),
    "sub newline": encoded(sub="a\n"),
    "sub surrogate": encoded(sub="\ud800"),
    "jti number": encoded(jti=1),
    "tenant number": encoded(tenant_id=1),
    "tenant list": encoded(tenant_id=["acme"]),
    "tenant object": encoded(tenant_id={}),
    "tenant true": encoded(tenant_id=True),
    "tenant null": raw(b'{"alg":"HS256"}', json.dumps(CLAIMS | {"tenant_id": None}).encode()),
    "tenant empty": encoded(tenant_id=""),
    "tenant long": encoded(tenant_id="x" * 101),
    "tenant NUL": encoded(tenant_id="acme\x00"),
    "tenant newline": encoded(tenant_id="acme\n"),
    "tenant surrogate": encoded(tenant_id="\udfff"),
    "scope list": encoded(scope=["workflows:read"]),
    "scope number": encoded(scope=1),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_tokens(verifier: TokenVerifier, name: str) -> None:
    with pytest.raises(Unauthenticated, match=r"^The token is not valid\.$"):
        verifier.verify(BAD[name])


@pytest.mark.parametrize("name", [name for name in BAD if BAD[name].isascii() and "\x00" not in BAD[name]])
async def test_bad_tokens_over_http(api: FakeApi, name: str) -> None:
    async with conforming_client(api.app) as client:
        with structlog.testing.capture_logs() as logs:
            answer = await client.get(LIST, headers={"Authorization": f"Bearer {BAD[name]}"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert answer.json()["detail"] == "The token is not valid."
    assert not logs
    assert not api.service.calls


def test_a_good_token(verifier: TokenVerifier) -> None:
    assert verifier.verify(GOOD) == Principal(
        "tester", TenantScope(tenant="acme"), frozenset({"workflows:read", "workflows:write"})
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": str(NOW + DAY)},  # pyjwt reads digits as a number: harmless
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
    assert verifier.verify(encoded(exp=now - 5)).subject == "tester"
    assert verifier.verify(encoded(iat=now + 5, nbf=now + 5)).subject == "tester"


def test_of_a_claim_given_twice_the_last_counts(verifier: TokenVerifier) -> None:
    assert verifier.verify(payload('"exp":1,"tenant_id":"other"')).scope == TenantScope(tenant="acme")


def test_key_hints_in_the_header_count_for_nothing(verifier: TokenVerifier) -> None:
    hints = '"jku":"https://evil.example","x5u":"https://evil.example","jwk":{"kty":"oct","k":"AA"},"kid":"../x"'
    assert verifier.verify(header(f'{{"alg":"HS256",{hints}}}')).subject == "tester"


@pytest.mark.parametrize(
    ("algorithm", "private", "public"), [("RS256", RSA, RSA_PUBLIC), ("ES256", EC, EC_PUBLIC), ("EdDSA", ED, ED_PUBLIC)]
)
def test_public_keys(algorithm: str, private: str, public: str) -> None:
    verifier = TokenVerifier(public, algorithm, ISSUER, AUDIENCE)
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
        with pytest.raises(Unauthenticated):
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
        TokenVerifier(key, algorithm, ISSUER, AUDIENCE)
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
        expires_s=60,
        now=datetime.fromtimestamp(NOW, UTC),
    )
    principal = TokenVerifier(public, algorithm, ISSUER, AUDIENCE).verify(made)
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
    [None, "", "Bearer", "Basic dTpw", "Token " + GOOD, GOOD, "Bearer\t" + GOOD, "Bearer, Bearer " + GOOD],
)
async def test_headers_without_a_bearer_token(api: FakeApi, value: str | None) -> None:
    async with conforming_client(api.app) as client:
        answer = await client.get(LIST, headers={} if value is None else {"Authorization": value})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    if value is None:
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_the_scheme_in_any_case_and_only_once(api: FakeApi) -> None:
    good = token(every=True)
    async with conforming_client(api.app) as client:
        assert (await client.get(LIST, headers={"Authorization": f"bEARER  {good}"})).status_code == 200
        twice = [("Authorization", f"Bearer {good}"), ("Authorization", f"Bearer {good}")]
        assert (await client.get(LIST, headers=twice)).status_code == 401


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
