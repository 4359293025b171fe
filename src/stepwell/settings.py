"""Every setting of the service: one frozen struct, read from the environment, all defaults visible."""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

from msgspec import DecodeError, Meta, Struct, convert, field, json
from msgspec.structs import fields

from stepwell.contract.enums import ProviderType
from stepwell.contract.providers import ModelLimit
from stepwell.domain.credential_names import owner
from stepwell.domain.errors import Fault
from stepwell.domain.setting_names import CREDENTIAL, PREFIX, TENANTS_SECRET, similar_setting
from stepwell.domain.strict_json.schema_faults import collect
from stepwell.domain.urls import split_url
from stepwell.domain.webhooks.secrets import SigningSecrets, TenantSecrets, WebhookSecrets, tenant_faults

PollInterval: TypeAlias = Annotated[float, Meta(ge=0.01, le=600)]
_UNKNOWN_PROVIDER = f"Expected a name that begins with a provider's, like {CREDENTIAL}FAL or {CREDENTIAL}FAL_TEAM_B"
_SECRET = frozenset({"jwt_secret", "url_secret", "database_url", "s3_access_key_id", "s3_secret_access_key"})
_SECRET_VARIABLES = frozenset(PREFIX + name.upper() for name in {*_SECRET, "jwt_public_key", "webhook_secret"})
_FILE = "_FILE"  # at the end of a secret's variable: the value is in the file that the variable names
_FILE_MAX_BYTES = 65_536
_URLS = (
    "fal_url",
    "fal_api_url",
    "replicate_url",
    "openai_url",
    "gemini_url",
    "vertex_url",
    "comfyui_url",
    "custom_url",
    "s3_endpoint",
)
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
    """The environment holds settings that don't fit. `lines`: one clear line per fault, values left out."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class Prices(dict[str, dict[str, float]]):
    """What a job costs, by provider and model; the model `*` is for those not named."""

    @classmethod
    def read(cls, text: str) -> Self:
        """*text* is JSON. Raises ValueError, which doesn't quote it."""
        try:
            return cls(json.decode(text, type=dict[ProviderType, dict[str, Annotated[float, Meta(ge=0)]]]))
        except (DecodeError, RecursionError):
            raise ValueError('Expected JSON, like {"FAL": {"fal-ai/flux/dev": 0.025}}') from None


class ModelLimits(dict[ProviderType, dict[str, ModelLimit]]):
    """Limits of models, by provider and model; the model `*` is for each not named."""

    @classmethod
    def read(cls, text: str) -> Self:
        """*text* is JSON. Raises ValueError, which doesn't quote it."""
        try:
            return cls(json.decode(text, type=dict[ProviderType, dict[str, ModelLimit]]))
        except (DecodeError, RecursionError):
            raise ValueError('Expected JSON, like {"FAL": {"*": {"concurrency": 2}}}') from None


class Networks(tuple[IPv4Network | IPv6Network, ...]):
    """Networks in CIDR notation, with commas or spaces between them."""

    __slots__ = ()

    @classmethod
    def read(cls, text: str) -> Self:
        """Raises ValueError, which doesn't quote *text*."""
        try:
            return cls(ip_network(part, strict=False) for part in text.replace(",", " ").split())
        except ValueError:
            raise ValueError("Expected networks, like 10.0.0.0/8 fd00::/8") from None


class Secrets(dict[str, str]):
    """Secrets by name, in lower case. Shows nothing but the names."""

    def __repr__(self) -> str:
        return f"<secrets: {', '.join(sorted(self)) or 'none'}>"


def _default_data_dir() -> Path:
    return Path("/var/lib/stepwell") if os.geteuid() == 0 else Path.home() / ".local/share/stepwell"


