"""The bodies of webhooks, `{type, timestamp, data}`, and their description in the OpenAPI document."""

from contextlib import aclosing
from copy import deepcopy
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from msgspec import UNSET, Raw, Struct, UnsetType, json

from stepwell.api.requests.operations import SCHEMA_REF
from stepwell.api.responses.serializers import event_to_public, waiting_for, workflow_to_public
from stepwell.api.responses.streamed_responses import collect, encode_large
from stepwell.basics.tenancy import TenantScope
from stepwell.contract.enums import TERMINAL_EVENTS, EventType
from stepwell.contract.events import StepNotice, StepNoticeData, WorkflowNotice
from stepwell.contract.workflows import WaitingFor
from stepwell.lifecycle.model import HistoryEvent
from stepwell.lifecycle.records import WHOLE, WorkflowRecord
from stepwell.lifecycle.webhook_deliveries import DueDelivery, asks_people
from stepwell.ports.storage import WorkflowReader
from stepwell.rules.access.signed_urls import DecisionLinks

T = TypeVar("T")
MAX_BODY = 256 * 1024
# Bytes; no step is shorter. A workflow with more than `_MAX_STEPS` steps doesn't fit, so its steps are not read.
SHORTEST_STEP = 512
_MAX_STEPS = MAX_BODY // SHORTEST_STEP
# Members besides the steps that may be long. `_shorten` drops them if the body is too long.
_LONG = frozenset({"final_step_result", "config", "errors", "error_message", "description", "cost"})


class Payloads:
    """Implements `ports.webhooks.Payload`. *base_url* begins the links, and has no slash at its end."""

    def __init__(self, store: WorkflowReader, base_url: str, links: DecisionLinks) -> None:
        self._store, self._base, self._links = store, base_url, links

    async def __call__(self, due: DueDelivery) -> str:
        event = due.event
        if event is None:
            raise ValueError(f"this version can't read the event: {due.unreadable}")
        if event.type not in TERMINAL_EVENTS:
            data = StepNoticeData(due.workflow_id, due.origin_reference, due.origin_instance, event_to_public(event))
            if asks_people(event):
                data.waiting_for = await self._waiting_for(due, event)
            return json.encode(StepNotice(event.type, event.at, data)).decode()
        scope = TenantScope(due.tenant)
        if due.total_steps <= _MAX_STEPS and (whole := await self._whole(scope, due.workflow_id)) is not None:
            body = _envelope(event.type, event.at, whole)
            if len(body) <= MAX_BODY:
                return body.decode()
        record = _require(await self._store.get(scope, due.workflow_id), due.workflow_id)
        without_steps = json.encode(await workflow_to_public(record))
        link = f"{self._base}/api/v1/workflows/{due.workflow_id}"
        members = json.decode(without_steps, type=dict[str, Raw]) | {"link": Raw(json.encode(link))}
        return _shorten(event.type, event.at, members)

    async def _waiting_for(self, due: DueDelivery, event: HistoryEvent) -> WaitingFor | UnsetType:
        """Return what the step of *event* waits for; UNSET if that wait has ended."""
        step = await self._store.step(TenantScope(due.tenant), due.workflow_id, event.step_id or "")
        wait = None if step is None or step.state.flow is None else step.state.flow.wait
        if step is None or wait is None or str(wait.id) != event.data.get("wait_id"):
            return UNSET
        shown = waiting_for(step.state, step.definition)
        assert shown is not None
        shown.decision_url = self._links.url_of_step(due.workflow_id, step)
        return shown

    async def _whole(self, scope: TenantScope, workflow_id: UUID) -> bytes | None:
        """Return the workflow with its steps, as JSON. None if it is larger than a webhook may be."""
        workflow = _require(await self._store.find(scope, workflow_id, WHOLE), workflow_id)
        if isinstance(workflow, WorkflowRecord):
            return json.encode(await workflow_to_public(workflow))
        (snapshot,) = await self._store.snapshot(scope, (workflow_id,), WHOLE)
        async with aclosing(encode_large(self._store, scope, snapshot, WHOLE)) as chunks:
            return await collect(chunks, MAX_BODY)


def _require(value: T | None, workflow_id: UUID) -> T:
    if value is None:
        raise LookupError(f"there is no workflow {workflow_id}")
    return value


def webhook_components(components: dict[str, Any]) -> dict[str, Any]:
    """Return *components* with the data of a workflow notice: long members are optional, and there may be a link."""
    data = deepcopy(components["WorkflowPublic"]) | {"title": "WorkflowNoticeData"}
    data["description"] = "As WorkflowPublic. Beyond 256 kB, it lacks steps and other long members."
    del data["properties"]["warnings"]  # which only the response of create has
    data["required"] = [name for name in data["properties"] if name not in _LONG | {"steps"}]
    del data["properties"]["is_deleted"]["default"]
    data["properties"]["link"] = {
        "type": "string",
        "format": "uri",
        "description": "The URL of the whole workflow, for GET with a token; present if members are missing",
    }
    notice = deepcopy(components["WorkflowNotice"])
    notice["properties"]["data"] = {"$ref": SCHEMA_REF.format(name="WorkflowNoticeData")}
    return components | {"WorkflowNotice": notice, "WorkflowNoticeData": data}


def describe_webhooks() -> dict[str, Any]:
    return {
        "workflow": _describe(
            WorkflowNotice, "A workflow has ended: workflow.completed, workflow.failed or workflow.cancelled."
        ),
        "step": _describe(StepNotice, "A step has started, will be retried, or has ended. In any order."),
    }


def _describe(notice: type[Struct], summary: str) -> dict[str, Any]:
    headers = {
        "webhook-id": "The id of the event, the same for every attempt and redelivery. Receivers can ignore an id that "
        "they have processed.",
        "webhook-timestamp": "The time of this attempt, in seconds since 1970.",
        "webhook-signature": "`v1,` and base64 of HMAC-SHA256 over `{webhook-id}.{webhook-timestamp}.{body}`. There is "
        "one signature for each active secret, separated by spaces.",
    }
    return {
        "post": {
            "operationId": notice.__name__,
            "summary": summary,
            "description": "Follows Standard Webhooks, https://www.standardwebhooks.com",
            "tags": ["webhooks"],
            "security": [],
            "parameters": [
                {"name": name, "in": "header", "required": True, "description": text, "schema": {"type": "string"}}
                for name, text in headers.items()
            ],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": SCHEMA_REF.format(name=notice.__name__)}}},
            },
            "responses": {
                "2XX": {"description": "The receiver has accepted the webhook."},
                "410": {"description": "The receiver doesn't want this webhook. It isn't sent again."},
                "default": {"description": "It is sent again, not before Retry-After. Redirects are not followed."},
            },
        }
    }


def _envelope(kind: EventType, at: datetime, data: bytes) -> bytes:
    return json.encode({"type": kind, "timestamp": at, "data": Raw(data)})


def _shorten(kind: EventType, at: datetime, data: dict[str, Raw]) -> str:
    """Return the body with as much of *data* as fits. The longest members are dropped first."""
    longest_last = sorted(_LONG & data.keys(), key=lambda name: len(bytes(data[name])))
    while len(body := _envelope(kind, at, json.encode(data))) > MAX_BODY and longest_last:
        del data[longest_last.pop()]
    return body.decode()
