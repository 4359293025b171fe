"""The rules of webhook deliveries: which events are delivered, their ids and lanes, and when the next attempt follows.

They follow Standard Webhooks, https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeAlias
from uuid import UUID

from msgspec import Struct

from stepwell.basics.urls import split_url
from stepwell.contract.enums import TERMINAL_EVENTS, DeliveryStatus, EventType, WaitKind
from stepwell.contract.events import DeliveryAttemptPublic
from stepwell.lifecycle.model import HistoryEvent

# The seconds before each attempt. There are as many attempts as numbers.
DELAYS_S: Final = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
MAX_RETRY_AFTER_S: Final = 86_400.0
MAX_ATTEMPTS: Final = 50
MAX_RESPONSE: Final = 1_024  # bytes of a response that are stored
WEBHOOK_URL: Final = ("body", "webhook_url")  # the place of its faults
# Message and type of a fault.
WEBHOOKS_NOT_CONFIGURED: Final = (
    "Expected none: this service has no secret to sign webhooks with (STEPWELL_WEBHOOK_SECRET)",
    "webhooks_not_configured",
)
UrlRule: TypeAlias = Callable[[str], tuple[str, str] | None]  # returns message and type of the fault of a URL, or None
# Progress may change many times a second. Only the streams of events report it.
_NEVER = frozenset({EventType.STEP_PROGRESS})
_ASKS = frozenset({WaitKind.DECISION, WaitKind.SIGNAL})
_JITTER = 0.1
_GONE = 410
_ID = re.compile(r"evt_([0-9a-f]{32})_([1-9][0-9]{0,8})")


class Delivery(Struct, frozen=True):
    """An event that a webhook reports. `lane` is the result of `lane_of`."""

    event_id: int
    type: EventType
    lane: str
    at: datetime


class SendResult(Struct, frozen=True):
    """The result of one attempt. `retry_after_s` is the pause that the receiver asks for."""

    attempt: DeliveryAttemptPublic
    retry_after_s: float | None = None


class DueDelivery(Struct, frozen=True):
    """A delivery that is due, with its event and its workflow.

    `next_at` and `lane` are those of its row. `url` is the workflow's present webhook_url. `event` is None if this
    version can't read it; `unreadable` says why.
    """

    workflow_id: UUID
    lane: str
    next_at: datetime
    tries: int
    frozen: bool
    event_id: int
    event: HistoryEvent | None
    tenant: str | None
    url: str | None
    origin_instance: str
    origin_reference: str | None
    total_steps: int
    unreadable: str | None = None

    @property
    def key(self) -> tuple[UUID, int]:
        return self.workflow_id, self.event_id

    @property
    def version(self) -> tuple[datetime, str]:
        """The version of the row. It changes when the delivery is attempted, renewed or moved to another lane."""
        return self.next_at, self.lane

    @property
    def id(self) -> str:
        return delivery_id(self.workflow_id, self.event_id)


class DeliveryVerdict(Struct, frozen=True):
    """The consequence of an attempt for its delivery."""

    status: DeliveryStatus
    tries: int
    next_at: datetime | None = None


def deliveries(events: Iterable[HistoryEvent], url: str, tenant: str | None, *, steps: bool) -> list[Delivery]:
    """Return the deliveries to *url* for *events*: waits for people, pauses for a budget, ends, and with *steps* all of
    steps.
    """
    lane = lane_of(url, tenant)
    return [
        Delivery(event.id, event.type, lane, event.at)
        for event in events
        if event.type in TERMINAL_EVENTS
        or asks_people(event)
        or (event.type is EventType.WORKFLOW_PAUSED and "reason" in event.data)
        or (steps and event.step_id is not None and event.type not in _NEVER)
    ]


def asks_people(event: HistoryEvent) -> bool:
    """Return whether somebody has to act after *event*: a step waits for a decision or a signal."""
    return event.type is EventType.STEP_WAITING and event.data.get("waits_for") in _ASKS


def delivery_id(workflow_id: UUID, event_id: int) -> str:
    """Return the `webhook-id`, the same for every attempt. It has no full stop, which separates the signed parts."""
    return f"evt_{workflow_id.hex}_{event_id}"


def event_of(text: str) -> tuple[UUID, int] | None:
    """Return the workflow and the event that a `delivery_id` names; None for any other text."""
    match = _ID.fullmatch(text)
    return None if match is None else (UUID(match[1]), int(match[2]))


def lane_of(url: str, tenant: str | None) -> str:
    """Return the lane of a delivery: the queue of a tenant's deliveries to one host and port.

    So a receiver that hangs delays neither another receiver nor another tenant behind the same gateway.
    """
    parts = split_url(url)
    assert parts.host is not None  # `WEBHOOK_URL` demands one
    where = f"{parts.host}:{parts.port}" if parts.port else parts.host
    return where if tenant is None else f"{tenant}@{where}"


def tenant_of(lane: str) -> str | None:
    tenant, at, _ = lane.rpartition("@")
    return tenant if at else None


def verdict(
    tries: int,
    code: int | None,
    retry_after_s: float | None,
    now: datetime,
    jitter: float,
    delays_s: Sequence[float] = DELAYS_S,
) -> DeliveryVerdict:
    """Return what the status *code* means for a delivery with *tries* attempts before. *jitter* is from 0 to 1."""
    tries += 1
    if code is not None and code // 100 == 2:  # noqa: PLR2004 - success
        return DeliveryVerdict(DeliveryStatus.DELIVERED, tries)
    if code == _GONE:
        return DeliveryVerdict(DeliveryStatus.STOPPED, tries)
    if tries >= len(delays_s):
        return DeliveryVerdict(DeliveryStatus.FAILED, tries)
    wait = max(delays_s[tries] * (1 + _JITTER * jitter), min(retry_after_s or 0.0, MAX_RETRY_AFTER_S))
    return DeliveryVerdict(DeliveryStatus.PENDING, tries, now + timedelta(seconds=wait))


def url_fault(url: str) -> tuple[str, str] | None:
    """Return the fault in the form of *url*, or None. This `UrlRule` doesn't check whether the host may be reached."""
    why = _form_fault(url)
    return None if why is None else (why, "url_invalid")


def _form_fault(url: str) -> str | None:
    if any(character <= " " or "\x7f" <= character <= "\xa0" or character == "\\" for character in url):
        return "Expected a URL without spaces, control characters and backslashes"
    parts = split_url(url)
    if parts.scheme not in ("http", "https") or parts.host is None or parts.port == 0:
        return "Expected an http or https URL with a host, like https://example.com/hook"
    return None if parts.userinfo is None else "Expected a URL without a user name or password"
