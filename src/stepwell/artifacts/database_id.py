"""The file in an artifact store with the id of the database that the store belongs to.

What must hold:
- A store is used by one database only. Otherwise a sweep for one database would delete the files of the other.
- Processes of one database use one store. A process whose folder isn't the one of the others would lose their files.
"""

from pathlib import Path
from typing import Final
from uuid import UUID

from msgspec import Struct

from stepwell.artifacts.store import ObstoreArtifacts

ID_FILE: Final = "media/.database-id"


class ForeignStore(Exception):
    """The store belongs to another database, or isn't the one of the other processes. The message is one line."""


class StoreIdentity(Struct, frozen=True):
    """An open store, whose file with the id can be read and written. *place* names the store in messages.

    *folder* is its folder; None for a bucket.
    """

    store: ObstoreArtifacts
    place: str
    folder: Path | None = None

    async def bind(self, database_id: UUID, *, must_exist: bool) -> None:
        """Check that the store belongs to the database. A store without the file gets one.

        With *must_exist*, such a store is refused. Raises `ForeignStore` and `ArtifactError`.
        """
        own = str(database_id)
        found = await self.store.read_id(ID_FILE)
        if found is None:
            if must_exist:
                raise ForeignStore(self._not_shared(own))
            found = await self.store.write_id(ID_FILE, own)
        if found != own:
            raise ForeignStore(
                f"cannot use {self.place}: it belongs to another database ({found}, not {own}): give each database a "
                f"store of its own, or delete {self._file} if this database alone uses the store"
            )

    async def read(self) -> str | None:
        """Return the id of the database that the store belongs to; None if it has none. Raises `ArtifactError`."""
        return await self.store.read_id(ID_FILE)

    @property
    def _file(self) -> str:
        return ID_FILE if self.folder is None else str(self.folder / ID_FILE)

    def _not_shared(self, own: str) -> str:
        return (
            f"cannot use {self.place}: it isn't the folder that this database's processes share, because it lacks "
            f"{ID_FILE}: mount the shared folder there; after a move to a new folder, copy all files to it, or write "
            f"{own} to {self._file}"
        )
