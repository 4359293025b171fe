"""The requests and responses about files: those of tasks, and the uploads of users."""

from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from stepwell.contract.fields import Time, about


class CreateArtifactLink(Struct, frozen=True, forbid_unknown_fields=True):
    path: Annotated[str, Meta(min_length=1, description="The path of the file, as in results")]
    ttl_s: (
        Annotated[
            int, Meta(ge=1, description="How long the URL is valid; at most and by default STEPWELL_SIGNED_URL_TTL_S")
        ]
        | None
    ) = None


class ArtifactLink(Struct):
    url: Annotated[str, about("Anyone can GET it; &w= and &download=1 may be appended, in this order")]
    expires_at: Annotated[Time, about("The URL is valid until then")]


class ArtifactPublic(Struct, kw_only=True):
    """An uploaded file. Any `*_url` input accepts its `path`. Its URL is /api/v1/artifacts/ and then the path."""

    path: Annotated[str, about("media/{upload_id}/{name}")]
    name: str
    size: Annotated[int, about("In bytes")]
    sha256: Annotated[str, about("In hex")]
    media_type: Annotated[str, about("The type that the bytes have, whatever was declared")]
    width: Annotated[int, about("In pixels; null if it isn't known")] | None
    height: Annotated[int, about("In pixels; null if it isn't known")] | None
    duration_s: Annotated[float, about("Null if it isn't known")] | None
    created_by: Annotated[str, about("The subject of the token that has uploaded it")]
    created_at: Time
    expires_at: Annotated[Time, about("The service deletes the file after this time, unless a workflow names it")]


class PresignedPut(Struct):
    """A URL of the bucket, to which the client PUTs the file with exactly this Content-Length."""

    upload_id: UUID
    url: str
    method: str
    headers: dict[str, str]
    complete: Annotated[str, about("The path to POST to once the file has been sent")]
    expires_at: Annotated[Time, about("The URL is valid until then")]


class UploadResponse(Struct):
    """The uploaded files, in the order of the request. `presigned` is there only if the request has presign=true."""

    artifacts: list[ArtifactPublic]
    presigned: PresignedPut | UnsetType = UNSET


class ArtifactListResponse(Struct):
    """A page of the uploaded files, newest first."""

    artifacts: list[ArtifactPublic]
    total: int
    skip: int
    limit: int
