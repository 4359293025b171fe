"""The claims of a token, and the rules by which they are refused.

The caller has verified the signature, so the reasons may name claims and expected values. They never contain a value
from the token, except its times.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, NoReturn

from msgspec import UNSET, Meta, Struct, UnsetType, convert

from stepwell.basics.errors import Fault, InvalidRequest, InvalidToken
from stepwell.basics.strict_json.decode import decode_body
from stepwell.basics.strict_json.schema_faults import collect

LEEWAY_S = 10
MAX_REASONS = 5
# Claims are stored as text in the database, which accepts neither NUL nor lone surrogates. `\Z` instead of `$`, because
# `$` also matches before a final newline.
_TEXT = r"\A[^\x00-\x1f\x7f-\x9f\ud800-\udfff]*\Z"
_EARLIEST, _LATEST = -62_135_596_800, 253_402_300_799  # the years 1 to 9999
_LONGEST_NAME = 64

Subject = Annotated[str, Meta(min_length=1, max_length=255, pattern=_TEXT)]
TenantId = Annotated[str, Meta(min_length=1, max_length=100, pattern=_TEXT)]
OriginInstance = Annotated[str, Meta(min_length=1, max_length=100, pattern=_TEXT)]
_Seconds = Annotated[float, Meta(ge=_EARLIEST, le=_LATEST)]


class Claims(Struct, frozen=True):
    """The claims that Stepwell reads. Times are seconds since 1970."""

    exp: _Seconds
    iat: _Seconds
    iss: str
    aud: str | list[str]
    sub: Subject
    scope: str
    nbf: _Seconds | UnsetType = UNSET
    jti: str | UnsetType = UNSET
    tenant_id: TenantId | UnsetType = UNSET
    origin_instance: OriginInstance | UnsetType = UNSET
    definitions: list[str] = []

    @property
    def scopes(self) -> frozenset[str]:
        """The scopes in `scope`. RFC 6749 separates them by the ASCII space alone."""
        return frozenset(self.scope.split(" ")) - {""}


class ClaimRules(Struct, frozen=True):
    """The rules that the claims of every token must satisfy. A token without a scope has `default_scope`."""

    issuer: str
    audience: str
    max_lifetime_s: int
    default_scope: str = ""

    def read(self, payload: bytes, now: float) -> Claims | None:
        """Return the claims in *payload*; None if it isn't a JSON object.

        Raises `InvalidToken` with all reasons why the claims are refused.
        """
        try:
            value = decode_body(payload)
        except InvalidRequest as error:
            faults = [fault for fault in error.faults if len(fault.loc) > 1 and isinstance(fault.loc[1], str)]
            if not faults:
                return None
            _refuse(faults)
        if not isinstance(value, dict):
            return None
        value.setdefault("scope", self.default_scope)
        if faults := collect(Claims, value, ("body",)):
            _refuse(faults)
        claims = convert(value, Claims)
        if reasons := [*self._reasons(claims, now)]:
            raise InvalidToken(" ".join(reasons))
        return claims

    def _reasons(self, claims: Claims, now: float) -> Iterator[str]:
        if claims.iss != self.issuer:
            yield f"The claim iss must be '{self.issuer}'."
        if self.audience not in ([claims.aud] if isinstance(claims.aud, str) else claims.aud):
            yield f"The claim aud must be '{self.audience}', or a list with it."
        lifetime = claims.exp - claims.iat
        if lifetime < 0:
            yield "The claim exp must not be before iat."
        elif lifetime > self.max_lifetime_s:
            yield (
                f"The lifetime of the token (exp minus iat) is {lifetime:.12g} s; "
                f"STEPWELL_JWT_MAX_LIFETIME_S allows {self.max_lifetime_s} s."
            )
        if has_expired(claims.exp, now):
            yield f"The token expired at {_time(claims.exp)}. Get a new one; `stepwell token` makes it."
        if claims.iat > now + LEEWAY_S:
            yield f"The token was issued in the future: iat is {_time(claims.iat)}."
        if claims.nbf is not UNSET and claims.nbf > now + LEEWAY_S:
            yield f"The token is not valid before {_time(claims.nbf)}."


def has_expired(exp: float | None, now: float) -> bool:
    return exp is not None and exp <= now - LEEWAY_S


def _refuse(faults: list[Fault]) -> NoReturn:
    reasons = list(dict.fromkeys(map(_reason, faults)))
    if more := len(reasons[MAX_REASONS:]):
        reasons[MAX_REASONS:] = [f"There are {more} more faults."]
    raise InvalidToken(" ".join(reasons))


def _reason(fault: Fault) -> str:
    name = str(fault.loc[1])
    claim = f"The claim {name}" if len(name) <= _LONGEST_NAME else "A claim"
    if fault.type == "missing":
        return f"{claim} is missing."
    if fault.type == "duplicate_key":
        return f"{claim} is present more than once." if fault.loc[2:] == () else f"{claim} contains duplicate members."
    if fault.type == "string_pattern_mismatch":
        return f"{claim} must not contain control characters."
    return f"{claim} is not valid: {fault.msg}."


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")
