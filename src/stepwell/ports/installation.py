"""The record of a database about itself, as a protocol."""

from contextlib import AbstractAsyncContextManager
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

    def recording_folder(self) -> AbstractAsyncContextManager[InstallationRecord]:
        """Return a context with the record, at whose end `has_folder` is set, unless an error ends it.

        Only one process at a time is within it. Entering waits for the others, up to the deadline of a statement.
        Entering and leaving raise `Unavailable`.
        """
