"""The access of one caller to the service: a client with the caller's token, and what the caller may use."""

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Any, Final

from anyio import sleep_forever
from msgspec import DecodeError, Struct, json

from stepwell.client import AsyncStepwell

WRITE_SCOPE: Final = "workflows:write"


async def no_reservation(_size: int) -> None:
    """Reserve nothing: the process serves one user alone."""


class ServiceAccess(Struct, frozen=True):
    """A client of the service, and what its caller may use.

    `can_write`: the token allows changes. `local_files`: the caller may name files of this machine. `reserve` waits for
    memory for that many bytes, which a result will hold. `stopping` returns when calls must end soon.
    """

    client: AsyncStepwell
    can_write: bool
    local_files: bool
    reserve: Callable[[int], Awaitable[object]] = no_reservation
    stopping: Callable[[], Awaitable[object]] = sleep_forever


def may_write(token: str | None) -> bool:
    """Return whether *token* may allow changes, as far as it says so itself. The service checks it anyway.

    A token without scopes has those of the service's setting, which are known there only.
    """
    claims = _claims_of(token or "")
    scope = claims.get("scope")
    return WRITE_SCOPE in scope.split(" ") if isinstance(scope, str) else True


def _claims_of(token: str) -> dict[str, Any]:
    """Return the claims of a token, unverified; nothing if it isn't a JWT."""
    payload = token.split(".")[1] if token.count(".") == 2 else ""  # noqa: PLR2004 - header, claims, signature
    try:
        claims = json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (binascii.Error, ValueError, DecodeError):
        return {}
    return claims if isinstance(claims, dict) else {}
