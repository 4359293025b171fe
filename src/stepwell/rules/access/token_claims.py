"""Reads the claims of a token without verifying it, for programs that have no key. The service verifies each token."""

from base64 import urlsafe_b64decode
from typing import Any

from msgspec import json

_PARTS = 3  # header, claims, signature


def unverified_claims(token: str) -> dict[str, Any]:
    """Return the claims of a JSON Web Token, whose signature isn't checked; none if it isn't such a token."""
    parts = token.split(".")
    if len(parts) != _PARTS:
        return {}
    try:
        claims = json.decode(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):  # `msgspec.DecodeError` is a ValueError
        return {}
    return claims if isinstance(claims, dict) else {}
