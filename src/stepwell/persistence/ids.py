"""`ports.NewId`: ids that sort by the time they were made."""

import os
import uuid
from datetime import datetime

from asyncpg.pgproto.pgproto import UUID


def uuid7(now: datetime) -> uuid.UUID:
    """A UUID of version 7: 48 bits of milliseconds, 74 random bits. RFC 9562, section 5.7.

    It is of the kind that asyncpg reads: a `uuid.UUID` that is made, hashed and sent in C, which takes a tenth off what
    a step costs.
    """
    random = os.urandom(10)
    head = int(now.timestamp() * 1000).to_bytes(6, "big")
    version, variant = 0x70 | random[0] & 0x0F, 0x80 | random[2] & 0x3F
    return UUID(bytes((*head, version, random[1], variant, *random[3:])))  # type: ignore[no-any-return]
