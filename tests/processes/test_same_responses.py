"""Every process gives the response that the process gives which runs the workflow.

The same request is sent about equal workflows, to the process that runs its workflow, and to each of the others.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import product
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import pytest

from stepwell.contract.scopes import Permission
from support.emulators.webhook_receiver import running_sink
from support.processes.cluster import WAIT_S, WORKFLOWS, Cluster, Json, Member, held_step, quick_step, verb_request
from support.service.comparable_responses import ComparableResponse, comparable
from support.service.live_service import token

pytestmark = pytest.mark.asyncio(loop_scope="module")

VERBS = ("start", "pause", "resume", "cancel", "cleanup", "update")
DRY_RUNS = ("start", "pause", "resume", "cancel", "cleanup")
BY_HAND = ("after/result", "after/skip", "held/skip", "before/result", "after/items/0/skip")
MOVING = ("/start", "/resume")
PROGRESS = {"steps", "current_step", "completed_steps", "progress", "cost"}
UNKNOWN = "01a21afc-8fd7-71a5-9c75-d46227644ed1"


class Sent(NamedTuple):
    """A request about the workflow at `path`."""

    method: str
    path: str
    body: Any = None
    params: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    bearer: str | None = token()


async def send(member: Member, sent: Sent) -> httpx.Response:
    async with member.client_for(sent.bearer) as client:
        return await client.request(
            sent.method, sent.path, json=sent.body, params=dict(sent.params), headers=dict(sent.headers)
        )


class Made(NamedTuple):
    """A workflow in the wanted state. `etags`: its ETags since its creation, the present one last."""

    id: str
    prompt: str
    etags: list[str]


async def pending(cluster: Cluster, at: Member, prompt: str) -> str:
    created = await cluster.create(at, *steps(prompt), start=False)
    return str(created["id"])


async def running(cluster: Cluster, at: Member, prompt: str) -> str:
    created = await cluster.create(at, *steps(prompt))
    await cluster.until_job(prompt)
    await until_still(cluster, created["id"])
    assert await cluster.owner_of(created["id"]) == at.owner
    return str(created["id"])


async def paused(cluster: Cluster, at: Member, prompt: str) -> str:
    workflow_id = await running(cluster, at, prompt)
    assert (await at.verb(workflow_id, "pause")).status_code == 200
    return workflow_id


async def completed(cluster: Cluster, at: Member, prompt: str) -> str:
    return await ended(cluster, at, prompt, "succeeded")


async def failed(cluster: Cluster, at: Member, prompt: str) -> str:
    return await ended(cluster, at, prompt, "failed")


async def cancelled(cluster: Cluster, at: Member, prompt: str) -> str:
    workflow_id = await pending(cluster, at, prompt)
    assert (await at.verb(workflow_id, "cancel")).status_code == 200
    return workflow_id


async def deleted(cluster: Cluster, at: Member, prompt: str) -> str:
    workflow_id = await completed(cluster, at, prompt)
    assert (await at.verb(workflow_id, "cleanup")).status_code == 200
    return workflow_id


async def ended(cluster: Cluster, at: Member, prompt: str, status: str) -> str:
    workflow_id = await running(cluster, at, prompt)
    cluster.end_job(cluster.jobs_of(prompt)[0], status)
    await at.until_ended(workflow_id)
    return workflow_id


REACH: dict[str, Callable[[Cluster, Member, str], Awaitable[str]]] = {
    "RUNNING": running,
    "PAUSED": paused,
    "PENDING": pending,
    "COMPLETED": completed,
    "FAILED": failed,
    "CANCELLED": cancelled,
    "deleted": deleted,
}
OWNED = ("RUNNING", "PAUSED")
TAGS = ("the present one", "an old one")


def steps(prompt: str) -> list[Json]:
    return [
        quick_step("before", x=1),
        held_step("held", "before", prompt=prompt, max_retries=0),
        quick_step("after", "held"),
    ]


async def until_still(cluster: Cluster, workflow_id: str, response: httpx.Response | None = None) -> None:
    """Wait until nothing happens to the workflow by itself: its job has been polled, or the job's end is recorded.

    The receipt of a cancelled job is `unknown` at first. An event says when it is final. *response*: that of a request
    about the workflow. A deletion may be accepted before it ends.
    """
    async with asyncio.timeout(WAIT_S):
        while not await is_still(cluster.members[0].client, WORKFLOWS + workflow_id, end_of(response)):
            await asyncio.sleep(0.02)


def end_of(response: httpx.Response | None) -> str | None:
    """Return what ends the deletion that was accepted with the response: "purge", or a type of event."""
    if response is None or response.status_code != 200 or "dry_run" in response.request.url.params:
        return None
    if response.request.url.path.endswith("/data"):
        return "purge"
    return "workflow.files_deleted" if "cleanup_tasks" in response.request.url.params else None


async def is_still(client: httpx.AsyncClient, path: str, end: str | None) -> bool:
    explained = await client.get(f"{path}/explain")
    listed = await client.get(f"{path}/tasks", params={"include_deleted": True})
    logged = await client.get(f"{path}/events", params={"limit": 1000})
    if 404 in {explained.status_code, listed.status_code, logged.status_code}:
        return True
    if end == "purge":
        return False
    reasons = {step["step_id"]: step["reason"] for step in explained.json()["steps"]}
    if explained.json()["status"] == "RUNNING":
        return bool(reasons["held"].get("state") == "running")
    jobs = {
        task["id"] for task in listed.json()["tasks"] if task["status"] == "CANCELLED" and task["remote_id"] is not None
    }
    events = logged.json()["events"]
    settled = {event["task_id"] for event in events if event["type"] == "step.cancel_settled"}
    return jobs <= settled and (end is None or end in {event["type"] for event in events})


def without_progress(response: httpx.Response) -> object:
    """Return what can be compared of the response.

    Steps may have started, or the end of a job may be recorded, before the workflow was read for the response. Jobs
    that end slowly leave a deletion pending.
    """
    found = comparable(response)
    if found.status == 200 and (response.request.method == "DELETE" or response.request.url.path.endswith("/cleanup")):
        content = {name: value for name, value in found.body.items() if name != "pending"}
        return found._replace(headers={**found.headers, "etag": ""}, body=content)
    if found.status == 200 and response.request.method == "POST" and response.request.url.path.endswith(MOVING):
        content = {name: value for name, value in found.body.items() if name not in PROGRESS}
        return found._replace(headers={**found.headers, "etag": ""}, body=content)
    return found


async def make(cluster: Cluster, at: Member, state: str) -> Made:
    prompt = uuid4().hex
    workflow_id = await REACH[state](cluster, at, prompt)
    # One change that leaves the state alone, so that there is an ETag that isn't valid any more.
    old = (await at.client.get(WORKFLOWS + workflow_id)).headers["etag"]
    if state != "deleted":
        assert (await at.client.patch(WORKFLOWS + workflow_id, json={"name": "another"})).status_code == 200
    new = (await at.client.get(WORKFLOWS + workflow_id)).headers["etag"]
    return Made(workflow_id, prompt, [old, new])


async def responses_of(
    cluster: Cluster, state: str, request: Callable[[Made], Sent]
) -> list[tuple[Member, Made, httpx.Response]]:
    """Send the request to every process, each about a workflow that the first process runs. The first is the owner."""
    made = await asyncio.gather(*(make(cluster, cluster.members[0], state) for _ in cluster.members))
    responses = await asyncio.gather(
        *(send(member, request(each)) for member, each in zip(cluster.members, made, strict=True))
    )
    return list(zip(cluster.members, made, responses, strict=True))


async def check_same(cluster: Cluster, state: str, request: Callable[[Made], Sent]) -> httpx.Response:
    """Send the request to every process. The responses must be equal, and so must the workflows afterwards."""
    sent = await responses_of(cluster, state, request)
    (_, first, expected), *others = sent
    await asyncio.gather(*(until_still(cluster, each.id, response) for _, each, response in sent))
    for _, each, response in others:
        assert without_progress(response) == without_progress(expected)
        assert await rest_of(cluster, each) == await rest_of(cluster, first)
    await end_all(cluster, [each for _, each, _ in sent])
    return expected


async def rest_of(cluster: Cluster, made: Made) -> list[object]:
    """Return what all processes say about the workflow, which is the same."""
    paths = (WORKFLOWS + made.id, f"{WORKFLOWS}{made.id}/events", f"{WORKFLOWS}{made.id}/tasks")
    said = []
    for path in paths:
        responses = [await member.client.get(path) for member in cluster.members]
        said.append(without_order(comparable(responses[0])))
        assert all(
            (response.content, response.headers.get("etag")) == (responses[0].content, responses[0].headers.get("etag"))
            for response in responses
        )
    return list(said)


def without_order(found: ComparableResponse) -> ComparableResponse:
    """Return a history without the order of its events: a job may end before or after the verb's own effects."""
    if not isinstance(found.body, dict) or "events" not in found.body:
        return found
    events = [{name: value for name, value in event.items() if name != "id"} for event in found.body["events"]]
    return found._replace(body=sorted(json.dumps(event, sort_keys=True) for event in events))


