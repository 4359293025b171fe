"""The access of one caller to the service: a client with the caller's token, and what the caller may use."""

from collections.abc import Awaitable, Callable
from typing import Final

from anyio import sleep_forever
from msgspec import Struct

from stepwell.client import AsyncStepwell
from stepwell.rules.access.token_claims import unverified_claims

WRITE_SCOPE: Final = "workflows:write"
APPROVE_SCOPE: Final = "workflows:approve"


async def no_reservation(_size: int) -> None:
    """Reserve nothing: the process serves one user alone."""


class ServiceAccess(Struct, frozen=True):
    """A client of the service, and what its caller may use.

    `can_write`: the token allows changes. `can_decide`: it allows decisions. `local_files`: the caller may name files
    of this machine. `reserve` waits for memory for that many bytes, which a result will hold. `stopping` returns when
    calls must end soon.
    """

    client: AsyncStepwell
    can_write: bool
    can_decide: bool
    local_files: bool
    reserve: Callable[[int], Awaitable[object]] = no_reservation
    stopping: Callable[[], Awaitable[object]] = sleep_forever


def may_use(token: str | None, *scopes: str) -> bool:
    """Return whether *token* may have one of the *scopes*, as far as it says so itself. The service checks it anyway.

    A token without scopes has those of the service's setting, which are known there only.
    """
    scope = unverified_claims(token or "").get("scope")
    return not set(scopes).isdisjoint(scope.split(" ")) if isinstance(scope, str) else True
