"""The store of output files that the settings name: a folder or a bucket, and the database that it belongs to.

What must hold:
- A store is used by one database only. Otherwise a sweep for one database would delete the files of the other.
- Processes of one database use one store. A process whose folder isn't the one of the others would lose their files.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog
from msgspec import Struct

from stepwell.artifacts.s3 import Bucket, presigned_put
from stepwell.artifacts.store import ObstoreArtifacts, OnFull, ignore, start_runtime
from stepwell.basics.artifacts import ARTIFACTS_ROOT
from stepwell.basics.errors import ArtifactError
from stepwell.ports.artifacts import Artifacts
from stepwell.ports.processes import Installation, InstallationRecord
from stepwell.settings import Settings

ID_FILE: Final = "media/.database-id"
log = structlog.get_logger()


class StorageRefused(Exception):
    """The bucket or the folder of the settings can't be used. The message is one line, without secrets."""


class StoreIdentity(Struct, frozen=True):
    """An open store, whose file with the id can be read and written. *description* names the store in messages.

    *folder* is its folder; None for a bucket.
    """

    store: ObstoreArtifacts
    description: str
    folder: Path | None = None

    async def bind(self, database_id: UUID, *, must_exist: bool) -> None:
        """Check that the store belongs to the database. A store without the file gets one.

        With *must_exist*, such a store is refused. Raises `StorageRefused` and `ArtifactError`.
        """
        own, stored = str(database_id), await self.read()
        if stored is None:
            if must_exist:
                raise StorageRefused(
                    f"cannot use {self.description}: it isn't the folder that this database's processes share, "
                    f"because it lacks {ID_FILE}: mount the shared folder there; after a move to a new folder, "
                    f"copy all files to it, or write {own} to {self._file}"
                )
            stored = await self.store.write_id(ID_FILE, own)
        if stored != own:
            raise StorageRefused(
                f"cannot use {self.description}: it belongs to another database ({stored}, not {own}): give each "
                f"database its own store, or delete {self._file} if this database alone uses the store"
            )

    async def read(self) -> str | None:
        """Return the id of the database that the store belongs to; None if it has none. Raises `ArtifactError`."""
        return await self.store.read_id(ID_FILE)

    @property
    def _file(self) -> str:
        return ID_FILE if self.folder is None else str(self.folder / ID_FILE)


class Storage(Struct, frozen=True):
    """An open artifact store.

    `sign_url` returns a signed URL at the bucket; it is None if clients must use the service's own URLs. `presign_put`
    returns a URL of the bucket to PUT a file of a size to; it is None without a bucket that clients reach, and without
    a configured key. `shared`: the store may contain files of others, so unknown files must not be deleted.
    `try_to_write` raises `ArtifactError` while a disk is full.
    """

    artifacts: Artifacts
    try_to_write: Callable[[], Awaitable[None]]
    identity: StoreIdentity
    sign_url: Callable[[str], Awaitable[str]] | None = None
    presign_put: Callable[[str, int], Awaitable[str]] | None = None
    shared: bool = False


async def open_storage(settings: Settings, on_full: OnFull = ignore) -> Storage:
    """Open the folder or the bucket of the settings. A bucket is tested first: write, read, list, delete.

    *on_full* is called for each write that fails because the disk is full. Raises OSError for the folder, and
    `StorageRefused`.
    """
    bucket = bucket_of(settings)
    if bucket is None:
        try:
            await start_runtime()  # `check` starts it for a bucket
        except ArtifactError as error:
            raise StorageRefused(f"cannot use the artifact folder {settings.artifacts}: {error}") from None
        local = ObstoreArtifacts.local(settings.artifacts, on_full)
        description = f"the artifact folder {settings.artifacts}"
        return Storage(local, local.try_to_write, StoreIdentity(local, description, settings.artifacts))
    store = ObstoreArtifacts.s3(bucket, on_full)
    try:
        await store.check()
    except ArtifactError as error:
        raise StorageRefused(f"cannot use the bucket {bucket.description}: {error}") from None
    if next((settings.artifacts / ARTIFACTS_ROOT).glob("*/*"), None) is not None:
        log.warning("artifacts.left_behind", action="start", folder=str(settings.artifacts))

    async def sign_url(path: str) -> str:
        return await store.signed_url(path, settings.signed_url_ttl_s)

    secret = settings.s3_secret_access_key

    async def presign_put(path: str, size: int) -> str:
        return presigned_put(await store.signed_url(path, settings.signed_url_ttl_s), size, secret or "")

    return Storage(
        store,
        store.try_to_write,
        StoreIdentity(store, f"the bucket {bucket.description}"),
        sign_url if settings.s3_links else None,
        presign_put if settings.s3_links and secret is not None else None,
        shared=True,
    )


async def bind_storage(storage: Storage, installation: Installation, *, exclusive: bool) -> InstallationRecord:
    """Check that the store belongs to the database, and that the processes of the database share it.

    *exclusive*: there is only one process. Raises `StorageRefused` and `Unavailable`.
    """
    record = await installation.read()
    is_shared_folder = storage.identity.folder is not None and not exclusive
    if is_shared_folder and not record.has_folder:
        async with installation.recording_folder() as record:  # of two that start together, one has the folder
            await _bind(storage.identity, record, must_exist=record.has_folder)
    else:
        await _bind(storage.identity, record, must_exist=is_shared_folder)
    return record


async def _bind(identity: StoreIdentity, record: InstallationRecord, *, must_exist: bool) -> None:
    try:
        await identity.bind(record.id, must_exist=must_exist)
    except ArtifactError as error:
        raise StorageRefused(f"cannot use {identity.description}: {error}") from None


def bucket_of(settings: Settings) -> Bucket | None:
    """Return the bucket of the settings; None if they name none."""
    if settings.s3_bucket is None:
        return None
    return Bucket(
        name=settings.s3_bucket,
        prefix=settings.s3_prefix,
        endpoint=settings.s3_endpoint,
        region=settings.s3_region,
        access_key_id=settings.s3_access_key_id,
        secret_access_key=settings.s3_secret_access_key,
    )
