"""Every operation of the OpenAPI document refuses text that no parameter can have, and accepts any other text."""

import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from stepwell.api.routes.all_routes import openapi_document
from stepwell.providers.installed_providers import installed_providers
from support.providers.configured_by_steps import passthrough_step
from support.service.live_service import Service

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOCUMENT = openapi_document([*installed_providers()])
OPERATIONS = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}
UNUSABLE = {
    "NUL": "%00",
    "NUL inside": "a%00b",
    "lone surrogate": "%ed%a0%80",
    "not UTF-8": "%ff",
    "overlong encoding": "%c0%af",
    "a cut character": "a%f0%9f%98",
}
LONG = {"long": "x" * 20_000, "long, not ASCII": "%f0%9f%98%80" * 2_000, "many digits": "9" * 5_000}
MOST_LOGGED = 1_000
# Without a body, these are refused before their path is read.
BODIES = {
    "decide_step": {"choice": "approve"},
    "give_item_result": {"result": {}},
    "give_step_result": {"result": {}},
    "signal_workflow": {"data": 1},
    "update_workflow": {"name": "n"},
    "put_definition": {"steps": [passthrough_step("a")]},
    "update_definition": {},
    "create_artifact_link": {"path": f"media/{uuid4()}/a.png"},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def acme(live: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(live.as_tenant("acme"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def workflows(live: Service) -> list[str]:
    """The ids of a workflow of acme, of another tenant's, and of none."""
    made = [await live.create(passthrough_step("a"), origin_tenant_id=tenant) for tenant in ("acme", "other")]
    return [*(each["id"] for each in made), str(uuid4())]


def path_with(path: str, changed: str, value: str, usual: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: value if match[1] == changed else usual[match[1]], path)


def parameters(operation: Mapping[str, Any], name: str) -> Iterator[str]:
    yield from (each["name"] for each in operation["parameters"] if each["in"] == name)


@pytest.mark.parametrize("name", OPERATIONS)
async def test_unusable_text_is_refused_and_any_other_is_accepted(
    acme: httpx.AsyncClient, workflows: list[str], name: str
) -> None:
    method, path, operation = OPERATIONS[name]
    usual = {
        "workflow_id": workflows[0],
        "step_id": "a",
        "item": "0",
        "signal_name": "a",
        "delivery_id": "a",
        "task_id": str(uuid4()),
        "upload_id": str(uuid4()),
        "path": f"media/{uuid4()}/a.png",
        "token": "a",
        "page": "start",
        "image": "runs.webp",
        "name": "a",
    }
    urls = list[tuple[str, tuple[int, ...]]]()
    for changed in parameters(operation, "path"):
        urls += [(path_with(path, changed, value, usual), (404,)) for value in UNUSABLE.values()]
        unknown = (422,) if name == "put_definition" else (404,)  # it would be a new name
        urls += [(path_with(path, changed, value, usual), unknown) for value in LONG.values()]
        if changed != "workflow_id" and "workflow_id" in path:
            for workflow_id in workflows[1:]:
                others = usual | {"workflow_id": workflow_id}
                urls += [(path_with(path, changed, value, others), (404,)) for value in UNUSABLE.values()]
    base = path_with(path, "", "", usual)
    refused = (422,) if operation["security"] else (200, 307, 404, 422)  # open operations without parameters ignore all
    for changed in (*parameters(operation, "query"), "another"):
        urls += [(f"{base}?{changed}={value}", refused) for value in UNUSABLE.values()]
        urls += [(f"{base}?{changed}={value}", tuple(range(200, 500))) for value in LONG.values()]
    urls += [(f"{base}?{value}=a", refused) for value in UNUSABLE.values()]
    for url, expected in urls:
        with capture_logs() as logs:
            response = await acme.request(method, url, json=BODIES.get(name))
        assert response.status_code in expected, (method, url[:200], response.status_code, response.text[:200])
        assert len(json.dumps(logs, default=repr)) <= MOST_LOGGED, (method, url[:200])