async def end_all(cluster: Cluster, made: list[Made]) -> None:
    """Leave nothing running behind."""
    for each in made:
        await cluster.members[0].verb(each.id, "resume")
        await cluster.members[0].verb(each.id, "cancel")


def rows(every: Iterable[Any], *core: Any) -> list[Any]:
    """Return the rows of a table of parameters. Those that aren't *core* are extended."""
    return [row if row in core else pytest.param(*_members(row), marks=pytest.mark.extended) for row in every]


def _members(row: Any) -> tuple[Any, ...]:
    return row if isinstance(row, tuple) else (row,)


def verb(name: str, **options: Any) -> Callable[[Made], Sent]:
    return lambda made: Sent(*verb_request(made.id, name), **options)


@pytest.mark.parametrize(("state", "name"), rows(product(REACH, VERBS), *product(["RUNNING"], VERBS)))
async def test_a_verb_gets_the_same_response(cluster: Cluster, state: str, name: str) -> None:
    response = await check_same(cluster, state, verb(name))
    assert response.status_code in {200, 409}


@pytest.mark.parametrize(
    ("state", "name", "which"),
    rows(
        [
            *product(OWNED, VERBS, TAGS),
            ("RUNNING", "update", "any"),
            ("RUNNING", "update", "none that is valid"),
        ],
        ("RUNNING", "pause", "an old one"),
    ),
)
async def test_a_precondition_holds_alike(cluster: Cluster, state: str, name: str, which: str) -> None:
    def request(made: Made) -> Sent:
        tag = {"the present one": made.etags[1], "an old one": made.etags[0], "any": "*"}.get(which, 'W/"x"')
        return Sent(*verb_request(made.id, name), headers={"If-Match": tag})

    response = await check_same(cluster, state, request)
    assert (response.status_code == 412) is (which in ("an old one", "none that is valid"))


