"""The settings of the service: one struct with all defaults, and the function that reads it from the environment."""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct, convert, field
from msgspec.structs import fields

from stepwell.contract.enums import ProviderType
from stepwell.domain.credential_names import owner
from stepwell.domain.errors import Fault
from stepwell.domain.setting_names import CREDENTIAL, PREFIX, TENANTS_SECRET, similar_setting
from stepwell.domain.setting_values import ModelLimits, Networks, Prices, Secrets, TenantLimits
from stepwell.domain.strict_json.schema_faults import collect
from stepwell.domain.urls import split_url
from stepwell.domain.webhooks.secrets import SigningSecrets, TenantSecrets, WebhookSecrets, tenant_faults

PollInterval: TypeAlias = Annotated[float, Meta(ge=0.01, le=600)]
_UNKNOWN_PROVIDER = f"Expected a name that begins with a provider's, like {CREDENTIAL}FAL or {CREDENTIAL}FAL_TEAM_B"
_SECRET = frozenset({"jwt_secret", "url_secret", "database_url", "s3_access_key_id", "s3_secret_access_key"})
_SECRET_VARIABLES = frozenset(PREFIX + name.upper() for name in {*_SECRET, "jwt_public_key", "webhook_secret"})
_FILE = "_FILE"  # the end of a variable that names a file, which contains the secret
_FILE_MAX_BYTES = 65_536
_URL_OWNERS = ("fal", "fal_api", "replicate", "openai", "gemini", "vertex", "comfyui", "custom")
_URLS = (*(f"{name}_url" for name in _URL_OWNERS), "s3_endpoint")
_S3_SHAPES = {
    "s3_bucket": (
        r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
        "Expected a bucket's name: 3 to 63 characters of a-z, 0-9, dot and hyphen",
    ),
    "s3_prefix": (
        r"(?a:(?!\.)[\w.-]+(/(?!\.)[\w.-]+)*)",
        "Expected names with / between them, of letters, digits, . _ and -",
    ),
    "s3_region": (r"[a-z0-9-]{1,40}", "Expected a region, like eu-central-1"),
    "s3_access_key_id": (r"[!-~]{1,128}", "Expected a key id, without spaces"),
    "s3_secret_access_key": (r"[!-~]{1,512}", "Expected a key, without spaces"),
}


