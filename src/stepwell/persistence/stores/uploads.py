"""`ports.uploads.Uploads` on asyncpg.

The order of locks: uploads by id, then the row of the tenant's usage. `RESERVE` locks the usage first, because nobody
else can lock a new upload.

A deletion locks the upload, and looks for workflows that name it in a statement of its own, with a new snapshot. A
create locks the upload as well, when it stores its reference (`engine_statements.REFER`). So if the create comes first,
the deletion sees the reference. If the deletion comes first, the create sees that the upload is DELETING, and is
refused.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final, cast
from uuid import UUID

import asyncpg
from msgspec.structs import astuple

from stepwell.basics.errors import NotFound, QuotaExceeded, UploadInUse
from stepwell.basics.tenancy import TenantScope
from stepwell.persistence.connections.connection_pool import PooledAdapter
from stepwell.persistence.tables.column import names
from stepwell.persistence.tables.uploads import RECORD, read_upload
from stepwell.persistence.tables.workflows import in_scope
from stepwell.ports.uploads import CONTINUE_S, PENDING_S, RECHECK_S, UploadStatus
from stepwell.rules.uploads import (
    NewUpload,
    PresignedUpload,
    UploadContents,
    Uploader,
    UploadLimits,
    UploadPage,
    UploadRecord,
    UploadUse,
)

_CREATE_S: Final = 60  # the longest time from a stored reference to its workflow

_RECORD: Final = names(RECORD)
_OF_TENANT: Final = "coalesce(tenant, '') = coalesce($1::text, '') AND (tenant IS NULL) = ($1::text IS NULL)"

RESERVE: Final = """
WITH room AS (
    INSERT INTO upload_usage AS u (lane, bytes, uploads)
    SELECT coalesce($2::text, ''), $4::bigint, 1 WHERE $4::bigint <= $12::bigint AND $13::integer > 0
    ON CONFLICT (lane) DO UPDATE SET bytes = u.bytes + excluded.bytes, uploads = u.uploads + 1
    WHERE u.bytes + excluded.bytes <= $12::bigint AND u.uploads < $13::integer
    RETURNING lane
)
INSERT INTO uploads (id, tenant, name, status, size, sha256, media_type, width, height, duration_s, workflow_id, ttl_s,
                     created_by, private_to, created_at, expires_at, presigned_until)
SELECT $1, $2, $3, 'PENDING', $4, $5, $6, $7, $8, $9, $10, $11, $15, $16,
       clock_timestamp(), clock_timestamp() + make_interval(secs => $14),
       CASE WHEN $5 = '' THEN clock_timestamp() + make_interval(secs => $14) END
FROM room RETURNING id
"""

USE: Final = "SELECT bytes, uploads FROM upload_usage WHERE lane = coalesce($1::text, '')"

# A file that has not been examined has no digest.
FIND_PRESIGNED: Final = f"""
SELECT id, tenant, created_by, private_to <> '' AS private, name, size FROM uploads
WHERE id = $1 AND status = 'PENDING' AND sha256 = '' AND {in_scope(2)}
"""  # noqa: S608 - built from a constant
DESCRIBE: Final = """
UPDATE uploads SET name = $2, sha256 = $3, media_type = $4, width = $5, height = $6, duration_s = $7
WHERE id = $1 AND status = 'PENDING' AND sha256 = '' RETURNING id
"""

FINISH: Final = f"""
UPDATE uploads SET status = 'STORED', expires_at = clock_timestamp() + make_interval(secs => ttl_s)
WHERE id = $1 AND status = 'PENDING' RETURNING {_RECORD}
"""  # noqa: S608 - built from constants

FIND_SAME: Final = f"""
UPDATE uploads SET expires_at = greatest(expires_at, clock_timestamp() + make_interval(secs => ttl_s)),
                   workflow_id = CASE WHEN $3 THEN NULL ELSE workflow_id END
