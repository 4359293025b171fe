"""Signed texts: messages that only this service can make, for places where a client keeps them.

What must hold:
- A text is accepted only in the exact notation in which it was made. Padding, another alphabet, and bits that base64
  ignores are refused.
- A text of one purpose is never accepted for another.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from hmac import compare_digest
from typing import Final

from stepwell.rules.access.mac import mac

_MAC_BYTES: Final = 16


class SignedTexts:
    """Signs and reads messages for one *purpose*: the MAC and the message, as URL-safe base64 without padding.

    Longer texts than *max_chars* are refused. See `mac` for the purpose.
    """

    def __init__(self, secret: bytes, purpose: bytes, max_chars: int) -> None:
        self._key, self._purpose, self._max_chars = secret, purpose, max_chars

    def sign(self, message: bytes) -> str:
        return _text(self._mac(message) + message)

    def read(self, text: str) -> bytes | None:
        """Return the message in *text*; None if it wasn't made here, in exactly this notation."""
        if len(text) > self._max_chars:
            return None
        try:
            raw = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        except ValueError:
            return None
        own, message = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        return message if _text(raw) == text and compare_digest(self._mac(message), own) else None

    def _mac(self, message: bytes) -> bytes:
        return mac(self._key, self._purpose, message)[:_MAC_BYTES]


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")
