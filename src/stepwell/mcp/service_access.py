"""The access of one caller to the service: a client with the caller's token, and what the caller may use."""

from collections.abc import Awaitable, Callable, Collection

from anyio import sleep_forever
from msgspec import Struct

from stepwell.client import AsyncStepwell
from stepwell.contract.scopes import Permission
from stepwell.rules.access.token_claims import unverified_claims


async def no_reservation(_size: int) -> None:
    """Reserve nothing: the process serves one user alone."""


class ServiceAccess(Struct, frozen=True):
    """A client of the service, and what its caller may use.

    `scopes` are those of the token; None if it doesn't say them. `local_files`: the caller may name files of this
    machine. `reserve` waits for memory for that many bytes, which a result will hold. `stopping` returns when
    calls must end soon.
    """

    client: AsyncStepwell
    scopes: Collection[str] | None
    local_files: bool
    reserve: Callable[[int], Awaitable[object]] = no_reservation
    stopping: Callable[[], Awaitable[object]] = sleep_forever

    def allows(self, permission: Permission) -> bool:
        """Return whether the token may have *permission*, as far as it says so itself. The service checks it anyway."""
        return self.scopes is None or permission.is_in(self.scopes)


def scopes_of(token: str | None) -> Collection[str] | None:
    """Return the scopes of *token*; None if it names none. Then it has those of the service's setting."""
    scope = unverified_claims(token or "").get("scope")
    return scope.split(" ") if isinstance(scope, str) else None
