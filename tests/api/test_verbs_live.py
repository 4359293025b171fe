"""Which verb is allowed in which state, the whole table of it, and what each verb does."""

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from support.providers.configured_by_steps import (
    WORKFLOWS,
    ConfiguredProvider,
    configured_step,
    passthrough_step,
    steps_are,
    views_are,
)
from support.service.live_service import Service

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALLOWED = {
    "start": ["PENDING"],
    "pause": ["RUNNING"],
    "resume": ["FAILED", "PAUSED"],
    "cancel": ["PENDING", "RUNNING"],
    "cleanup": ["PENDING", "PAUSED", "COMPLETED", "FAILED", "CANCELLED"],
    "update": ["PENDING", "RUNNING", "PAUSED", "COMPLETED", "FAILED", "CANCELLED"],
}
AFTER = {"start": "RUNNING", "pause": "PAUSED", "resume": "RUNNING", "cancel": "CANCELLED"}
EVENT = {
    "start": "workflow.started",
    "pause": "workflow.paused",
    "resume": "workflow.resumed",
    "cancel": "workflow.cancelled",
    "cleanup": "workflow.cleaned",
    "update": "workflow.updated",
}
STATUSES = ALLOWED["update"]
_Reach = Callable[[Service, ConfiguredProvider], Awaitable[str]]


async def _pending(live: Service, _: ConfiguredProvider) -> str:
    return str((await live.create(configured_step("a", wait=True), passthrough_step("b", "a"), start=False))["id"])


async def _running(live: Service, _: ConfiguredProvider) -> str:
    workflow_id = str((await live.create(configured_step("a", wait=True), passthrough_step("b", "a")))["id"])
    await live.until(workflow_id, lambda workflow: workflow["current_step"] == "a")
    return workflow_id


async def _paused(live: Service, scripted: ConfiguredProvider) -> str:
    workflow_id = await _running(live, scripted)
    assert (await live.verb(workflow_id, "pause")).json()["status"] == "PAUSED"
    return workflow_id


async def _completed(live: Service, _: ConfiguredProvider) -> str:
    workflow_id = str((await live.create(passthrough_step("a"), passthrough_step("b", "a")))["id"])
    assert (await live.until_ended(workflow_id))["status"] == "COMPLETED"
    return workflow_id


async def _failed(live: Service, _: ConfiguredProvider) -> str:
    workflow_id = str((await live.create(configured_step("a", fails=1, wait=True), passthrough_step("b", "a")))["id"])
    assert (await live.until_ended(workflow_id))["status"] == "FAILED"
    return workflow_id


async def _cancelled(live: Service, scripted: ConfiguredProvider) -> str:
    workflow_id = await _pending(live, scripted)
    assert (await live.verb(workflow_id, "cancel")).json()["status"] == "CANCELLED"
    return workflow_id


REACH: dict[str, _Reach] = {
    "PENDING": _pending,
    "RUNNING": _running,
    "PAUSED": _paused,
    "COMPLETED": _completed,
    "FAILED": _failed,
    "CANCELLED": _cancelled,
}


async def do(live: Service, workflow_id: str, verb: str) -> httpx.Response:
    if verb == "update":
        return await live.client.patch(WORKFLOWS + workflow_id, json={"description": "changed"})
    return await live.verb(workflow_id, verb)


async def wait_until_idle(live: Service, scripted: ConfiguredProvider, workflow_id: str) -> None:
    """Leave nothing running behind."""
    scripted.release(workflow_id, "a")
    await live.until(workflow_id, lambda workflow: all(step["status"] != "RUNNING" for step in workflow["steps"]))


# Both an allowed and a refused status of each verb are in the core suite.
CORE_STATUSES = {"start": "PENDING FAILED", "pause": "RUNNING PENDING", "resume": "PAUSED RUNNING"}
CORE_STATUSES |= {"cancel": "RUNNING COMPLETED", "cleanup": "COMPLETED RUNNING", "update": "RUNNING"}


