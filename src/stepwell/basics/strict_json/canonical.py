"""Canonical JSON: equal values have equal bytes. So two requests are the same if their digests are."""

import hashlib
from collections.abc import Mapping
from typing import Any

from msgspec import json

_EXACT = 2**53  # below this, every integer is exact as a float


def canonical(value: Any) -> bytes:
    """Return *value* as JSON with sorted keys and without spaces. 1.0 becomes 1."""
    return json.encode(_plain(value), order="deterministic")


def digest(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON of *value*, in hex."""
    return hashlib.sha256(canonical(value)).hexdigest()


def _plain(value: Any) -> Any:
    """Return *value* with strings as keys, lists for tuples, and integers for floats without a fraction."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    return value
