"""Tokens with the scope `definitions:run`: what they may do, and every attack on what they may not."""

from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio
from msgspec import Struct

from api.test_tenants_live import CASES, GUARDED, Case, call, everything, workflow_in
from stepwell.contract.scopes import Permission
from support.database.postgres import connected
from support.providers.configured_by_steps import WORKFLOWS, ConfiguredProvider, configured_step
from support.service.conformance import conforming_client
from support.service.live_service import Service, token

pytestmark = pytest.mark.asyncio(loop_scope="module")

ARTIFACTS = "/api/v1/artifacts"
DEFINITIONS = "/api/v1/definitions"
ORIGIN = {"origin_instance": "o"}
TEXT = {"Content-Type": "text/plain"}
# Those that a token for runs may use for a run of its own, or for a file of its own.
OF_OWN_RUNS = {
    *("get_workflow", "cancel_workflow", "explain_workflow", "get_step", "list_items", "list_tasks", "get_task"),
    *("list_outputs", "list_events", "get_artifact", "create_artifact_link"),
}


class Callers(Struct):
    """Clients of the tenant acme: one with every permission, and those that only run definitions, by their subject."""

    full: httpx.AsyncClient
    alice: httpx.AsyncClient
    bob: httpx.AsyncClient


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def callers(live: Service) -> AsyncIterator[Callers]:
    async with AsyncExitStack() as stack:
        of = [live.as_subject(subject, "photo-set") for subject in ("alice", "bob")]
        yield Callers(*[await stack.enter_async_context(each) for each in (live.as_tenant("acme"), *of)])


async def run_of(live: Service, subject: str, *steps: dict[str, Any], tenant: str | None = "acme") -> dict[str, Any]:
    """A workflow that *subject* has created."""
    async with conforming_client(live.app.api, token(tenant, every=False, subject=subject)) as client:
        body = {"name": "n", "origin_instance": "o", "steps": [*steps]}
        created = await client.post(WORKFLOWS, json=body)
    assert created.status_code == 201, created.text
    assert created.json()["created_by"] == subject
    workflow: dict[str, Any] = created.json()
    return workflow


async def upload(client: httpx.AsyncClient, content: str) -> dict[str, Any]:
    response = await client.post(ARTIFACTS, content=content, headers=TEXT)
    assert response.status_code == 201, response.text
    file: dict[str, Any] = response.json()["artifacts"][0]
    return file


@pytest.mark.parametrize("name", GUARDED)
async def test_a_token_for_runs_does_nothing_but_what_is_listed(
    live: Service, scripted: ConfiguredProvider, callers: Callers, name: str
) -> None:
    operation, case = GUARDED[name], CASES[name]
    names = await workflow_in(live, scripted, "acme", case.state)
    before = await everything(live)
    response = await call(callers.alice, operation, case, **names)
    if name == "upload_artifact":
        assert response.status_code == 201
        assert response.json()["artifacts"][0]["created_by"] == "alice"
    elif name in OF_OWN_RUNS or name == "complete_upload":
        assert response.status_code == 404, "it is somebody else's"
        assert await everything(live) == before
    else:
        assert response.status_code == 403, response.text
        assert await everything(live) == before
    scripted.release(names["workflow"], "a")


async def test_a_token_for_runs_reads_and_links_its_own_run(live: Service, callers: Callers) -> None:
    items = {"id": "b", "task_type": "PASSTHROUGH", "for_each": {"items": [1]}}
    run = await run_of(live, "alice", configured_step("a", files=1), items)
    done = await live.until_ended(run["id"])
    (path,) = done["steps"][0]["result"]["paths"]
    names = {"workflow": run["id"], "task": done["steps"][0]["task_id"], "artifact": path}
    for name in OF_OWN_RUNS - {"cancel_workflow"}:
        case = Case(CASES[name].path.replace("/steps/a/items", "/steps/b/items"))
        response = await call(callers.alice, GUARDED[name], case, **names)
        assert response.status_code == GUARDED[name].status, (name, response.text)
        response = await call(callers.bob, GUARDED[name], case, **names)
        assert response.status_code == 404, (name, response.text)
    preview = await callers.bob.get(f"{ARTIFACTS}/{path}", params={"w": 64})
    assert preview.status_code == 404
    archive = {"Accept": "application/zip"}
    for client, status in ((callers.alice, 200), (callers.bob, 404)):
        assert (await client.get(f"{WORKFLOWS}{run['id']}/outputs", headers=archive)).status_code == status


