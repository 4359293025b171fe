"""ETag, If-None-Match, If-Match: what a caller knows of a workflow is still so, or it isn't."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import pytest

from stepwell import __version__
from support.database.statement_recorder import fetched
from support.providers.configured_by_steps import (
    WORKFLOWS,
    ConfiguredProvider,
    configured_step,
    passthrough_step,
    views_are,
)
from support.service.live_service import Service

pytestmark = pytest.mark.asyncio(loop_scope="module")

STALE = '"1-abc-s-0"'


async def tags(live: Service, workflow_id: str) -> tuple[str, str]:
    """With steps, and without."""
    found = [await live.client.get(WORKFLOWS + workflow_id, params={"include_steps": steps}) for steps in (True, False)]
    return found[0].headers["etag"], found[1].headers["etag"]


async def pending(live: Service) -> str:
    return str((await live.create(passthrough_step("a"), start=False))["id"])


async def rename(client: httpx.AsyncClient, workflow_id: str, name: str, tag: Any) -> httpx.Response:
    headers = {} if tag is None else {"If-Match": tag} if isinstance(tag, str) else [("If-Match", each) for each in tag]
    return await client.patch(WORKFLOWS + workflow_id, json={"name": name}, headers=headers)


async def test_an_etag_is_strong_and_differs_by_steps_and_version(live: Service) -> None:
    whole, bare = await tags(live, await pending(live))
    assert whole != bare
    for tag in (whole, bare):
        assert tag.startswith('"')
        assert tag.endswith(f'-{__version__}"')


async def test_if_none_match_with_the_present_etag_is_a_304(live: Service) -> None:
    workflow_id = await pending(live)
    for params, known in zip(({}, {"include_steps": False}), await tags(live, workflow_id), strict=True):
        for said in (known, f"W/{known}", "*", f'"x", {known}', f'W/"x" ,{known},', [STALE, known], f'"a,b",{known}'):
            headers = [("If-None-Match", each) for each in ([said] if isinstance(said, str) else said)]
            response = await live.client.get(WORKFLOWS + workflow_id, params=params, headers=headers)
            assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", known), said
            assert "content-length" not in response.headers
        for said in (STALE, known.strip('"'), "", f'"{known[1:-1]}x"', "W/*"):
            response = await live.client.get(WORKFLOWS + workflow_id, params=params, headers={"If-None-Match": said})
            assert (response.status_code, response.headers["etag"]) == (200, known), said
    whole, bare = await tags(live, workflow_id)
    response = await live.client.get(WORKFLOWS + workflow_id, headers={"If-None-Match": bare})
    assert (response.status_code, response.headers["etag"]) == (200, whole)


async def test_a_304_reads_no_steps(live: Service) -> None:
    workflow_id = await pending(live)
    (tag, _), path = await tags(live, workflow_id), WORKFLOWS + workflow_id
    with fetched() as statements:
        assert (await live.client.get(path, headers={"If-None-Match": tag})).status_code == 304
    (statement,) = statements
    assert "workflows" in statement
    assert not any(table in statement for table in ("steps", "tasks", "events"))
    with fetched() as statements:
        await live.client.get(path)
    assert len(statements) == 1


async def test_a_workflow_of_another_tenant_is_a_404_and_no_304(live: Service) -> None:
    workflow = await live.create(passthrough_step("a"), start=False, origin_tenant_id="acme")
    tag, _ = await tags(live, workflow["id"])
    async with live.as_tenant("acme") as own, live.as_tenant("other") as other:
        for said in (tag, "*"):
            assert (await own.get(WORKFLOWS + workflow["id"], headers={"If-None-Match": said})).status_code == 304
            assert (await other.get(WORKFLOWS + workflow["id"], headers={"If-None-Match": said})).status_code == 404
        assert (await rename(own, workflow["id"], "x", tag)).status_code == 200
        assert (await rename(other, workflow["id"], "x", "*")).status_code == 404
    assert (await live.client.get(WORKFLOWS + str(uuid4()), headers={"If-None-Match": "*"})).status_code == 404


@pytest.mark.parametrize("path", [WORKFLOWS, "{one}/tasks", "/api/v1/tasks/{task}", "{one}/events", "/api/v1/events"])
async def test_the_etags_of_lists_and_tasks_depend_on_their_content(live: Service, path: str) -> None:
    workflow = await live.create(configured_step("a"))
    done = await live.until_ended(workflow["id"])
    where = path.format(one=WORKFLOWS + workflow["id"], task=done["steps"][0]["task_id"])
    first = await live.client.get(where)
    tag = first.headers["etag"]
    for said in (tag, f"W/{tag}", "*"):
        response = await live.client.get(where, headers={"If-None-Match": said})
        assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", tag)
        assert response.headers.get("link") == first.headers.get("link")
    cleaned = await live.client.post(f"{WORKFLOWS}{workflow['id']}/cleanup", params={"cleanup_tasks": True})
    assert cleaned.status_code == 200
    response = await live.client.get(where, headers={"If-None-Match": tag})
    assert response.status_code == 200
    assert (response.headers["etag"], response.content) != (tag, first.content)


@pytest.mark.parametrize("path", ["{one}/explain", "/api/v1/providers"])
async def test_a_report_of_the_present_keeps_its_etag_until_it_changes(
    live: Service, scripted: ConfiguredProvider, path: str
) -> None:
    workflow_id = (await live.create(configured_step("a", wait=True), start=False))["id"]
    where = path.format(one=WORKFLOWS + workflow_id)
    tag = (await live.client.get(where)).headers["etag"]
    response = await live.client.get(where, headers={"If-None-Match": tag})
    assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", tag)
    await live.verb(workflow_id, "start")
    await live.until(workflow_id, views_are(current_step="a"))
    response = await live.client.get(where, headers={"If-None-Match": tag})
    assert response.status_code == 200
    assert response.json()
    assert response.headers["etag"] != tag
    scripted.release(workflow_id, "a")


async def test_if_match_allows_an_update_of_the_named_version_only(live: Service) -> None:
    workflow_id = await pending(live)
    whole, bare = await tags(live, workflow_id)
    history = await live.events(workflow_id)
    for wrong in (STALE, f"W/{whole}", f"W/{bare}", "", "x", whole.strip('"'), [STALE, f"W/{whole}"], '"1"', "W/*"):
        response = await rename(live.client, workflow_id, "no", wrong)
        assert (response.status_code, response.json()["type"]) == (412, "/schema#problem-412"), wrong
    assert await live.events(workflow_id) == history
    for n in range(4):
        whole, bare = await tags(live, workflow_id)
        right = [whole, bare, f"{STALE}, {whole}", [STALE, whole]][n]
        response = await rename(live.client, workflow_id, f"name {n}", right)
        assert response.status_code == 200
        assert response.headers["etag"] == (await tags(live, workflow_id))[0]
    for free in ("*", " * ", None):
        assert (await rename(live.client, workflow_id, "any", free)).status_code == 200
    assert (await rename(live.client, str(uuid4()), "any", "*")).status_code == 404


async def test_if_match_accepts_the_etag_of_another_release_of_stepwell(live: Service) -> None:
    workflow_id = await pending(live)
    tag = (await tags(live, workflow_id))[0].replace(__version__, "0.0.1")
    response = await live.client.get(WORKFLOWS + workflow_id, headers={"If-None-Match": tag})
    assert response.status_code == 200
    assert (await rename(live.client, workflow_id, "x", tag)).status_code == 200


@pytest.mark.parametrize("verb", ["start", "pause", "resume", "cancel", "cleanup"])
async def test_if_match_allows_a_verb_on_the_named_version_only(
    live: Service, scripted: ConfiguredProvider, verb: str
) -> None:
    workflow = await live.create(configured_step("a", wait=True), start=verb in ("pause", "resume", "cancel"))
    path = WORKFLOWS + workflow["id"]
    if workflow["status"] == "RUNNING":
        await live.until(workflow["id"], views_are(current_step="a"))
    if verb == "resume":
        await live.verb(workflow["id"], "pause")
    stale = (await tags(live, workflow["id"]))[0]
    assert (await rename(live.client, workflow["id"], "meanwhile", None)).status_code == 200
    history = await live.events(workflow["id"])
    method, where = ("DELETE", path) if verb == "cancel" else ("POST", f"{path}/{verb}")
    response = await live.client.request(method, where, headers={"If-Match": stale})
    assert response.status_code == 412
    assert await live.events(workflow["id"]) == history
    tag, _ = await tags(live, workflow["id"])
    response = await live.client.request(method, where, headers={"If-Match": tag})
    assert response.status_code == 200, response.text
    assert response.headers["etag"] == (await tags(live, workflow["id"]))[0] or verb in ("start", "resume")
    # The version is compared before the state.
    response = await live.client.post(f"{path}/start", headers={"If-Match": stale})
    assert response.status_code == 412
    scripted.release(workflow["id"], "a")


async def test_of_two_requests_that_name_the_same_version_one_succeeds(live: Service) -> None:
    for n in range(6):
        workflow_id = await pending(live)
        tag = (await tags(live, workflow_id))[n % 2]
        responses = await asyncio.gather(*(rename(live.client, workflow_id, f"{n} {m}", tag) for m in range(5)))
        assert sorted(response.status_code for response in responses) == [200, 412, 412, 412, 412]
        (won,) = (response.json() for response in responses if response.status_code == 200)
        assert (await live.get(workflow_id))["name"] == won["name"]
        assert len(await live.events(workflow_id)) == 2


async def test_a_repeat_with_a_key_succeeds_although_the_version_has_changed(live: Service) -> None:
    workflow_id = await pending(live)
    headers = {"If-Match": (await tags(live, workflow_id))[0], "Idempotency-Key": str(uuid4())}
    path, body = WORKFLOWS + workflow_id, {"name": "x"}
    first = await live.client.patch(path, json=body, headers=headers)
    again = await live.client.patch(path, json=body, headers=headers)
    assert (first.status_code, again.status_code, again.content) == (200, 200, first.content)
    # And a version that isn't there any more frees the key: nothing was changed.
    headers = {"If-Match": STALE, "Idempotency-Key": str(uuid4())}
    assert (await live.client.patch(path, json=body, headers=headers)).status_code == 412
    headers["If-Match"] = (await tags(live, workflow_id))[0]
    response = await live.client.patch(path, json=body, headers=headers)
    assert (response.status_code, "idempotency-replayed" in response.headers) == (200, False)
