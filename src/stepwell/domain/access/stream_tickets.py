"""Tickets that open a stream of events, for browsers: their EventSource sends no headers, and an address with a token
in it would be in every log on its way. A ticket is soon worthless, and reads events only.
"""

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec import DecodeError, Struct, ValidationError, json

from stepwell.domain.tenancy import TenantScope

TICKET_S = 60
MAX_TICKET_CHARS = 4_096
_PURPOSE = b"stepwell stream ticket 1"
_MAC_BYTES = 16


class Ticket(Struct, frozen=True, array_like=True):
    """Who may read, whose events, and until when (seconds since 1970) they may begin to."""

    subject: str
    tenant: str | None
    every: bool
    expires: int

    @property
    def scope(self) -> TenantScope:
        return TenantScope(self.tenant, self.every)


class StreamTickets:
    """Makes and reads tickets. The secret signs other things too, which no ticket can be mistaken for."""

    def __init__(self, secret: bytes, now: Callable[[], datetime]) -> None:
        self._key, self._now = secret, now

    def issue(self, subject: str, scope: TenantScope) -> tuple[str, datetime]:
        """A ticket, and the moment at which it ends."""
        expires = (self._now() + timedelta(seconds=TICKET_S)).replace(microsecond=0)
        body = json.encode(Ticket(subject, scope.tenant, scope.every, int(expires.timestamp())))
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
        if _text(raw) != ticket or not hmac.compare_digest(self._mac(body), mac):
            return None
        try:
            found = json.decode(body, type=Ticket)
        except (DecodeError, ValidationError):
            return None  # of another version
        return found if self._now().timestamp() < found.expires else None

    def _mac(self, body: bytes) -> bytes:
        return hmac.new(self._key, _PURPOSE + body, hashlib.sha256).digest()[:_MAC_BYTES]


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")
