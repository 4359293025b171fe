"""Tokens: which hold, which don't, and what a caller may do with one."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from stepwell.api.auth import Principal, TokenVerifier, sign_token
from stepwell.api.components import EXAMPLE
from stepwell.api.operations import Permission
from stepwell.domain.errors import Forbidden, InvalidToken
from stepwell.domain.tenancy import EVERY_TENANT, TenantScope
from support.fakes.service import AUDIENCE, ISSUER, RULES, SECRET, FakeApi, token
from support.service.conformance import conforming_client
from support.service.raw_tokens import (
    CLAIMS,
    DAY,
    EC,
    EC_PUBLIC,
    ED,
    ED_PUBLIC,
    GOOD,
    NOW,
    OTHER_RSA,
    RSA,
    RSA_PUBLIC,
    encoded,
    header,
    pems,
    unsigned,
)

LIST = "/api/v1/workflows/"


@pytest.fixture
def verifier() -> TokenVerifier:
    return TokenVerifier(SECRET, "HS256", RULES)


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