async def test_a_token_for_runs_cancels_its_own_run_and_no_other(
    live: Service, scripted: ConfiguredProvider, callers: Callers
) -> None:
    run = await run_of(live, "alice", configured_step("a", wait=True))
    path = WORKFLOWS + run["id"]
    assert (await callers.bob.delete(path)).status_code == 404
    assert (await callers.bob.delete(path, params={"dry_run": True})).status_code == 404
    assert (await live.get(run["id"]))["status"] == "RUNNING"
    assert (await callers.alice.delete(path)).json()["status"] == "CANCELLED"
    scripted.release(run["id"], "a")


async def test_a_ticket_opens_the_stream_of_an_own_run_and_no_other(live: Service, callers: Callers) -> None:
    run, other = [await run_of(live, subject, {"id": "a", "task_type": "PASSTHROUGH"}) for subject in ("alice", "bob")]
    await live.until_ended(run["id"])
    tickets = "/api/v1/events/tickets"
    assert (await callers.alice.post(tickets, json={"workflow_id": other["id"]})).status_code == 404
    assert (await callers.alice.post(tickets, json={})).status_code == 403
    ticket = (await callers.alice.post(tickets, json={"workflow_id": run["id"]})).json()["ticket"]
    async with httpx.AsyncClient(transport=live.transport, base_url="http://t.local") as anonymous:

        async def opened(path: str) -> int:
            stream = {"Accept": "text/event-stream"}
            response = await anonymous.get(f"/api/v1/{path}", params={"ticket": ticket}, headers=stream)
            return response.status_code

        assert await opened(f"workflows/{run['id']}/events") == 200
        assert await opened(f"workflows/{other['id']}/events") == 403
        assert await opened("events") == 403


async def test_identical_bytes_of_others_get_another_id_with_the_same_status(callers: Callers) -> None:
    content = uuid4().hex
    theirs, mine = [await upload(client, content) for client in (callers.full, callers.alice)]
    assert mine["path"] != theirs["path"]
    assert (mine["created_by"], theirs["created_by"]) == ("alice", "tester")
    bobs = await upload(callers.bob, content)
    assert len({mine["path"], theirs["path"], bobs["path"]}) == 3
    for client, own in ((callers.alice, mine), (callers.full, theirs), (callers.bob, bobs)):
        again = await client.post(ARTIFACTS, content=content, headers=TEXT)
        assert (again.status_code, again.json()["artifacts"][0]["path"]) == (200, own["path"])


async def test_uploads_of_others_are_unknown(callers: Callers) -> None:
    files = [await upload(client, uuid4().hex) for client in (callers.full, callers.bob)]
    for path in [file["path"] for file in files] + [f"media/{uuid4()}/file.txt"]:
        responses = [
            await callers.alice.get(f"{ARTIFACTS}/{path}"),
            await callers.alice.post(f"{ARTIFACTS}/links", json={"path": path}),
            await callers.alice.post(f"{ARTIFACTS}/{path.split('/')[1]}/complete"),
        ]
        assert [response.status_code for response in responses] == [404, 404, 404]
    mine = await upload(callers.alice, text := uuid4().hex)
    assert (await callers.alice.get(f"{ARTIFACTS}/{mine['path']}")).text == text
    assert (await callers.alice.delete(f"{ARTIFACTS}/{mine['path']}")).status_code == 403