@pytest.mark.parametrize(
    ("verb", "status"),
    [
        (verb, status)
        if status in CORE_STATUSES[verb].split()
        else pytest.param(verb, status, marks=pytest.mark.extended)
        for verb, status in itertools.product(ALLOWED, STATUSES)
    ],
)
async def test_every_verb_is_allowed_in_its_states_only(
    live: Service, scripted: ConfiguredProvider, verb: str, status: str
) -> None:
    workflow_id = await REACH[status](live, scripted)
    before, history = await live.get(workflow_id), await live.events(workflow_id)
    assert before["status"] == status
    response = await do(live, workflow_id, verb)
    after, told_since = await live.get(workflow_id), (await live.events(workflow_id))[len(history) :]
    if status in ALLOWED[verb]:
        assert response.status_code == 200, response.text
        body = response.json()
        assert (body["workflow"] if verb == "cleanup" else body)["id"] == workflow_id
        assert EVENT[verb] in [event["type"] for event in told_since]
        assert {event["actor"] for event in told_since if event["type"] == EVENT[verb]} == {"tester"}
        if verb in AFTER:
            assert body["status"] == after["status"] == AFTER[verb]
        assert after["is_deleted"] is (verb == "cleanup")
    else:
        problem = check_refusal(response, status)
        assert sorted(problem["allowed_from"]) == sorted(ALLOWED[verb])
        assert "is_deleted" not in problem
        assert (after, told_since) == (before, [])
    await wait_until_idle(live, scripted, workflow_id)


@pytest.mark.parametrize(
    "status",
    ["COMPLETED", *(pytest.param(status, marks=pytest.mark.extended) for status in ("FAILED", "CANCELLED"))],
)
@pytest.mark.parametrize("verb", ALLOWED)
async def test_a_deleted_workflow_allows_its_verbs_only(
    live: Service, scripted: ConfiguredProvider, verb: str, status: str
) -> None:
    workflow_id = await REACH[status](live, scripted)
    assert (await live.verb(workflow_id, "cleanup")).status_code == 200
    before, history = await live.get(workflow_id), await live.events(workflow_id)
    assert (before["status"], before["is_deleted"]) == (status, True)
    response = await do(live, workflow_id, verb)
    if verb == "cleanup":
        assert response.status_code == 200
    else:
        problem = check_refusal(response, status)
        assert problem["is_deleted"] is True
        assert "allowed_from" not in problem
        assert "deleted" in problem["detail"]
    assert await live.get(workflow_id) == before
    assert await live.events(workflow_id) == history


def check_refusal(response: httpx.Response, status: str) -> dict[str, Any]:
    assert response.status_code == 409
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert (problem["status"], problem["current_status"]) == (409, status)
    assert problem["instance"].startswith(WORKFLOWS)
    return problem


async def test_cancel_of_a_paused_workflow_names_cleanup(live: Service, scripted: ConfiguredProvider) -> None:
    workflow_id = await _paused(live, scripted)
    detail = (await live.verb(workflow_id, "cancel")).json()["detail"]
    assert "cleanup" in detail.lower()
    await wait_until_idle(live, scripted, workflow_id)


async def test_cancel_shows_at_once_and_ends_every_step(live: Service, scripted: ConfiguredProvider) -> None:
    workflow = await live.create(
        passthrough_step("done"), configured_step("a", "done", wait=True), passthrough_step("later", "a")
    )
    await live.until(workflow["id"], views_are(current_step="a"))
    body = (await live.verb(workflow["id"], "cancel")).json()
    assert [step["status"] for step in body["steps"]] == ["COMPLETED", "CANCELLED", "CANCELLED"]
    assert (body["status"], body["completed_steps"], body["current_step"]) == ("CANCELLED", 1, None)
    assert body["completed_at"] == body["updated_at"]
    assert body["errors"] == []
    tasks = (await live.client.get(f"{WORKFLOWS}{workflow['id']}/tasks")).json()["tasks"]
    assert [(task["step_id"], task["status"]) for task in tasks] == [("done", "COMPLETED"), ("a", "CANCELLED")]
    scripted.release(workflow["id"], "a")
    assert await live.get(workflow["id"]) == body