WHERE {_OF_TENANT} AND private_to = $4 AND sha256 = $2 AND status = 'STORED' RETURNING {_RECORD}
"""  # noqa: S608 - built from constants

FIND: Final = f"""
SELECT {_RECORD} FROM uploads
WHERE id = $1 AND status = 'STORED' AND {in_scope(2)}
"""  # noqa: S608 - built from constants

PAGE: Final = f"""
SELECT {_RECORD} FROM uploads WHERE status = 'STORED' AND {_OF_TENANT} AND ($2::text IS NULL OR created_by = $2)
ORDER BY created_at DESC, id DESC OFFSET $3 LIMIT $4
"""  # noqa: S608 - built from constants
COUNT: Final = f"""
SELECT count(*) FROM uploads WHERE status = 'STORED' AND {_OF_TENANT} AND ($2::text IS NULL OR created_by = $2)
"""  # noqa: S608 - built from a constant
PAGE_OF_ALL: Final = f"""
SELECT {_RECORD} FROM uploads WHERE status = 'STORED' ORDER BY created_at DESC, id DESC OFFSET $1 LIMIT $2
"""  # noqa: S608 - built from constants
COUNT_OF_ALL: Final = "SELECT count(*) FROM uploads WHERE status = 'STORED'"

RECORDED: Final = """
SELECT 'media/' || id || '/' || name AS path FROM uploads WHERE id = ANY($1::uuid[]) AND status <> 'DELETING'
"""
STORED_PATHS: Final = f"""
SELECT 'media/' || id || '/' || name AS path FROM uploads
WHERE id = ANY($1::uuid[]) AND status = 'STORED' AND {in_scope(2)}
"""  # noqa: S608 - built from a constant

LOCK: Final = """
SELECT tenant, created_by FROM uploads
WHERE id = $1 AND status = 'STORED' AND ($2::timestamptz IS NULL OR expires_at = $2) FOR UPDATE
"""
LOCK_EXPIRED: Final = "SELECT status FROM uploads WHERE id = $1 AND expires_at <= clock_timestamp() FOR UPDATE"
# A reference without a workflow counts shortly after it was stored, because the workflow may still be inserted. That of
# the workflow $2 doesn't, because this one is being deleted, and its row may be gone already. Nor does that of a run
# which may not read the upload (see `FileScope`).
NAMED_BY: Final = f"""
SELECT r.workflow_id FROM uploads AS u JOIN artifact_references AS r ON r.task_id = u.id
LEFT JOIN workflows AS w ON w.id = r.workflow_id
WHERE u.id = $1 AND CASE
    WHEN w.id IS NULL THEN
        r.workflow_id IS DISTINCT FROM $2 AND u.used_at > clock_timestamp() - make_interval(secs => {_CREATE_S})
    ELSE w.deleted_at IS NULL AND w.tenant IS NOT DISTINCT FROM u.tenant AND (
        w.named_files IS NULL OR w.created_by = u.created_by OR position(u.id::text IN w.named_files::text) > 0
    ) END
ORDER BY w.id IS NULL LIMIT 1
"""  # noqa: S608 - built from constants
BEGIN_DELETION: Final = f"""
UPDATE uploads SET status = 'DELETING',
                   expires_at = greatest(clock_timestamp() + make_interval(secs => {CONTINUE_S}), presigned_until)