async def test_an_own_name_shows_its_form_and_no_more(live: Service, callers: Callers) -> None:
    schema = {"type": "object", "properties": {"prompt": {"type": "string"}}}
    body = {"steps": [{"id": "a", "task_type": "PASSTHROUGH"}], "inputs_schema": schema}
    path = f"{DEFINITIONS}/photo-set"
    assert (await callers.full.put(path, json=body)).status_code == 201
    assert (await callers.full.put(path, json=body | {"inputs_schema": {}})).status_code == 201
    assert (await callers.full.patch(path, json={"default_version": 1, "description": "d"})).status_code == 200
    form = await callers.alice.get(path)
    assert form.json() == {"name": "photo-set", "description": "d", "inputs_schema": schema}
    assert (await callers.alice.get(path, headers={"If-None-Match": form.headers["etag"]})).status_code == 304
    assert (await callers.full.patch(path, json={"default_version": None})).status_code == 200
    assert (await callers.alice.get(path)).json()["inputs_schema"] == {}
    for query in ({"version": 2}, {"origin_tenant_id": "other"}):
        assert (await callers.alice.get(path, params=query)).status_code == 403
    assert (await callers.full.put(f"{DEFINITIONS}/other", json=body)).status_code == 201
    for name in ("other", "unknown"):
        assert (await callers.alice.get(f"{DEFINITIONS}/{name}")).status_code == 403


async def test_all_tenants_do_not_widen_what_a_token_for_runs_sees(live: Service) -> None:
    of_acme, of_none = [
        await run_of(live, "alice", {"id": "a", "task_type": "PASSTHROUGH"}, tenant=tenant) for tenant in ("acme", None)
    ]
    every = token(every=True, permissions=(Permission.RUN,), subject="alice")
    async with conforming_client(live.app.api, every) as client:
        assert (await client.get(WORKFLOWS + of_acme["id"])).status_code == 404
        assert (await client.get(WORKFLOWS + of_none["id"])).status_code == 200
        assert (await client.get(WORKFLOWS)).status_code == 403


async def test_a_further_scope_allows_what_it_allows_without_the_limits(live: Service) -> None:
    of_bob = await run_of(live, "bob", {"id": "a", "task_type": "PASSTHROUGH"})
    both = token("acme", every=False, permissions=(Permission.RUN, Permission.READ), subject="alice")
    async with conforming_client(live.app.api, both) as client:
        assert (await client.get(WORKFLOWS + of_bob["id"])).status_code == 200
        assert (await client.get(WORKFLOWS)).status_code == 200
        assert (await client.delete(WORKFLOWS + of_bob["id"])).status_code == 404


async def test_no_two_subjects_are_the_same(live: Service) -> None:
    """The service itself acts as stepwell and link, so that these subjects get a prefix."""
    subjects = ("stepwell", "sub:stepwell", "sub:sub:stepwell", "link", "sub:link")
    step = {"id": "a", "task_type": "PASSTHROUGH"}
    actors = []
    for subject in subjects:
        async with conforming_client(live.app.api, token("acme", every=False, subject=subject)) as client:
            body = {"name": "n", "origin_instance": "o", "steps": [step]}
            actors.append((await client.post(WORKFLOWS, json=body)).json()["created_by"])
    assert len({*actors}) == len(subjects)
    assert not {"stepwell", "link"} & {*actors}


# A run with the files that the inputs name: by an expression that is the path, or that puts it together.
PATH_OF_INPUTS = "${ inputs.path || join('/', ['media', inputs.folder, inputs.file]) }"
READS = {
    "steps": [
        {
            "id": "a",
            "task_type": "PASSTHROUGH",
            "config": {"path": PATH_OF_INPUTS},
        },
        {
            "id": "b",
            "task_type": "PASSTHROUGH",
            "input_mappings": [
                {"from_step": "a", "from_field": "path", "to_field": "read", "transform": "PATH_TO_DATA_URI"}
            ],
        },
    ],
}


async def stored(client: httpx.AsyncClient, name: str = "photo-set", **content: Any) -> None:
    await client.delete(f"{DEFINITIONS}/{name}")
    response = await client.put(f"{DEFINITIONS}/{name}", json=READS | content)
    assert response.is_success, response.text


def run(name: str = "photo-set", **inputs: Any) -> dict[str, Any]:
    return {"definition": {"name": name}, "inputs": inputs}


