"""Every operation of the OpenAPI document succeeds on the live service, and responds as documented."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio

from stepwell.api.routes.all_routes import openapi_document
from stepwell.lifecycle.webhook_deliveries import delivery_id
from stepwell.providers.installed_providers import installed_providers
from stepwell.rules.access.signed_urls import CallbackUrls
from support.providers.configured_by_steps import WORKFLOWS, ConfiguredProvider, configured_step, passthrough_step
from support.service.conformance import Conformance
from support.service.live_service import SECRET, Service, token

pytestmark = pytest.mark.asyncio(loop_scope="module")

ARTIFACTS = "/api/v1/artifacts"
OPEN_PATHS = [
    *("/", "/health/live", "/health/ready", "/metrics", "/schema", "/schema/openapi.json", "/openapi.json"),
    *("/manual", "/manual/start", "/manual/images/runs.webp"),
]
CALLBACK_HOST = "http://t.local"


class Caller:
    """Sends requests that must succeed. `called` has the ids of their operations."""

    def __init__(self, client: httpx.AsyncClient, conformance: Conformance) -> None:
        self._client, self._conformance = client, conformance

    @property
    def called(self) -> set[str]:
        return {operation for operation, _ in self._conformance.checked}

    async def call(self, method: str, path: str, **options: Any) -> Any:
        response = await self._client.request(method, path, **options)
        assert response.is_success or response.has_redirect_location, (method, path, response.text)
        return response.json() if "json" in response.headers["content-type"] else response.content

    async def create(self, *steps: dict[str, Any], start: bool = True, **members: Any) -> str:
        """Create a workflow, and return its path."""
        body = {"name": "n", "origin_instance": "o", "steps": list(steps), **members}
        created = await self.call("POST", WORKFLOWS, params={"start": start}, json=body)
        return WORKFLOWS + str(created["id"])

    async def wait(self, path: str) -> Any:
        return await self.call("GET", path, headers={"Prefer": "wait=30"})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def caller(live: Service) -> AsyncIterator[Caller]:
    conformance = Conformance(openapi_document([*installed_providers()]))
    async with httpx.AsyncClient(
        transport=live.transport,
        base_url="http://t.local",
        headers={"Authorization": f"Bearer {token()}"},
        event_hooks={"response": [conformance.check]},
    ) as client:
        yield Caller(client, conformance)


async def use_files(caller: Caller) -> None:
    """Upload a file, link to it, read it and delete it."""
    headers = {"Content-Type": "text/plain"}
    (file,) = (await caller.call("POST", ARTIFACTS, content="a text", headers=headers))["artifacts"]
    assert [each["path"] for each in (await caller.call("GET", ARTIFACTS))["artifacts"]] == [file["path"]]
    await caller.call("POST", f"{ARTIFACTS}/{file['path'].split('/')[1]}/complete")
    link = await caller.call("POST", f"{ARTIFACTS}/links", json={"path": file["path"]})
    assert file["path"] in link["url"]
    assert await caller.call("GET", f"{ARTIFACTS}/{file['path']}") == b"a text"
    await caller.call("DELETE", f"{ARTIFACTS}/{file['path']}")


async def read_a_workflow(caller: Caller) -> None:
    """Run a workflow with items and a webhook, and read all that there is to read of it."""
    step = passthrough_step("a") | {"for_each": {"items": ["red", "blue"]}}
    path = await caller.create(step, webhook_url="http://127.0.0.1:9/")
    done = await caller.wait(path)
    assert (done["status"], done["steps"][0]["items"]["completed"]) == ("COMPLETED", 2)
    assert (await caller.call("GET", f"{path}/steps/a"))["status"] == "COMPLETED"
    assert (await caller.call("GET", f"{path}/steps/a/items"))["total"] == 2
    assert (await caller.call("GET", f"{path}/definition"))["steps"][0]["id"] == "a"
    assert (await caller.call("GET", f"{path}/explain"))["status"] == "COMPLETED"
    events = (await caller.call("GET", f"{path}/events"))["events"]
    assert events[-1]["type"] == "workflow.completed"
    (task, _) = (await caller.call("GET", f"{path}/tasks"))["tasks"]
    assert await caller.call("GET", f"/api/v1/tasks/{task['id']}") == task
    assert (await caller.call("GET", f"{path}/outputs"))["outputs"] == []
    (delivery,) = (await caller.call("GET", f"{path}/deliveries"))["deliveries"]
    assert delivery["id"] == delivery_id(UUID(done["id"]), events[-1]["id"])
    assert (await caller.call("POST", f"{path}/deliveries/{delivery['id']}/redeliver"))["id"] == delivery["id"]
    assert (await caller.call("GET", WORKFLOWS))["total"] == 1
    assert (await caller.call("GET", f"{WORKFLOWS}counts"))["counts"]["COMPLETED"] == 1
    assert (await caller.call("GET", "/api/v1/events"))["events"][0]["workflow_id"] == done["id"]


async def control_workflows(caller: Caller, scripted: ConfiguredProvider) -> None:
    """Plan, start, change, pause, resume, cancel, clean and delete a workflow."""
    steps = [configured_step("a", wait=True), passthrough_step("b", "a")]
    body = {"name": "n", "origin_instance": "o", "steps": steps}
    assert len((await caller.call("POST", f"{WORKFLOWS}plan", json=body))["steps"]) == 2
    path = await caller.create(*steps, start=False)
    assert (await caller.call("PATCH", path, json={"name": "new"}))["name"] == "new"
    for method, verb, status in (
        *(("POST", "/start", "RUNNING"), ("POST", "/pause", "PAUSED"), ("POST", "/resume", "RUNNING")),
        ("DELETE", "", "CANCELLED"),
    ):
        assert (await caller.call(method, path + verb))["status"] == status
    again = await caller.call("POST", f"{path}/rerun?start=false", json={"steps": ["a"]})
    assert path.endswith(again["derived_from"])
    assert (await caller.call("POST", f"{path}/cleanup"))["workflow"]["is_deleted"]
    scripted.release(path.removeprefix(WORKFLOWS), "a")
    assert path.endswith((await caller.call("DELETE", f"{path}/data"))["id"])


async def decide_and_signal(caller: Caller, live: Service) -> None:
    """Decide for a step, and send a signal to another one."""
    path = await caller.create({"id": "ask", "task_type": "APPROVAL"}, {"id": "paid", "task_type": "SIGNAL"})
    workflow_id = path.removeprefix(WORKFLOWS)
    await live.until(workflow_id, lambda workflow: all(step["waiting_for"] for step in workflow["steps"]))
    (decision,) = (await caller.call("GET", "/api/v1/decisions"))["decisions"]
    assert (decision["workflow_id"], decision["step_id"]) == (workflow_id, "ask")
    decided = await caller.call("POST", f"{path}/steps/ask/decision", json={"choice": "approve"})
    assert decided["result"]["approved"]
    assert (await caller.call("POST", f"{path}/signals/paid", json={"data": 5}))["result"]["data"] == 5
    assert (await caller.wait(path))["status"] == "COMPLETED"


async def end_steps_by_hand(caller: Caller, live: Service) -> None:
    """Give results, and skip a step and an item, of a workflow that is PAUSED."""
    for_each = {"items": ["red", None, None], "max_concurrency": 3}
    each = passthrough_step("each") | {"for_each": for_each, "config": {"text": "a ${item}"}}
    waiting = passthrough_step("each", "first")
    path = await caller.create({"id": "first", "task_type": "APPROVAL"}, waiting, passthrough_step("last", "first"))
    other = await caller.create(each)
    await live.until_ended(other.removeprefix(WORKFLOWS))
    await live.until(path.removeprefix(WORKFLOWS), lambda workflow: workflow["waits_for"] == "decision")
    await caller.call("POST", f"{path}/pause")
    given = await caller.call("POST", f"{path}/steps/last/result", json={"result": {"x": 1}})
    assert (given["result"], given["given_by"]) == ({"x": 1}, "tester")
    assert (await caller.call("POST", f"{path}/steps/each/skip"))["skip_reason"] == "manual"
    assert (await caller.call("POST", f"{other}/steps/each/items/1/skip"))["status"] == "SKIPPED"
    item = await caller.call("POST", f"{other}/steps/each/items/2/result", json={"result": {"x": 2}})
    assert item["result"] == {"x": 2}
    await caller.call("POST", f"{path}/cleanup")
    await caller.call("POST", f"{other}/cleanup")


async def store_a_definition(caller: Caller) -> None:
    """Store, read, change and delete a definition."""
    path = "/api/v1/definitions/mine"
    body = {"steps": [passthrough_step("a")]}
    assert (await caller.call("PUT", path, json=body))["version"] == 1
    assert (await caller.call("GET", path))["definition"] == body
    assert [each["name"] for each in (await caller.call("GET", "/api/v1/definitions"))["definitions"]] == ["mine"]
    assert len((await caller.call("GET", f"{path}/versions"))["versions"]) == 1
    assert (await caller.call("PATCH", path, json={"archived": True}))["archived"]
    assert (await caller.call("DELETE", path))["versions"] == 1


async def test_every_operation_of_the_document_succeeds(
    live: Service, scripted: ConfiguredProvider, caller: Caller
) -> None:
    await use_files(caller)
    await read_a_workflow(caller)
    await control_workflows(caller, scripted)
    await decide_and_signal(caller, live)
    await end_steps_by_hand(caller, live)
    await store_a_definition(caller)
    for path in OPEN_PATHS:
        await caller.call("GET", path)
    for path in ("/api/v1/providers", "/api/v1/limits", "/api/v1/costs"):
        await caller.call("GET", path)
    assert (await caller.call("POST", "/api/v1/events/tickets"))["ticket"]
    callback = CallbackUrls(SECRET.encode(), CALLBACK_HOST).url(uuid4(), uuid4()).removeprefix(CALLBACK_HOST)
    assert await caller.call("POST", callback) == {"status": "ok"}
    documented = {
        operation["operationId"]
        for operations in openapi_document([*installed_providers()])["paths"].values()
        for operation in operations.values()
    }
    assert caller.called == documented
