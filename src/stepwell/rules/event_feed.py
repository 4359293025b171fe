"""The event feed: the events of all workflows in one order.

The order is (transaction, workflow, number). Transactions don't commit in the order in which they begin. So the feed
only holds events of transactions that are older than every running one: no event can appear before a position later on.
"""

import struct
from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from stepwell.basics.tenancy import TenantScope
from stepwell.contract.definition import DefinitionReference
from stepwell.contract.enums import EventType, WorkflowStatus
from stepwell.lifecycle.model import HistoryEvent

_CURSOR = struct.Struct(">Q16sI")


class FeedCursor(Struct, frozen=True, order=True):
    """A position in the feed. `workflow` is the workflow's id as a number."""

    txid: int
    workflow: int
    id: int

    @classmethod
    def before(cls, txid: int) -> "FeedCursor":
        """Return the position before all events of the transaction *txid* and of later ones."""
        return cls(txid, 0, 0)

    @classmethod
    def decode(cls, body: bytes) -> "FeedCursor":
        """Return the position that `encode` has turned into *body*."""
        txid, workflow, number = _CURSOR.unpack(body)
        return cls(txid, int.from_bytes(workflow), number)

    def encode(self) -> bytes:
        """Return the position as bytes, which are equally many for all positions."""
        return _CURSOR.pack(self.txid, self.workflow.to_bytes(16), self.id)

    @property
    def workflow_id(self) -> UUID:
        return UUID(int=self.workflow)


BEGINNING = FeedCursor.before(0)


class FeedEvent(Struct, frozen=True):
    """An event of the feed. `status` is the workflow's status at the time when the event was read."""

    event: HistoryEvent
    workflow_id: UUID
    tenant: str | None
    origin_instance: str
    status: WorkflowStatus
    position: FeedCursor
    definition: DefinitionReference | None = None


class FeedFilter(Struct, frozen=True):
    """The filter of a reader of events. None accepts all. `definition` is that of the event's workflow."""

    types: frozenset[EventType] | None = None
    status: WorkflowStatus | None = None
    origin_instance: str | None = None
    definition: DefinitionReference | None = None

    def accepts(self, scope: TenantScope, event: FeedEvent) -> bool:
        """Return whether a reader with *scope* gets the event."""
        return (
            scope.covers(event.tenant, None)
            and (self.types is None or event.event.type in self.types)
            and (self.status is None or event.status == self.status)
            and (self.origin_instance is None or event.origin_instance == self.origin_instance)
            and (self.definition is None or self.definition.covers(event.definition))
        )


EVERYTHING = FeedFilter()


class FeedPage(Struct, frozen=True):
    """A part of the feed.

    `position`: all events up to there were read. `bound`: events up to there can be read. `more`: there are more events
    before the bound. `lagging`: there are events after it, which wait for a transaction that still runs.
    """

    events: Sequence[FeedEvent]
    position: FeedCursor
    bound: FeedCursor
    more: bool
    lagging: bool


class HistoryPage(Struct, frozen=True):
    """A part of a workflow's history, with the workflow's status and last event at that time."""

    events: Sequence[HistoryEvent]
    status: WorkflowStatus
    last_event: int