async def ended(client: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    created = await client.post(WORKFLOWS, json=body, headers={"Prefer": "wait=30"})
    assert created.status_code == 201, created.text
    workflow: dict[str, Any] = created.json()
    assert workflow["created_by"] == "alice"
    return workflow


def parts(path: str) -> dict[str, str]:
    """Inputs of which an expression makes the path."""
    folder, _, name = path.rpartition("/")
    return {"folder": folder.removeprefix("media/"), "file": name}


async def test_a_token_for_runs_plans_and_runs_its_names(callers: Callers) -> None:
    await stored(callers.full, config={"on_failure": "continue"})
    mine = await upload(callers.alice, text := uuid4().hex)
    plan = await callers.alice.post(f"{WORKFLOWS}plan", json=run(path=mine["path"]))
    assert plan.status_code == 200, plan.text
    assert len(plan.json()["steps"]) == 2
    workflow = await ended(callers.alice, run(path=mine["path"]) | {"labels": None})
    assert (workflow["status"], workflow["definition"]["name"]) == ("COMPLETED", "photo-set")
    assert b64decode(workflow["steps"][1]["result"]["read"].partition(",")[2]).decode() == text
    assert (await callers.bob.get(WORKFLOWS + workflow["id"])).status_code == 404


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"definition": {"name": "photo-set", "version": 1}}, "definition.version"),
        ({"config": {"on_failure": "drain"}}, "config"),
        ({"labels": {"a": "b"}}, "labels"),
        ({"webhook_url": "http://127.0.0.1:9/"}, "webhook_url"),
        ({"name": "n"}, "name"),
        ({"description": "d"}, "description"),
        ({"origin_instance": "o"}, "origin_instance"),
        ({"origin_tenant_id": "acme"}, "origin_tenant_id"),
        ({"origin_zone": "z"}, "origin_zone"),
        ({"origin_reference": "r"}, "origin_reference"),
        ({"suppress_subtask_events": False}, "suppress_subtask_events"),
        ({"definition": {"name": "other"}}, "claim definitions"),
        ({"definition": {"name": "unknown"}}, "claim definitions"),
        ({"definition": None}, "no definition"),
        ({"definition": None, "steps": READS["steps"], "name": "n", "origin_instance": "o"}, "no definition"),
    ],
)
async def test_a_token_for_runs_sets_nothing_but_inputs(callers: Callers, change: dict[str, Any], said: str) -> None:
    for name in ("photo-set", "other"):
        await stored(callers.full, name)
    for path in (WORKFLOWS, f"{WORKFLOWS}plan"):
        for prefer in ({}, {"Prefer": "handling=lenient"}):
            response = await callers.alice.post(path, json=run(path="media/x") | change, headers=prefer)
            assert response.status_code == 403, response.text
            assert said in response.json()["detail"]


@pytest.mark.parametrize("member", ["steps", "inputs_schema", "provider_config", "step_defaults", "created_by"])
async def test_members_that_no_run_has_are_refused_by_their_names(callers: Callers, member: str) -> None:
    await stored(callers.full)
    response = await callers.alice.post(WORKFLOWS, json=run() | {member: {}})
    assert response.status_code == 422
    assert [fault["loc"] for fault in response.json()["detail"]] == [["body", member]]
    nested = run() | {"definition": {"name": "photo-set", member: {}}}
    assert (await callers.alice.post(WORKFLOWS, json=nested)).status_code == 422
    assert (await callers.alice.post(WORKFLOWS, params={"start": False}, json=run())).status_code == 403


async def test_the_default_version_runs_and_an_archived_name_does_not(callers: Callers) -> None:
    await stored(callers.full, config={"on_failure": "continue"})
    pinned = (await callers.full.get(f"{DEFINITIONS}/photo-set")).json()["version"]
    assert (await callers.full.put(f"{DEFINITIONS}/photo-set", json=READS)).status_code == 201
    change = {"default_version": pinned, "archived": False}
    assert (await callers.full.patch(f"{DEFINITIONS}/photo-set", json=change)).status_code == 200
    assert (await ended(callers.alice, run()))["definition"]["version"] == pinned
    assert (await callers.full.patch(f"{DEFINITIONS}/photo-set", json={"archived": True})).status_code == 200
    assert (await callers.alice.post(WORKFLOWS, json=run())).status_code == 409
    unpinned = {"archived": False, "default_version": None}
    assert (await callers.full.patch(f"{DEFINITIONS}/photo-set", json=unpinned)).status_code == 200


