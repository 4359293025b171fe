"""The client reads the responses of a later version of the service, which has members of enums that it doesn't know."""

from typing import Any

import httpx
import pytest
from msgspec import convert, json

from stepwell.client import AsyncStepwell, EventType, SkipReason, UnexpectedResponse, WaitKind
from stepwell.contract.enums import TaskType
from support.providers.scripted import passthrough_step
from support.service.live_service import Service

pytestmark = pytest.mark.asyncio


async def response_of(service: Service, path: str) -> Any:
    return (await service.client.get(path)).json()


def later_service(responses: dict[str, Any]) -> AsyncStepwell:
    """A client of a service that gives these responses, by path."""

    def respond(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=responses[request.url.path])

    return AsyncStepwell("http://later", token="t", transport=httpx.MockTransport(respond))


async def test_a_workflow_may_have_kinds_of_steps_and_waits_that_this_version_does_not_know(service: Service) -> None:
    created = await service.create(
        {"id": "ask", "task_type": "APPROVAL"}, passthrough_step("skipped", when="inputs.n"), passthrough_step("after")
    )
    path = f"/api/v1/workflows/{created['id']}"
    await service.until(created["id"], lambda workflow: workflow["steps"][0]["waiting_for"] is not None)
    shown = await response_of(service, path)
    shown["steps"][0]["waiting_for"]["kind"] = "a tide"
    shown["steps"][1]["skip_reason"] = "the weather"
    shown["steps"][2]["task_type"] = "SCULPTURE"
    async with later_service({path: shown}) as client:
        workflow = await client.get(created["id"])
    assert isinstance(workflow.steps, list)
    waiting = workflow.steps[0].waiting_for
    assert waiting is not None
    assert (waiting.kind, workflow.steps[1].skip_reason, workflow.steps[2].task_type) == (
        "a tide",
        "the weather",
        "SCULPTURE",
    )
    assert isinstance(waiting.kind, WaitKind)
    assert isinstance(workflow.steps[1].skip_reason, SkipReason)
    assert json.decode(json.encode(waiting))["kind"] == "a tide"
    await service.verb(created["id"], "cancel")


async def test_a_page_of_events_has_types_that_this_version_does_not_know(service: Service) -> None:
    created = await service.create(passthrough_step("a"), start=False)
    path = f"/api/v1/workflows/{created['id']}/events"
    shown = await response_of(service, path)
    shown["events"].append(shown["events"][0] | {"id": 2, "type": "workflow.painted"})
    async with later_service({path: shown}) as client:
        events = (await client.event_page(created["id"])).events
    assert [event.type for event in events] == [EventType.WORKFLOW_CREATED, "workflow.painted"]
    assert (events[0].type is EventType.WORKFLOW_CREATED, events[1].type in set(EventType)) == (True, False)


async def test_a_status_that_this_version_does_not_know_is_an_unexpected_response(service: Service) -> None:
    created = await service.create(passthrough_step("a"), start=False)
    path = f"/api/v1/workflows/{created['id']}"
    shown = await response_of(service, path) | {"status": "DREAMING"}
    async with later_service({path: shown}) as client:
        with pytest.raises(UnexpectedResponse, match="DREAMING"):
            await client.get(created["id"])


@pytest.mark.parametrize("kind", [EventType, SkipReason, WaitKind, TaskType])
async def test_the_service_itself_accepts_known_members_only(kind: type[EventType]) -> None:
    with pytest.raises(ValueError, match="Invalid enum value 'new'"):
        convert("new", kind)
    with pytest.raises(ValueError, match="'new' is not a valid"):
        kind("new")
