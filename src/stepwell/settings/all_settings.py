"""All settings of the service: one struct with all defaults."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

from msgspec import Meta, field
from msgspec.structs import fields

from stepwell.basics.setting_values import ModelLimits, Networks, Prices, Secrets, TenantBudgets, TenantLimits
from stepwell.contract.enums import ProviderType
from stepwell.contract.fields import about
from stepwell.definition.provider_descriptors import PollInterval, ProviderDescriptor, ProviderSettings
from stepwell.rules.webhook_secrets import SigningSecrets, TenantSecrets, WebhookSecrets
from stepwell.settings.setting_groups import ExecutorSettings

LOCAL_INSTANCE: Final = "local"
"""The `origin_instance` of a service without that setting, under `up`, `run` and `bench`."""
SECRET_FIELDS = frozenset(
    {
        "jwt_secret",
        "url_secret",
        "database_url",
        "s3_access_key_id",
        "s3_secret_access_key",
        "celery_broker_url",
        "celery_result_backend",
    }
)


def _default_data_dir() -> Path:
    return Path("/var/lib/stepwell") if os.geteuid() == 0 else Path.home() / ".local/share/stepwell"


class Settings(ExecutorSettings, frozen=True, kw_only=True):
    """All settings. Field `x_y` is read from STEPWELL_X_Y, but `providers`. Times are in seconds, sizes in bytes.

    The manual's table of settings is generated from these fields and those of the groups that it inherits.
    """

    database_url: Annotated[
        str | None,
        about(
            "The database of `serve`, `migrate` and `bench`: `postgresql://user:password@host/name`, "
            "PostgreSQL 14 or newer"
        ),
    ] = None
    data_dir: Annotated[
        Path,
        about(
            "The data folder: PostgreSQL, artifacts, secrets and the token",
            default="`/var/lib/stepwell` for root, else `~/.local/share/stepwell`",
        ),
    ] = field(default_factory=_default_data_dir)
    retention_days: Annotated[
        Annotated[int, Meta(ge=1, le=36_500)] | None,
        about("Workflows that ended so many days ago are deleted, with all their rows and files", default="none"),
    ] = None
    costs_retention_days: Annotated[
        Annotated[int, Meta(ge=1, le=36_500)] | None,
        about("The sums of costs of a day (UTC) are deleted so many days after its end", default="none"),
    ] = None
    artifact_dir: Annotated[
        Path | None,
        about("The folder for the files of tasks; not beside STEPWELL_S3_BUCKET", default="`<data dir>/artifacts`"),
    ] = None
    s3_bucket: Annotated[str | None, about("The bucket for the files of tasks, instead of a folder")] = None
    s3_prefix: Annotated[str, about("Files are below this prefix in the bucket")] = ""
    s3_endpoint: Annotated[
        str | None,
        about("The URL of another service that speaks S3; `http://` is allowed", default="Amazon's, in the region"),
    ] = None
    s3_region: Annotated[str | None, about("The region of the bucket", default="`AWS_REGION`, else us-east-1")] = None
    s3_access_key_id: Annotated[
        str | None,
        about(
            "The id of the key; with STEPWELL_S3_SECRET_ACCESS_KEY or not at all",
            default="the machine's: `AWS_*` variables, web identity, container or instance",
        ),
    ] = None
    s3_secret_access_key: Annotated[str | None, about("The secret of the key")] = None
    s3_links: Annotated[
        bool, about("Signed URLs lead to the bucket. false: providers and users can't reach the bucket")
    ] = True
    postgres_bin: Annotated[
        Path | None,
        about("Other PostgreSQL programs for `up`, `run`, `bench`, `dump` and `restore`", default="the wheel's"),
    ] = None
    host: Annotated[str, about("The address to listen on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535), about("The port to listen on; 0 takes a free one")] = 9000
    admin_port: Annotated[
        Annotated[int, Meta(ge=0, le=65535)] | None,
        about("A further port on STEPWELL_HOST, which serves `/health` and `/metrics` only", default="none"),
    ] = None
    trusted_proxies: Annotated[
        Networks,
        about(
            "The networks of your proxies. From these alone, the address and the scheme of a client are what "
            "`X-Forwarded-For` and `X-Forwarded-Proto` say"
        ),
    ] = Networks()
    public_url: Annotated[
        str | None,
        about(
            "The base of signed URLs, of `link` in webhooks, and of callback URLs. The web page works at its host and "
            "at loopback addresses only",
            default="`http://host:port`, without callbacks",
        ),
    ] = None
    default_provider: Annotated[
        ProviderType | None,
        about(
            "The provider of a step that names none", default="LOCAL under `up`, `run` and `bench`; none under `serve`"
        ),
    ] = None
    origin_instance: Annotated[
        Annotated[str, Meta(min_length=1, max_length=100)] | None,
        about(
            "The `origin_instance` of a definition that names none, unless its token has the claim `origin_instance`",
            default="`local` under `up`, `run` and `bench`; none under `serve`",
        ),
    ] = None

    webhook_secret: Annotated[
        SigningSecrets,
        about(
            "The secret that signs webhooks: `whsec_` and base64 of 24 to 64 bytes. There may be several, "
            "separated by spaces, and all of them sign. Without one, `serve` refuses `webhook_url`",
            default="made by `up` and `run`, in the data folder",
        ),
    ] = SigningSecrets()
    webhook_secrets: Annotated[
        TenantSecrets,
        about(
            "A tenant's own webhook secret. A TENANT of capitals, digits and `_` stands for every tenant whose "
            "name is written so (`acme-inc` is `ACME_INC`); any other TENANT is the tenant's exact name",
            default="STEPWELL_WEBHOOK_SECRET",
        ),
    ] = field(default_factory=TenantSecrets)
    webhook_timeout_s: Annotated[float, Meta(ge=0.1, le=60), about("The deadline of one attempt at a webhook")] = 20.0

    max_running_steps: Annotated[int, Meta(ge=1, le=100_000), about("Steps that may run at once")] = 1_000
    max_steps_per_provider: Annotated[
        int, Meta(ge=1, le=100_000), about("Steps of a remote provider that may run at once, in all processes together")
    ] = 100
    max_local_steps: Annotated[
        int, Meta(ge=1, le=1_024), about("Steps of LOCAL that may run at once", default="the number of CPUs")
    ] = field(default_factory=lambda: os.cpu_count() or 1)
    local_memory_max_bytes: Annotated[
        Annotated[int, Meta(ge=512 * 1024 * 1024)] | None,
        about("Bytes that LOCAL's child processes may use", default="60% of what STEPWELL_MEMORY_MAX_BYTES leaves"),
    ] = None
    max_steps_per_tenant: Annotated[
        Annotated[int, Meta(ge=1, le=100_000)] | None,
        about("Steps of a tenant that may run at once, in all processes together", default="no limit"),
    ] = None
    max_active_workflows: Annotated[
        int,
        Meta(ge=1, le=1_000_000),
        about(
            "Workflows that may be active in a process at once. A large one counts once for each 20 steps, or once for "
            "each 64 KiB of its definition. One tenant alone gets at most half of them"
        ),
    ] = 2_000
    max_active_workflows_per_tenant: Annotated[
        int,
        Meta(ge=1, le=1_000_000),
        about("Workflows of a tenant that may be active in a process at once. Others wait in the database"),
    ] = 500
    max_waiting_workflows: Annotated[
        int,
        Meta(ge=0, le=10_000_000),
        about(
            "Workflows that may wait in the database until they are active. One tenant alone gets at most half of "
            "that. Beyond it, create and start are a 429"
        ),
    ] = 20_000
    max_waiting_s: Annotated[
        float, Meta(ge=1, le=2_592_000), about("How long workflows of a tenant may wait until further ones are a 429")
    ] = 3_600.0
    database_slow_s: Annotated[
        float,
        Meta(ge=0.01, le=600),
        about(
            "A write of the engine that takes longer makes the database count as slow. Then tenants that have more "
            "than their share get a 429 for create and start"
        ),
    ] = 1.0
    tenant_limits: Annotated[
        TenantLimits,
        about(
            'Limits of single tenants, instead of the general ones: `{"acme": {"active_workflows": 1000, '
            '"waiting_workflows": 50000}}`'
        ),
    ] = field(default_factory=TenantLimits)

    memory_max_bytes: Annotated[
        Annotated[int, Meta(ge=1024 * 1024)] | None,
        about(
            "The bytes that attempts, responses, bodies and uploads may hold in memory together; one of them may hold "
            "half of that. The process needs several hundred MB besides",
            default="a quarter of the memory that the cgroup or the machine provides, at most 512 MiB",
        ),
    ] = None

    lease_s: Annotated[
        float,
        Meta(ge=1, le=3600),
        about("`serve`: the lease of a process. After a crash, its workflows wait until the lease has ended"),
    ] = 6.0
    grace_s: Annotated[float, Meta(ge=1, le=3600), about("The time from SIGTERM to the end of the process")] = 8.0
    database_pool: Annotated[
        int, Meta(ge=1, le=200), about("Connections for lists, histories and tasks, beside those of the engine")
    ] = 8
    database_timeout_s: Annotated[float, Meta(ge=0.1, le=600), about("The deadline of a statement")] = 10.0

    results_max_bytes: Annotated[
        int,
        Meta(ge=1_024),
        about("The size of all results of a workflow together. A step whose result would exceed it fails"),
    ] = 64 * 1024 * 1024
    input_max_bytes: Annotated[int, Meta(ge=1_024), about("The size of the largest input file")] = 64 * 1024 * 1024
    input_timeout_s: Annotated[float, Meta(ge=0.1, le=3600), about("The deadline of fetching one input")] = 30.0
    heartbeat_s: Annotated[
        float, Meta(ge=0.05, le=300), about("The time between two heartbeats of an event stream")
    ] = 15.0
    max_connections_per_client: Annotated[
        Annotated[int, Meta(ge=1, le=100_000)] | None,
        about(
            "Connections that one client address (of IPv6, one /64) may have",
            default="three quarters of those that the limit of open files allows",
        ),
    ] = None
    unknown_fields: Annotated[
        Literal["refuse", "ignore"],
        about("What becomes of unknown fields of a body, unless the request has `Prefer: handling=`"),
    ] = "refuse"
    body_timeout_s: Annotated[
        float, Meta(ge=0.05, le=3600), about("How long the body of a request may make no progress; then it is a 408")
    ] = 15.0
    max_streams_per_tenant: Annotated[
        int, Meta(ge=1, le=100_000), about("Event streams of a tenant that may be open at once; more are a 429")
    ] = 200
    signed_url_ttl_s: Annotated[int, Meta(ge=1, le=604_800), about("How long a signed URL is valid")] = 3_600

    credentials: Annotated[
        Secrets,
        about(
            "A provider's key, by the name that `provider_config.credential` uses, in any case. NAME "
            "is the provider's (`FAL`), which is the default, or begins with it and `_` or `-` "
            "(`FAL_TEAM_B`). A key goes to no other provider"
        ),
    ] = field(default_factory=Secrets)
    providers: Annotated[
        Mapping[str, ProviderSettings],
        about("The settings of single providers, by name: STEPWELL_<NAME>_URL and others"),
    ] = field(default_factory=dict)
    provider_timeout_s: Annotated[float, Meta(ge=0.1, le=600), about("The deadline of one call to a provider")] = 30.0
    provider_work_s: Annotated[
        float, Meta(ge=0.1, le=800), about("The deadline of a call whose answer is the result itself")
    ] = 300.0
    poll_interval_s: Annotated[
        PollInterval, about("The time between the first two polls of a job; it grows to 10 s")
    ] = 1.0
    limits: Annotated[
        ModelLimits,
        about(
            "Limits of models in all processes together, by provider and model; `*` is each model that isn't named: "
            '`{"FAL": {"fal-ai/veo3": {"concurrency": 2}, "*": {"per_minute": 600}}}`'
        ),
    ] = field(default_factory=ModelLimits)
    breaker_failures: Annotated[
        int,
        Meta(ge=0, le=10_000),
        about(
            "The number of steps in a row that must use up their attempts at a model before its circuit "
            "breaker opens. 0: it never opens"
        ),
    ] = 3
    breaker_reset_s: Annotated[
        float, Meta(ge=0.05, le=3600), about("How long a circuit breaker stays open at first")
    ] = 30.0
    reconcile_s: Annotated[
        Annotated[float, Meta(ge=0, le=3600)] | None,
        about(
            "How long a job may be missing from its provider's list, and for how long the provider must answer "
            "that there is no such job, before the service gives the job up",
            default="FAL 60, CUSTOM 0, others 30",
        ),
    ] = None
    output_max_bytes: Annotated[int, Meta(ge=1_024), about("The size of the largest output file of a provider")] = (
        1024 * 1024 * 1024
    )
    output_timeout_s: Annotated[
        float, Meta(ge=0.1, le=3600), about("The deadline of fetching one file from a provider")
    ] = 300.0
    prices: Annotated[
        Prices,
        about(
            'The prices of attempts whose provider reports none, by provider and model: `{"FAL": '
            '{"fal-ai/flux/dev": 0.025, "fal-ai/veo3": {"amount": "0.40", "currency": "EUR", "per": "second"}}}`. A '
            "number is the price of a job. `per` is `job`, `image`, `second` or `million_tokens`. `*` is each model "
            "that isn't named"
        ),
    ] = field(default_factory=Prices)
    currency: Annotated[
        str, Meta(pattern=r"^[A-Z]{3}(?!\n)$"), about("The currency of those prices that name none")
    ] = "USD"
    tenant_budgets: Annotated[
        TenantBudgets,
        about(
            'The most that attempts at providers may cost on a day (UTC), by tenant and currency: `{"acme": {"USD": '
            '"50.00"}}`. `*` is each tenant that isn\'t named, and runs without a tenant'
        ),
    ] = field(default_factory=TenantBudgets)
    allowed_cidrs: Annotated[
        Networks, about("Private networks that inputs, outputs and webhooks may lead to, like `10.0.0.0/8 127.0.0.0/8`")
    ] = Networks()
    https_only: Annotated[bool, about("Inputs and outputs are fetched by https only, except from allowed networks")] = (
        False
    )

    log_format: Annotated[
        Literal["console", "json"], about("The format of the log", default="json; `console` on a terminal")
    ] = "json"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], about("The least severe level that is logged")
    ] = "info"

    def __repr__(self) -> str:
        """Return the settings without the secrets, and without URLs that may contain one."""
        public = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in SECRET_FIELDS}
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in public.items())})"

    def of(self, provider: ProviderDescriptor) -> ProviderSettings | None:
        """Return the settings of *provider*; None if it has none."""
        own = self.providers.get(provider.name)
        return provider.settings() if own is None and provider.settings is not None else own

    @property
    def artifacts(self) -> Path:
        """The folder for the files of tasks, unless they are in a bucket."""
        return self.artifact_dir or self.data_dir / "artifacts"

    @property
    def signing_secrets(self) -> WebhookSecrets:
        """The secrets that sign webhooks, the tenants' own included."""
        return WebhookSecrets(self.webhook_secret, self.webhook_secrets)

    @property
    def base_url(self) -> str:
        """The URL before the paths of this service, without a slash at its end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (self.public_url or f"http://{host}:{self.port}").rstrip("/")
