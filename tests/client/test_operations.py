"""The client covers every operation of the OpenAPI document, with its parameters."""

import re
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from inspect import getmembers, isclass, signature
from sys import modules
from typing import Any
from uuid import UUID

import httpx
import pytest
from msgspec import Struct

import stepwell.client
from stepwell.api.routes.all_routes import openapi_document
from stepwell.client import AsyncStepwell, StepwellError
from stepwell.providers.installed_providers import installed_providers

# Operations that no program calls by a client, and why.
LEFT_OUT = {
    "provider_callback": "providers call it",
    "schema_page": "a page for people",
    "manual": "a page for people",
    "manual_page": "a page for people",
    "manual_image": "an image of a page for people",
    "schema_alias": "the same as `schema`",
}
# Parameters that a client with a token doesn't need.
LEFT_OUT_PARAMETERS = {
    "get_artifact": {"expires", "signature", "download"},
    "list_events": {"ticket"},
    "list_all_events": {"ticket"},
    "list_decisions": {"cursor", "limit", "total"},
    "list_outputs": {"cursor", "download"},
    "list_definitions": {"cursor"},
    "create_workflow": set[str](),
}
ID = UUID(int=7)
PATH = f"media/{ID}/a b.png"
FILTERS: dict[str, Any] = {
    "status": ["FAILED"],
    "labels": {"a": "b"},
    "name": "n",
    "definition": "photo-set@3",
    "origin_instance": "i",
    "origin_tenant_id": "t",
    "origin_zone": "z",
    "origin_reference": "r",
    "created_after": "2026-01-01T00:00:00Z",
    "created_before": "2026-01-02T00:00:00Z",
    "include_deleted": True,
    "include_children": True,
    "waits_for": "decision",
}
PARTS: dict[str, Any] = {"include_steps": False, "include_results": False}
DEFINITION: dict[str, Any] = {"name": "n"}


async def _first(items: AsyncIterator[Any]) -> None:
    async for _ in items:
        return


CALLS: list[Callable[[AsyncStepwell], Awaitable[object]]] = [
    lambda c: c.create(DEFINITION, start=False),
    lambda c: c.run("photo-set@3", {"a": 1}, config={"on_failure": "cancel"}),
    lambda c: c.get(ID, **PARTS),
    lambda c: c.definition(ID),
    lambda c: c.update(ID, name="n"),
    lambda c: c.start(ID),
    lambda c: c.resume(ID),
    lambda c: c.rerun(
        ID, steps=["a"], config={"a": {"prompt": "p"}}, inputs={"x": None}, definition="n@2", start=False
    ),
    lambda c: c.plan_rerun(ID, steps=["a"]),
    lambda c: c.pause(ID),
    lambda c: c.cancel(ID),
    lambda c: c.cleanup(ID, cleanup_tasks=False),
    *(lambda c, verb=verb: c.dry_run(verb, ID) for verb in ("start", "pause", "resume", "cancel", "cleanup")),
    lambda c: c.delete_data(ID),
    lambda c: c.plan(DEFINITION),
    lambda c: c.explain(ID),
    lambda c: c.count(**FILTERS),
    lambda c: c.page(**FILTERS, **PARTS, order="created_at", limit=1, skip=0, cursor="c", total=False),
    lambda c: _first(c.events(ID)),
    lambda c: c.event_page(ID, 1, limit=2, types=["step.failed"]),
    lambda c: _first(c.feed("c", types=["workflow.failed"], origin_instance="i", definition="n", delay_s=1)),
    lambda c: c.feed_page("c", limit=2, status="FAILED"),
    lambda c: c.stream_ticket(ID),
    lambda c: c.step(ID, "a/b"),
    lambda c: c.item_page(ID, "a/b", status=["FAILED"], skip=1, limit=2),
    lambda c: c.decide(ID, "a/b", "approve", note="n", data=1),
    lambda c: c.signal(ID, "a/b", {"x": 1}),
    lambda c: c.give_result(ID, "a/b", {"x": 1}),
    lambda c: c.skip_step(ID, "a/b"),
    lambda c: c.give_item_result(ID, "a/b", 3, {"x": 1}),
    lambda c: c.skip_item(ID, "a/b", 3),
    lambda c: c.dry_run_by_hand(ID, "a/b", {"x": 1}),
    lambda c: c.dry_run_by_hand(ID, "a/b"),
    lambda c: c.dry_run_by_hand(ID, "a/b", {"x": 1}, item=3),
    lambda c: c.dry_run_by_hand(ID, "a/b", item=3),
    lambda c: _first(c.decisions(ID, step_id="a", labels={"a": "b"}, definition="n")),
    lambda c: _first(c.outputs(ID)),
    lambda c: c.download_outputs(ID, "."),
    lambda c: c.tasks(ID, include_deleted=True, step_id="a"),
    lambda c: c.task(ID),
    lambda c: _first(c.deliveries(ID)),
    lambda c: c.redeliver(ID, "evt_1"),
    lambda c: c.upload(b"x", "x.txt", origin_tenant_id="t"),
    lambda c: c.presign_upload(3, "x.txt"),
    lambda c: c.complete_upload(ID),
    lambda c: _first(c.uploads()),
    lambda c: c.delete_upload(PATH),
    lambda c: c.link(PATH),
    lambda c: c.download(PATH, width=64),
    lambda c: c.put_definition("n", DEFINITION, dry_run=True, origin_tenant_id="t"),
    lambda c: c.stored_definition("n", 1, origin_tenant_id="t"),
    lambda c: _first(c.stored_definitions("n", labels={"a": "b"}, archived=True, origin_tenant_id="t")),
    lambda c: c.definition_versions("n", origin_tenant_id="t"),
    lambda c: c.update_definition("n", archived=True, origin_tenant_id="t"),
    lambda c: c.delete_definition("n", origin_tenant_id="t"),
    lambda c: c.providers(),
    lambda c: c.costs("2026-01-01", "2026-02-01", by=["model"], definition="n"),
    lambda c: c.limits(origin_tenant_id="t"),
    lambda c: c.ready(),
    lambda c: c.live(),
    lambda c: c.root(),
    lambda c: c.openapi(),
    lambda c: c.metrics(),
]