class Settings(Struct, frozen=True, kw_only=True):
    """Field `x_y` is read from STEPWELL_X_Y. Times are in seconds, sizes in bytes."""

    database_url: str | None = None
    data_dir: Path = field(default_factory=_default_data_dir)
    artifact_dir: Path | None = None  # default: <data_dir>/artifacts
    s3_bucket: str | None = None  # artifacts go there instead
    s3_prefix: str = ""
    s3_endpoint: str | None = None  # default: AWS, in the region
    s3_region: str | None = None
    s3_access_key_id: str | None = None  # without a key: that of the machine or container
    s3_secret_access_key: str | None = None
    s3_links: bool = True  # others can reach the bucket: they get its signed addresses instead of ours
    s3_copy_from: Path | None = None  # the folder where files were before: read, and copied to the bucket
    postgres_bin: Path | None = None
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 9000
    public_url: str | None = None  # default: http://host:port
    default_provider: ProviderType | None = None

    jwt_secret: str | None = None
    jwt_public_key: str | None = None  # PEM
    jwt_algorithm: Literal["HS256", "RS256", "ES256", "EdDSA"] = "HS256"
    jwt_issuer: str = "stepwell"
    jwt_audience: str = "stepwell"
    jwt_max_lifetime_s: Annotated[int, Meta(ge=60, le=315_360_000)] = 34_560_000  # exp minus iat: 400 days
    url_secret: str | None = None  # signs addresses of artifacts; default: derived from the secret behind the tokens

    webhook_secret: SigningSecrets = SigningSecrets()
    webhook_secrets: TenantSecrets = field(default_factory=TenantSecrets)  # from STEPWELL_WEBHOOK_SECRETS__<TENANT>
    webhook_timeout_s: Annotated[float, Meta(ge=0.1, le=60)] = 20.0  # of one try, all in all

    max_running_steps: Annotated[int, Meta(ge=1, le=100_000)] = 1_000
    max_steps_per_provider: Annotated[int, Meta(ge=1, le=100_000)] = 100
    max_local_steps: Annotated[int, Meta(ge=1, le=1_024)] = field(default_factory=lambda: os.cpu_count() or 1)
    max_steps_per_tenant: Annotated[int, Meta(ge=1, le=100_000)] | None = None

    lease_s: Annotated[float, Meta(ge=1, le=3600)] = 15.0
    grace_s: Annotated[float, Meta(ge=1, le=3600)] = 8.0
    database_pool: Annotated[int, Meta(ge=1, le=200)] = 8
    database_timeout_s: Annotated[float, Meta(ge=0.1, le=600)] = 10.0

    input_max_bytes: Annotated[int, Meta(ge=1_024)] = 64 * 1024 * 1024
    input_timeout_s: Annotated[float, Meta(ge=0.1, le=3600)] = 30.0
    heartbeat_s: Annotated[float, Meta(ge=0.05, le=300)] = 15.0  # of event streams in which nothing happens
    signed_url_ttl_s: Annotated[int, Meta(ge=1, le=604_800)] = 3_600

    credentials: Secrets = field(default_factory=Secrets)  # from STEPWELL_CREDENTIALS__<NAME>
    fal_url: str | None = None  # default: the public queue, where there is a credential
    fal_api_url: str | None = None  # default: the public one beside the public queue, else fal_url
    replicate_url: str | None = None
    openai_url: str | None = None  # or of any service that speaks its API; default: the public one
    gemini_url: str | None = None
    vertex_url: str | None = None  # default: the public one of the location
    vertex_project: str | None = None  # default: the service account's own
    vertex_location: Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,40}(?!\n)$")] | None = None  # default: by model
    vertex_bucket: Annotated[str, Meta(pattern=r"^gs://[a-z0-9][a-z0-9._-]{1,221}/([^\s]*)(?!\n)$")] | None = None
    comfyui_url: str | None = None
    custom_url: str | None = None
    provider_timeout_s: Annotated[float, Meta(ge=0.1, le=600)] = 30.0  # of one call
    provider_work_s: Annotated[float, Meta(ge=0.1, le=800)] = 300.0  # of a call that is answered with the result
    poll_interval_s: PollInterval = 1.0
    fal_poll_interval_s: PollInterval | None = None
    replicate_poll_interval_s: PollInterval | None = None
    gemini_poll_interval_s: PollInterval | None = None
    vertex_poll_interval_s: PollInterval | None = None
    openai_poll_interval_s: PollInterval | None = None
    comfyui_poll_interval_s: PollInterval | None = None
    custom_poll_interval_s: PollInterval | None = None
    limits: ModelLimits = field(default_factory=ModelLimits)
    breaker_failures: Annotated[int, Meta(ge=0, le=10_000)] = 3  # steps given up in a row; 0: no breaker
    breaker_reset_s: Annotated[float, Meta(ge=0.05, le=3600)] = 30.0
    reconcile_s: Annotated[float, Meta(ge=0, le=3600)] | None = None  # default: what each provider needs
    output_max_bytes: Annotated[int, Meta(ge=1_024)] = 1024 * 1024 * 1024
    output_timeout_s: Annotated[float, Meta(ge=0.1, le=3600)] = 300.0
    prices: Prices = field(default_factory=Prices)
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}(?!\n)$")] = "USD"  # of those prices
    allowed_cidrs: Networks = Networks()
    https_only: bool = False

    log_format: Literal["console", "json"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    def __repr__(self) -> str:
        """Without secrets, and without the database's address, which may hold one."""
        shown = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _SECRET}
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    @property
    def artifacts(self) -> Path:
        return self.artifact_dir or self.data_dir / "artifacts"

    @property
    def signing_secrets(self) -> WebhookSecrets:
        return WebhookSecrets(self.webhook_secret, self.webhook_secrets)

    @property
    def base_url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (self.public_url or f"http://{host}:{self.port}").rstrip("/")


