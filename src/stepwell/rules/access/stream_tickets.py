"""Tickets that open a stream of events.

They are for browsers, whose EventSource sends no headers. A token in the URL would be in every log on the way. A ticket
expires soon, and allows to read events only. Neither the ticket nor its stream outlives the token or the session that
got it.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct

from stepwell.basics.tenancy import TenantScope
from stepwell.rules.access.signed_texts import SignedTexts

TICKET_S = 60
MAX_TICKET_CHARS = 4_096


class Ticket(Struct, frozen=True, array_like=True):
    """The right to open a stream: its holder, the tenants whose events it reads, and its end.

    `access_ends` is the end of the token or the session that got it, in seconds since 1970. If a session did,
    `session_issued_at` is when that began. With `workflow_id`, it opens the stream of this workflow alone.
    """

    subject: str
    scope: TenantScope
    expires_at: datetime
    access_ends: float | None = None
    session_issued_at: datetime | None = None
    workflow_id: UUID | None = None


class StreamTickets:
    def __init__(self, secret: bytes, now: Callable[[], datetime]) -> None:
        self._texts, self._now = SignedTexts(secret, "stream ticket", Ticket, MAX_TICKET_CHARS), now

    def issue(
        self,
        subject: str,
        scope: TenantScope,
        workflow_id: UUID | None = None,
        *,
        access_ends: float | None = None,
        session_issued_at: datetime | None = None,
    ) -> tuple[str, datetime]:
        """Return a ticket, and the time when it expires. See `Ticket`."""
        expires_at = (self._now() + timedelta(seconds=TICKET_S)).replace(microsecond=0)
        ticket = Ticket(subject, scope, expires_at, access_ends, session_issued_at, workflow_id)
        return self._texts.sign(ticket), expires_at

    def read(self, ticket: str) -> Ticket | None:
        """Return the content of *ticket*; None if it has expired, or wasn't made here in exactly this notation."""
        content = self._texts.read(ticket)
        return content if content is not None and self._now() < content.expires_at else None