@pytest.mark.parametrize(("state", "name"), rows(product(OWNED, DRY_RUNS), ("RUNNING", "cancel")))
async def test_a_dry_run_gets_the_same_response(cluster: Cluster, state: str, name: str) -> None:
    response = await check_same(cluster, state, verb(name, params={"dry_run": "true"}))
    assert response.status_code in {200, 409}


@pytest.mark.parametrize(
    ("state", "end", "dry_run"),
    rows(
        product(("PAUSED", "FAILED", "RUNNING", "deleted"), BY_HAND, (False, True)),
        ("PAUSED", "after/result", False),
        ("PAUSED", "held/skip", True),
    ),
)
async def test_an_end_by_hand_gets_the_same_response(cluster: Cluster, state: str, end: str, *, dry_run: bool) -> None:
    body = {"result": {"x": 1}} if end.endswith("/result") else None
    params = {"dry_run": "true"} if dry_run else {}
    response = await check_same(
        cluster, state, lambda made: Sent("POST", f"{WORKFLOWS}{made.id}/steps/{end}", body, params)
    )
    open_step = end.startswith("after/") or (state, end) == ("FAILED", "held/skip")
    expected = 200 if open_step and state in ("PAUSED", "FAILED") else 409
    assert response.status_code == (404 if "/items/" in end else expected)


@pytest.mark.extended
async def test_a_dry_run_checks_its_precondition_alike(cluster: Cluster) -> None:
    def request(made: Made) -> Sent:
        method, path, _ = verb_request(made.id, "cancel")
        return Sent(method, path, params={"dry_run": "true"}, headers={"If-Match": made.etags[0]})

    assert (await check_same(cluster, "RUNNING", request)).status_code == 412


