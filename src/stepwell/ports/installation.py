"""What a database records about itself, as a protocol."""

from typing import Protocol
from uuid import UUID

from msgspec import Struct


class InstallationRecord(Struct, frozen=True):
    """The identity of a database.

    `has_folder`: processes of `serve` store files in a folder that all of them must share. `is_newer`: the tables are
    of a newer version than this code, so they may refer to files in ways that this code doesn't know.
    """

    id: UUID
    has_folder: bool
    is_newer: bool


class Installation(Protocol):
    """The record of one database."""

    async def read(self) -> InstallationRecord:
        """Return the record. Raises `Unavailable`."""

    async def record_folder(self) -> None:
        """Set `has_folder`. Raises `Unavailable`."""
