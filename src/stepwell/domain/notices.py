"""Which events a webhook tells of."""

from collections.abc import Iterable

from stepwell.domain.lifecycle.decision import Delivery
from stepwell.domain.model import EventType, HistoryEvent
from stepwell.domain.webhooks.delivery import lane_of

TERMINAL = frozenset({EventType.WORKFLOW_COMPLETED, EventType.WORKFLOW_FAILED, EventType.WORKFLOW_CANCELLED})
# How far a step is may change many times a second; it is in the live events.
_NEVER = frozenset({EventType.STEP_PROGRESS})


def deliveries(events: Iterable[HistoryEvent], url: str, tenant: str | None, *, steps: bool) -> list[Delivery]:
    """Those of *events* that *url* is to hear of; *steps*: of what happens to steps, too."""
    lane = lane_of(url, tenant)
    return [
        Delivery(event.id, event.type, lane, event.at)
        for event in events
        if event.type in TERMINAL or (steps and event.step_id is not None and event.type not in _NEVER)
    ]
