"""The conditions of a request: which versions of a workflow it is for (`If-Match`), and its idempotency key."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Self

from msgspec import Struct

from stepwell.basics.errors import PreconditionFailed
from stepwell.basics.idempotency import KeyClaim
from stepwell.contract.enums import WaitsFor
from stepwell.lifecycle.model import WorkflowState

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_TICK = timedelta(microseconds=1)


class Version(Struct, frozen=True):
    """The version of a workflow. Each write makes a new one.

    Not every write adds an event, but every write has a time of its own, which is unique within a process.
    """

    last_event: int
    updated_us: int

    @classmethod
    def of(cls, last_event: int, updated_at: datetime | None) -> Self:
        return cls(last_event, 0 if updated_at is None else (updated_at - _EPOCH) // _TICK)


class ReadVersion(NamedTuple):
    """The version of a response about a workflow. Steps of sub-workflows change `waits_for`, but not the version."""

    version: Version
    waits_for: WaitsFor | None = None

    @classmethod
    def of(cls, state: WorkflowState, waits_for: WaitsFor | None) -> Self:
        return cls(Version.of(state.last_event, state.updated_at), waits_for)


class Preconditions(Struct, frozen=True):
    """The conditions of a request.

    `if_match`: the versions of which the workflow must have one; None accepts any. `claim`: the idempotency key
    to mark in the transaction of the effect.
    """

    claim: KeyClaim | None = None
    if_match: frozenset[Version] | None = None

    def check(self, state: WorkflowState) -> None:
        """Raise `PreconditionFailed` if `if_match` doesn't name the version of *state*."""
        self.check_version(Version.of(state.last_event, state.updated_at))

    def check_version(self, version: Version) -> None:
        """Raise `PreconditionFailed` if `if_match` doesn't name *version*."""
        if self.if_match is not None and version not in self.if_match:
            raise PreconditionFailed("the workflow isn't any more what If-Match names")


NO_PRECONDITIONS = Preconditions()