class InvalidSettings(Exception):
    """Some settings in the environment are invalid. `lines` describe the faults, without the values."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def _default_data_dir() -> Path:
    return Path("/var/lib/stepwell") if os.geteuid() == 0 else Path.home() / ".local/share/stepwell"


def _about(description: str, *, default: str | None = None) -> Meta:
    """Describe a setting for the manual. *default* is what the manual says instead of the value in the code."""
    return Meta(description=description, extra=None if default is None else {"default": default})


class Settings(Struct, frozen=True, kw_only=True):
    """All settings. Field `x_y` is read from STEPWELL_X_Y. Times are in seconds, sizes in bytes.

    The manual's table of settings is generated from these fields.
    """

    database_url: Annotated[
        str | None,
        _about(
            "The database of `serve`, `migrate` and `bench`: `postgresql://user:password@host/name`, "
            "PostgreSQL 14 or newer"
        ),
    ] = None
    data_dir: Annotated[
        Path,
        _about(
            "The data folder: PostgreSQL, artifacts, secrets and the token",
            default="`/var/lib/stepwell` for root, else `~/.local/share/stepwell`",
        ),
    ] = field(default_factory=_default_data_dir)
    artifact_dir: Annotated[
        Path | None,
        _about("The folder for the files of tasks; not beside STEPWELL_S3_BUCKET", default="`<data dir>/artifacts`"),
    ] = None
    s3_bucket: Annotated[str | None, _about("The bucket for the files of tasks, instead of a folder")] = None
    s3_prefix: Annotated[str, _about("Files are below this prefix in the bucket")] = ""
    s3_endpoint: Annotated[
        str | None,
        _about("The URL of another service that speaks S3; `http://` is allowed", default="Amazon's, in the region"),
    ] = None
    s3_region: Annotated[str | None, _about("The region of the bucket", default="`AWS_REGION`, else us-east-1")] = None
    s3_access_key_id: Annotated[
        str | None,
        _about(
            "The id of the key; with STEPWELL_S3_SECRET_ACCESS_KEY or not at all",
            default="the machine's: `AWS_*` variables, web identity, container or instance",
        ),
    ] = None
    s3_secret_access_key: Annotated[str | None, _about("The secret of the key")] = None
    s3_links: Annotated[
        bool, _about("Signed URLs lead to the bucket. false: providers and users can't reach the bucket")
    ] = True
    s3_copy_from: Annotated[
        Path | None, _about("The folder that contained the files before. It is read, and copied to the bucket")
    ] = None
    postgres_bin: Annotated[
        Path | None,
        _about("Other PostgreSQL programs for `up`, `run`, `bench`, `dump` and `restore`", default="the wheel's"),
    ] = None
    host: Annotated[str, _about("The address to listen on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535), _about("The port to listen on; 0 takes a free one")] = 9000
    admin_port: Annotated[
        Annotated[int, Meta(ge=0, le=65535)] | None,
        _about("A further port on STEPWELL_HOST, which answers `/health` and `/metrics` only", default="none"),
    ] = None
    trusted_proxies: Annotated[
        Networks,
        _about(
            "The networks of your proxies. From these alone, the address and the scheme of a client are what "
            "`X-Forwarded-For` and `X-Forwarded-Proto` say"
        ),
    ] = Networks()
    public_url: Annotated[
        str | None,
        _about(
            "The base of signed URLs, of `link` in webhooks, and of callback URLs",
            default="`http://host:port`, without callbacks",
        ),
    ] = None
    default_provider: Annotated[
        ProviderType | None,
        _about(
            "The provider of a step that names none", default="LOCAL under `up`, `run` and `bench`; none under `serve`"
        ),
    ] = None

    jwt_secret: Annotated[
        str | None,
        _about(
            "The secret that signs tokens with HS256, at least 32 bytes", default="made by `up`, in the data folder"
        ),
    ] = None
    jwt_public_key: Annotated[
        str | None, _about("The public key in PEM that checks tokens, with RS256, ES256 or EdDSA")
    ] = None
    jwt_algorithm: Annotated[Literal["HS256", "RS256", "ES256", "EdDSA"], _about("The algorithm of tokens")] = "HS256"
    jwt_issuer: Annotated[str, _about("The value that `iss` of a token must have")] = "stepwell"
    jwt_audience: Annotated[str, _about("The value that `aud` of a token must have")] = "stepwell"
    jwt_max_lifetime_s: Annotated[
        int,
        Meta(ge=60, le=315_360_000),
        _about(
            "The longest lifetime of a token (`exp` minus `iat`). Longer ones are refused, and "
            "`stepwell token` makes none",
            default="34560000 (400 days)",
        ),
    ] = 34_560_000
    url_secret: Annotated[
        str | None,
        _about(
            "The secret that signs URLs of artifacts; `serve` with a public key needs it",
            default="derived from STEPWELL_JWT_SECRET",
        ),
    ] = None

    webhook_secret: Annotated[
        SigningSecrets,
        _about(
            "The secret that signs webhooks: `whsec_` and base64 of 24 to 64 bytes. There may be several, "
            "separated by spaces, and all of them sign. Without one, `serve` refuses `webhook_url`",
            default="made by `up` and `run`, in the data folder",
        ),
    ] = SigningSecrets()
    webhook_secrets: Annotated[
        TenantSecrets,
        _about(
            "A tenant's own webhook secret. A TENANT of capitals, digits and `_` stands for every tenant whose "
            "name is written so (`acme-inc` is `ACME_INC`); any other TENANT is the tenant's exact name",
            default="STEPWELL_WEBHOOK_SECRET",
        ),
    ] = field(default_factory=TenantSecrets)
    webhook_timeout_s: Annotated[float, Meta(ge=0.1, le=60), _about("The deadline of one attempt at a webhook")] = 20.0

    max_running_steps: Annotated[int, Meta(ge=1, le=100_000), _about("Steps that may run at once")] = 1_000
    max_steps_per_provider: Annotated[
        int, Meta(ge=1, le=100_000), _about("Steps of a remote provider that may run at once")
    ] = 100
    max_local_steps: Annotated[
        int, Meta(ge=1, le=1_024), _about("Steps of LOCAL that may run at once", default="the number of CPUs")
    ] = field(default_factory=lambda: os.cpu_count() or 1)
    local_memory_max_bytes: Annotated[
        Annotated[int, Meta(ge=512 * 1024 * 1024)] | None,
        _about("Bytes that LOCAL's worker processes may use", default="60% of what STEPWELL_MEMORY_MAX_BYTES leaves"),
    ] = None
    max_steps_per_tenant: Annotated[
        Annotated[int, Meta(ge=1, le=100_000)] | None,
        _about("Steps of a tenant that may run at once", default="no limit"),
    ] = None
    max_active_workflows: Annotated[
        int,
        Meta(ge=1, le=1_000_000),
        _about(
            "Workflows that may be active in a process at once. A large one counts once for each 20 steps, or once for "
            "each 64 KiB of its definition. One tenant alone gets at most half of them"
        ),
    ] = 2_000
    max_active_workflows_per_tenant: Annotated[
        int,
        Meta(ge=1, le=1_000_000),
        _about("Workflows of a tenant that may be active in a process at once. Others wait in the database"),
    ] = 500
    max_waiting_workflows: Annotated[
        int,
        Meta(ge=0, le=10_000_000),
        _about(
            "Workflows that may wait in the database until they are active. One tenant alone gets at most half of "
            "that. Beyond it, create and start are a 429"
        ),
    ] = 20_000
    max_waiting_s: Annotated[
        float,
        Meta(ge=1, le=2_592_000),
        _about("How long workflows of a tenant may wait until further ones are a 429"),
    ] = 3_600.0
    database_slow_s: Annotated[
        float,
        Meta(ge=0.01, le=600),
        _about(
            "A write of the engine that takes longer makes the database count as slow. Then tenants that have more "
            "than their share get a 429 for create and start"
        ),
    ] = 1.0
    tenant_limits: Annotated[
        TenantLimits,
        _about(
            'Limits of single tenants, instead of the general ones: `{"acme": {"active_workflows": 1000, '
            '"waiting_workflows": 50000}}`'
        ),
    ] = field(default_factory=TenantLimits)

    memory_max_bytes: Annotated[
        Annotated[int, Meta(ge=1024 * 1024)] | None,
        _about(
            "The bytes that attempts, answers, bodies and uploads may hold in memory together; one of them may hold "
            "half of that. The process needs several hundred MB besides",
            default="a quarter of the memory that the cgroup or the machine provides, at most 512 MiB",
        ),
    ] = None

    lease_s: Annotated[
        float,
        Meta(ge=1, le=3600),
        _about("`serve`: the lease of a process. After a crash, its workflows wait until the lease has ended"),
    ] = 15.0
    grace_s: Annotated[float, Meta(ge=1, le=3600), _about("The time from SIGTERM to the end of the process")] = 8.0
    database_pool: Annotated[
        int, Meta(ge=1, le=200), _about("Connections for lists, histories and tasks, beside those of the engine")
    ] = 8
    database_timeout_s: Annotated[float, Meta(ge=0.1, le=600), _about("The deadline of a statement")] = 10.0

    results_max_bytes: Annotated[
        int,
        Meta(ge=1_024),
        _about("The size of all results of a workflow together. A step whose result would exceed it fails"),
    ] = 64 * 1024 * 1024
    input_max_bytes: Annotated[int, Meta(ge=1_024), _about("The size of the largest input file")] = 64 * 1024 * 1024
    input_timeout_s: Annotated[float, Meta(ge=0.1, le=3600), _about("The deadline of fetching one input")] = 30.0
    heartbeat_s: Annotated[
        float, Meta(ge=0.05, le=300), _about("The time between two heartbeats of an event stream")
    ] = 15.0
    max_connections_per_client: Annotated[
        Annotated[int, Meta(ge=1, le=100_000)] | None,
        _about(
            "Connections that one client address (of IPv6, one /64) may have",
            default="three quarters of those that the limit of open files allows",
        ),
    ] = None
    body_timeout_s: Annotated[
        float, Meta(ge=0.05, le=3600), _about("How long the body of a request may make no progress; then it is a 408")
    ] = 15.0
    max_streams_per_tenant: Annotated[
        int, Meta(ge=1, le=100_000), _about("Event streams of a tenant that may be open at once; more are a 429")
    ] = 200
    signed_url_ttl_s: Annotated[int, Meta(ge=1, le=604_800), _about("How long a signed URL is valid")] = 3_600

    credentials: Annotated[
        Secrets,
        _about(
            "A provider's key, by the name that `provider_config.credential` uses, in any case. NAME "
            "is the provider's (`FAL`), which is the default, or begins with it and `_` or `-` "
            "(`FAL_TEAM_B`). A key goes to no other provider"
        ),
    ] = field(default_factory=Secrets)
    fal_url: Annotated[str | None, _about("FAL's queue", default="the public one, if there is a key")] = None
    fal_api_url: Annotated[
        str | None, _about("FAL's list of requests", default="the public one; beside another queue, that")
    ] = None
    replicate_url: Annotated[str | None, _about("Replicate's API", default="the public one, if there is a key")] = None
    openai_url: Annotated[
        str | None,
        _about(
            "OpenAI's API, or that of a server that speaks it, with its path",
            default="the public one, if there is a key",
        ),
    ] = None
    gemini_url: Annotated[str | None, _about("The Gemini API", default="the public one, if there is a key")] = None
    vertex_url: Annotated[
        str | None, _about("Vertex AI", default="the public one of the location, if there is a key")
    ] = None
    vertex_project: Annotated[str | None, _about("The project of VERTEX", default="the service account's")] = None
    vertex_location: Annotated[
        Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,40}(?!\n)$")] | None,
        _about("The location of VERTEX", default="by model: `global` or us-central1"),
    ] = None
    vertex_bucket: Annotated[
        Annotated[str, Meta(pattern=r"^gs://[a-z0-9][a-z0-9._-]{1,221}/([^\s]*)(?!\n)$")] | None,
        _about(
            "`gs://bucket/folder/`: videos are written there and read from there",
            default="none: they come in the answer",
        ),
    ] = None
    comfyui_url: Annotated[str | None, _about("The ComfyUI server; without it there is no COMFYUI")] = None
    custom_url: Annotated[str | None, _about("The worker; without it there is no CUSTOM")] = None
    provider_timeout_s: Annotated[float, Meta(ge=0.1, le=600), _about("The deadline of one call to a provider")] = 30.0
    provider_work_s: Annotated[
        float, Meta(ge=0.1, le=800), _about("The deadline of a call that is answered with the result itself")
    ] = 300.0
    poll_interval_s: Annotated[
        PollInterval, _about("The time between the first two polls of a job; it grows to 10 s")
    ] = 1.0
    fal_poll_interval_s: Annotated[
        PollInterval | None, _about("STEPWELL_POLL_INTERVAL_S for jobs of FAL", default="STEPWELL_POLL_INTERVAL_S")
    ] = None
    replicate_poll_interval_s: Annotated[
        PollInterval | None,
        _about("STEPWELL_POLL_INTERVAL_S for jobs of REPLICATE", default="STEPWELL_POLL_INTERVAL_S"),
    ] = None
    gemini_poll_interval_s: Annotated[
        PollInterval | None, _about("STEPWELL_POLL_INTERVAL_S for jobs of GEMINI", default="STEPWELL_POLL_INTERVAL_S")
    ] = None
    vertex_poll_interval_s: Annotated[
        PollInterval | None, _about("STEPWELL_POLL_INTERVAL_S for jobs of VERTEX", default="STEPWELL_POLL_INTERVAL_S")
    ] = None
    openai_poll_interval_s: Annotated[
        PollInterval | None, _about("STEPWELL_POLL_INTERVAL_S for jobs of OPENAI", default="STEPWELL_POLL_INTERVAL_S")
    ] = None
    comfyui_poll_interval_s: Annotated[
        PollInterval | None, _about("STEPWELL_POLL_INTERVAL_S for jobs of COMFYUI", default="STEPWELL_POLL_INTERVAL_S")
    ] = None
    custom_poll_interval_s: Annotated[
        PollInterval | None, _about("STEPWELL_POLL_INTERVAL_S for jobs of CUSTOM", default="STEPWELL_POLL_INTERVAL_S")
    ] = None
    limits: Annotated[
        ModelLimits,
        _about(
            'Limits of models, by provider and model; `*` is each model that isn\'t named: `{"FAL": '
            '{"fal-ai/veo3": {"concurrency": 2}, "*": {"per_minute": 600}}}`'
        ),
    ] = field(default_factory=ModelLimits)
    breaker_failures: Annotated[
        int,
        Meta(ge=0, le=10_000),
        _about(
            "The number of steps in a row that must use up their attempts at a model before its circuit "
            "breaker opens. 0: it never opens"
        ),
    ] = 3
    breaker_reset_s: Annotated[
        float, Meta(ge=0.05, le=3600), _about("How long a circuit breaker stays open at first")
    ] = 30.0
    reconcile_s: Annotated[
        Annotated[float, Meta(ge=0, le=3600)] | None,
        _about(
            "How long a job may be missing from its provider's list, and for how long the provider must answer "
            "that there is no such job, before the service gives the job up",
            default="FAL 60, CUSTOM 0, others 30",
        ),
    ] = None
    output_max_bytes: Annotated[int, Meta(ge=1_024), _about("The size of the largest output file of a provider")] = (
        1024 * 1024 * 1024
    )
    output_timeout_s: Annotated[
        float, Meta(ge=0.1, le=3600), _about("The deadline of fetching one file from a provider")
    ] = 300.0
    prices: Annotated[
        Prices,
        _about(
            'The price of a job whose provider reports none, by provider and model: `{"FAL": '
            '{"fal-ai/flux/dev": 0.025}}`. `*` is each model that isn\'t named'
        ),
    ] = field(default_factory=Prices)
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}(?!\n)$"), _about("The currency of those prices")] = "USD"
    allowed_cidrs: Annotated[
        Networks,
        _about("Private networks that inputs, outputs and webhooks may lead to, like `10.0.0.0/8 127.0.0.0/8`"),
    ] = Networks()
    https_only: Annotated[
        bool, _about("Inputs and outputs are fetched by https only, except from allowed networks")
    ] = False

    log_format: Annotated[
        Literal["console", "json"], _about("The format of the log", default="json; `console` on a terminal")
    ] = "json"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], _about("The least severe level that is logged")
    ] = "info"

    def __repr__(self) -> str:
        """Return the settings without the secrets, and without the database's URL, which may contain one."""
        public = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _SECRET}
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in public.items())})"

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


