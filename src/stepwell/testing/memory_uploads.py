"""`ports.uploads.Uploads` in memory."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from stepwell.basics.errors import NotFound, QuotaExceeded, UploadInUse
from stepwell.basics.tenancy import TenantScope
from stepwell.ports.uploads import CONTINUE_S, PENDING_S, RECHECK_S, UploadStatus
from stepwell.rules.uploads import (
    NewUpload,
    PresignedUpload,
    Uploader,
    UploadLimits,
    UploadPage,
    UploadRecord,
    UploadUse,
)
from stepwell.testing.memory_tables import MemoryAdapter, UploadRow

_PENDING, _RECHECK, _CONTINUE = (timedelta(seconds=each) for each in (PENDING_S, RECHECK_S, CONTINUE_S))


class MemoryUploads(MemoryAdapter):
    async def reserve(self, new: NewUpload, limits: UploadLimits) -> None:
        used = self._use(new.tenant)
        if used.bytes + new.size > limits.quota_bytes or used.uploads >= limits.max_uploads:
            raise QuotaExceeded(limits.message)
        now = self._tables.clock.now()
        self._tables.uploads[new.id] = UploadRow(new, limits.ttl_s, now, now + _PENDING)

    async def use(self, tenant: str | None) -> UploadUse:
        return self._use(tenant)

    async def reserve_presigned(self, upload: PresignedUpload, limits: UploadLimits, url_s: float) -> None:
        await self.reserve(upload.unexamined, limits)
        row = self._tables.uploads[upload.id]
        row.expires_at = row.presigned_until = row.expires_at + timedelta(seconds=url_s)

    async def find_presigned(self, scope: TenantScope, upload_id: UUID) -> PresignedUpload | None:
        row = self._presigned(upload_id)
        if row is None or not _covers(scope, row):
            return None
        return PresignedUpload(upload_id, row.new.uploader, row.new.name, row.new.size)

    async def describe(self, new: NewUpload) -> bool:
        row = self._presigned(new.id)
        if row is None:
            return False
        row.new = new
        return True

    async def finish(self, upload_id: UUID) -> UploadRecord | None:
        row = self._tables.uploads.get(upload_id)
        if row is None or row.status is not UploadStatus.PENDING or self._same(row.new.uploader, row.new.sha256):
            return None
        row.status, row.expires_at = UploadStatus.STORED, self._tables.clock.now() + row.ttl
        return row.record()

    async def abandon(self, upload_id: UUID) -> bool:
        row = self._tables.uploads.get(upload_id)
        if row is None or row.status is not UploadStatus.PENDING:
            return False
        self._delete(row)
        return True

    async def find_same(self, uploader: Uploader, sha256: str, *, own: bool) -> UploadRecord | None:
        if (row := self._same(uploader, sha256)) is None:
            return None
        row.expires_at = max(row.expires_at, self._tables.clock.now() + row.ttl)
        if own:
            row.workflow_id = None
        return row.record()

    async def find(self, scope: TenantScope, upload_id: UUID) -> UploadRecord | None:
        row = self._stored(scope, upload_id)
        return None if row is None else row.record()

    async def page(self, scope: TenantScope, skip: int, limit: int) -> UploadPage:
        rows = [
            row for row in self._tables.uploads.values() if row.status is UploadStatus.STORED and _covers(scope, row)
        ]
        rows.sort(key=lambda row: (row.created_at, row.new.id.int), reverse=True)
        return UploadPage([row.record() for row in rows[skip : skip + limit]], len(rows))

    async def recorded(self, upload_ids: Collection[UUID]) -> Sequence[str]:
        rows = (self._tables.uploads.get(upload_id) for upload_id in upload_ids)
        return [row.new.path for row in rows if row is not None and row.status is not UploadStatus.DELETING]

    async def stored_paths(self, scope: TenantScope, upload_ids: Collection[UUID]) -> Sequence[str]:
        rows = (self._stored(scope, upload_id) for upload_id in upload_ids)
        return [row.new.path for row in rows if row is not None]

    async def begin_deletion(self, scope: TenantScope, upload_id: UUID, expires_at: datetime | None = None) -> None:
        row = self._stored(scope, upload_id)
        if row is None or expires_at not in (None, row.expires_at):
            raise NotFound("artifact")
        if (workflow_id := self._named_by(row)) is not None:
            raise UploadInUse(workflow_id)
        self._delete(row)

    async def begin_deletion_with_workflow(self, workflow_id: UUID, limit: int) -> tuple[Sequence[UploadRecord], bool]:
        rows = [
            row
            for row in self._tables.uploads.values()
            if row.workflow_id == workflow_id and row.status is UploadStatus.STORED
        ][:limit]
        begun: list[UploadRecord] = []
        for row in rows:
            if (other := self._named_by(row)) is not None:
                row.workflow_id = other
            else:
                begun.append(row.record())
                self._delete(row)
        return begun, len(rows) == limit

    async def begin_expiry(self, upload_id: UUID) -> bool:
        row, now = self._tables.uploads.get(upload_id), self._tables.clock.now()
        if row is None or row.expires_at > now:
            return False
        if row.status is UploadStatus.STORED and self._named_by(row) is not None:
            row.expires_at = now + min(row.ttl, _RECHECK)
            return False
        self._delete(row)
        return True

    async def end_deletion(self, upload_id: UUID) -> None:
        row = self._tables.uploads.get(upload_id)
        if row is not None and row.status is UploadStatus.DELETING and row.presigned_until <= self._tables.clock.now():
            del self._tables.uploads[upload_id]

    async def due(self, limit: int) -> Sequence[UUID]:
        rows = sorted(self._tables.uploads.values(), key=lambda row: row.expires_at)
        return [row.new.id for row in rows if row.expires_at <= self._tables.clock.now()][:limit]

    async def next_due_s(self) -> float | None:
        times = [row.expires_at for row in self._tables.uploads.values()]
        return (min(times) - self._tables.clock.now()).total_seconds() if times else None

    async def charge_preview(self, upload_id: UUID, size: int, limits: UploadLimits) -> None:
        row = self._tables.uploads.get(upload_id)
        if row is None or row.status is not UploadStatus.STORED:
            raise NotFound("artifact")
        if self._use(row.new.tenant).bytes + size > limits.quota_bytes:
            raise QuotaExceeded(limits.message)
        row.preview_bytes += size

    def _delete(self, row: UploadRow) -> None:
        row.status = UploadStatus.DELETING
        row.expires_at = max(self._tables.clock.now() + _CONTINUE, row.presigned_until)

    def _use(self, tenant: str | None) -> UploadUse:
        """Return the use of a quota. The tenant "" has that of no tenant."""
        rows = [row for row in self._tables.uploads.values() if (row.new.tenant or "") == (tenant or "")]
        return UploadUse(sum(row.new.size + row.preview_bytes for row in rows), len(rows))

    def _same(self, uploader: Uploader, sha256: str) -> UploadRow | None:
        stored = (row for row in self._tables.uploads.values() if row.status is UploadStatus.STORED)
        wanted = (uploader.tenant, uploader.group, sha256)
        return next((row for row in stored if _contents(row.new) == wanted), None)

    def _presigned(self, upload_id: UUID) -> UploadRow | None:
        row = self._tables.uploads.get(upload_id)
        return row if row is not None and row.status is UploadStatus.PENDING and not row.new.sha256 else None

    def _stored(self, scope: TenantScope, upload_id: UUID) -> UploadRow | None:
        row = self._tables.uploads.get(upload_id)
        is_visible = row is not None and row.status is UploadStatus.STORED and _covers(scope, row)
        return row if is_visible else None

    def _named_by(self, row: UploadRow) -> UUID | None:
        readers = self._tables.readers_of(row.new.id, TenantScope(row.new.tenant))
        return next((each for each in readers if self._may_read(each, row.new)), None)

    def _may_read(self, workflow_id: UUID, upload: NewUpload) -> bool:
        reader = self._tables.workflows[workflow_id]
        is_own = reader.record.created_by == upload.created_by
        return reader.named_files is None or is_own or upload.path in reader.named_files


def _covers(scope: TenantScope, row: UploadRow) -> bool:
    return scope.covers(row.new.tenant, row.new.created_by)


def _contents(new: NewUpload) -> tuple[str | None, str, str]:
    return new.tenant, new.uploader.group, new.sha256
