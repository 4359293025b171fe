# Generated from the asynchronous client by `poe generate`: don't change it.
"""The operations on what has happened: events, tasks and the deliveries of webhooks."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from typing import Unpack

from stepwell.client.concurrency import Items
from stepwell.client.errors import UnexpectedResponse
from stepwell.client.requests import ChangeOptions, Id, change, json_body, post_read, read, segment
from stepwell.client.requests import workflow_path as path_of
from stepwell.client.responses import FeedItem, decode, decode_json
from stepwell.client.synchronous.connection import Connection
from stepwell.contract.enums import TERMINAL_EVENTS, EventType, WorkflowStatus
from stepwell.contract.events import (
    DeliveryListResponse,
    DeliveryPublic,
    EventFeedResponse,
    EventListResponse,
    EventPublic,
    StreamTicket,
)
from stepwell.contract.tasks import TaskListResponse, TaskPublic

_FEED = "/api/v1/events"
_KNOWN = frozenset(EventType)  # a later version of the service may send others
_PAGE = 200
_EVENT = "an event of the stream"


class HistoryCalls(Connection):
    """The operations on events, tasks and the deliveries of webhooks."""

    def events(self, workflow_id: Id, after: int = 0) -> Items[EventPublic]:
        """Yield the events of a workflow after the number *after*: the stored ones, then each as it happens.

        It reconnects by itself, and ends with the workflow. Types of events that this version doesn't know are left
        out.
        """
        path = path_of(workflow_id, "/events")
        with closing(self._frames(path, {}, str(after), TERMINAL_EVENTS)) as frames:
            for frame in frames:
                if frame.type in _KNOWN:
                    event = decode_json(frame.data, EventPublic, _EVENT)
                    if event.id <= after:
                        raise UnexpectedResponse(f"the stream of events repeats event {event.id}")
                    after = event.id
                    yield event

    def event_page(
        self, workflow_id: Id, after: int = 0, *, limit: int | None = None, types: Iterable[EventType | str] = ()
    ) -> EventListResponse:
        """Return stored events of a workflow after the number *after*."""
        query = {"after": after, "limit": limit, "type": ",".join(types) or None}
        return self._fetch(EventListResponse, read(path_of(workflow_id, "/events"), query))

    def feed(
        self,
        cursor: str | None = None,
        *,
        types: Iterable[EventType | str] = (),
        origin_instance: str | None = None,
        status: WorkflowStatus | str | None = None,
        definition: str | None = None,
        delay_s: int | None = None,
    ) -> Items[FeedItem]:
        """Yield the events of all workflows after *cursor*, each as it happens, without end. Without a *cursor*, it
        begins with the next event. The `cursor` of an event continues after it. *definition* is that of `list`. Events
        may come *delay_s* seconds late, several together, which costs the service less.
        """
        filters = {"type": ",".join(types) or None, "origin_instance": origin_instance, "status": status}
        query = {**filters, "definition": definition, "delay_s": delay_s}
        with closing(self._frames(_FEED, query, cursor or "")) as frames:
            for frame in frames:
                if frame.type in _KNOWN:
                    event = decode_json(frame.data, FeedItem, _EVENT)
                    event.cursor = frame.id
                    yield event

    def feed_page(
        self,
        cursor: str | None = None,
        *,
        limit: int | None = None,
        types: Iterable[EventType | str] = (),
        origin_instance: str | None = None,
        status: WorkflowStatus | str | None = None,
        definition: str | None = None,
    ) -> EventFeedResponse:
        """Return stored events of all workflows after *cursor*, or from the first one."""
        filters = {"type": ",".join(types) or None, "origin_instance": origin_instance, "status": status}
        query = {**filters, "definition": definition, "cursor": cursor, "limit": limit}
        return self._fetch(EventFeedResponse, read(_FEED, query))

    def stream_ticket(self, workflow_id: Id | None = None) -> StreamTicket:
        """Return a ticket with which a browser opens streams, or that of one workflow."""
        content = json_body({} if workflow_id is None else {"workflow_id": str(workflow_id)})
        return self._fetch(StreamTicket, post_read(f"{_FEED}/tickets", content))

    def tasks(
        self, workflow_id: Id, *, include_deleted: bool | None = None, step_id: str | None = None
    ) -> list[TaskPublic]:
        """Return the tasks of a workflow, or of one step. A task is one attempt at a step."""
        query = {"include_deleted": include_deleted, "step_id": step_id}
        return decode(self._send(read(path_of(workflow_id, "/tasks"), query)), TaskListResponse).tasks

    def task(self, task_id: Id) -> TaskPublic:
        """Return a task, which is one attempt at a step."""
        return self._fetch(TaskPublic, read(f"/api/v1/tasks/{segment(task_id)}"))

    def deliveries(self, workflow_id: Id) -> Items[DeliveryPublic]:
        """Yield the deliveries of the workflow's webhooks, oldest first."""
        after = 0
        while True:
            response = self._send(read(path_of(workflow_id, "/deliveries"), {"after": after, "limit": _PAGE}))
            page = decode(response, DeliveryListResponse)
            for delivery in page.deliveries:
                yield delivery
                after = delivery.event_id
            if not page.has_more or not page.deliveries:
                return

    def redeliver(self, workflow_id: Id, delivery_id: str, **options: Unpack[ChangeOptions]) -> DeliveryPublic:
        """Send a webhook again."""
        path = path_of(workflow_id, f"/deliveries/{segment(delivery_id)}/redeliver")
        return self._fetch(DeliveryPublic, change("POST", path, options))
