"""Cursors of the event feed: positions as texts, which say nothing to those who get them.

A position may be at an event of another tenant's workflow, up to which the feed was read. So it is encrypted. A cursor
gives no access: each request reads the events of its own tenants.

AES-SIV (RFC 5297) needs no random number, so a position has one text, and it detects texts that weren't made here.
"""

import struct
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from stepwell.rules.access.mac import mac
from stepwell.rules.event_feed import BEGINNING, FeedCursor

_PURPOSE: Final = b"stepwell feed cursor 1"
_BEGINNING: Final = "0"
_OLD_BYTES: Final = 32  # a position and its checksum
_SUM: Final = struct.Struct(">I")


class FeedCursors:
    """Makes and reads cursors. *secret* is that of the URLs: with another one, they aren't accepted."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESSIV(mac(secret, _PURPOSE, b""))

    def issue(self, position: FeedCursor) -> str:
        """Return the cursor of *position*."""
        return urlsafe_b64encode(self._cipher.encrypt(position.encode(), None)).decode().rstrip("=")

    def read(self, cursor: str) -> FeedCursor:
        """Return the position of *cursor*; `0` is the beginning. Raises ValueError if it wasn't made here.

        The cursors of earlier versions, which aren't encrypted, are accepted too.
        """
        if cursor == _BEGINNING:
            return BEGINNING
        raw = urlsafe_b64decode(cursor.encode("ascii") + b"=")
        if urlsafe_b64encode(raw).decode().rstrip("=") != cursor:
            raise ValueError("not a cursor")
        if len(raw) == _OLD_BYTES:
            body, check = raw[: -_SUM.size], raw[-_SUM.size :]
            if check != _SUM.pack(zlib.crc32(body)):
                raise ValueError("not a cursor")
            return FeedCursor.decode(body)
        try:
            return FeedCursor.decode(self._cipher.decrypt(raw, None))
        except InvalidTag:
            raise ValueError("not a cursor") from None