def read_settings(environ: Mapping[str, str], **overrides: object) -> Settings:
    """Return the settings in *environ*. The *overrides* of a command line replace them, except those that are None.

    A secret X may also be in a file, which X_FILE names. An empty variable counts as absent. Raises `InvalidSettings`
    with a line for each fault.
    """
    values, file_faults = _read_secret_files(environ)
    raw: dict[str, object] = {
        f.name: values[key] for f in fields(Settings) if (key := PREFIX + f.name.upper()) in values
    }
    raw["credentials"] = credentials = Secrets(
        {key[len(CREDENTIAL) :].lower(): secret for key, secret in values.items() if _in_family(key, CREDENTIAL)}
    )
    tenants = {
        key[len(TENANTS_SECRET) :]: secrets for key, secrets in values.items() if _in_family(key, TENANTS_SECRET)
    }
    member_faults = [Fault((f"webhook_secrets__{name}",), why, "secret") for name, why in tenant_faults(tenants)]
    raw["webhook_secrets"] = TenantSecrets() if member_faults else TenantSecrets.read(tenants)
    member_faults += [
        Fault((f"credentials__{name}",), _UNKNOWN_PROVIDER, "credential") for name in credentials if owner(name) is None
    ]
    raw |= {name: value for name, value in overrides.items() if value is not None}
    faults = collect(Settings, raw, (), strict=False, dec_hook=_convert)
    faults += [
        Fault((name,), "Expected an http or https URL", "url") for name in _URLS if not _is_base_url(raw.get(name))
    ]
    faults += [Fault((name,), msg, "s3") for name, msg in _s3_faults(raw)] + member_faults
    messages = [(f"{PREFIX}{str(f.loc[0]).upper()}", f.msg) for f in faults]
    if faults or file_faults:
        lines = [f"{variable}: {msg}" for variable, msg in messages if variable not in file_faults]
        raise InvalidSettings([*file_faults.values(), *lines])
    return convert(raw, Settings, strict=False, dec_hook=_convert)