@pytest.mark.parametrize("state", rows([*OWNED, "PENDING", "COMPLETED", "FAILED", "CANCELLED"], "RUNNING"))
async def test_an_explanation_is_alike(cluster: Cluster, state: str) -> None:
    response = await check_same(cluster, state, lambda made: Sent("GET", f"{WORKFLOWS}{made.id}/explain"))
    codes = {step["step_id"]: step["reason"]["code"] for step in response.json()["steps"]}
    if state in OWNED:
        assert codes["held"] == "remote_job"


@pytest.mark.extended
@pytest.mark.parametrize("state", [*OWNED, "COMPLETED"])
async def test_a_cleanup_with_its_tasks_gets_the_same_response(cluster: Cluster, state: str) -> None:
    await check_same(cluster, state, verb("cleanup", params={"cleanup_tasks": "true"}))


@pytest.mark.extended
@pytest.mark.parametrize("state", [*OWNED, "PENDING", "COMPLETED"])
async def test_a_deletion_of_data_gets_the_same_response(cluster: Cluster, state: str) -> None:
    await check_same(cluster, state, verb("delete_data"))


@pytest.mark.extended
@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 200),
        ({"name": "x", "description": None, "labels": {"a": "b"}}, 200),
        ({"webhook_url": "http://127.0.0.1:9/hook"}, 200),
        ({"name": 1, "nothing": 2}, 422),
        ({"webhook_url": "http://10.0.0.1/hook"}, 422),
    ],
)
async def test_a_change_gets_the_same_response(cluster: Cluster, changes: Json, status: int) -> None:
    response = await check_same(cluster, "RUNNING", lambda made: Sent("PATCH", WORKFLOWS + made.id, changes))
    assert response.status_code == status


@pytest.mark.extended
async def test_a_wait_that_is_preferred_gets_the_same_response(cluster: Cluster) -> None:
    response = await check_same(cluster, "PAUSED", verb("resume", headers={"Prefer": "wait=1"}))
    assert (response.headers["preference-applied"], response.json()["status"]) == ("wait=1", "RUNNING")


@pytest.mark.extended
async def test_a_wait_ends_with_the_workflow_at_every_process(cluster: Cluster) -> None:
    made = await asyncio.gather(*(make(cluster, cluster.members[0], "PAUSED") for _ in cluster.members))
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        waits = [
            group.create_task(member.verb(each.id, "resume", headers={"Prefer": "wait=50"}))
            for member, each in zip(cluster.members, made, strict=True)
        ]
        for each in made:
            await cluster.members[0].until(each.id, lambda workflow: workflow["status"] == "RUNNING")
            for job in cluster.jobs_of(each.prompt):
                cluster.end_job(job)
    responses = [await each for each in waits]
    assert [response.json()["status"] for response in responses] == ["COMPLETED"] * len(responses)
    assert len({str(comparable(response)) for response in responses}) == 1


@pytest.mark.extended
@pytest.mark.parametrize("bearer", [None, token("another", every=False), token(permissions=(Permission.READ,))])
async def test_a_caller_without_the_right_is_refused_alike(cluster: Cluster, bearer: str | None) -> None:
    response = await check_same(cluster, "RUNNING", verb("pause", bearer=bearer))
    assert response.status_code in {401, 403, 404}


async def test_an_unknown_workflow_is_unknown_everywhere(cluster: Cluster) -> None:
    for name in VERBS:
        responses = [await send(member, Sent(*verb_request(UNKNOWN, name))) for member in cluster.members]
        assert {response.status_code for response in responses} == {404}
        assert len({response.content for response in responses}) == 1


