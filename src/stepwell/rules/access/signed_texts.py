"""Signed texts: values that only this service can make, which a client keeps and sends back.

What must hold:
- A text is accepted only in the exact notation in which it was made. Padding, another alphabet, and bits that base64
  ignores are refused.
- A text of one purpose is never accepted for another: each purpose has its own key.
- Codes are compared in constant time.
"""

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final, Generic, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from msgspec import DecodeError, msgpack

Body = TypeVar("Body")

_KEY_VERSION: Final = b"\x01"
_MAC_BYTES: Final = 16
_encode: Final = msgpack.Encoder(uuid_format="bytes").encode


class SignedTexts(Generic[Body]):
    """Makes and reads the signed texts of one *purpose*, whose values are of the type *body*.

    A text is the version of the key, the message authentication code (HMAC-SHA256) of the value, and the value as
    MessagePack, in URL-safe base64 without padding. Longer texts than *max_chars* are refused; it is 0
    for values of which only the signature is needed.

    *encrypted*: AES-SIV (RFC 5297) hides the value, and detects texts that weren't made here. It needs no random
    number, so a value has one text.
    """

    def __init__(
        self, secret: bytes, purpose: str, body: type[Body], max_chars: int = 0, *, encrypted: bool = False
    ) -> None:
        self._key = hmac.digest(secret, f"stepwell {purpose} ".encode() + _KEY_VERSION, hashlib.sha256)
        self._cipher = AESSIV(self._key) if encrypted else None
        self._decode, self._max_chars = msgpack.Decoder(body).decode, max_chars

    def sign(self, body: Body) -> str:
        message = _encode(body)
        sealed = self._mac(message) + message if self._cipher is None else self._cipher.encrypt(message, None)
        return _text(_KEY_VERSION + sealed)

    def read(self, text: str) -> Body | None:
        """Return the value of *text*; None if it wasn't made here, in exactly this notation."""
        if len(text) > self._max_chars:
            return None
        try:
            raw = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
            message = self._open(raw[1:]) if raw[:1] == _KEY_VERSION and _text(raw) == text else None
            return None if message is None else self._decode(message)
        except (ValueError, DecodeError):  # no base64; made by another version of Stepwell
            return None

    def signature(self, body: Body) -> str:
        """Return the signature of *body* alone, for texts that show their value."""
        return _text(_KEY_VERSION + self._mac(_encode(body)))

    def _open(self, sealed: bytes) -> bytes | None:
        if self._cipher is not None:
            try:
                return self._cipher.decrypt(sealed, None)
            except InvalidTag:
                return None
        mac, message = sealed[:_MAC_BYTES], sealed[_MAC_BYTES:]
        return message if hmac.compare_digest(self._mac(message), mac) else None

    def _mac(self, message: bytes) -> bytes:
        return hmac.digest(self._key, message, hashlib.sha256)[:_MAC_BYTES]


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")
