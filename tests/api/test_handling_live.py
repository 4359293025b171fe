"""`Prefer: handling=lenient` and STEPWELL_UNKNOWN_FIELDS: unknown members of bodies are refused or ignored."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
import pytest_asyncio

from stepwell.testing import ManualClock, MemoryDatabase
from support.providers.configured_by_steps import WORKFLOWS, passthrough_step
from support.service.live_service import Service, running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

LENIENT = {"Prefer": "handling=lenient"}
STEP = passthrough_step("a", n=1) | {"depend_on": ["b"], "provider_confg": {}}
BODY: dict[str, Any] = {
    "name": "n",
    "origin_instance": "o",
    "nmae": "x",
    "config": {"retry": {"max_retries": 1, "mode": "x"}, "mine": {"own": 1}},
    "steps": [STEP],
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ignoring(clock: ManualClock, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """A service whose operator has set STEPWELL_UNKNOWN_FIELDS=ignore."""
    async with AsyncExitStack() as stack:
        folder = tmp_path_factory.mktemp("ignoring")
        yield await stack.enter_async_context(
            running_service(MemoryDatabase(clock), folder, unknown_fields="ignore", public_url="https://example.com")
        )


def preference_applied(response: httpx.Response) -> str | None:
    value: str | None = response.headers.get("preference-applied")
    return value


async def test_unknown_members_are_refused_by_default(api: Service) -> None:
    response = await api.client.post(WORKFLOWS, json=BODY)
    assert (response.status_code, preference_applied(response)) == (422, None)
    assert [fault["loc"] for fault in response.json()["detail"]] == [
        ["body", "steps", 0, "depend_on"],
        ["body", "steps", 0, "provider_confg"],
        ["body", "nmae"],
        ["body", "config", "retry", "mode"],
    ]


async def test_unknown_members_are_ignored_if_the_request_prefers_it(api: Service) -> None:
    response = await api.client.post(WORKFLOWS, json=BODY, headers=LENIENT)
    assert (response.status_code, preference_applied(response)) == (201, "handling=lenient")
    assert response.json()["config"] == BODY["config"]
    done = await api.until_ended(response.json()["id"])
    assert (done["status"], done["steps"][0]["max_retries"]) == ("COMPLETED", 1)


async def test_known_members_are_checked_under_lenient_handling_too(api: Service) -> None:
    body = BODY | {"steps": [STEP | {"max_retries": 21, "id": ""}]}
    response = await api.client.post(WORKFLOWS, json=body, headers=LENIENT)
    assert (response.status_code, preference_applied(response)) == (422, None)
    places = [fault["loc"] for fault in response.json()["detail"]]
    assert places == [["body", "steps", 0, "id"], ["body", "steps", 0, "max_retries"]]


@pytest.mark.parametrize(
    ("prefer", "expected"),
    [
        ("handling=lenient, wait=10", "wait=10, handling=lenient"),
        ('wait=10,HANDLING = "Lenient";x=1', "wait=10, handling=lenient"),
        ("handling=lenient, handling=strict", "handling=lenient"),
        ("return=minimal, handling=lenient", "handling=lenient"),
    ],
)
async def test_handling_and_other_preferences_go_together(api: Service, prefer: str, expected: str) -> None:
    response = await api.client.post(WORKFLOWS, json=BODY, headers={"Prefer": prefer})
    assert (response.status_code, preference_applied(response)) == (201, expected)
    assert response.json()["status"] == ("COMPLETED" if "wait" in prefer else "RUNNING")


@pytest.mark.parametrize("prefer", ["handling=strict, handling=lenient", "handling=loose", "handling", "lenient"])
async def test_any_other_preference_leaves_the_handling_strict(api: Service, prefer: str) -> None:
    assert (await api.client.post(WORKFLOWS, json=BODY, headers={"Prefer": prefer})).status_code == 422


async def test_every_body_is_handled_as_the_request_prefers(api: Service) -> None:
    created = await api.create(passthrough_step("a"), start=False)
    path = WORKFLOWS + created["id"]
    for method, address, body, status in (
        ("POST", WORKFLOWS + "plan", BODY, 200),
        ("PATCH", path, {"name": "new", "nmae": "x"}, 200),
        ("POST", path + "/start?dry_run=true", {"x": 1}, 200),
        ("POST", path + "/start", {"x": 1}, 200),
        ("POST", path + "/cleanup", {"x": 1}, 200),
        ("POST", "/api/v1/events/tickets", {"x": 1}, 200),
    ):
        for headers, expected in (({}, (422, None)), (LENIENT, (status, "handling=lenient"))):
            response = await api.client.request(method, address, json=body, headers=headers)
            assert (response.status_code, preference_applied(response)) == expected, (method, address, response.text)
        if address.endswith("/start"):
            await api.until_ended(created["id"])
    assert (await api.get(created["id"]))["name"] == "new"


async def test_an_operation_without_a_body_takes_no_list_under_lenient_handling(api: Service) -> None:
    created = await api.create(passthrough_step("a"), start=False)
    response = await api.client.post(f"{WORKFLOWS}{created['id']}/start", json=[1], headers=LENIENT)
    assert response.status_code == 422


async def test_a_read_applies_no_handling(api: Service) -> None:
    created = await api.create(passthrough_step("a"), start=False)
    response = await api.client.get(WORKFLOWS + created["id"], headers=LENIENT)
    assert (response.status_code, preference_applied(response)) == (200, None)


async def test_a_replay_reports_the_handling_too(api: Service) -> None:
    headers = LENIENT | {"Idempotency-Key": "lenient-1"}
    first, again = [await api.client.post(WORKFLOWS, json=BODY, headers=headers) for _ in range(2)]
    assert (first.content, preference_applied(first)) == (again.content, preference_applied(again))
    assert again.headers["idempotency-replayed"] == "true"


async def test_the_operator_decides_for_requests_without_a_preference(ignoring: Service) -> None:
    response = await ignoring.client.post(WORKFLOWS, json=BODY)
    assert (response.status_code, preference_applied(response)) == (201, "handling=lenient")
    strict = await ignoring.client.post(WORKFLOWS, json=BODY, headers={"Prefer": "handling=strict"})
    assert (strict.status_code, len(strict.json()["detail"])) == (422, 4)
    valid = await ignoring.client.post(
        WORKFLOWS,
        json={"name": "n", "origin_instance": "o", "steps": [passthrough_step("a")]},
        headers={"Prefer": "handling=strict"},
    )
    assert (valid.status_code, preference_applied(valid)) == (201, "handling=strict")