@pytest.mark.parametrize("name", rows(["pause", "cancel", "update", "start", "cleanup"], "pause"))
async def test_a_repeated_request_gets_the_first_response_everywhere(cluster: Cluster, name: str) -> None:
    """The first is sent to a process that doesn't run the workflow. All, the owner too, replay its response."""
    owner, other = cluster.members[0], cluster.members[-1]
    made = await make(cluster, owner, "RUNNING")
    before = await owner.events(made.id)
    headers = {"Idempotency-Key": uuid4().hex}
    first = await send(other, Sent(*verb_request(made.id, name), headers=headers))
    assert first.status_code == (409 if name in ("start", "cleanup") else 200), first.text
    for member in cluster.members:
        repeated = await send(member, Sent(*verb_request(made.id, name), headers=headers))
        assert (repeated.status_code, repeated.content) == (first.status_code, first.content)
        if first.status_code == 200:  # a refusal isn't stored
            assert repeated.headers["idempotency-replayed"] == "true"
            assert repeated.headers["etag"] == first.headers["etag"]
            reused = await send(member, Sent("POST", f"{WORKFLOWS}{made.id}/resume", headers=headers))
            assert (reused.status_code, reused.json()["detail"][0]["type"]) == (422, "idempotency_key_reused")
    of_verb = {"pause": "workflow.paused", "cancel": "workflow.cancelled", "update": "workflow.updated"}.get(name)
    new = [event["type"] for event in (await owner.events(made.id))[len(before) :]]
    assert new.count(of_verb) == (of_verb is not None)
    await end_all(cluster, [made])


@pytest.mark.parametrize("name", rows(["pause", "cancel", "update"], "cancel"))
async def test_a_request_that_is_sent_to_all_at_once_takes_effect_once(cluster: Cluster, name: str) -> None:
    made = await make(cluster, cluster.members[0], "RUNNING")
    before = len(await cluster.members[0].events(made.id))
    sent = Sent(*verb_request(made.id, name), headers={"Idempotency-Key": uuid4().hex})
    responses = await asyncio.gather(*(send(member, sent) for member in cluster.members * 2))
    done = [response for response in responses if response.status_code == 200]
    assert done
    assert {response.content for response in done} == {done[0].content}
    assert {response.status_code for response in responses} <= {200, 409}  # 409: the request is being handled
    of_verb = {"pause": "workflow.paused", "cancel": "workflow.cancelled", "update": "workflow.updated"}[name]
    new = [event["type"] for event in (await cluster.members[0].events(made.id))[before:]]
    assert new.count(of_verb) == 1
    await end_all(cluster, [made])


async def test_an_etag_of_any_process_is_valid_at_every_other(cluster: Cluster) -> None:
    made = await make(cluster, cluster.members[0], "RUNNING")
    for member in cluster.members:
        response = await member.client.patch(WORKFLOWS + made.id, json={"name": f"by {member.owner}"})
        assert response.status_code == 200
        for reader in cluster.members:
            known = {"If-None-Match": response.headers["etag"]}
            assert (await reader.client.get(WORKFLOWS + made.id, headers=known)).status_code == 304
            held = {"If-Match": response.headers["etag"]}
            dry = await reader.client.delete(WORKFLOWS + made.id, params={"dry_run": "true"}, headers=held)
            assert dry.status_code == 200
    await end_all(cluster, [made])


@pytest.mark.extended
async def test_a_webhook_is_sent_again_whichever_process_is_asked(cluster: Cluster) -> None:
    owner = cluster.members[0]
    async with running_sink() as sink:
        responses = []
        for member in cluster.members:
            prompt = uuid4().hex
            created = await cluster.create(owner, *steps(prompt), webhook_url=sink.url())
            cluster.end_job((await cluster.until_job(prompt))[0], "failed")
            (webhook,) = await sink.until(1, created["id"])
            assert (await owner.verb(created["id"], "resume")).status_code == 200  # now it runs, and has a delivery
            await cluster.until_job(prompt, 2)
            path = f"{WORKFLOWS}{created['id']}/deliveries"
            await until_delivered(owner, path)
            response = await send(member, Sent("POST", f"{path}/{webhook.id}/redeliver"))
            assert response.status_code == 200, response.text
            responses.append(comparable(response))
            again = await sink.until(2, created["id"])
            assert [one.id for one in again] == [webhook.id] * 2
            assert (await member.verb(created["id"], "cancel")).status_code == 200
        assert all(response == responses[0] for response in responses)


async def until_delivered(at: Member, path: str) -> None:
    async with asyncio.timeout(30):
        while [each["status"] for each in (await at.client.get(path)).json()["deliveries"]] != ["DELIVERED"]:
            await asyncio.sleep(0.02)