def read_settings(environ: Mapping[str, str], **overrides: object) -> Settings:
    """Settings from *environ*, with *overrides* (of a command line) on top; None overrides nothing.

    The value of a secret X may also be in a file, which X_FILE names. Raises `InvalidSettings` with a line per fault.
    An empty variable counts as absent.
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
    faults = collect(Settings, raw, (), strict=False, dec_hook=_converted)
    faults += [Fault((name,), "Expected an http or https URL", "url") for name in _URLS if not _is_base(raw.get(name))]
    faults += [Fault((name,), msg, "s3") for name, msg in _s3_faults(raw)] + member_faults
    messages = [(f"{PREFIX}{str(f.loc[0]).upper()}", f.msg) for f in faults]
    if faults or file_faults:
        lines = [f"{variable}: {msg}" for variable, msg in messages if variable not in file_faults]
        raise InvalidSettings([*file_faults.values(), *lines])
    return convert(raw, Settings, strict=False, dec_hook=_converted)


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
            shown = f": {path}" if path.startswith(("/", "./", "../")) else ""
            faults[name] = f"{key}: {error}{shown}"
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
    """Variables that look like settings and are none, each with the name that may be meant."""
    known = {PREFIX + f.name.upper() for f in fields(Settings)} - {CREDENTIAL.rstrip("_"), TENANTS_SECRET.rstrip("_")}
    known |= {name + _FILE for name in _SECRET_VARIABLES}
    unknown = [key for key in environ if _looks_like_setting(key) and key not in known and not _is_member(key)]
    return {
        key: similar_setting(key, known) or similar_setting(key.removesuffix(_FILE), known) for key in sorted(unknown)
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


def _converted(kind: type, value: object) -> object:
    if kind is Networks and isinstance(value, str):
        return Networks.read(value)
    if kind is Prices and isinstance(value, str):
        return Prices.read(value)
    if kind is ModelLimits and isinstance(value, str):
        return ModelLimits.read(value)
    if kind in (SigningSecrets, TenantSecrets) and isinstance(value, kind):
        return value
    if kind is SigningSecrets and isinstance(value, str):
        return SigningSecrets.read(value)
    if kind is Secrets and isinstance(value, Mapping):
        return Secrets(value)
    assert kind is Path
    return Path(str(value))


def _s3_faults(raw: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """What is odd about the settings of the bucket, by the name of each. The names of buckets are Amazon's rules:
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
    """
    if "s3_bucket" not in raw:
        yield from ((name, "Expected STEPWELL_S3_BUCKET beside it") for name in raw if name.startswith("s3_"))
        return
    for name, (shape, wanted) in _S3_SHAPES.items():
        if name in raw and re.fullmatch(shape, str(raw[name])) is None:
            yield name, wanted
    for one, other in (("access_key_id", "secret_access_key"), ("secret_access_key", "access_key_id")):
        if f"s3_{other}" in raw and f"s3_{one}" not in raw:
            yield f"s3_{one}", f"Expected one, to go with STEPWELL_S3_{other.upper()}"
    if "artifact_dir" in raw:
        yield "artifact_dir", "Expected none beside STEPWELL_S3_BUCKET; STEPWELL_S3_COPY_FROM is for an old folder"


def _is_base(value: object) -> bool:
    if not isinstance(value, str):
        return True
    parts = split_url(value)
    extra = parts.query or parts.fragment or parts.userinfo or parts.port == 0
    plain = value.isprintable() and " " not in value
    return parts.scheme in ("http", "https") and parts.host is not None and plain and not extra
