"""Every setting of the service: one frozen struct, read from the environment, all defaults visible."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct, convert, field
from msgspec.structs import fields

from stepwell.domain.faults import collect
from stepwell.domain.model import ProviderType

PREFIX = "STEPWELL_"


class InvalidSettings(Exception):
    """The environment holds settings that don't fit. `lines`: one clear line per fault, values left out."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def _default_data_dir() -> Path:
    return Path("/var/lib/stepwell") if os.geteuid() == 0 else Path.home() / ".local/share/stepwell"


class Settings(Struct, frozen=True, kw_only=True):
    """Field `x_y` is read from STEPWELL_X_Y. Times are in seconds, sizes in bytes."""

    database_url: str | None = None
    data_dir: Path = field(default_factory=_default_data_dir)
    artifact_dir: Path | None = None  # default: <data_dir>/artifacts
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
    url_secret: str | None = None  # signs addresses of artifacts; default: derived from the secret behind the tokens

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
    signed_url_ttl_s: Annotated[int, Meta(ge=1, le=604_800)] = 3_600

    log_format: Literal["console", "json"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def artifacts(self) -> Path:
        return self.artifact_dir or self.data_dir / "artifacts"

    @property
    def base_url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (self.public_url or f"http://{host}:{self.port}").rstrip("/")


def read_settings(environ: Mapping[str, str], **overrides: object) -> Settings:
    """Settings from *environ*, with *overrides* (of a command line) on top; None overrides nothing.

    Raises `InvalidSettings` with a line per fault. An empty variable counts as absent.
    """
    names = {f.name for f in fields(Settings)}
    raw: dict[str, object] = {
        name: environ[key] for name in names if (key := PREFIX + name.upper()) in environ and environ[key] != ""
    }
    raw |= {name: value for name, value in overrides.items() if value is not None}
    faults = collect(Settings, raw, (), strict=False, dec_hook=_path)
    if faults:
        raise InvalidSettings([f"{PREFIX}{'_'.join(map(str, f.loc)).upper()}: {f.msg}" for f in faults])
    return convert(raw, Settings, strict=False, dec_hook=_path)


def _path(kind: type, value: object) -> Path:
    assert kind is Path
    return Path(str(value))
