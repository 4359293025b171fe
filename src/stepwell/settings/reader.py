"""The functions that read the settings from the environment, and report what is wrong with them."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from msgspec import convert
from msgspec.structs import fields, replace

from stepwell.basics.errors import Fault
from stepwell.basics.setting_names import COMMAND_LINE, CREDENTIAL, PREFIX, TENANTS_SECRET
from stepwell.basics.setting_values import (
    ModelLimits,
    Networks,
    Origins,
    Prices,
    Secrets,
    TaskQueues,
    TenantBudgets,
    TenantLimits,
)
from stepwell.basics.strict_json.schema_faults import collect
from stepwell.basics.urls import split_url
from stepwell.definition.provider_descriptors import InstalledProviders, ProviderDescriptor, ProviderSettings
from stepwell.rules.webhook_secrets import SigningSecrets, TenantSecrets, tenant_faults
from stepwell.settings.all_settings import Settings
from stepwell.settings.secret_files import FILE, SECRET_VARIABLES, in_family, read_secret_files
from stepwell.settings.similar_settings import similar_setting

_UNKNOWN_PROVIDER = f"Expected a name that begins with a provider's, like {CREDENTIAL}FAL or {CREDENTIAL}FAL_TEAM_B"
_NOT_ASCII = "Expected a URL of ASCII characters; write its host as browsers send it, like xn--bcher-kva.example"
_A_URL = "Expected an http or https URL"
_URLS = ("public_url", "s3_endpoint")
_VARIABLES = {PREFIX + f.name.upper(): f.name for f in fields(Settings) if f.name != "providers"}
_REDIS = ("redis://", "rediss://")
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


def read_settings(environ: Mapping[str, str], providers: InstalledProviders, **overrides: object) -> Settings:
    """Return the settings in *environ*, with those of *providers*.

    The *overrides* of a command line replace them, except those that are None.

    A secret X may also be in a file, which X_FILE names. An empty variable counts as absent. Raises `InvalidSettings`
    with a line for each fault.
    """
    values, file_faults = read_secret_files(environ)
    raw: dict[str, object] = {name: values[key] for key, name in _VARIABLES.items() if key in values}
    raw["credentials"] = credentials = Secrets(
        {key[len(CREDENTIAL) :].lower(): secret for key, secret in values.items() if in_family(key, CREDENTIAL)}
    )
    tenants = {key[len(TENANTS_SECRET) :]: secrets for key, secrets in values.items() if in_family(key, TENANTS_SECRET)}
    member_faults = [Fault((f"webhook_secrets__{name}",), why, "secret") for name, why in tenant_faults(tenants)]
    raw["webhook_secrets"] = TenantSecrets() if member_faults else TenantSecrets.read(tenants)
    member_faults += [
        Fault((f"credentials__{name}",), _UNKNOWN_PROVIDER, "credential")
        for name in credentials
        if providers.owner(name) is None
    ]
    raw |= {name: value for name, value in overrides.items() if value is not None}
    faults = collect(Settings, raw, (), strict=False, dec_hook=_convert)
    faults += [Fault((name,), _A_URL, "url") for name in _URLS if not _is_base_url(raw.get(name))]
    if not str(raw.get("public_url")).isascii():
        faults.append(Fault(("public_url",), _NOT_ASCII, "url"))
    if not _is_key_set_url(raw.get("jwt_jwks_url")):
        faults.append(Fault(("jwt_jwks_url",), "Expected an http or https URL, without a user name", "url"))
    faults += [Fault((name,), msg, "s3") for name, msg in _s3_faults(raw)] + member_faults
    faults += [Fault((name,), msg, "celery") for name, msg in _celery_faults(raw)]
    for provider in providers.values():
        faults += _provider_faults(provider, values)
    faults += _unknown_provider_faults(raw, providers)
    # No variable of the environment is null.
    messages = [(f"{PREFIX}{str(f.loc[0]).upper()}", f.msg.replace(" or null", "")) for f in faults]
    if faults or file_faults:
        lines = [f"{variable}: {msg}" for variable, msg in messages if variable not in file_faults]
        raise InvalidSettings([*file_faults.values(), *lines])
    own = {
        provider.name: convert(_own_values(provider, values), provider.settings, strict=False)
        for provider in providers.values()
        if provider.settings is not None
    }
    return replace(convert(raw, Settings, strict=False, dec_hook=_convert), providers=own)


def make_settings(providers: InstalledProviders, **values: Any) -> Settings:
    """Return settings with these *values*, unchecked. Field `x` of the settings of FAL is called `fal_x` here."""
    own: dict[str, ProviderSettings] = {}
    for provider in providers.values():
        if provider.settings is not None:
            names = {f"{provider.name.lower()}_{field}": field for field in provider.variables.values()}
            own[provider.name] = provider.settings(
                **{f: values.pop(name) for name, f in names.items() if name in values}
            )
    return Settings(providers=own, **values)


def unread_settings(environ: Mapping[str, str], providers: InstalledProviders) -> dict[str, str | None]:
    """Return the variables that look like settings but aren't, each with the setting that may be meant."""
    known_names = _VARIABLES.keys() - {CREDENTIAL.rstrip("_"), TENANTS_SECRET.rstrip("_")}
    known_names |= frozenset[str]().union(*(provider.variables for provider in providers.values()))
    known_names |= {name + FILE for name in SECRET_VARIABLES} | COMMAND_LINE
    unknown = [key for key in environ if _looks_like_setting(key) and key not in known_names and not _is_member(key)]
    return {
        key: similar_setting(key, known_names, providers)
        or similar_setting(key.removesuffix(FILE), known_names, providers)
        for key in sorted(unknown)
    }