WHERE id = $1
"""  # noqa: S608 - built from constants
LOCK_WITH_WORKFLOW: Final = """
SELECT id FROM uploads WHERE workflow_id = $1 AND status = 'STORED' ORDER BY id LIMIT $2 FOR UPDATE
"""
GIVE_TO_WORKFLOW: Final = "UPDATE uploads SET workflow_id = $2 WHERE id = $1"
ABANDON: Final = f"{BEGIN_DELETION} AND status = 'PENDING' RETURNING id"
POSTPONE: Final = """
UPDATE uploads SET expires_at = clock_timestamp() + make_interval(secs => least($2::float8, ttl_s)) WHERE id = $1
"""

# As long as a URL may still write the file, the row stays, and counts for the quota. Then the file is deleted again.
END_DELETION: Final = """
WITH gone AS (
    DELETE FROM uploads WHERE id = $1 AND status = 'DELETING' AND coalesce(presigned_until <= clock_timestamp(), true)
    RETURNING tenant, size + preview_bytes AS bytes
)
UPDATE upload_usage AS u SET bytes = u.bytes - gone.bytes, uploads = u.uploads - 1
FROM gone WHERE u.lane = coalesce(gone.tenant, '')
"""

DUE: Final = "SELECT id FROM uploads WHERE expires_at <= clock_timestamp() ORDER BY expires_at LIMIT $1"
NEXT: Final = "SELECT extract(epoch FROM min(expires_at) - clock_timestamp())::float8 AS seconds FROM uploads"

CHARGE: Final = """
WITH upload AS MATERIALIZED (
    SELECT coalesce(tenant, '') AS lane FROM uploads WHERE id = $1 AND status = 'STORED' FOR UPDATE
), room AS (
    UPDATE upload_usage AS u SET bytes = u.bytes + $2 FROM upload
    WHERE u.lane = upload.lane AND u.bytes + $2 <= $3 RETURNING u.lane
), charged AS (
    UPDATE uploads SET preview_bytes = preview_bytes + $2 WHERE id = $1 AND EXISTS (SELECT FROM room)
)
SELECT EXISTS (SELECT FROM upload) AS found, EXISTS (SELECT FROM room) AS charged
"""


class PostgresUploads(PooledAdapter):
    async def reserve(self, new: NewUpload, limits: UploadLimits) -> None:
        await self._reserve(new, limits, PENDING_S)

    async def use(self, tenant: str | None) -> UploadUse:
        rows = await self._connections.fetch(USE, tenant)
        return UploadUse(*rows[0]) if rows else UploadUse()

    async def reserve_presigned(self, upload: PresignedUpload, limits: UploadLimits, url_s: float) -> None:
        await self._reserve(upload.unexamined, limits, url_s + PENDING_S)

    async def _reserve(self, new: NewUpload, limits: UploadLimits, pending_s: float) -> None:
        values = (new.id, new.tenant, new.name, new.size, new.sha256, *_facts(new.contents), new.workflow_id)
        rest = (limits.ttl_s, limits.quota_bytes, limits.max_uploads, pending_s, new.created_by, new.uploader.group)
        if not await self._connections.fetch(RESERVE, *values, *rest):
            raise QuotaExceeded(limits.message)

    async def find_presigned(self, scope: TenantScope, upload_id: UUID) -> PresignedUpload | None:
        rows = await self._connections.fetch(FIND_PRESIGNED, upload_id, *astuple(scope))
        if not rows:
            return None
        found_id, *uploader, name, size = rows[0]
        return PresignedUpload(found_id, Uploader(*uploader), name, size)

    async def describe(self, new: NewUpload) -> bool:
        rows = await self._connections.fetch(DESCRIBE, new.id, new.name, new.sha256, *_facts(new.contents))
        return bool(rows)

    async def finish(self, upload_id: UUID) -> UploadRecord | None:
        async with self._connections.borrow() as connection:
            try:
                row = await connection.fetchrow(FINISH, upload_id)
            except asyncpg.UniqueViolationError:  # the same bytes came at the same time
                return None
        return None if row is None else read_upload(row)

    async def abandon(self, upload_id: UUID) -> bool:
        return bool(await self._connections.fetch(ABANDON, upload_id))

    async def find_same(self, uploader: Uploader, sha256: str, *, own: bool) -> UploadRecord | None:
        rows = await self._connections.fetch(FIND_SAME, uploader.tenant, sha256, own, uploader.group)
        return read_upload(rows[0]) if rows else None

    async def find(self, scope: TenantScope, upload_id: UUID) -> UploadRecord | None:
        rows = await self._connections.fetch(FIND, upload_id, *astuple(scope))
        return read_upload(rows[0]) if rows else None

    async def page(self, scope: TenantScope, skip: int, limit: int) -> UploadPage:
        async with self._connections.borrow() as connection:
            if scope.every and scope.subject is None:
                rows = await connection.fetch(PAGE_OF_ALL, skip, limit)
                total = await connection.fetchval(COUNT_OF_ALL)
            else:
                rows = await connection.fetch(PAGE, scope.tenant, scope.subject, skip, limit)
                total = await connection.fetchval(COUNT, scope.tenant, scope.subject)
        return UploadPage([read_upload(row) for row in rows], total)

    async def recorded(self, upload_ids: Collection[UUID]) -> Sequence[str]:
        return [row["path"] for row in await self._connections.fetch(RECORDED, list(upload_ids))]

    async def stored_paths(self, scope: TenantScope, upload_ids: Collection[UUID]) -> Sequence[str]:
        rows = await self._connections.fetch(STORED_PATHS, list(upload_ids), *astuple(scope))
        return [row["path"] for row in rows]

    async def begin_deletion(self, scope: TenantScope, upload_id: UUID, expires_at: datetime | None = None) -> None:
        workflow_id: UUID | None = None
        async with self._connections.borrow() as connection, connection.transaction():
            row = await connection.fetchrow(LOCK, upload_id, expires_at)
            exists = row is not None and scope.covers(row["tenant"], row["created_by"])
            if exists:
                workflow_id = await connection.fetchval(NAMED_BY, upload_id, None)
                if workflow_id is None:
                    await connection.execute(BEGIN_DELETION, upload_id)
        if not exists:
            raise NotFound("artifact")
        if workflow_id is not None:
            raise UploadInUse(workflow_id)

    async def begin_deletion_with_workflow(self, workflow_id: UUID, limit: int) -> tuple[Sequence[UploadRecord], bool]:
        begun: list[UploadRecord] = []
        async with self._connections.borrow() as connection, connection.transaction():
            locked = await connection.fetch(LOCK_WITH_WORKFLOW, workflow_id, limit)
            for row in locked:
                other = await connection.fetchval(NAMED_BY, row["id"], workflow_id)
                if other is not None:
                    await connection.execute(GIVE_TO_WORKFLOW, row["id"], other)
                else:
                    begun.append(
                        read_upload(await connection.fetchrow(f"{BEGIN_DELETION} RETURNING {_RECORD}", row["id"]))
                    )
        return begun, len(locked) == limit

    async def begin_expiry(self, upload_id: UUID) -> bool:
        async with self._connections.borrow() as connection, connection.transaction():
            status = await connection.fetchval(LOCK_EXPIRED, upload_id)
            if status is None:
                return False
            if status == UploadStatus.STORED and await connection.fetchval(NAMED_BY, upload_id, None) is not None:
                await connection.execute(POSTPONE, upload_id, RECHECK_S)
                return False
            await connection.execute(BEGIN_DELETION, upload_id)
            return True

    async def end_deletion(self, upload_id: UUID) -> None:
        await self._connections.fetch(END_DELETION, upload_id)

    async def due(self, limit: int) -> Sequence[UUID]:
        return [row["id"] for row in await self._connections.fetch(DUE, limit)]

    async def next_due_s(self) -> float | None:
        (row,) = await self._connections.fetch(NEXT)
        return cast("float | None", row["seconds"])

    async def charge_preview(self, upload_id: UUID, size: int, limits: UploadLimits) -> None:
        (row,) = await self._connections.fetch(CHARGE, upload_id, size, limits.quota_bytes)
        if not row["found"]:
            raise NotFound("artifact")
        if not row["charged"]:
            raise QuotaExceeded(limits.message)


def _facts(contents: UploadContents) -> tuple[str, int | None, int | None, float | None]:
    return contents.media_type, contents.width, contents.height, contents.duration_s
