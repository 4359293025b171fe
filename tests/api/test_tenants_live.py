"""Who may do what: every route and every kind of caller, made from the table of routes, over the live service."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio
from msgspec import Struct

from stepwell.api.requests.operations import Operation
from stepwell.api.routes.all_routes import operations
from stepwell.contract.scopes import Permission
from stepwell.lifecycle.webhook_deliveries import delivery_id
from support.database.failing_store import nothing_left
from support.database.postgres import connected
from support.providers.configured_by_steps import (
    WORKFLOWS,
    ConfiguredProvider,
    configured_step,
    passthrough_step,
)
from support.providers.scripted import eventually
from support.service.conformance import conforming_client
from support.service.live_service import Service

pytestmark = pytest.mark.asyncio(loop_scope="module")

GUARDED = {operation.id: operation for operation in operations() if operation.permission is not None}
OPEN = {
    "root",
    "live",
    "ready",
    "metrics",
    "schema_page",
    "schema",
    "schema_alias",
    "manual",
    "manual_page",
    "manual_image",
    "provider_callback",
}
ONE = WORKFLOWS + "{workflow}"
DEFINITION = "/api/v1/definitions/{definition}"


class Case(Struct, frozen=True):
    """How an operation is called: on a workflow in *state*; `{workflow}`, `{task}` and the like are its own."""

    path: str
    state: str = "COMPLETED"
    body: dict[str, Any] | None = None


# A new route must be given a line here.
CASES = {
    "create_workflow": Case(
        WORKFLOWS + "?start=false", body={"name": "n", "origin_instance": "o", "steps": [passthrough_step("a")]}
    ),
    "list_workflows": Case(WORKFLOWS + "?include_deleted=true"),
    "count_workflows": Case(WORKFLOWS + "counts?include_deleted=true"),
    "get_workflow": Case(ONE),
    "get_workflow_definition": Case(ONE + "/definition"),
    "update_workflow": Case(ONE, "PENDING", {"name": "changed"}),
    "start_workflow": Case(ONE + "/start", "PENDING"),
    "pause_workflow": Case(ONE + "/pause", "RUNNING"),
    "resume_workflow": Case(ONE + "/resume", "PAUSED"),
    "rerun_workflow": Case(ONE + "/rerun?start=false", "PAUSED", {}),
    "cancel_workflow": Case(ONE, "RUNNING"),
    "cleanup_workflow": Case(ONE + "/cleanup"),
    "delete_workflow_data": Case(ONE + "/data"),
    "get_step": Case(ONE + "/steps/a"),
    "list_items": Case(ONE + "/steps/a/items", "ITEMS"),
    "decide_step": Case(ONE + "/steps/a/decision", "WAITING", {"choice": "approve"}),
    "give_step_result": Case(ONE + "/steps/a/result", "FAILED", {"result": {"items": [None]}}),
    "skip_step": Case(ONE + "/steps/a/skip", "FAILED"),
    "give_item_result": Case(ONE + "/steps/a/items/0/result", "FAILED", {"result": {"x": 1}}),
    "skip_item": Case(ONE + "/steps/a/items/0/skip", "FAILED"),
    "signal_workflow": Case(ONE + "/signals/b", "WAITING", {"data": 1}),
    "list_decisions": Case("/api/v1/decisions"),
    "list_tasks": Case(ONE + "/tasks"),
    "list_outputs": Case(ONE + "/outputs"),
    "list_events": Case(ONE + "/events"),
    "list_all_events": Case("/api/v1/events?limit=1000"),
    "create_stream_ticket": Case("/api/v1/events/tickets"),
    "list_deliveries": Case(ONE + "/deliveries"),
    "redeliver": Case(ONE + "/deliveries/{delivery}/redeliver"),
    "get_task": Case("/api/v1/tasks/{task}"),
    "get_artifact": Case("/api/v1/artifacts/{artifact}"),
    "create_artifact_link": Case("/api/v1/artifacts/links"),
    "upload_artifact": Case("/api/v1/artifacts"),
    "list_artifacts": Case("/api/v1/artifacts"),
    "complete_upload": Case("/api/v1/artifacts/{upload}/complete"),
    "delete_artifact": Case("/api/v1/artifacts/{file}"),
    "put_definition": Case(DEFINITION, body={"steps": [passthrough_step("b")]}),
    "get_definition": Case(DEFINITION),
    "list_definitions": Case("/api/v1/definitions?limit=200"),
    "list_definition_versions": Case(DEFINITION + "/versions"),
    "update_definition": Case(DEFINITION, body={"description": "changed"}),
    "delete_definition": Case(DEFINITION),
    "list_providers": Case("/api/v1/providers"),
    "get_limits": Case("/api/v1/limits"),
    "sum_costs": Case("/api/v1/costs"),
    "explain_workflow": Case(ONE + "/explain", "RUNNING"),
    "plan_workflow": Case(
        WORKFLOWS + "plan", body={"name": "n", "origin_instance": "o", "steps": [passthrough_step("a")]}
    ),
}
# Those about all that a token may see, and nobody's in particular: strangers get a response, without what isn't theirs.
FOR_ALL = {
    "list_workflows",
    "list_artifacts",
    "list_decisions",
    "list_definitions",
    "count_workflows",
    "list_providers",
    "get_limits",
    "sum_costs",
    "list_all_events",
    "create_stream_ticket",
    "plan_workflow",
}
TABLES = ("workflows", "steps", "tasks", "events", "uploads", "definitions", "definition_versions")
DIGEST = "SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {table} AS t"
OWNERS = ["acme", pytest.param(None, marks=pytest.mark.extended)]


class Callers(Struct):
    """Clients by name: of a tenant ("acme", "other"), of none (null), of all."""

    of: dict[str | None, httpx.AsyncClient]
    every: httpx.AsyncClient
    anonymous: httpx.AsyncClient
    live: Service
    stack: AsyncExitStack

    async def lacking(self, permission: Permission, tenant: str | None, *, every: bool = False) -> httpx.AsyncClient:
        """Return a caller without *permission*, those that include it, and that of `test_run_tokens_live`."""
        others = tuple(other for other in Permission if other is not Permission.RUN and not permission.is_in([other]))
        return await self.stack.enter_async_context(self.live.as_tenant(tenant, every=every, permissions=others))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def callers(live: Service) -> AsyncIterator[Callers]:
    async with AsyncExitStack() as stack:
        names = ("acme", "other", None)
        of = {name: await stack.enter_async_context(live.as_tenant(name)) for name in names}
        anonymous = await stack.enter_async_context(conforming_client(live.app.api))
        yield Callers(of, live.client, anonymous, live, stack)


async def workflow_in(live: Service, scripted: ConfiguredProvider, owner: str | None, state: str) -> dict[str, str]:
    """A workflow of *owner* in *state*, and what stands for it in paths."""
    steps = [configured_step("a", files=1) if state == "COMPLETED" else configured_step("a", wait=True)]
    if state == "WAITING":
        steps = [{"id": "a", "task_type": "APPROVAL"}, {"id": "b", "task_type": "SIGNAL"}]
    if state == "ITEMS":
        steps = [{"id": "a", "task_type": "PASSTHROUGH", "for_each": {"items": ["secret"]}}]
    if state == "FAILED":
        for_each = {"items": [None], "as": "word"}
        steps = [passthrough_step("a") | {"for_each": for_each, "config": {"text": "a ${item}"}}]
    nobody = "http://127.0.0.1:9/"
    workflow = await live.create(*steps, start=state != "PENDING", origin_tenant_id=owner, webhook_url=nobody)
    names = {"workflow": workflow["id"]} | await uploaded_file(live, owner) | await stored_definition(live, owner)
    if state == "COMPLETED":
        done = await live.until_ended(workflow["id"])
        names |= {"task": done["steps"][0]["task_id"], "artifact": done["steps"][0]["result"]["paths"][0]}
        names["delivery"] = delivery_id(UUID(workflow["id"]), (await live.events(workflow["id"]))[-1]["id"])
    elif state in ("ITEMS", "FAILED"):
        await live.until_ended(workflow["id"])
    elif state != "PENDING":
        await live.until(workflow["id"], lambda shown: all(step["status"] == "RUNNING" for step in shown["steps"]))
        if state == "PAUSED":
            assert (await live.verb(workflow["id"], "pause")).status_code == 200
    assert (await live.get(workflow["id"]))["status"] == state.replace("WAITING", "RUNNING").replace(
        "ITEMS", "COMPLETED"
    )
    return names


async def uploaded_file(live: Service, owner: str | None) -> dict[str, str]:
    """The id and the path of a new upload of *owner*."""
    params = {} if owner is None else {"origin_tenant_id": owner}
    response = await live.client.post(
        "/api/v1/artifacts", params=params, content=uuid4().hex, headers={"Content-Type": "text/plain"}
    )
    path = response.json()["artifacts"][0]["path"]
    return {"upload": path.split("/")[1], "file": path}


async def stored_definition(live: Service, owner: str | None) -> dict[str, str]:
    """The name of a new definition of *owner*."""
    name, params = str(uuid4()), {} if owner is None else {"origin_tenant_id": owner}
    body = {"steps": [passthrough_step("a")]}
    response = await live.client.put(f"/api/v1/definitions/{name}", params=params, json=body)
    assert response.status_code == 201, response.text
    return {"definition": name}


async def everything(live: Service) -> list[Any]:
    """Every row that only requests and running steps change, and every file, to see that nothing has changed."""
    async with connected(live.dsn) as sql:
        rows = [await sql.fetchval(DIGEST.format(table=table)) for table in TABLES]
    return [*rows, sorted(str(path) for path in live.artifacts.rglob("*"))]


async def call(client: httpx.AsyncClient, operation: Operation, case: Case, **names: str) -> httpx.Response:
    body = case.body
    if operation.id == "create_artifact_link":
        body = {"path": names["artifact"]}
    if operation.files:
        content, headers = uuid4().hex, {"Content-Type": "text/plain"}
        return await client.request(operation.method, case.path, content=content, headers=headers)
    return await client.request(operation.method, case.path.format(**names), json=body)


async def test_every_operation_has_a_case() -> None:
    assert CASES.keys() == GUARDED.keys()
    assert {operation.id for operation in operations()} - GUARDED.keys() == OPEN


async def check_strangers_response(
    stranger: httpx.AsyncClient, name: str, response: httpx.Response, names: dict[str, str], owner: str | None
) -> None:
    """Check that the *response* of an operation to a stranger is the same as if the owner's things didn't exist."""
    operation, case = GUARDED[name], CASES[name]
    if name == "create_workflow":
        assert response.status_code == (201 if owner is None else 403), response.text
    elif name in ("upload_artifact", "put_definition"):  # it becomes the stranger's own
        assert response.status_code == 201, response.text
    elif name in FOR_ALL:
        assert response.status_code == operation.status
        assert names["workflow"] not in response.text
        assert names["upload"] not in response.text
        assert names["definition"] not in response.text
    else:
        unknown = await call(stranger, operation, case, **_unknown(names))
        assert (response.status_code, unknown.status_code) == (404, 404)
        assert _problem(response) == _problem(unknown)


@pytest.mark.parametrize("owner", OWNERS)
@pytest.mark.parametrize("name", GUARDED)
async def test_every_operation_is_open_to_its_tenant_and_to_operators_only(
    live: Service, scripted: ConfiguredProvider, callers: Callers, name: str, owner: str | None
) -> None:
    operation, case = GUARDED[name], CASES[name]
    assert operation.permission is not None
    names = await workflow_in(live, scripted, owner, case.state)
    before = await everything(live)
    strangers = [callers.of[tenant] for tenant in ("acme", "other", None) if tenant != owner]

    for stranger in strangers:
        response = await call(stranger, operation, _for(case, name, owner), **names)
        await check_strangers_response(stranger, name, response, names, owner)
        if response.status_code == 201:
            before = await everything(live)
    assert await everything(live) == before

    for client in (
        await callers.lacking(operation.permission, owner),
        await callers.lacking(operation.permission, None, every=True),
    ):
        response = await call(client, operation, case, **names)
        assert response.status_code == 403
        assert str(operation.permission) in response.json()["detail"]
    response = await call(callers.anonymous, operation, case, **names)
    assert (response.status_code, response.headers["www-authenticate"].split()[0]) == (401, "Bearer")
    assert await everything(live) == before

    again = await workflow_in(live, scripted, owner, case.state)
    for client, own in ((callers.of[owner], names), (callers.every, again)):
        response = await call(client, operation, _for(case, name, owner, every=client is callers.every), **own)
        assert response.status_code in {operation.status, operation.repeat_status}, response.text
        if name == "list_artifacts":
            assert own["upload"] in response.text
        if name == "list_workflows":
            assert own["workflow"] in response.text
        if name == "list_definitions":
            assert own["definition"] in response.text
        scripted.release(own["workflow"], "a")
        if case.state == "WAITING":
            await live.verb(own["workflow"], "cancel")
    await eventually(lambda: nothing_left(live))  # else these still change while the next case compares


def _for(case: Case, name: str, owner: str | None, *, every: bool = False) -> Case:
    """Return the call for the *owner*. A token for all tenants names the tenant of a definition in the query."""
    if every and owner is not None and "/definitions" in case.path:
        separator = "&" if "?" in case.path else "?"
        return Case(f"{case.path}{separator}origin_tenant_id={owner}", case.state, case.body)
    if name != "create_workflow" or case.body is None:
        return case
    return Case(case.path, case.state, case.body | {"origin_tenant_id": owner})


def _unknown(names: dict[str, str]) -> dict[str, str]:
    other = str(uuid4())
    files = {"artifact": f"media/{other}/file-0.bin", "file": f"media/{other}/file.txt"}
    return {name: files.get(name, other) for name in names}


def _problem(response: httpx.Response) -> dict[str, Any]:
    return {name: value for name, value in response.json().items() if name != "instance"}


@pytest.mark.parametrize("name", sorted(OPEN))
async def test_open_routes_need_no_token(callers: Callers, name: str) -> None:
    (operation,) = [operation for operation in operations() if operation.id == name]
    path = operation.path.format(token="00" * 48, page="start", image="runs.webp")
    response = await callers.anonymous.request(operation.method, path)
    assert response.status_code == {"provider_callback": 404, "schema_page": 307}.get(name, 200)


@pytest.mark.parametrize(
    ("caller", "named", "status", "stored"),
    [
        *(("acme", "acme", 201, "acme"), ("acme", None, 201, "acme"), ("acme", ..., 201, "acme")),
        *(
            ("acme", "other", 403, None),
            ("acme", "", 403, None),
            ("acme", "ACME", 403, None),
            ("acme", "acme ", 403, None),
        ),
        *((None, None, 201, None), (None, ..., 201, None), (None, "acme", 403, None), (None, "", 403, None)),
        *(("*", "acme", 201, "acme"), ("*", "new", 201, "new"), ("*", None, 201, None), ("*", ..., 201, None)),
    ],
)
async def test_a_new_workflow_belongs_to_the_tenant_of_the_token(
    live: Service, callers: Callers, caller: str | None, named: Any, status: int, stored: str | None
) -> None:
    before = await everything(live)
    body: dict[str, Any] = {"name": "n", "origin_instance": "o", "steps": [passthrough_step("a")]}
    if named is not ...:
        body["origin_tenant_id"] = named
    client = callers.every if caller == "*" else callers.of[caller]
    response = await client.post(WORKFLOWS, json=body, params={"start": False})
    assert response.status_code == status, response.text
    if status == 201:
        assert response.json()["origin_tenant_id"] == stored
        assert (await client.get(response.headers["location"])).json() == response.json()
    else:
        assert await everything(live) == before


async def test_an_operator_with_a_tenant_still_acts_for_all(live: Service, callers: Callers) -> None:
    body: dict[str, Any] = {"name": "n", "origin_instance": "o", "steps": [passthrough_step("a")]}
    async with live.as_tenant("acme", every=True) as client:
        response = await client.post(WORKFLOWS, json=body, params={"start": False})
        assert response.json()["origin_tenant_id"] is None
        response = await client.post(WORKFLOWS, json=body | {"origin_tenant_id": "other"}, params={"start": False})
        assert response.json()["origin_tenant_id"] == "other"
        assert (await callers.of["other"].get(response.headers["location"])).status_code == 200


async def test_lists_and_totals_are_the_callers_own(live: Service, callers: Callers) -> None:
    instance = str(uuid4())
    ids: dict[str | None, list[str]] = {"acme": [], "other": [], None: []}
    for owner in ("acme", "other", None, "acme"):
        workflow = await live.create(
            passthrough_step("a"), start=False, origin_tenant_id=owner, origin_instance=instance
        )
        ids[owner].insert(0, workflow["id"])
    assert (await callers.of["acme"].post(f"{WORKFLOWS}{ids['acme'][0]}/cleanup")).status_code == 200
    visible = {"acme": ids["acme"][1:], "other": ids["other"], None: ids[None]}
    for caller, client in callers.of.items():
        for deleted, own in ((False, visible[caller]), (True, ids[caller])):
            for wanted in (..., "acme", "other", "nobody", ""):
                params: dict[str, Any] = {"origin_instance": instance, "include_deleted": deleted}
                if wanted is not ...:
                    params["origin_tenant_id"] = wanted
                expected = own if wanted in (..., caller) else []
                found = (await client.get(WORKFLOWS, params=params)).json()
                assert [workflow["id"] for workflow in found["workflows"]] == expected, (caller, params)
                assert found["total"] == len(expected)
                paged = await client.get(WORKFLOWS, params=params | {"limit": 1, "skip": 1})
                assert paged.json()["total"] == len(expected)
    response = await callers.every.get(WORKFLOWS, params={"origin_instance": instance, "include_deleted": True})
    assert response.json()["total"] == 4


async def test_a_tenant_is_never_changed_by_an_update(live: Service, callers: Callers) -> None:
    workflow = await live.create(passthrough_step("a"), start=False, origin_tenant_id="acme")
    for client in (callers.of["acme"], callers.every):
        response = await client.patch(WORKFLOWS + workflow["id"], json={"origin_tenant_id": "other"})
        assert response.status_code == 422
    assert await live.get(workflow["id"]) == workflow


async def test_events_name_the_caller_as_their_actor(live: Service, callers: Callers) -> None:
    workflow = await live.create(passthrough_step("a"), start=False, origin_tenant_id="acme")
    await callers.of["acme"].patch(WORKFLOWS + workflow["id"], json={"name": "x"})
    assert [event["actor"] for event in await live.events(workflow["id"])] == ["tester", "tester"]
