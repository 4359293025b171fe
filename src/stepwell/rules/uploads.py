"""Uploads: the types that are accepted, the names of their files, and the limits of a tenant."""

import re
from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct

from stepwell.basics.artifacts import JSON, MEDIA_TYPES, TEXT, UNCHECKED_UPLOAD, artifact_path
from stepwell.contract.tasks import Output

ACCEPTED_TYPES: Final = {**MEDIA_TYPES, JSON: ("json",), TEXT: ("txt",)}
"""The media types that an upload may have, each with the suffixes of its name. The first one is the usual one."""

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_STEM = 80
_NAMELESS = "file"


class UploadLimits(Struct, frozen=True):
    """The limits of a tenant: the bytes and the number of its uploads, and the lifetime of one after its last use."""

    quota_bytes: int
    max_uploads: int
    ttl_s: float

    @property
    def message(self) -> str:
        """The message for a tenant that would exceed these limits."""
        return (
            f"The tenant's uploads may have {self.quota_bytes:,} bytes and be {self.max_uploads:,} in number. Delete "
            "some first."
        )


class UploadUse(Struct, frozen=True):
    """The bytes and the number of a tenant's uploads, incomplete ones included."""

    bytes: int = 0
    uploads: int = 0


class UploadContents(Struct, frozen=True):
    """The facts that the bytes of a file show. A size or a duration that isn't known is None."""

    media_type: str
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None


class Uploader(Struct, frozen=True):
    """The subject that uploads files for a tenant.

    `private`: bytes are the same only as those of other private uploads of the subject. So the subject doesn't learn
    which files others have.
    """

    tenant: str | None
    subject: str
    private: bool = False

    @property
    def group(self) -> str:
        """The uploads of the tenant among which the same bytes are stored once, as in the index of the table."""
        return self.subject if self.private else ""


class NewUpload(Struct, frozen=True, kw_only=True):
    """An upload before its file is stored.

    `workflow_id` is set if the file came as a data URI in the definition of that workflow, and is deleted with it.
    """

    id: UUID
    tenant: str | None
    created_by: str
    private: bool = False
    name: str
    size: int
    sha256: str
    contents: UploadContents
    workflow_id: UUID | None = None

    @property
    def uploader(self) -> Uploader:
        return Uploader(self.tenant, self.created_by, self.private)

    @property
    def path(self) -> str:
        return artifact_path(self.id, self.name)


class PresignedUpload(Struct, frozen=True):
    """An upload whose file the client sends to a URL of the bucket. Its type and its digest aren't known yet."""

    id: UUID
    uploader: Uploader
    name: str
    size: int

    @property
    def tenant(self) -> str | None:
        return self.uploader.tenant

    @property
    def path(self) -> str:
        """The path of the file until it has been examined. It is never served."""
        return artifact_path(self.id, UNCHECKED_UPLOAD)

    @property
    def unexamined(self) -> NewUpload:
        """The upload as it is stored until its file has been examined: without a digest and a type."""
        nothing, by = UploadContents(""), self.uploader
        return NewUpload(
            id=self.id,
            tenant=by.tenant,
            created_by=by.subject,
            private=by.private,
            name=self.name,
            size=self.size,
            sha256="",
            contents=nothing,
        )


class UploadRecord(NewUpload, frozen=True, kw_only=True):
    """A stored upload. It may be deleted from `expires_at` on, if no workflow names it."""

    created_at: datetime
    expires_at: datetime

    @property
    def output(self) -> Output:
        """The file in the form in which the outputs of tasks are recorded."""
        return Output(self.path, self.size, self.sha256)


class UploadPage(Struct, frozen=True):
    """A page of uploads. `total` counts all of them."""

    uploads: list[UploadRecord]
    total: int


def safe_name(name: str, media_type: str) -> str:
    """Return the last part of *name* in safe characters, with a suffix that fits *media_type*."""
    suffixes = ACCEPTED_TYPES[media_type]
    base = _UNSAFE.sub("_", re.split(r"[/\\]", name)[-1])
    stem, dot, suffix = base.rpartition(".")
    if not dot or suffix.lower() not in suffixes:
        # The other suffix stays visible, so that "page.html" becomes "page.html.txt".
        stem, suffix = base, suffixes[0]
    stem = stem.lstrip("._-")[:_LONGEST_STEM].rstrip(".")
    return f"{stem or _NAMELESS}.{suffix.lower()}"
