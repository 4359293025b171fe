"""The requests and answers about files."""

from typing import Annotated

from msgspec import Meta, Struct

from stepwell.contract.fields import Time


class CreateArtifactLink(Struct, frozen=True, forbid_unknown_fields=True):
    path: Annotated[str, Meta(min_length=1, description="The path of the file, as in results")]
    ttl_s: (
        Annotated[
            int,
            Meta(ge=1, description="How long the URL is valid; at most and by default STEPWELL_SIGNED_URL_TTL_S"),
        ]
        | None
    ) = None


class ArtifactLink(Struct):
    url: Annotated[str, Meta(description="Anyone can GET it; &w= and &download=1 may be appended, in this order")]
    expires_at: Annotated[Time, Meta(description="The URL is valid until then")]
