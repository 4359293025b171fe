"""Opens the artifact store that the settings name: a folder or a bucket."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
from msgspec import Struct

from stepwell.artifacts.database_id import ForeignStore, StoreIdentity
from stepwell.artifacts.presigned_put import presigned_put
from stepwell.artifacts.s3 import Bucket
from stepwell.artifacts.store import ObstoreArtifacts, OnFull, ignore, start_runtime
from stepwell.basics.artifacts import ARTIFACTS_ROOT
from stepwell.basics.errors import ArtifactError
from stepwell.ports.artifacts import Artifacts
from stepwell.ports.processes import Installation, InstallationRecord
from stepwell.settings import Settings

log = structlog.get_logger()


class StorageRefused(Exception):
    """The bucket or the folder of the settings can't be used. The message is one line, without secrets."""


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
        place = f"the artifact folder {settings.artifacts}"
        return Storage(local, local.try_to_write, StoreIdentity(local, place, settings.artifacts))
    store = ObstoreArtifacts.s3(bucket, on_full)
    try:
        await store.check()
    except ArtifactError as error:
        raise StorageRefused(f"cannot use the bucket {bucket.description}: {error}") from None
    if _has_files(settings.artifacts):
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
    shares_folder = storage.identity.folder is not None and not exclusive
    if shares_folder and not record.has_folder:
        async with installation.recording_folder() as record:  # of two that start together, one has the folder
            await _bind(storage.identity, record, must_exist=record.has_folder)
    else:
        await _bind(storage.identity, record, must_exist=shares_folder)
    return record


async def _bind(identity: StoreIdentity, record: InstallationRecord, *, must_exist: bool) -> None:
    try:
        await identity.bind(record.id, must_exist=must_exist)
    except ForeignStore as error:
        raise StorageRefused(str(error)) from None
    except ArtifactError as error:
        raise StorageRefused(f"cannot use {identity.place}: {error}") from None


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


def _has_files(folder: Path) -> bool:
    return next((folder / ARTIFACTS_ROOT).glob("*/*"), None) is not None
