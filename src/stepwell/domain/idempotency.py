"""Requests with an `Idempotency-Key`: their keys, and the answers that are sent again."""

from uuid import UUID

from msgspec import Struct

from stepwell.domain.tenancy import TenantScope


class Reservation(Struct, frozen=True):
    """A request that may be repeated, by its key among those of its `scope`; `token` is this try's own."""

    scope: str
    key: str
    token: UUID


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