def _read_secret_files(environ: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the variables that have a value, with X from the file instead of X_FILE, and the faults of such files.

    The faults are lines by X, and contain no secret. Names of credentials become upper case.
    """
    variables = {
        key.upper() if key.upper().startswith(CREDENTIAL) else key: text for key, text in environ.items() if text
    }
    values = {key: text for key, text in variables.items() if _secret_in_file(key) is None}
    faults: dict[str, str] = {}
    for key, path in variables.items():
        if (name := _secret_in_file(key)) is None:
            continue
        if name in variables:
            faults[name] = f"{name}, {key}: Expected one of the two, not both"
            continue
        try:
            values[name] = _read_secret(Path(path))
        except ValueError as error:
            # A value that isn't a path may be the secret itself.
            location = f": {path}" if path.startswith(("/", "./", "../")) else ""
            faults[name] = f"{key}: {error}{location}"
    return values, faults


def _secret_in_file(key: str) -> str | None:
    """Return the X of a variable X_FILE if X is a secret; else None."""
    name = key.removesuffix(_FILE)
    is_secret = name in _SECRET_VARIABLES or _in_family(name, CREDENTIAL) or _in_family(name, TENANTS_SECRET)
    return name if name != key and is_secret else None


def _in_family(key: str, prefix: str) -> bool:
    return key.startswith(prefix) and key != prefix


def _read_secret(path: Path) -> str:
    """Return the text of the file, without newlines at its end. Raises ValueError, which doesn't quote the file."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe may never end
            raise ValueError("Expected a regular file")
        with path.open("rb") as file:
            data = file.read(_FILE_MAX_BYTES + 1)
    except OSError as error:
        raise ValueError(f"Expected a file that can be read ({error.strerror})") from error
    if len(data) > _FILE_MAX_BYTES:
        raise ValueError(f"Expected a file of at most {_FILE_MAX_BYTES} bytes")
    try:
        text = data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError("Expected a file of UTF-8 text") from None
    if not text or "\0" in text:
        raise ValueError("Expected a file with text in it")
    return text


def unread_settings(environ: Mapping[str, str]) -> dict[str, str | None]:
    """Return the variables that look like settings but aren't, each with the setting that may be meant."""
    known_names = {PREFIX + f.name.upper() for f in fields(Settings)} - {
        CREDENTIAL.rstrip("_"),
        TENANTS_SECRET.rstrip("_"),
    }
    known_names |= {name + _FILE for name in _SECRET_VARIABLES}
    unknown = [key for key in environ if _looks_like_setting(key) and key not in known_names and not _is_member(key)]
    return {
        key: similar_setting(key, known_names) or similar_setting(key.removesuffix(_FILE), known_names)
        for key in sorted(unknown)
    }


def _looks_like_setting(key: str) -> bool:
    """Return whether *key* begins like a setting: in any case, with hyphens, or without an underscore in upper case.

    STEPWELL alone doesn't count, because the README uses it.
    """
    begins = key[: len(PREFIX)].upper().replace("-", "_") == PREFIX
    return begins or (key.isupper() and key.startswith(PREFIX.rstrip("_")) and f"{key}_" != PREFIX)


def _is_member(key: str) -> bool:
    """Return whether `read_settings` reads *key* as a member of a family."""
    return _in_family(key.upper(), CREDENTIAL) or _in_family(key, TENANTS_SECRET)


def _convert(kind: type, value: object) -> object:
    """Convert *value* to a type that msgspec doesn't know. Raises ValueError with the message of the fault."""
    if kind is Networks and isinstance(value, str):
        return Networks.read(value)
    if kind is Prices and isinstance(value, str):
        return Prices.read(value)
    if kind is ModelLimits and isinstance(value, str):
        return ModelLimits.read(value)
    if kind is TenantLimits and isinstance(value, str):
        return TenantLimits.read(value)
    if kind in (SigningSecrets, TenantSecrets) and isinstance(value, kind):
        return value
    if kind is SigningSecrets and isinstance(value, str):
        return SigningSecrets.read(value)
    if kind is Secrets and isinstance(value, Mapping):
        return Secrets(value)
    assert kind is Path
    return Path(str(value))


def _s3_faults(raw: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield the name and the fault of each invalid setting of the bucket.

    Names of buckets follow Amazon's rules: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
    """
    if "s3_bucket" not in raw:
        yield from ((name, "Expected STEPWELL_S3_BUCKET beside it") for name in raw if name.startswith("s3_"))
        return
    for name, (shape, msg) in _S3_SHAPES.items():
        if name in raw and re.fullmatch(shape, str(raw[name])) is None:
            yield name, msg
    for one, other in (("access_key_id", "secret_access_key"), ("secret_access_key", "access_key_id")):
        if f"s3_{other}" in raw and f"s3_{one}" not in raw:
            yield f"s3_{one}", f"Expected one, to go with STEPWELL_S3_{other.upper()}"
    if "artifact_dir" in raw:
        yield "artifact_dir", "Expected none beside STEPWELL_S3_BUCKET; STEPWELL_S3_COPY_FROM is for an old folder"


def _is_base_url(value: object) -> bool:
    """Return whether *value* can be the base of other URLs. Another check refuses values that aren't strings."""
    if not isinstance(value, str):
        return True
    parts = split_url(value)
    extra = parts.query or parts.fragment or parts.userinfo or parts.port == 0
    plain = value.isprintable() and " " not in value
    return parts.scheme in ("http", "https") and parts.host is not None and plain and not extra