async def test_expressions_in_inputs_are_texts(callers: Callers) -> None:
    steps = [{"id": "a", "task_type": "PASSTHROUGH", "config": {"path": "${ inputs.path }"}}]
    await stored(callers.full, steps=steps, inputs={"secret": "hidden"})
    text = "${ inputs.secret } ${ join('/', ['media', inputs.secret]) } ${ steps.a.result }"
    workflow = await ended(callers.alice, run(path=text))
    assert workflow["final_step_result"]["path"] == text


async def test_a_run_reads_no_file_that_is_not_its_own_however_its_path_comes_about(
    live: Service, callers: Callers
) -> None:
    named = await upload(callers.full, text := uuid4().hex)
    await stored(callers.full, inputs={"logo": named["path"]})
    earlier = await run_of(live, "alice", configured_step("a", files=1))
    of_earlier = (await live.until_ended(earlier["id"]))["steps"][0]["result"]["paths"][0]
    files = [await upload(client, uuid4().hex) for client in (callers.full, callers.bob)]
    beside = f"{named['path'].rpartition('/')[0]}/other.txt"
    unknown = f"media/{uuid4()}/file.txt"
    errors = set()
    for path in [*(file["path"] for file in files), of_earlier, beside, unknown]:
        workflow = await ended(callers.alice, run(**parts(path)))
        assert workflow["status"] == "FAILED", path
        errors.add(workflow["steps"][1]["error_message"].replace(path, ""))
    assert len(errors) == 1, "nothing tells a file of others from none"
    mine = await upload(callers.alice, text)
    for path in (named["path"], mine["path"]):
        workflow = await ended(callers.alice, run(**parts(path)))
        assert workflow["status"] == "COMPLETED", workflow["errors"]
        assert b64decode(workflow["steps"][1]["result"]["read"].partition(",")[2]).decode() == text


async def test_a_decision_shows_no_file_that_the_run_may_not_read(live: Service, callers: Callers) -> None:
    path = PATH_OF_INPUTS
    steps = [{"id": "ask", "task_type": "APPROVAL", "config": {"photo": path, "choices": ["a"]}}]
    await stored(callers.full, steps=steps)
    theirs, mine = [await upload(client, uuid4().hex) for client in (callers.full, callers.alice)]
    for file, shown in ((theirs, []), (mine, [mine["path"]])):
        created = await callers.alice.post(WORKFLOWS, json=run(**parts(file["path"])))
        workflow_id = created.json()["id"]
        await live.until(workflow_id, lambda workflow: workflow["waits_for"] == "decision")
        listed = await callers.full.get("/api/v1/decisions", params={"workflow_id": workflow_id})
        (decision,) = listed.json()["decisions"]
        assert [each["path"] for each in decision["files"]] == shown
        assert (await callers.alice.delete(WORKFLOWS + workflow_id)).status_code == 200


async def test_inputs_name_no_files_but_uploads_of_the_subject_and_those_of_the_definition(
    live: Service, callers: Callers
) -> None:
    named = await upload(callers.full, uuid4().hex)
    await stored(callers.full, inputs={"logo": named["path"]})
    theirs, mine = [await upload(client, uuid4().hex) for client in (callers.full, callers.alice)]
    unknown = f"media/{uuid4()}/file.txt"
    for reference in (theirs["path"], unknown, f"https://example.org/api/v1/artifacts/{theirs['path']}?signature=x"):
        for inputs in ({"path": reference}, {"deep": [{"a": {"b": reference}}]}, {reference: 1}):
            for path in (WORKFLOWS, f"{WORKFLOWS}plan"):
                response = await callers.alice.post(path, json=run(**inputs))
                assert response.status_code == 422, response.text
                (fault,) = response.json()["detail"]
                assert (fault["loc"], fault["type"]) == (["body", "inputs"], "file_invalid")
    for reference in (named["path"], mine["path"]):
        assert (await ended(callers.alice, run(path=reference)))["status"] == "COMPLETED"
    async with connected(live.dsn) as sql:  # else a token could keep an upload of others from being deleted
        named_by = "SELECT count(*) FROM artifact_references WHERE task_id = $1"
        assert await sql.fetchval(named_by, UUID(theirs["path"].split("/")[1])) == 0