async def test_pause_lets_running_steps_end_and_starts_nothing(live: Service, scripted: ConfiguredProvider) -> None:
    workflow = await live.create(configured_step("a", wait=True), passthrough_step("b", "a"))
    await live.until(workflow["id"], views_are(current_step="a"))
    paused = (await live.verb(workflow["id"], "pause")).json()
    assert paused["steps"][0]["status"] == "RUNNING"
    await wait_until_idle(live, scripted, workflow["id"])
    found = await live.get(workflow["id"])
    assert (found["status"], found["completed_at"]) == ("PAUSED", None)
    assert [step["status"] for step in found["steps"]] == ["COMPLETED", "PENDING"]
    resumed = (await live.verb(workflow["id"], "resume")).json()
    assert resumed["canvas_task_id"] != workflow["canvas_task_id"]
    done = await live.until_ended(workflow["id"])
    assert [step["status"] for step in done["steps"]] == ["COMPLETED", "COMPLETED"]


@pytest.mark.parametrize(("breaks", "status"), [(False, "COMPLETED"), (True, "FAILED")])
async def test_a_paused_workflow_ends_if_no_step_is_left(
    live: Service, scripted: ConfiguredProvider, *, breaks: bool, status: str
) -> None:
    workflow = await live.create(configured_step("a", wait=True, breaks=breaks), configured_step("b", wait=True))
    await live.until(workflow["id"], steps_are("RUNNING", "RUNNING"))
    assert (await live.verb(workflow["id"], "pause")).json()["status"] == "PAUSED"
    scripted.release(workflow["id"], "a")
    found = await live.until(workflow["id"], lambda found: found["steps"][0]["completed_at"] is not None)
    assert found["status"] == "PAUSED"
    scripted.release(workflow["id"], "b")
    ended = await live.until_ended(workflow["id"])
    assert ended["status"] == status
    assert ended["completed_at"] == ended["steps"][1]["completed_at"]


async def test_resume_keeps_completed_steps_and_runs_the_rest(live: Service, scripted: ConfiguredProvider) -> None:
    steps = [
        passthrough_step("kept", x=1),
        configured_step("a", "kept", fails=2, retryable=True, members={"max_retries": 0}),
    ]
    workflow = await live.create(*steps, passthrough_step("later", "a"))
    failed = await live.until_ended(workflow["id"])
    assert (failed["status"], failed["errors"]) == ("FAILED", ["a: told to fail"])
    assert failed["error_message"] == "a: told to fail"
    again = (await live.verb(workflow["id"], "resume")).json()
    assert again["canvas_task_id"] not in (None, failed["canvas_task_id"])
    assert again["started_at"] == failed["started_at"]
    failed = await live.until(workflow["id"], views_are(status="FAILED"))
    await live.verb(workflow["id"], "resume")
    done = await live.until_ended(workflow["id"])
    assert (done["status"], done["errors"], done["error_message"]) == ("COMPLETED", [], None)
    assert done["steps"][0] == failed["steps"][0]
    response = await live.client.get(f"{WORKFLOWS}{workflow['id']}/tasks")
    attempts = [(task["step_id"], task["attempt"], task["status"]) for task in response.json()["tasks"]]
    assert attempts == [
        ("kept", 1, "COMPLETED"),
        *(("a", 1, "FAILED"), ("a", 2, "FAILED"), ("a", 3, "COMPLETED")),
        ("later", 1, "COMPLETED"),
    ]


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b" {} "])
async def test_verbs_take_no_body_or_an_empty_one(live: Service, scripted: ConfiguredProvider, body: bytes) -> None:
    workflow_id = await _pending(live, scripted)
    headers: dict[str, Any] = {"Content-Type": "application/json"} if body else {}
    for method, path in (("POST", "/start"), ("POST", "/pause"), ("POST", "/resume"), ("DELETE", "")):
        response = await live.client.request(method, WORKFLOWS + workflow_id + path, content=body, headers=headers)
        assert response.status_code == 200, response.text
    response = await live.client.post(f"{WORKFLOWS}{workflow_id}/cleanup", content=body, headers=headers)
    assert response.status_code == 200
