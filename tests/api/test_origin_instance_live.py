"""The `origin_instance` of a definition that has none."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.rules.access.sessions import SESSION, Grant, Sessions
from stepwell.testing import MemoryDatabase
from support.providers.configured_by_steps import WORKFLOWS, passthrough_step
from support.service.live_service import EVERYTHING, SECRET, Service, running_service
from support.service.raw_tokens import encoded
from support.service.session_cookies import COOKIE, SAME_ORIGIN

pytestmark = pytest.mark.asyncio(loop_scope="module")

BODY: dict[str, Any] = {"name": "n", "steps": [passthrough_step("a")]}
CLAIMED, UNCLAIMED = encoded(origin_instance="claim"), encoded()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def configured(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """A service with the setting."""
    folder = tmp_path_factory.mktemp("configured")
    async with running_service(MemoryDatabase(), folder, origin_instance="setting") as service:
        yield service


async def post(service: Service, token: str, path: str = WORKFLOWS, **more: Any) -> httpx.Response:
    """Post a definition. The contract requires the member, so `conforming_client` would refuse the body."""
    headers = {"Authorization": f"Bearer {token}", **more.pop("headers", {})}
    async with httpx.AsyncClient(transport=service.transport, base_url="http://t.local", headers=headers) as client:
        return await client.post(path, json=BODY | more)


@pytest.mark.parametrize(
    ("token", "members", "expected"),
    [
        (CLAIMED, {}, "claim"),
        (UNCLAIMED, {}, "setting"),
        (UNCLAIMED, {"origin_instance": None}, "setting"),
        (CLAIMED, {"origin_instance": "body"}, "body"),
    ],
)
async def test_the_body_precedes_the_claim_and_the_claim_the_setting(
    configured: Service, token: str, members: dict[str, Any], expected: str
) -> None:
    created = await post(configured, token, **members)
    assert (created.status_code, created.json()["origin_instance"]) == (201, expected)
    definition = await configured.client.get(f"{WORKFLOWS}{created.json()['id']}/definition")
    assert definition.json()["origin_instance"] == expected
    assert (await post(configured, token, f"{WORKFLOWS}plan", **members)).status_code == 200


@pytest.mark.parametrize("path", [WORKFLOWS, f"{WORKFLOWS}plan"])
@pytest.mark.parametrize("members", [{}, {"origin_instance": None}])
async def test_without_claim_and_setting_the_member_is_required(
    api: Service, path: str, members: dict[str, Any]
) -> None:
    refused = await post(api, UNCLAIMED, path, **members)
    assert refused.status_code == 422
    assert [fault["loc"] for fault in refused.json()["detail"]] == [["body", "origin_instance"]]
    assert (await post(api, CLAIMED, path, **members)).is_success


async def test_an_empty_member_is_a_fault_whatever_the_claim_says(configured: Service) -> None:
    refused = await post(configured, CLAIMED, origin_instance="")
    assert [(fault["loc"], fault["type"]) for fault in refused.json()["detail"]] == [
        (["body", "origin_instance"], "too_short")
    ]


async def test_a_repeated_request_with_a_new_token_gets_the_first_response(api: Service) -> None:
    headers = {"Idempotency-Key": "once"}
    first = await post(api, CLAIMED, headers=headers)
    again = await post(api, encoded(origin_instance="another"), headers=headers)
    assert first.status_code == 201
    assert (again.content, again.headers["Idempotency-Replayed"]) == (first.content, "true")


async def test_a_session_of_the_web_page_has_the_instance_of_its_token(api: Service) -> None:
    now, sessions = await api.app.stores.database.sign_ins.now(), Sessions(SECRET.encode())
    session = sessions.begin(Grant("somebody", EVERY_TENANT, EVERYTHING, now + SESSION, "claim"), now)
    assert session is not None
    cookies = {"Cookie": f"{COOKIE}={sessions.encode(session)}"}
    async with httpx.AsyncClient(transport=api.transport, base_url="http://t.local", headers=cookies) as browser:
        created = await browser.post(WORKFLOWS, json=BODY, headers=SAME_ORIGIN)
    assert created.json()["origin_instance"] == "claim"


async def test_a_sign_in_keeps_the_instance_of_the_token(api: Service) -> None:
    by_token = await api.app.sign_in.begin_by_token(CLAIMED)
    path = await api.app.sign_in.sign_in_path(CLAIMED)
    by_code, _ = await api.app.sign_in.begin_by_code(path.partition("code=")[2])
    assert by_token.grant.origin_instance == by_code.grant.origin_instance == "claim"
