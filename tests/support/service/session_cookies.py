"""The cookies of sessions, as a browser sends them to the service of a test."""

from collections.abc import Collection
from datetime import timedelta

from stepwell.basics.tenancy import TenantScope
from stepwell.rules.access.sessions import SESSION, Grant, Sessions
from support.service.live_service import EVERYTHING, SECRET, Service

COOKIE = "stepwell-session-9000"
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


async def cookie_of(
    service: Service,
    tenant: str | None = None,
    *,
    every: bool = False,
    permissions: Collection[str] = EVERYTHING,
    lasts: timedelta = SESSION,
) -> str:
    """Return the header `Cookie` of a session that begins now, of a token that ends after *lasts*."""
    now, sessions = await service.app.stores.database.sign_ins.now(), Sessions(SECRET.encode())
    session = sessions.begin(Grant("somebody", TenantScope(tenant, every), tuple(permissions), now + lasts), now)
    assert session is not None
    return f"{COOKIE}={sessions.encode(session)}"
