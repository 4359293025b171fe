"""The storage of uploads, without their files, as a protocol."""

from collections.abc import Collection, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol
from uuid import UUID

from stepwell.basics.tenancy import TenantScope
from stepwell.rules.uploads import (
    NewUpload,
    PresignedUpload,
    Uploader,
    UploadLimits,
    UploadPage,
    UploadRecord,
    UploadUse,
)

PENDING_S: Final = 7_200.0
"""The longest time in seconds from a reservation, or from the end of a signed URL, to the end of the upload."""
RECHECK_S: Final = 86_400
"""The seconds between two examinations of an expired upload that a workflow names."""
CONTINUE_S: Final = 300
"""The seconds until a deletion that was interrupted or has failed is continued."""


class UploadStatus(StrEnum):
    """The status of an upload. Only a STORED one can be read. The file of a DELETING one is being deleted."""

    PENDING = "PENDING"
    STORED = "STORED"
    DELETING = "DELETING"


class Uploads(Protocol):
    """The uploads of all tenants, and the bytes that each tenant uses.

    The row of an upload is there before its file and until after its file, so that no file is left behind. A PENDING
    upload counts for the tenant's limits. All methods raise `Unavailable` while the database is away.
    """

    async def reserve(self, new: NewUpload, limits: UploadLimits) -> None:
        """Insert a PENDING upload. Raises `QuotaExceeded` if the tenant would have more than *limits* allow."""

    async def use(self, tenant: str | None) -> UploadUse:
        """Return what the tenant's uploads take of its limits. The tenant "" has those of no tenant."""

    async def reserve_presigned(self, upload: PresignedUpload, limits: UploadLimits, url_s: float) -> None:
        """Insert a PENDING upload whose file comes within *url_s* seconds. Raises `QuotaExceeded`."""

    async def find_presigned(self, scope: TenantScope, upload_id: UUID) -> PresignedUpload | None:
        """Return the PENDING upload whose file has not been examined; None if there is none in *scope*."""

    async def describe(self, new: NewUpload) -> bool:
        """Store what the file of a PENDING upload shows. Return False if that is stored, or it isn't PENDING."""

    async def finish(self, upload_id: UUID) -> UploadRecord | None:
        """Make a PENDING upload STORED, and return it.

        Return None if a STORED one of its `Uploader.group` has the same bytes, or if the upload is no longer PENDING.
        """

    async def abandon(self, upload_id: UUID) -> bool:
        """Make a PENDING upload DELETING. Return False if it isn't PENDING."""

    async def find_same(self, uploader: Uploader, sha256: str, *, own: bool) -> UploadRecord | None:
        """Return the STORED upload of the uploader's group with these bytes, and count that as a use of it; else None.

        *own*: the tenant uploads the file itself, so that it is no longer deleted with a workflow.
        """

    async def find(self, scope: TenantScope, upload_id: UUID) -> UploadRecord | None:
        """Return the STORED upload; None if there is none in *scope*."""

    async def page(self, scope: TenantScope, skip: int, limit: int) -> UploadPage:
        """Return a page of the STORED uploads, newest first."""

    async def recorded(self, upload_ids: Collection[UUID]) -> Sequence[str]:
        """Return the paths of those of the uploads that are PENDING or STORED."""

    async def stored_paths(self, scope: TenantScope, upload_ids: Collection[UUID]) -> Sequence[str]:
        """Return the paths of those of the uploads that are STORED, and in *scope*."""

    async def begin_deletion(self, scope: TenantScope, upload_id: UUID, expires_at: datetime | None = None) -> None:
        """Make a STORED upload DELETING. With *expires_at*, only if it still expires then: each use puts that off.

        Raises `NotFound` if there is no such upload, and `UploadInUse` if an undeleted workflow of the tenant names the
        file, or one that is being created.
        """

    async def begin_deletion_with_workflow(self, workflow_id: UUID, limit: int) -> tuple[Sequence[UploadRecord], bool]:
        """Make up to *limit* STORED uploads DELETING that came with a workflow that is deleted.

        Return them, and whether there may be more. One that another undeleted workflow names stays STORED, and counts
        as having come with that one.
        """

    async def begin_expiry(self, upload_id: UUID) -> bool:
        """Make an upload DELETING if it has expired and no such workflow names it. Return whether it is DELETING.

        Otherwise it is due again later.
        """

    async def end_deletion(self, upload_id: UUID) -> None:
        """Delete a DELETING upload, whose file is gone, and free its bytes of the quota.

        As long as a signed URL may still write the file, the upload stays DELETING.
        """

    async def due(self, limit: int) -> Sequence[UUID]:
        """Return up to *limit* uploads that have expired, whatever their status is."""

    async def next_due_s(self) -> float | None:
        """Return the seconds until the next upload expires, negative if one has expired; None if there are none."""

    async def charge_preview(self, upload_id: UUID, size: int, limits: UploadLimits) -> None:
        """Add the bytes of a preview to an upload. They are freed with it. Raises `NotFound` and `QuotaExceeded`."""
