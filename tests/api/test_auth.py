"""Tokens: which hold, which don't, and what a caller may do with one."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from msgspec import structs

from stepwell.api.auth.authentication import Principal, TokenVerifier, sign_token
from stepwell.api.auth.token_keys import FixedKey
from stepwell.api.openapi.components import EXAMPLE
from stepwell.basics.errors import Forbidden, InvalidToken
from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.contract.scopes import Permission
from stepwell.testing import MemoryDatabase
from support.service.conformance import conforming_client
from support.service.live_service import SECRET, Service, running_service, token
from support.service.raw_tokens import (
    AUDIENCE,
    CLAIMS,
    DAY,
    EC,
    EC_PUBLIC,
    ED,
    ED_PUBLIC,
    GOOD,
    ISSUER,
    NOW,
    OTHER_RSA,
    RSA,
    RSA_PUBLIC,
    RULES,
    encoded,
    header,
    pems,
    unsigned,
)

LIST = "/api/v1/workflows/"
in_module_loop = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def verifier() -> TokenVerifier:
    return TokenVerifier(FixedKey(SECRET, "HS256"), RULES)


def test_a_good_token_names_its_subject_tenant_and_permissions(verifier: TokenVerifier) -> None:
    assert verifier.verify(GOOD) == Principal(
        "tester", TenantScope(tenant="acme"), frozenset({"workflows:read", "workflows:write"}), NOW + DAY
    )


def test_a_token_may_name_the_instance_of_definitions_that_name_none(verifier: TokenVerifier) -> None:
    assert verifier.verify(GOOD).origin_instance is None
    assert verifier.verify(encoded(origin_instance="shop")).origin_instance == "shop"


@pytest.mark.parametrize("subject", ["link", "stepwell"])
def test_a_subject_that_is_an_actor_of_stepwell_gets_a_prefix(verifier: TokenVerifier, subject: str) -> None:
    """Otherwise its decisions would look like those of a decision link, or of a time that was up."""
    assert verifier.verify(encoded(sub=subject)).subject == f"sub:{subject}"


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
def test_a_token_is_accepted_with_optional_claims_or_at_its_limits(
    verifier: TokenVerifier, changes: dict[str, Any]
) -> None:
    assert verifier.verify(encoded(**changes)).subject == "tester"


def test_only_a_token_without_the_claim_scope_has_the_default_scope() -> None:
    rules = structs.replace(RULES, default_scope="workflows:read tenants:all")
    verifier = TokenVerifier(FixedKey(SECRET, "HS256"), rules)
    default = verifier.verify(encoded(scope=None))
    assert default.permissions == {"workflows:read", "tenants:all"}
    assert default.scope == EVERY_TENANT
    assert verifier.verify(encoded(scope="")).permissions == set()
    assert verifier.verify(encoded(scope="workflows:write")).permissions == {"workflows:write"}
    assert TokenVerifier(FixedKey(SECRET, "HS256"), RULES).verify(encoded(scope=None)).permissions == set()


def test_the_clocks_of_issuer_and_service_may_differ_by_ten_seconds(verifier: TokenVerifier) -> None:
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
def test_only_tokens_signed_with_the_private_key_are_accepted_by_a_public_key(
    algorithm: str, private: str, public: str
) -> None:
    verifier = TokenVerifier(FixedKey(public, algorithm), RULES)
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
def test_a_key_that_does_not_fit_the_algorithm_is_refused_at_once(key: str, algorithm: str) -> None:
    with pytest.raises(ValueError, match=r"JWT|key") as caught:
        TokenVerifier(FixedKey(key, algorithm), RULES)
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize(
    ("algorithm", "key", "public"),
    [("HS256", SECRET, SECRET), ("RS256", RSA, RSA_PUBLIC), ("ES256", EC, EC_PUBLIC), ("EdDSA", ED, ED_PUBLIC)],
)
def test_a_token_that_sign_token_made_is_accepted(algorithm: str, key: str, public: str) -> None:
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
    principal = TokenVerifier(FixedKey(public, algorithm), RULES).verify(made)
    assert principal == Principal("cli", EVERY_TENANT, frozenset({"workflows:read", "tenants:all"}), NOW + DAY)


def test_a_token_sees_the_workflows_of_its_tenant_of_none_or_of_all(verifier: TokenVerifier) -> None:
    assert verifier.verify(token("acme", every=False)).scope == TenantScope(tenant="acme")
    assert verifier.verify(token(every=False)).scope == TenantScope()
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
def test_a_new_workflow_gets_the_tenant_of_the_token_or_the_named_one(
    scope: TenantScope, named: str | None, tenant: str | None
) -> None:
    assert Principal("x", scope).tenant_for(named) == tenant


@pytest.mark.parametrize(
    ("scope", "named"),
    [(TenantScope(tenant="acme"), "other"), (TenantScope(tenant="acme"), ""), (TenantScope(), "acme")],
)
def test_a_token_cannot_name_another_tenant(scope: TenantScope, named: str) -> None:
    with pytest.raises(Forbidden):
        Principal("x", scope).tenant_for(named)


@in_module_loop
async def test_a_new_workflow_gets_the_tenant_and_the_subject_of_the_token(api: Service) -> None:
    async with api.as_tenant("acme") as client:
        created = (await client.post(LIST, params={"start": False}, json=EXAMPLE)).json()
        assert created["origin_tenant_id"] == "acme"
        assert [event["actor"] for event in await api.events(created["id"])] == ["tester"]
        response = await client.post(LIST, params={"start": False}, json=EXAMPLE | {"origin_tenant_id": "other"})
        assert response.status_code == 403
        assert (await client.get(LIST)).json()["total"] == 1


@pytest.mark.parametrize(
    "value",
    [None, "", "Bearer", "Bearer ", "Basic dTpw", "Token " + GOOD, GOOD, "Bearer\t" + GOOD, "Bearer, Bearer " + GOOD],
)
@in_module_loop
async def test_a_request_without_a_bearer_token_gets_no_error_code(api: Service, value: str | None) -> None:
    async with conforming_client(api.app.api) as client:
        response = await client.get(LIST, headers={} if value is None else {"Authorization": value})
    assert response.status_code == 401
    if value is None:
        reason = "A bearer token is required, in the header Authorization: Bearer <token>."
    else:
        reason = "The header Authorization must have the form Bearer <token>."
    assert response.json()["detail"] == reason
    assert response.headers["www-authenticate"] == f'Bearer realm="stepwell", error_description="{reason}"'


@in_module_loop
async def test_the_scheme_is_accepted_in_any_case_and_only_once(api: Service) -> None:
    good = token()
    async with conforming_client(api.app.api) as client:
        assert (await client.get(LIST, headers={"Authorization": f"bEARER  {good}"})).status_code == 200
        twice = [("Authorization", f"Bearer {good}"), ("Authorization", f"Bearer {good}")]
        response = await client.get(LIST, headers=twice)
    assert (response.status_code, response.json()["detail"]) == (401, "The header Authorization must be sent once.")


@in_module_loop
async def test_reads_and_writes_need_their_scopes(api: Service, client: httpx.AsyncClient) -> None:
    created = await client.post(LIST, params={"start": False}, json=EXAMPLE)
    location = created.headers["location"]
    reads = [("GET", LIST), ("GET", location), ("GET", location + "/tasks"), ("GET", location + "/events")]
    writes = [("POST", LIST), ("PATCH", location), ("DELETE", location)]
    writes += [("POST", f"{location}/{verb}") for verb in ("start", "pause", "resume", "cleanup")]
    none: tuple[Permission, ...] = ()
    for permissions, refused in [((Permission.READ,), writes), ((Permission.WRITE,), reads), (none, reads + writes)]:
        async with api.as_tenant(every=True, permissions=permissions) as caller:
            for method, path in refused:
                assert (await caller.request(method, path)).status_code == 403, (method, path)
    assert [event["type"] for event in await api.events(created.json()["id"])] == ["workflow.created"]


async def test_the_token_is_checked_before_anything_else(tmp_path: Path) -> None:
    async with running_service(MemoryDatabase(), tmp_path) as own, conforming_client(own.app.api) as client:
        await own.app.stop()
        for method, path in [("GET", LIST + "no-id"), ("POST", LIST + "?start=x"), ("GET", LIST + "?limit=x")]:
            response = await client.request(method, path, content=b"{" if method == "POST" else b"")
            assert response.status_code == 401


@in_module_loop
async def test_open_routes_ignore_tokens(api: Service) -> None:
    async with conforming_client(api.app.api, "garbage") as client:
        for path in ("/health/live", "/health/ready", "/metrics", "/schema/openapi.json"):
            assert (await client.get(path)).status_code == 200
