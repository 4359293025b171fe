"""`stepwell token`: bearer tokens, signed on the machine that has the secret."""

import re
from collections.abc import Collection, Iterable

from msgspec import ValidationError, convert

from stepwell.api.auth.authentication import sign_token
from stepwell.api.auth.claims import OriginInstance, Subject, TenantId
from stepwell.cli.errors import MISUSED, Refused
from stepwell.cli.keys import signing_secret
from stepwell.contract.scopes import ALL_TENANTS, DEFAULT_PERMISSIONS, Permission
from stepwell.persistence.clock import DatabaseClock
from stepwell.settings import Settings

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DEFAULT_S = 30 * 86_400


def make_token(
    settings: Settings,
    *,
    subject: str,
    tenant: str | None = None,
    every: bool = True,
    scopes: Iterable[str] = (),
    expires: str | None = None,
    origin_instance: str | None = None,
    definitions: Collection[str] = (),
    secret: str | None = None,
) -> str:
    """Return a token of this service for *tenant*, or for *every* tenant. It is signed with *secret*, if there is one.

    With the data folder's secret, the default is every tenant, because only the folder's user can read the secret. With
    a configured secret, one of the two is required, because the service may have tenants. *expires* is a duration like
    12h; the default is 30 days, or the settings' maximum if that is less. *definitions* are the names that a token with
    the scope `definitions:run` may run. Raises `Refused`.
    """
    if tenant is not None and every:
        raise Refused("use either --tenant or --all-tenants, not both", code=MISUSED)
    if tenant is None and not every and settings.jwt_secret is not None:
        raise Refused("STEPWELL_JWT_SECRET is set, so the token needs --tenant NAME or --all-tenants", code=MISUSED)
    subject = _fitting(subject, Subject, "--subject: Expected 1 to 255 characters")
    if tenant is not None:
        tenant = _fitting(tenant, TenantId, "--tenant: Expected 1 to 100 characters")
    if origin_instance is not None:
        origin_instance = _fitting(origin_instance, OriginInstance, "--origin-instance: Expected 1 to 100 characters")
    permissions, expires_s = _permissions(scopes), _seconds(expires, settings.jwt_max_lifetime_s)
    if bool(definitions) != (Permission.RUN in permissions):
        raise Refused(f"use --scope {Permission.RUN} with one --definition NAME or more", code=MISUSED)
    return sign_token(
        secret or signing_secret(settings),
        settings.jwt_algorithm,
        settings.jwt_issuer,
        settings.jwt_audience,
        subject=subject,
        tenant=tenant,
        every=tenant is None and permissions != (Permission.RUN,),
        permissions=permissions,
        expires_s=expires_s,
        now=DatabaseClock().now(),
        origin_instance=origin_instance,
        definitions=definitions,
    )


def _permissions(scopes: Iterable[str]) -> tuple[Permission, ...]:
    names = list(dict.fromkeys(name for scope in scopes for name in scope.replace(",", " ").split()))
    for name in names:
        if name == ALL_TENANTS:
            raise Refused(f"--scope: {ALL_TENANTS} is what --all-tenants gives", code=MISUSED)
        if name not in list(Permission):
            raise Refused(f"--scope: Expected one of {', '.join(Permission)}", code=MISUSED)
    return tuple(Permission(name) for name in names) or DEFAULT_PERMISSIONS


def _seconds(expires: str | None, longest_s: int) -> int:
    if expires is None:
        return min(_DEFAULT_S, longest_s)
    match = re.fullmatch(r"([0-9]{1,12})([smhd]?)", expires)
    seconds = int(match[1]) * _SECONDS[match[2]] if match else 0
    if seconds < 1:
        raise Refused("--expires: Expected a time like 30d, 12h, 15m or 3600", code=MISUSED)
    if seconds > longest_s:
        allowed = f"STEPWELL_JWT_MAX_LIFETIME_S allows {longest_s} seconds"
        raise Refused(f"--expires: {allowed}, and this is {seconds}", code=MISUSED)
    return seconds


def _fitting(text: str, kind: object, otherwise: str) -> str:
    try:
        return str(convert(text, kind))
    except ValidationError as error:
        raise Refused(f"{otherwise}, none of them a control character", code=MISUSED) from error
