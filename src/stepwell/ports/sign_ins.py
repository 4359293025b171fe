"""The records of sign-ins to the web page, as a protocol."""

from datetime import datetime
from enum import Enum, auto
from typing import Protocol
from uuid import UUID


class CodeRefusal(Enum):
    """The reason why a code signs nobody in: it was used before, or all sessions were ended after it was made."""

    USED = auto()
    ENDED = auto()


class SignIns(Protocol):
    """The sign-ins of one database. All methods raise `Unavailable`."""

    async def now(self) -> datetime:
        """Return the time of the database now, at which a session begins."""

    async def use_code(self, code_id: UUID, issued_at: datetime, expires_at: datetime) -> datetime | CodeRefusal:
        """Use the code, which was made at *issued_at*, and return the time of the database.

        Of all calls for the same code, by any process, one uses it.
        """

    async def ended_at(self) -> datetime | None:
        """Return when all sessions were ended the last time; None if they never were."""

    async def end_all(self) -> None:
        """End all sessions that have begun, and all codes that were made, up to now."""
