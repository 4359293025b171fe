"""The operations on events: the history of one workflow, and the feed of all workflows, as JSON or as a live stream."""

import math
from functools import partial

from litestar.types import ASGIApp
from msgspec import UNSET, UnsetType, json

from stepwell.api.auth.authentication import Principal
from stepwell.api.auth.claims import LEEWAY_S
from stepwell.api.auth.dependencies import ApiRequest, ClockDep, ServicesDep, SessionCookiesDep, TicketsDep
from stepwell.api.auth.session_cookies import SessionCookies
from stepwell.api.requests.headers import IF_NONE_MATCH, prefers
from stepwell.api.requests.operations import Content, NoQuery, Operation, endpoint, read_operation
from stepwell.api.requests.query_parameters import TICKET_PARAMETER, EventsQuery, FeedQuery, parse_id, parse_query
from stepwell.api.requests.request_bodies import read_struct
from stepwell.api.requests.request_resources import resources_of
from stepwell.api.responses.conditional_requests import respond_unless_known
from stepwell.api.responses.serializers import event_to_public
from stepwell.api.responses.sse import MEDIA_TYPE, StreamBounds, event_stream, frame
from stepwell.basics.errors import Fault, Forbidden, InvalidRequest
from stepwell.contract.enums import EventType
from stepwell.contract.events import (
    CreateStreamTicket,
    EventFeedResponse,
    EventListResponse,
    FeedEventPublic,
    StreamTicket,
)
from stepwell.contract.scopes import Permission
from stepwell.lifecycle.model import HistoryEvent
from stepwell.ports.clock import Clock
from stepwell.rules.access.cursors import FeedCursors
from stepwell.rules.event_feed import FeedCursor, FeedEvent, FeedFilter

TAG = "events"
LAST_EVENT_ID = "Last-Event-ID"
_MAX_NUMBER = 2**63 - 1
_TYPES = frozenset(EventType)
_LONGEST_TYPE = max(map(len, _TYPES))


def feed_event_to_public(entry: FeedEvent) -> FeedEventPublic:
    event = entry.event
    return FeedEventPublic(
        event.id,
        event.type,
        event.at,
        event.step_id,
        event.task_id,
        event.actor,
        event.data,
        entry.workflow_id,
        entry.origin_instance,
        entry.tenant,
    )


HISTORY = read_operation(
    path="/api/v1/workflows/{workflow_id}/events",
    id="list_events",
    description="The history of a workflow, oldest event first. Every transition is an event; ids count from 1. With "
    "Accept: text/event-stream, the response is a live stream that ends with the workflow; limit and type apply to "
    "JSON only.",
    tag=TAG,
    for_runs=True,
    query=EventsQuery,
    response=EventListResponse,
    streams=Content(MEDIA_TYPE),
    headers=("ETag",),
    takes=(LAST_EVENT_ID, IF_NONE_MATCH),
    ticketed=True,
    problems=(204,),
)
FEED = read_operation(
    path="/api/v1/events",
    id="list_all_events",
    description="The events of all workflows that the token may see, oldest first. With Accept: text/event-stream, the "
    "response is a live stream from now on, or from the cursor; limit applies to JSON only. An event appears once all "
    "database transactions that were open when it was written have ended.",
    tag=TAG,
    query=FeedQuery,
    response=EventFeedResponse,
    streams=Content(MEDIA_TYPE),
    headers=("ETag",),
    takes=(LAST_EVENT_ID, IF_NONE_MATCH),
    ticketed=True,
)
TICKET = Operation(
    method="POST",
    path="/api/v1/events/tickets",
    id="create_stream_ticket",
    description="A ticket for browsers, whose EventSource sends no headers. Within a minute, ?ticket= opens a stream "
    "of events instead of the token, for the tenants of that token. With workflow_id it opens the stream of that "
    "workflow alone.",
    tag=TAG,
    permission=Permission.READ,
    for_runs=True,
    body=CreateStreamTicket,
    body_optional=True,
    response=StreamTicket,
    problems=(404,),
)


@endpoint(HISTORY)
async def list_events(
    request: ApiRequest, services: ServicesDep, session_cookies: SessionCookiesDep, clock: ClockDep
) -> ASGIApp:
    workflow_id = parse_id(request.path_params["workflow_id"], "workflow")
    query = parse_query(request.scope["query_string"], EventsQuery, others=TICKET_PARAMETER)
    scope, subscriptions = request.user.scope, services.subscriptions
    if prefers(request.scope, MEDIA_TYPE):
        after = _last_event_id(request)
        resources = resources_of(request.scope)
        await resources.count_for_owner()
        opening = subscriptions.follow(scope, workflow_id, query.after if after is None else after, resources.account)
        return event_stream(opening, subscriptions.heartbeat_s, _bounds(request.user, session_cookies, clock))
    types = _types(query.type)
    events = await services.reads.events(scope, workflow_id, after=query.after, limit=query.limit + 1, types=types)
    public = [event_to_public(event) for event in events[: query.limit]]
    return await respond_unless_known(request, EventListResponse(public, len(events) > query.limit))


