"""Ids that sort by the time they were made, and seeds that stay the same."""

import hashlib
import os
from datetime import datetime
from uuid import UUID


def uuid7(now: datetime) -> UUID:
    """A UUID of version 7: 48 bits of milliseconds, 74 random bits. RFC 9562, section 5.7."""
    milliseconds = int(now.timestamp() * 1000) & ((1 << 48) - 1)
    random = int.from_bytes(os.urandom(10), "big") >> 6
    value = milliseconds << 80 | 0x7 << 76 | (random >> 62) << 64 | 0b10 << 62 | random & ((1 << 62) - 1)
    return UUID(int=value)


def drawn_seed(workflow_id: UUID, position: int) -> int:
    """The seed of a step that was given none, 0 to 2**31 - 1: the same for all its attempts, so that a retry draws the
    same picture, and as good as random between workflows.
    """
    digest = hashlib.sha256(workflow_id.bytes + position.to_bytes(4, "big")).digest()
    return int.from_bytes(digest[:4], "big") >> 1
