"""The settings about uploads."""

from typing import Annotated

from msgspec import Meta

from stepwell.basics.setting_values import about
from stepwell.settings.access_settings import AccessSettings


class UploadSettings(AccessSettings, frozen=True, kw_only=True):
    """The settings that bound the files that users upload."""

    upload_max_bytes: Annotated[
        int, Meta(ge=1_024, le=5 * 1024 * 1024 * 1024), about("The size of all files of one upload together")
    ] = 512 * 1024 * 1024
    upload_quota_bytes: Annotated[
        int,
        Meta(ge=1_024),
        about("The bytes of all uploads of a tenant, with the previews of them. Further uploads are a 507"),
    ] = 10 * 1024 * 1024 * 1024
    max_uploads_per_tenant: Annotated[
        int, Meta(ge=1, le=10_000_000), about("The number of uploads of a tenant. Further ones are a 507")
    ] = 10_000
    upload_ttl_s: Annotated[
        int,
        Meta(ge=60, le=315_360_000),
        about("How long after its last use an upload is deleted, unless a workflow that isn't deleted names it"),
    ] = 604_800