@endpoint(FEED)
async def list_all_events(
    request: ApiRequest, services: ServicesDep, session_cookies: SessionCookiesDep, clock: ClockDep
) -> ASGIApp:
    query = parse_query(request.scope["query_string"], FeedQuery, others=TICKET_PARAMETER)
    subscriptions = services.subscriptions
    scope, filter_ = request.user.scope, _filter(query)
    cursors = subscriptions.cursors
    after = None if query.cursor is UNSET else _parse_cursor(cursors, query.cursor, "query", "cursor")
    if prefers(request.scope, MEDIA_TYPE):
        if last := request.headers.get(LAST_EVENT_ID):
            after = _parse_cursor(cursors, last, "header", LAST_EVENT_ID)
        opening = subscriptions.follow_all(scope, filter_, after, query.delay_s)
        return event_stream(opening, subscriptions.heartbeat_s, _bounds(request.user, session_cookies, clock))
    page = await subscriptions.page(scope, filter_, after, query.limit)
    events = [feed_event_to_public(event) for event in page.events]
    return await respond_unless_known(request, EventFeedResponse(events, cursors.issue(page.position), page.more))


@endpoint(TICKET)
async def create_stream_ticket(request: ApiRequest, services: ServicesDep, tickets: TicketsDep) -> StreamTicket:
    parse_query(request.scope["query_string"], NoQuery)
    workflow_id = (await read_struct(request, CreateStreamTicket)).workflow_id
    if workflow_id is None and request.user.only_runs:
        raise Forbidden("A token with definitions:run gets tickets for a workflow_id only.")
    if workflow_id is not None:
        await services.reads.version(request.user.scope, workflow_id)  # raises `NotFound`
    caller: Principal = request.user
    ticket, expires_at = tickets.issue(
        caller.subject,
        caller.scope,
        workflow_id,
        access_ends=caller.expires_at,
        session_issued_at=None if caller.session is None else caller.session.issued_at,
    )
    return StreamTicket(ticket, expires_at)


def workflow_frame(event: HistoryEvent) -> bytes:
    """Return *event* as a frame of its workflow's stream, with its number as id."""
    return frame(event.type, str(event.id), json.encode(event_to_public(event)))


def feed_frame(cursors: FeedCursors, entry: FeedEvent) -> bytes:
    """Return *entry* as a frame of the feed's stream, with its cursor as id."""
    return frame(entry.event.type, cursors.issue(entry.position), json.encode(feed_event_to_public(entry)))


def _bounds(caller: Principal, cookies: SessionCookies, clock: Clock) -> StreamBounds:
    """Return how long a stream of *caller* may last: as long as their token or their session."""
    if caller.expires_at is None:
        return StreamBounds(math.inf)
    left_s = caller.expires_at - clock.now().timestamp()
    if caller.session is None:
        return StreamBounds(left_s + LEEWAY_S)
    return StreamBounds(left_s, partial(cookies.is_active, caller.session))


def _last_event_id(request: ApiRequest) -> int | None:
    text = request.headers.get(LAST_EVENT_ID)
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > len(str(_MAX_NUMBER)) or int(text) > _MAX_NUMBER:
        raise InvalidRequest([Fault(("header", LAST_EVENT_ID), "Expected the id of an event", "int_parsing")])
    return int(text)


def _parse_cursor(cursors: FeedCursors, text: str, *loc: str) -> FeedCursor:
    try:
        return cursors.read(text)
    except ValueError:
        raise InvalidRequest([Fault(loc, "Expected a cursor that a response or an event had", "cursor")]) from None


def _types(text: str | UnsetType) -> frozenset[EventType] | None:
    """Return the types that the parameter `type` names; None without it. Raises InvalidRequest for an unknown one."""
    if text is UNSET:
        return None
    names = text.split(",")
    if unknown := [name for name in names if name not in _TYPES]:
        expectation = f"Expected types of events, with commas between them, of {', '.join(EventType)}"
        msg = f"{expectation}; there is no {unknown[0][:_LONGEST_TYPE]!r}"
        raise InvalidRequest([Fault(("query", "type"), msg, "enum")])
    return frozenset(map(EventType, names))


def _filter(query: FeedQuery) -> FeedFilter:
    return FeedFilter(
        types=_types(query.type),
        status=None if query.status is UNSET else query.status,
        origin_instance=None if query.origin_instance is UNSET else query.origin_instance,
        definition=query.wanted_definition,
    )