@pytest.fixture(scope="module")
def operations() -> dict[str, tuple[str, str, set[str]]]:
    """The method, the pattern of the path and the query parameters of each operation by its id."""
    document = openapi_document([*installed_providers()])
    found = {}
    for path, item in document["paths"].items():
        pattern = re.sub(r"\{(\w+)\}", lambda name: "(.+)" if name[1] == "path" else "([^/]+)", path)
        for method, operation in item.items():
            if "operationId" in operation:
                query = {each["name"] for each in operation.get("parameters", []) if each.get("in") == "query"}
                found[operation["operationId"]] = (method.upper(), pattern, query)
    return found


async def test_every_operation_of_the_document_has_a_method_with_its_parameters(
    operations: dict[str, tuple[str, str, set[str]]],
) -> None:
    sent: list[httpx.Request] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(418)

    async with AsyncStepwell("http://t.local", transport=httpx.MockTransport(refuse)) as client:
        for call in CALLS:
            with pytest.raises(StepwellError):
                await call(client)

    seen: dict[str, set[str]] = defaultdict(set)
    for request in sent:
        path = request.url.raw_path.decode().partition("?")[0]
        matching = [
            (pattern.count("("), name)
            for name, (method, pattern, _) in operations.items()
            if method == request.method and re.fullmatch(pattern, path)
        ]
        seen[min(matching)[1]] |= set(request.url.params)
    assert set(operations) - set(seen) == set(LEFT_OUT)
    missing = {name: operations[name][2] - seen[name] - LEFT_OUT_PARAMETERS.get(name, set()) for name in seen}
    assert {name: names for name, names in missing.items() if names} == {}


async def test_the_path_of_a_file_is_quoted() -> None:
    paths: list[bytes] = []

    def respond(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.raw_path)
        return httpx.Response(200, content=b"x")

    async with AsyncStepwell("http://t.local/below/", transport=httpx.MockTransport(respond)) as client:
        await client.download("media/1/50% of #1? ä.png")
        with pytest.raises(ValueError, match=r"'\.\.' is neither"):
            await client.download("media/../secret")
    assert paths == [b"/below/api/v1/artifacts/media/1/50%25%20of%20%231%3F%20%C3%A4.png"]


def test_the_types_of_all_responses_can_be_imported_from_the_client() -> None:
    methods = [method for name, method in getmembers(AsyncStepwell, callable) if not name.startswith("_")]
    named = {name for each in methods for name in re.findall(r"\w+", str(signature(each).return_annotation))}
    responses = named & _structs()
    assert "WorkflowPublic" in responses
    assert responses <= set(stepwell.client.__all__)


def _structs() -> set[str]:
    """Return the names of the structs of the contract."""
    parts = [module for name, module in modules.items() if name.startswith("stepwell.contract.")]
    return {name for part in parts for name, each in getmembers(part, isclass) if issubclass(each, Struct)}
