"""Tickets that open a stream of events.

They are for browsers, whose EventSource sends no headers. A token in the URL would be in every log on the way. A ticket
expires soon, and allows to read events only.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import datetime, timedelta
from hmac import compare_digest
from uuid import UUID

from msgspec import DecodeError, Struct, ValidationError, json

from stepwell.domain.access.mac import mac
from stepwell.domain.tenancy import TenantScope

TICKET_S = 60
MAX_TICKET_CHARS = 4_096
_PURPOSE = b"stepwell stream ticket 2"
_MAC_BYTES = 16


class Ticket(Struct, frozen=True, array_like=True):
    """The right to open a stream: its holder, the tenant whose events it reads, and its end (seconds since 1970).

    With `workflow_id`, it opens the stream of this workflow alone.
    """

    subject: str
    tenant: str | None
    every: bool
    expires: int
    workflow_id: UUID | None = None

    @property
    def scope(self) -> TenantScope:
        return TenantScope(self.tenant, self.every)


class StreamTickets:
    """Makes and reads tickets: the MAC and the encoded `Ticket`, as URL-safe base64 without padding."""

    def __init__(self, secret: bytes, now: Callable[[], datetime]) -> None:
        self._key, self._now = secret, now

    def issue(self, subject: str, scope: TenantScope, workflow_id: UUID | None = None) -> tuple[str, datetime]:
        """Return a ticket, and the time when it expires."""
        expires = (self._now() + timedelta(seconds=TICKET_S)).replace(microsecond=0)
        body = json.encode(Ticket(subject, scope.tenant, scope.every, int(expires.timestamp()), workflow_id))
        return _text(self._mac(body) + body), expires

    def read(self, ticket: str) -> Ticket | None:
        """Return the content of *ticket*; None if it has expired, or wasn't made here in exactly this notation."""
        if len(ticket) > MAX_TICKET_CHARS:
            return None
        try:
            raw = urlsafe_b64decode(ticket.encode("ascii") + b"=" * (-len(ticket) % 4))
        except ValueError:
            return None
        mac, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if _text(raw) != ticket or not compare_digest(self._mac(body), mac):
            return None
        try:
            content = json.decode(body, type=Ticket)
        except (DecodeError, ValidationError):
            return None  # made by another version
        return content if self._now().timestamp() < content.expires else None

    def _mac(self, body: bytes) -> bytes:
        return mac(self._key, _PURPOSE, body)[:_MAC_BYTES]


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")
