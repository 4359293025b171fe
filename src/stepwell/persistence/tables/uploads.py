"""The tables `uploads` and `upload_usage`."""

from typing import Any, Final

from sqlalchemy import Column, Index, Table, Text, TypedColumns, text

from stepwell.persistence.tables import column
from stepwell.persistence.tables.column import Decoder, Row, decoder, fields_of, metadata, without
from stepwell.persistence.tables.workflows import NEWEST
from stepwell.rules.uploads import UploadContents, UploadRecord


class UploadColumns(TypedColumns):
    """The files that users have uploaded, and those that came as data URIs in the definition of `workflow_id`.

    `private_to` is the `Uploader.group`, in which the same bytes are stored once.
    """

    id = column.uuid(key=True)
    tenant = column.text(nullable=True)
    created_by = column.text()
    private_to = column.text(field="private", decode=bool)
    name = column.text()
    status = column.text()
    size = column.bigint()
    preview_bytes = column.bigint(default=0)
    sha256 = column.text()
    media_type = column.text(of="contents")
    width = column.integer(nullable=True, of="contents")
    height = column.integer(nullable=True, of="contents")
    duration_s = column.seconds(nullable=True, of="contents")
    workflow_id = column.uuid(nullable=True)
    ttl_s = column.seconds()
    created_at = column.time(nullable=False)
    used_at = column.time()
    expires_at = column.time(nullable=False)
    presigned_until = column.time()


class UsageColumns(TypedColumns):
    """The bytes and the number of the uploads of each tenant. `lane` is the tenant, "" for none."""

    lane: Column[str] = Column(Text(), primary_key=True)
    bytes = column.bigint()
    uploads = column.integer()


_STORED: Final = text("status = 'STORED'")
_LANE: Final = text("coalesce(tenant, '')")
uploads = Table(
    "uploads",
    metadata,
    UploadColumns,
    Index(
        "uploads_by_contents",
        *(_LANE, text("(tenant IS NULL)"), "private_to", "sha256"),
        unique=True,
        postgresql_where=_STORED,
    ),
    Index("uploads_by_tenant", _LANE, *NEWEST, postgresql_where=_STORED),
    Index("uploads_by_created", *NEWEST, postgresql_where=_STORED),
    Index("uploads_due", "expires_at"),
    Index("uploads_of_workflow", "workflow_id", postgresql_where=text("workflow_id IS NOT NULL")),
)
upload_usage = Table("upload_usage", metadata, UsageColumns)

RECORD: Final = without(uploads.c, "status", "preview_bytes", "ttl_s", "used_at", "presigned_until")
_decode_contents: Final = decoder(fields_of(RECORD, "contents"), UploadContents)
_decode_record: Final[Decoder[dict[str, Any]]] = decoder(fields_of(RECORD), dict)


def read_upload(row: Row) -> UploadRecord:
    return UploadRecord(contents=_decode_contents(row), **_decode_record(row))