def _own_values(provider: ProviderDescriptor, values: Mapping[str, str]) -> dict[str, str]:
    """Return the values of the provider's own settings, by field."""
    return {field: values[variable] for variable, field in provider.variables.items() if variable in values}


def _provider_faults(provider: ProviderDescriptor, values: Mapping[str, str]) -> Iterator[Fault]:
    own = _own_values(provider, values)
    prefix = f"{provider.name.lower()}_"
    yield from (
        Fault((prefix + str(fault.loc[0]),), fault.msg, fault.type)
        for fault in collect(provider.settings or ProviderSettings, own, (), strict=False)
    )
    for field, value in own.items():
        if field.endswith("url") and not _is_base_url(value):
            yield Fault((prefix + field,), _A_URL, "url")


def _unknown_provider_faults(raw: Mapping[str, object], providers: InstalledProviders) -> Iterator[Fault]:
    """Yield a fault for each setting that names a provider which isn't installed."""
    default = raw.get("default_provider")
    if default is not None and default not in providers:
        yield Fault(("default_provider",), providers.expected(str(default)), "enum")
    for name, kind in (("prices", Prices), ("limits", ModelLimits)):
        if isinstance(text := raw.get(name), str):
            with contextlib.suppress(ValueError):  # reported elsewhere
                if kind.read(text).keys() - providers.keys():
                    yield Fault((name,), f"Expected names of providers: {', '.join(providers)}", "enum")


def _looks_like_setting(key: str) -> bool:
    """Return whether *key* begins like a setting: in any case, with hyphens, or without an underscore in upper case.

    STEPWELL alone doesn't count, because the README uses it.
    """
    begins = key[: len(PREFIX)].upper().replace("-", "_") == PREFIX
    return begins or (key.isupper() and key.startswith(PREFIX.rstrip("_")) and f"{key}_" != PREFIX)


def _is_member(key: str) -> bool:
    """Return whether `read_settings` reads *key* as a member of a family."""
    return in_family(key.upper(), CREDENTIAL) or in_family(key, TENANTS_SECRET)


def _convert(kind: type, value: object) -> object:
    """Convert *value* to a type that msgspec doesn't know. Raises ValueError with the message of the fault."""
    if isinstance(value, str):
        for each in (Networks, Origins, Prices, ModelLimits, TenantLimits, TaskQueues, TenantBudgets, SigningSecrets):
            if kind is each:
                return each.read(value)
    if kind in (SigningSecrets, TenantSecrets) and isinstance(value, kind):
        return value
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
        yield "artifact_dir", "Expected none beside STEPWELL_S3_BUCKET"


def _celery_faults(raw: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield the name and the fault of each invalid setting of Celery. No fault quotes a URL: it may be secret."""
    broker, backend = (str(raw.get(name) or "") for name in ("celery_broker_url", "celery_result_backend"))
    if broker and not broker.startswith((*_REDIS, "amqp://", "amqps://")):
        yield "celery_broker_url", "Expected redis://, rediss://, amqp:// or amqps://"
    if backend and not backend.startswith(_REDIS):
        yield "celery_result_backend", "Expected redis:// or rediss://"
    for name, url in (("celery_broker_url", broker), ("celery_result_backend", backend)):
        if not all(map(_is_broker_url, url.split(";"))):
            yield name, "Expected a URL without a password in its query; write special characters of a password as %XX"
    if raw.get("executor") != "celery":
        return
    if not broker:
        yield "celery_broker_url", "Expected the URL of the broker, because STEPWELL_EXECUTOR is celery"
    elif not backend and not broker.startswith(_REDIS):
        yield "celery_result_backend", "Expected the URL of a Redis, because the broker isn't one"


def _is_broker_url(url: str) -> bool:
    """Return whether the parts of a URL can be distinguished. Celery's errors and banners show parts of other URLs."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return not parts.fragment and "password" not in dict(parse_qsl(parts.query, keep_blank_values=True))


def _is_key_set_url(value: object) -> bool:
    """Return whether *value* can be the URL of a key set, which may have a query."""
    return not isinstance(value, str) or (
        _is_base_url(value.partition("?")[0]) and value.isprintable() and not {" ", "#"} & set(value)
    )


def _is_base_url(value: object) -> bool:
    """Return whether *value* can be the base of other URLs. Another check refuses values that aren't strings."""
    if not isinstance(value, str):
        return True
    parts = split_url(value)
    extra = parts.query or parts.fragment or parts.userinfo or parts.port == 0
    plain = value.isprintable() and " " not in value
    return parts.scheme in ("http", "https") and parts.host is not None and plain and not extra
