"""The keys of a service: those that verify and sign its tokens, its signed URLs and its webhooks; and their checks."""

import hashlib
import hmac
from collections.abc import Iterator
from pkgutil import resolve_name

from msgspec import Struct
from msgspec.structs import replace

from stepwell.basics.setting_names import credential_setting
from stepwell.cli.data_folder import own_secret, own_webhook_secret
from stepwell.cli.errors import MISUSED, Refused
from stepwell.contract.scopes import SCOPES
from stepwell.definition.provider_descriptors import InstalledProviders
from stepwell.providers.installed_providers import read_installation
from stepwell.settings import Settings

# A label for each use of the secret, so that a signature of one use is worthless for another.
_URL_LABEL = b"stepwell: addresses of artifacts"
_SHORTEST = 32
_SYMMETRIC = "HS256"


class ServiceKeys(Struct, frozen=True):
    """The keys of a service. `settings` contain the secret of tokens, if any. `can_sign`: it can sign tokens."""

    settings: Settings
    url_secret: bytes
    can_sign: bool


def keys_of_folder(settings: Settings) -> ServiceKeys:
    """Return the configured keys. The data folder's secrets replace missing ones. Raises `Refused`."""
    check_keys(settings)
    secret = own_secret(settings.data_dir, create=True)
    symmetric = settings.jwt_algorithm == _SYMMETRIC
    if symmetric and settings.jwt_secret is None:
        settings = replace(settings, jwt_secret=secret)
    if not settings.webhook_secret:
        settings = replace(settings, webhook_secret=own_webhook_secret(settings.data_dir))
    return ServiceKeys(settings, _url_secret(settings.url_secret or secret), symmetric)


def keys_of_settings(settings: Settings) -> ServiceKeys:
    """Return the configured keys, for a service without a data folder.

    `check_keys` must have passed with *required*.
    """
    return ServiceKeys(
        settings, _url_secret(settings.url_secret or settings.jwt_secret or ""), settings.jwt_secret is not None
    )


def signing_secret(settings: Settings) -> str:
    """Return the secret that signs tokens: the configured one, else the data folder's. Raises `Refused`."""
    if settings.jwt_algorithm != _SYMMETRIC or settings.jwt_public_key is not None:
        raise Refused("tokens are checked with a public key here: sign them where the private key is", code=MISUSED)
    check_keys(settings)
    if settings.jwt_jwks_url is not None and not (settings.data_dir / "secret").exists():
        raise Refused("tokens are checked with a key set here: sign them where the private key is", code=MISUSED)
    return settings.jwt_secret or own_secret(settings.data_dir, create=False)


def check_keys(settings: Settings, *, required: bool = False) -> None:
    """Raise `Refused` with a line for each faulty key. With *required*, missing keys are faults too."""
    if faults := list(key_faults(settings, required=required)):
        raise Refused(*faults, code=MISUSED)


def key_faults(settings: Settings, *, required: bool) -> Iterator[str]:
    algorithm = settings.jwt_algorithm
    symmetric = algorithm == _SYMMETRIC
    name = "STEPWELL_JWT_SECRET" if symmetric else "STEPWELL_JWT_PUBLIC_KEY"
    key = settings.jwt_secret if symmetric else settings.jwt_public_key
    if settings.jwt_jwks_url is not None:
        yield from _key_set_faults(settings)
    elif symmetric and settings.jwt_public_key is not None:
        yield "STEPWELL_JWT_ALGORITHM: Expected RS256, ES256 or EdDSA, to go with STEPWELL_JWT_PUBLIC_KEY"
    elif key is None:
        if not symmetric:
            yield f"{name}: Expected a public key as PEM, to go with STEPWELL_JWT_ALGORITHM {algorithm}"
        elif required:
            yield f"{name}: Expected a secret of at least {_SHORTEST} bytes (or a STEPWELL_JWT_PUBLIC_KEY or _JWKS_URL)"
    elif symmetric and len(key.encode()) < _SHORTEST:
        yield f"{name}: Expected at least {_SHORTEST} bytes"
    else:
        # It loads Litestar, which commands without a service or a token don't need.
        from stepwell.api.auth.token_keys import parse_key  # noqa: PLC0415

        try:
            parse_key(key, algorithm)
        except ValueError as error:
            yield f"{name}: {error}"
    yield from _url_secret_faults(settings, required=required)
    yield from _scope_faults(settings.jwt_default_scope)


def _url_secret_faults(settings: Settings, *, required: bool) -> Iterator[str]:
    symmetric = settings.jwt_algorithm == _SYMMETRIC
    if settings.url_secret is None:
        if required and (not symmetric or settings.jwt_jwks_url is not None):
            yield f"STEPWELL_URL_SECRET: Expected at least {_SHORTEST} bytes: with public keys nothing else can sign"
    elif len(settings.url_secret.encode()) < _SHORTEST:
        yield f"STEPWELL_URL_SECRET: Expected at least {_SHORTEST} bytes"


def _key_set_faults(settings: Settings) -> Iterator[str]:
    """Yield a line for each other key, because a token must be checked in one way only."""
    others = {
        "STEPWELL_JWT_SECRET": settings.jwt_secret is not None,
        "STEPWELL_JWT_PUBLIC_KEY": settings.jwt_public_key is not None,
        "STEPWELL_JWT_ALGORITHM": settings.jwt_algorithm != _SYMMETRIC,
    }
    yield from (f"{name}: Expected none beside STEPWELL_JWT_JWKS_URL" for name, is_set in others.items() if is_set)


def _scope_faults(scope: str) -> Iterator[str]:
    if not scope:
        return
    if not set(scope.split(" ")) <= set(SCOPES):
        yield f"STEPWELL_JWT_DEFAULT_SCOPE: Expected some of {', '.join(SCOPES)}, with one space between them"


def credential_faults(settings: Settings, providers: InstalledProviders) -> Iterator[str]:
    """Yield a line for each provider credential that is certain to be useless. No line contains a credential."""
    if read_installation().replacements:  # one may expect another form of credential
        return
    for name, secret in settings.credentials.items():
        if (owner := providers.owner(name)) is None:
            continue
        check = providers[owner].credential_fault
        try:
            if isinstance(check, str):
                check = resolve_name(check)
            fault = None if check is None else check(secret)
        except Exception as error:  # noqa: BLE001 - a bug of the package
            fault = f"its check by {providers[owner]} fails: {type(error).__name__}"
        if fault is not None:
            yield f"{credential_setting(name)}: {fault}"


def _url_secret(secret: str) -> bytes:
    return hmac.digest(secret.encode(), _URL_LABEL, hashlib.sha256)
