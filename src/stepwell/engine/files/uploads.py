"""Stores, lists and deletes uploads.

    bytes ──► temporary file ──► type and size ──► row, PENDING ──► file in the store ──► row, STORED

What must hold:
- An upload that ends anywhere in between leaves nothing: the temporary file has no name, and a row that is PENDING is
  deleted with its file, here or by the sweeper.
- The same bytes of a tenant are stored once, also if they come twice at the same time. Those of private uploads are
  stored once for each subject, so that nobody learns by an upload which files others have (see `rules.uploads`).
- A tenant's uploads never exceed its quota: the bytes are reserved before the file is stored.
- No file of an expired upload is deleted that an undeleted workflow of the tenant names, see
  `ports.uploads.Uploads.begin_expiry`.
- A deletion that was interrupted or has failed is continued, by this process or by another one.
- No statement is sent while nothing is due.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from anyio import CancelScope
from msgspec import Struct, json

from stepwell.basics import errors
from stepwell.basics.artifacts import named_tasks, parse_artifact_path
from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.engine.execution.timers import wait_until_set
from stepwell.engine.files.inspection import Inspection, inspect_file
from stepwell.engine.files.spooled_file import SpooledFile, spooled_file
from stepwell.ports.artifacts import Artifacts
from stepwell.ports.clock import Clock, NewId
from stepwell.ports.uploads import PENDING_S, Uploads
from stepwell.rules.uploads import (
    NewUpload,
    PresignedUpload,
    Uploader,
    UploadLimits,
    UploadPage,
    UploadRecord,
    safe_name,
)
from stepwell.runtime.child_processes import ChildProcessFailed, ChildProcessPool
from stepwell.runtime.outages import OUTAGE_RETRY_S

log = structlog.get_logger()

CONTINUE: Final = timedelta(minutes=5)  # until a deletion that has failed is continued
_DELETE_S = 60.0
_TRIES = 3
_DELETED_AT_ONCE = 8
_LARGEST_AT_ONCE = 2
_PAGE = 100
_NO_PRESIGN = (
    "This service has no bucket with a configured key that clients can reach. Send the file itself as the body"
)


class StoredUpload(Struct, frozen=True):
    """An upload, and whether it was stored by this call. Otherwise the tenant had uploaded the same bytes before."""

    record: UploadRecord
    created: bool


class UploadUrl(Struct, frozen=True):
    """A URL to which the client PUTs the file of an upload, until `expires_at`."""

    upload_id: UUID
    url: str
    expires_at: datetime


class Presigner(Struct, frozen=True):
    """Signs URLs of a bucket: *sign* returns one for a path and a size, valid for *ttl_s* seconds."""

    sign: Callable[[str, int], Awaitable[str]]
    ttl_s: float


class UploadSweeper:
    """Deletes uploads when they are due."""

    busy = False  # it needs no lease, because a row's lock decides who deletes an upload

    def __init__(self, store: Uploads, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._next: datetime | None = None
        self._wake = asyncio.Event()

    async def take_over(self) -> None:
        """Take over the uploads that dead processes would have deleted. Raises `Unavailable`."""
        seconds = await self._store.next_due_s()
        if seconds is not None:
            self.sweep_at(self._clock.now() + timedelta(seconds=seconds))

    def sweep_at(self, at: datetime) -> None:
        """Look for expired uploads at that time, or earlier."""
        if self._next is None or at < self._next:
            self._next = at
            self._wake.set()

    async def run(self, uploads: "UploadService") -> None:
        """Delete uploads that are due, until cancelled."""
        while True:
            pause_s = math.inf
            if self._next is not None:
                pause_s = max((self._next - self._clock.now()).total_seconds(), 0.0)
            if pause_s > 0:
                await wait_until_set(self._wake, self._clock, pause_s)
            self._wake.clear()
            if self._next is not None and self._next <= self._clock.now():
                self._next = None
                await self._sweep(uploads)

    async def _sweep(self, uploads: "UploadService") -> None:
        try:
            while due := await self._store.due(_PAGE):
                for upload_id in due:
                    if await self._store.begin_expiry(upload_id):
                        await uploads.discard(upload_id)
            await self.take_over()
        except errors.Unavailable:
            self.sweep_at(self._clock.now() + timedelta(seconds=OUTAGE_RETRY_S))


class UploadService:
    """The uploads of tenants. `received` counts the bytes of each tenant that are being received."""

    def __init__(
        self,
        store: Uploads,
        artifacts: Artifacts,
        processes: ChildProcessPool,
        limits: UploadLimits,
        max_bytes: int,
        clock: Clock,
        new_id: NewId,
        *,
        sweeper: UploadSweeper,
        presigner: Presigner | None = None,
    ) -> None:
        self._store, self._artifacts, self._processes, self._limits = store, artifacts, processes, limits
        self.max_bytes, self.sweeper, self._presigner = max_bytes, sweeper, presigner
        self._clock, self._new_id = clock, new_id
        self.received: Counter[str | None] = Counter()

    @contextmanager
    def receiving(self, tenant: str | None) -> Iterator[Callable[[int], None]]:
        """Yield a function that counts received bytes of an upload. It raises `TooManyRequests`.

        A tenant's uploads that are being received have at most as many bytes together as two of the largest, because
        they aren't charged to its quota before they are complete.
        """
        received = 0

        def count(size: int) -> None:
            nonlocal received
            if self.received[tenant] + size > _LARGEST_AT_ONCE * self.max_bytes:
                raise errors.TooManyRequests("Too many bytes of uploads of this tenant are being received.")
            self.received[tenant] += size
            received += size

        try:
            yield count
        finally:
            self.received[tenant] -= received
            if not self.received[tenant]:
                del self.received[tenant]

    async def add(self, uploader: Uploader, file: SpooledFile, workflow_id: UUID | None = None) -> StoredUpload:
        """Store the file. With *workflow_id* it came in the definition of that workflow, and is deleted with it.

        Raises `UnsupportedFile`, `QuotaExceeded`, `ArtifactError` and `Unavailable`.
        """
        for _ in range(_TRIES):
            same = await self._store.find_same(uploader, file.sha256, own=workflow_id is None)
            if same is not None:
                return StoredUpload(same, created=False)
            new = await self._examine(self._new_id(self._clock.now()), uploader, file, workflow_id)
            await self._store.reserve(new, self._limits)
            if (record := await self._store_file(new, file)) is not None:
                return StoredUpload(record, created=True)
        raise errors.Unavailable("the same file is being uploaded and deleted elsewhere")

    async def presign(self, uploader: Uploader, name: str, size: int) -> UploadUrl:
        """Reserve *size* bytes for a file that the client sends to a URL of the bucket.

        Raises `InvalidRequest` without such a bucket, `QuotaExceeded`, `ArtifactError` and `Unavailable`.
        """
        if self._presigner is None:
            raise errors.InvalidRequest([errors.Fault(("query", "presign"), _NO_PRESIGN, "presign")])
        now = self._clock.now()
        upload = PresignedUpload(self._new_id(now), uploader, name, size)
        url = await self._presigner.sign(upload.path, size)
        await self._store.reserve_presigned(upload, self._limits, self._presigner.ttl_s)
        expires_at = now + timedelta(seconds=self._presigner.ttl_s)
        self.sweeper.sweep_at(expires_at + timedelta(seconds=PENDING_S))
        return UploadUrl(upload.id, url, expires_at)

    async def owner(self, scope: TenantScope, upload_id: UUID) -> str | None:
        """Return the tenant of an upload, complete or not. Raises `NotFound`."""
        found = await self._store.find(scope, upload_id) or await self._store.find_presigned(scope, upload_id)
        if found is None:
            raise errors.NotFound("upload")
        return found.tenant

    async def complete(self, scope: TenantScope, upload_id: UUID) -> StoredUpload:
        """Examine and store the file that the client has sent to the bucket. What is refused is deleted.

        Raises `NotFound`, `UploadMissing`, `InvalidRequest`, `UnsupportedFile`, `TooManyRequests`, `ArtifactError` and
        `Unavailable`.
        """
        if (record := await self._store.find(scope, upload_id)) is not None:
            return StoredUpload(record, created=False)
        upload = await self._store.find_presigned(scope, upload_id)
        if upload is None:
            raise errors.NotFound("upload")
        async with spooled_file(upload.name) as file:
            try:
                with self.receiving(upload.tenant) as count:
                    await self._fetch(upload, file, count)
                    return await self._complete(upload, file)
            except (errors.InvalidRequest, errors.UnsupportedFile):
                await self._abandon(upload_id)
                raise

    async def _fetch(self, upload: PresignedUpload, file: SpooledFile, count: Callable[[int], None]) -> None:
        try:
            async with self._artifacts.stream(upload.path) as chunks:
                async for chunk in chunks:
                    count(len(chunk))
                    await file.write(chunk)
                    if file.size > upload.size:
                        break
        except errors.ArtifactGone:
            raise errors.UploadMissing from None
        if file.size != upload.size:
            message = f"The file has another size than the {upload.size:,} bytes that were announced"
            raise errors.InvalidRequest([errors.Fault(("path", "upload_id"), message, "size")])

    async def _complete(self, upload: PresignedUpload, file: SpooledFile) -> StoredUpload:
        same = await self._store.find_same(upload.uploader, file.sha256, own=True)
        if same is None:
            new = await self._examine(upload.id, upload.uploader, file, None)
            if not await self._store.describe(new):
                raise errors.Unavailable("another request is completing this upload")
            if (record := await self._store_file(new, file)) is not None:
                await self._delete_unchecked(upload)
                return StoredUpload(record, created=True)
            same = await self._store.find_same(upload.uploader, file.sha256, own=True)
            if same is None:
                raise errors.Unavailable("the same file is being uploaded and deleted elsewhere")
        await self._abandon(upload.id)
        return StoredUpload(same, created=False)

    async def _delete_unchecked(self, upload: PresignedUpload) -> None:
        """Delete the file as the client has sent it. If that fails now, it goes with the upload."""
        try:
            async with asyncio.timeout(_DELETE_S):
                await self._artifacts.delete(upload.path)
        except (errors.ArtifactError, errors.ArtifactGone, TimeoutError) as error:
            log.warning("upload.not_deleted", action="delete", upload_id=str(upload.id), error=str(error))

    async def take_back(self, uploads: Iterable[StoredUpload]) -> None:
        """Delete uploads of a request that has failed, unless another request has used them meanwhile."""
        with CancelScope(shield=True), suppress(errors.Unavailable):  # otherwise they expire
            for upload in uploads:
                with suppress(errors.NotFound, errors.UploadInUse):
                    await self._delete(EVERY_TENANT, upload.record, upload.record.expires_at)

    async def find(self, scope: TenantScope, path: str) -> UploadRecord:
        """Return the upload with exactly this path. Raises `NotFound`."""
        target = parse_artifact_path(path)
        record = None if target is None else await self._store.find(scope, target.task_id)
        if record is None or record.path != path:
            raise errors.NotFound("artifact")
        return record

    async def missing(self, scope: TenantScope, ids: Collection[str]) -> set[str]:
        """Return those of *ids*, in their canonical form, that are no uploads of *scope*."""
        paths = await self._store.stored_paths(scope, list(map(UUID, ids))) if ids else ()
        return set(ids) - named_tasks(" ".join(paths).encode())

    async def page(self, scope: TenantScope, skip: int, limit: int) -> UploadPage:
        """Return a page of the uploads, newest first."""
        return await self._store.page(scope, skip, limit)

    async def delete(self, scope: TenantScope, path: str) -> UploadRecord:
        """Delete the upload, and return what it was. If its file can't be deleted now, the sweeper does it later.

        Raises `NotFound`, and `UploadInUse` if an undeleted workflow names the file.
        """
        record = await self.find(scope, path)
        await self._delete(scope, record)
        return record

    async def _delete(self, scope: TenantScope, record: UploadRecord, expires_at: datetime | None = None) -> None:
        await self._store.begin_deletion(scope, record.id, expires_at)
        if not await self.discard(record.id):
            self.sweeper.sweep_at(self._clock.now() + CONTINUE)

    async def delete_with_workflow(self, workflow_id: UUID) -> tuple[Sequence[str], bool]:
        """Delete some of the uploads that came with the definition of a deleted workflow.

        Return their paths, and whether there may be more. An upload that another undeleted workflow names stays, and
        belongs to that one from then on. Raises `Unavailable`.
        """
        records, more = await self._store.begin_deletion_with_workflow(workflow_id, _DELETED_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            deletions = [
                group.create_task(self.discard(record.id), name=f"delete upload {record.id}") for record in records
            ]
        if not all(deletion.result() for deletion in deletions):
            self.sweeper.sweep_at(self._clock.now() + CONTINUE)
        return [record.path for record in records], more

    async def charge_preview(self, image_id: UUID, size: int) -> None:
        """Count *size* more bytes for the upload *image_id*, until it is deleted. It may also be the id of a task.

        Raises `QuotaExceeded` and `Unavailable`.
        """
        with suppress(errors.NotFound):
            await self._store.charge_preview(image_id, size, self._limits)

    async def discard(self, upload_id: UUID) -> bool:
        """Delete the files of a DELETING upload, then its row. Return False if that must be tried again."""
        try:
            async with asyncio.timeout(_DELETE_S):
                await self._artifacts.discard(upload_id)
            await self._store.end_deletion(upload_id)
        except (errors.ArtifactError, TimeoutError, errors.Unavailable) as error:
            log.warning("upload.not_deleted", action="delete", upload_id=str(upload_id), error=str(error))
            return False
        return True

    async def _examine(
        self, upload_id: UUID, uploader: Uploader, file: SpooledFile, workflow_id: UUID | None
    ) -> NewUpload:
        """Return the upload with what its bytes show. Raises `UnsupportedFile` and `Unavailable`."""
        if not file.size:
            raise errors.UnsupportedFile("The file is empty.")
        try:
            result = await self._processes.run(uploader.tenant, inspect_file, lambda: [file.path.encode()])
        except ChildProcessFailed as error:
            if error.repeatable:
                raise errors.Unavailable(f"The file could not be examined: {error}") from error
            raise errors.UnsupportedFile("The file takes too much memory or time to be examined.") from error
        inspection = json.decode(result, type=Inspection)
        if inspection.contents is None:
            raise errors.UnsupportedFile(inspection.refusal)
        return NewUpload(
            id=upload_id,
            tenant=uploader.tenant,
            created_by=uploader.subject,
            private=uploader.private,
            name=safe_name(file.name, inspection.contents.media_type),
            size=file.size,
            sha256=file.sha256,
            contents=inspection.contents,
            workflow_id=workflow_id,
        )

    async def _store_file(self, new: NewUpload, file: SpooledFile) -> UploadRecord | None:
        """Store the file of a PENDING upload. Return None if the same bytes were stored meanwhile.

        If it isn't stored, the upload is deleted.
        """
        record: UploadRecord | None = None
        try:
            await self._artifacts.put_file(new.path, file.file)
            record = await self._store.finish(new.id)
        finally:
            if record is None:
                await self._abandon(new.id)
        if record is not None:
            self.sweeper.sweep_at(record.expires_at)
        return record

    async def _abandon(self, upload_id: UUID) -> None:
        """Delete an upload that is PENDING. It may be STORED, if the database's response was lost; then it stays."""
        with CancelScope(shield=True), suppress(errors.Unavailable):  # the sweeper does it later
            if await self._store.abandon(upload_id) and not await self.discard(upload_id):
                self.sweeper.sweep_at(self._clock.now() + CONTINUE)