async def test_the_files_of_the_whole_tree_are_those_of_the_run(live: Service, callers: Callers) -> None:
    """A sub-workflow reads what its parent may read, and the parent reads the files of the sub-workflow."""
    inner = {"name": "inner", "steps": [configured_step("draw", files=1)]}
    reader = {"name": "reader", **READS}
    steps = [
        {"id": "draw", "task_type": "SUBWORKFLOW", "config": {"workflow": inner}},
        {
            "id": "read",
            "task_type": "SUBWORKFLOW",
            "config": {"workflow": reader},
            "input_mappings": [
                {"from_step": "draw", "from_field": "results.draw.paths[0]", "to_field": "inputs.path"},
            ],
        },
    ]
    await stored(callers.full, steps=steps)
    workflow = await ended(callers.alice, run())
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    child_id = workflow["steps"][1]["result"]["workflow_id"]
    child = (await callers.alice.get(WORKFLOWS + child_id)).json()
    assert child["created_by"] == "alice"
    assert (await callers.bob.get(WORKFLOWS + child_id)).status_code == 404
    theirs = await upload(callers.full, uuid4().hex)
    only_reads = [{"id": "read", "task_type": "SUBWORKFLOW", "config": {"workflow": reader, "inputs": "${ inputs }"}}]
    await stored(callers.full, steps=only_reads)
    assert (await ended(callers.alice, run(**parts(theirs["path"]))))["status"] == "FAILED"


async def test_files_that_a_named_sub_workflow_names_belong_to_the_run(callers: Callers) -> None:
    named, theirs = [await upload(callers.full, uuid4().hex) for _ in range(2)]
    await stored(callers.full, "inner", inputs={"logo": named["path"]})
    config = {"definition": {"name": "inner"}, "inputs": "${inputs}"}
    await stored(callers.full, steps=[{"id": "read", "task_type": "SUBWORKFLOW", "config": config}])
    for file, status in ((named, "COMPLETED"), (theirs, "FAILED")):
        assert (await ended(callers.alice, run(**parts(file["path"]))))["status"] == status
    assert (await callers.alice.post(WORKFLOWS, json=run(path=named["path"]))).status_code == 201
    assert (await callers.alice.post(WORKFLOWS, json=run("inner"))).status_code == 403


async def test_idempotency_keys_belong_to_the_subject(callers: Callers) -> None:
    await stored(callers.full)
    key = {"Idempotency-Key": str(uuid4())}
    full = await callers.full.post(WORKFLOWS, json=run() | ORIGIN, headers=key)
    first = await callers.alice.post(WORKFLOWS, json=run(), headers=key)
    again = await callers.alice.post(WORKFLOWS, json=run(), headers=key)
    of_bob = await callers.bob.post(WORKFLOWS, json=run(), headers=key)
    assert [response.status_code for response in (full, first, again, of_bob)] == [201] * 4
    assert len({response.json()["id"] for response in (full, first, of_bob)}) == 3
    assert again.json()["id"] == first.json()["id"]
    assert not [response for response in (first, of_bob) if "idempotency-replayed" in response.headers]
    other = await callers.alice.post(WORKFLOWS, json=run(path="another"), headers=key)
    assert other.status_code == 422


async def test_a_data_uri_of_the_definition_becomes_an_upload_of_the_subject_alone(callers: Callers) -> None:
    content = uuid4().hex * 200
    theirs = await upload(callers.full, content)
    uri = f"data:text/plain;base64,{b64encode(content.encode()).decode()}"
    await stored(callers.full, steps=[{"id": "a", "task_type": "REFINE", "config": {"base_image_url": uri}}])
    workflow = await ended(callers.alice, run())
    path = workflow["steps"][0]["config"]["base_image_url"]
    assert path.startswith("media/")
    assert path != theirs["path"]
    assert (await callers.alice.get(f"{ARTIFACTS}/{path}")).text == content


async def test_a_token_for_write_runs_every_definition_without_these_limits(callers: Callers) -> None:
    theirs = await upload(callers.bob, uuid4().hex)
    await stored(callers.full, "other")
    body = run("other", **parts(theirs["path"])) | {"labels": {"a": "b"}} | ORIGIN
    created = await callers.full.post(WORKFLOWS, json=body, headers={"Prefer": "wait=30"})
    assert (created.status_code, created.json()["status"]) == (201, "COMPLETED"), created.text
