"""The message authentication code of everything that Stepwell signs with its URL secret."""

import hashlib
import hmac


def mac(secret: bytes, purpose: bytes, message: bytes) -> bytes:
    """Return the HMAC-SHA256 of *message*, 32 bytes.

    One secret signs messages of several kinds. Each kind has a *purpose* of its own, which no other kind's message
    begins with. So a message that was signed as one kind is never accepted as another.
    """
    return hmac.digest(secret, purpose + message, hashlib.sha256)
