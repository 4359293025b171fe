"""JSON whose bytes depend on what it says alone, and its digest: how a request is known again."""

import hashlib
from collections.abc import Mapping
from typing import Any

from msgspec import json

_EXACT = 2**53  # up to here every integer is a float too


def canonical(value: Any) -> bytes:
    """*value* with its keys sorted, without spaces, and 1.0 as 1."""
    return json.encode(_plain(value), order="deterministic")


def digest(value: Any) -> str:
    """The SHA-256 of its canonical JSON, in hex."""
    return hashlib.sha256(canonical(value)).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    return value
