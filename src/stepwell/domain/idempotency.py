"""Requests that may be repeated, and those that hold only for a workflow as its caller knows it."""

from datetime import UTC, datetime, timedelta
from typing import Self
from uuid import UUID

from msgspec import Struct

from stepwell.domain.errors import PreconditionFailed
from stepwell.domain.model import WorkflowState
from stepwell.domain.tenancy import TenantScope

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)


class Reservation(Struct, frozen=True):
    """A request that may be repeated, by its key among those of its `scope`; `token` is this try's own."""

    scope: str
    key: str
    token: UUID


class Version(Struct, frozen=True):
    """Which of its states a workflow is in: each write has one of its own. Not every write is an event, but every one
    has its time, which within a process is nobody else's.
    """

    last_event: int
    updated_us: int

    @classmethod
    def of(cls, last_event: int, updated_at: datetime | None) -> Self:
        return cls(last_event, 0 if updated_at is None else (updated_at - _EPOCH) // _TICK)


class Preconditions(Struct, frozen=True):
    """What a request says beside what it asks for. `if_match`: the versions of which the workflow must be one, null for
    any; `reservation`: what is to be marked in the transaction of the effect.
    """

    reservation: Reservation | None = None
    if_match: frozenset[Version] | None = None

    def check(self, state: WorkflowState) -> None:
        self.check_version(Version.of(state.last_event, state.updated_at))

    def check_version(self, version: Version) -> None:
        if self.if_match is not None and version not in self.if_match:
            raise PreconditionFailed("the workflow isn't any more what If-Match names")


NO_TERMS = Preconditions()


class StoredAnswer(Struct, frozen=True):
    """As it goes out, to the byte."""

    status: int
    headers: dict[str, str]
    body: bytes


class ReservedKey(Struct, frozen=True):
    """What is known of a key once it has been asked for. `mine`: this call has made it, or taken it over from a try
    that can do nothing any more. Else an earlier try's: `applied_to` is the workflow that its effect has been committed
    for, `answer` what it was answered, `elsewhere` whether another living process may be at work on it.
    """

    reservation: Reservation
    mine: bool
    fingerprint: bytes = b""
    applied_to: UUID | None = None
    answer: StoredAnswer | None = None
    elsewhere: bool = False


def key_scope(scope: TenantScope) -> str:
    """Whose key it is. Tokens for all tenants, and those without one, have keys of their own."""
    if scope.every:
        return "every"
    return "none" if scope.tenant is None else f"tenant {scope.tenant}"
