"""The settings about access, uploads, stored definitions and the executor."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from stepwell.basics.setting_values import Origins, TaskQueues
from stepwell.contract.fields import about


class AccessSettings(Struct, frozen=True, kw_only=True):
    """The settings that decide who may call the service."""

    jwt_secret: Annotated[
        str | None,
        about("The secret that signs tokens with HS256, at least 32 bytes", default="made by `up`, in the data folder"),
    ] = None
    jwt_public_key: Annotated[
        str | None, about("The public key in PEM that checks tokens, with RS256, ES256 or EdDSA")
    ] = None
    jwt_jwks_url: Annotated[
        str | None,
        about(
            "The URL of the key set (JWKS) whose keys check tokens, with RS256, ES256 or EdDSA, instead of a secret or "
            "a public key. It may be in a private network"
        ),
    ] = None
    jwt_algorithm: Annotated[
        Literal["HS256", "RS256", "ES256", "EdDSA"],
        about("The algorithm of tokens, unless they are checked with a key set"),
    ] = "HS256"
    jwt_issuer: Annotated[str, about("The value that `iss` of a token must have")] = "stepwell"
    jwt_audience: Annotated[str, about("The value that `aud` of a token must have")] = "stepwell"
    jwt_max_lifetime_s: Annotated[
        int,
        Meta(ge=60, le=315_360_000),
        about(
            "The longest lifetime of a token (`exp` minus `iat`). Longer ones are refused, and "
            "`stepwell token` makes none",
            default="34560000 (400 days)",
        ),
    ] = 34_560_000
    jwt_default_scope: Annotated[
        str,
        about("The scope of a token without the claim `scope`, like `workflows:read workflows:write`", default="none"),
    ] = ""
    cors_origins: Annotated[
        Origins,
        about(
            "The origins whose web pages may call the API (CORS), like "
            "`https://app.example.com http://localhost:3000`; `*` stands for every origin"
        ),
    ] = Origins()
    url_secret: Annotated[
        str | None,
        about(
            "The secret that signs URLs of artifacts; `serve` with a public key or a key set needs it",
            default="derived from STEPWELL_JWT_SECRET",
        ),
    ] = None


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


class DefinitionSettings(UploadSettings, frozen=True, kw_only=True):
    """The settings that bound the definitions that are stored by name."""

    max_definitions_per_tenant: Annotated[
        int, Meta(ge=1, le=100_000), about("The number of stored definitions of a tenant. Further ones are a 507")
    ] = 1_000
    max_versions_per_definition: Annotated[
        int, Meta(ge=1, le=10_000), about("The number of versions of a stored definition. Further ones are a 507")
    ] = 1_000
    definition_quota_bytes: Annotated[
        int,
        Meta(ge=1_024),
        about("The bytes of all versions of all stored definitions of a tenant. Further ones are a 507"),
    ] = 256 * 1024 * 1024


class ExecutorSettings(DefinitionSettings, frozen=True, kw_only=True):
    """Where the work of LOCAL and of in-process plug-ins runs."""

    executor: Annotated[
        Literal["inline", "celery"],
        about(
            "Where LOCAL and in-process plug-ins work: `inline` on the machine of the service, `celery` on the Celery "
            "workers that `stepwell worker` starts"
        ),
    ] = "inline"
    celery_broker_url: Annotated[
        str | None, about("The broker of the Celery workers: `redis://`, `rediss://`, `amqp://` or `amqps://`")
    ] = None
    celery_result_backend: Annotated[
        str | None,
        about(
            "The Redis in which the Celery workers store their results: `redis://` or `rediss://`",
            default="the broker, if it is a Redis",
        ),
    ] = None
    celery_queues: Annotated[
        TaskQueues,
        about(
            'The queue of a step, by its task type; `*` is each type that isn\'t named: `{"GENERATION": "gpu", '
            '"*": "stepwell"}`',
            default="`stepwell` for all",
        ),
    ] = field(default_factory=TaskQueues)

    @property
    def result_backend(self) -> str | None:
        """The URL of the Redis with the results; None if there is none."""
        if self.celery_result_backend is not None:
            return self.celery_result_backend
        is_redis = self.celery_broker_url is not None and self.celery_broker_url.startswith(("redis://", "rediss://"))
        return self.celery_broker_url if is_redis else None
