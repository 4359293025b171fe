"""Requests with an `Idempotency-Key`: their keys, and the responses that are sent again."""

from uuid import UUID

from msgspec import Struct, json

from stepwell.basics.tenancy import TenantScope


class KeyClaim(Struct, frozen=True):
    """The claim of a request to its idempotency key.

    Keys are unique in their `scope`. `token` is the id of this attempt at the request. If a later attempt takes the key
    over, the effect of this one is refused.
    """

    scope: str
    key: str
    token: UUID


class StoredResponse(Struct, frozen=True):
    """A response as it is sent, byte for byte."""

    status: int
    headers: dict[str, str]
    body: bytes


class KeyState(Struct, frozen=True):
    """The state of a key when a request claims it.

    `mine`: this attempt at the request has created the key, or has taken it over from an attempt that can no longer
    take effect. Otherwise an earlier attempt has the key: `applied_to` is the workflow of its committed effect,
    `response` is its response, and `elsewhere` says whether another live process may still work on it.
    """

    claim: KeyClaim
    mine: bool
    fingerprint: bytes = b""
    applied_to: UUID | None = None
    response: StoredResponse | None = None
    elsewhere: bool = False


def key_scope(scope: TenantScope) -> str:
    """Return the scope of the keys of a caller.

    Callers for all tenants, those without one, and those who see only what their subject has created have their own.
    """
    if scope.subject is not None:
        return f"subject {json.encode((scope.tenant, scope.subject)).decode()}"
    if scope.every:
        return "every"
    return "none" if scope.tenant is None else f"tenant {scope.tenant}"
