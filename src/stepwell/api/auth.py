"""Who calls, by a bearer token, or a signed address or ticket where that is enough; and whether they may do that."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Annotated, Any, NamedTuple

import jwt
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send
from msgspec import UNSET, Meta, Struct, UnsetType, ValidationError, convert

from stepwell.api.operations import OPT_KEY, Operation, Permission
from stepwell.api.queries import SignatureQuery, TicketQuery, parse_query
from stepwell.domain.errors import Forbidden, Unauthenticated, Unavailable
from stepwell.domain.records import EVERY_TENANT, TenantScope
from stepwell.domain.signing import SignedUrls
from stepwell.domain.tickets import StreamTickets
from stepwell.ports import Clock

ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")
EVERY = "tenants:all"
LEEWAY_S = 10
MAX_TOKEN_BYTES = 8 * 1024
MAX_KNOWN = 1000
_REQUIRED = ("exp", "iat", "iss", "aud", "sub")
_NO_TOKEN = "A bearer token is required."  # noqa: S105
# One answer for every token that doesn't hold: what is wrong with it is no business of whoever forged it.
_BAD_TOKEN = "The token is not valid."  # noqa: S105

# Claims reach the database as text, which holds neither NUL nor lone surrogates. No `$`: it lets a newline pass.
_TEXT = r"\A[^\x00-\x1f\x7f-\x9f\ud800-\udfff]*\Z"
Subject = Annotated[str, Meta(min_length=1, max_length=255, pattern=_TEXT)]
TenantId = Annotated[str, Meta(min_length=1, max_length=100, pattern=_TEXT)]


class Claims(Struct, frozen=True):
    """The claims that Stepwell reads, beside those that the verification of the token is about."""

    sub: Subject
    tenant_id: TenantId | UnsetType = UNSET
    scope: str = ""


class Principal(Struct, frozen=True):
    """Who calls, for which tenants, and what they may do."""

    subject: str
    scope: TenantScope
    permissions: frozenset[str] = frozenset()

    def tenant_for(self, named: str | None) -> str | None:
        """The tenant of a workflow that they create, where the request names *named*. Raises `Forbidden`."""
        if self.scope.every or named == self.scope.tenant:
            return named
        if named is None:
            return self.scope.tenant
        raise Forbidden("origin_tenant_id is not the tenant of the token.")


class _Known(NamedTuple):
    principal: Principal
    expires: int


class TokenVerifier:
    """Checks tokens against one key and one algorithm; what a token says of its algorithm counts for nothing.

    *key* is the shared secret, or the public key as PEM. Raises `ValueError` if it doesn't fit the algorithm or is
    too short.
    """

    def __init__(self, key: str | bytes, algorithm: str, issuer: str, audience: str) -> None:
        self._key = prepared_key(key, algorithm)
        self._algorithms = [algorithm]
        self._issuer, self._audience = issuer, audience
        self._jwt = jwt.PyJWT(options={"require": [*_REQUIRED], "enforce_minimum_key_length": True})
        self._known: dict[bytes, _Known] = {}

    def verify(self, token: str) -> Principal:
        """Who holds *token*. Raises `Unauthenticated`, always with the same words."""
        if len(token) > MAX_TOKEN_BYTES:
            raise Unauthenticated(_BAD_TOKEN)
        # A token is sent with every request, and to check its signature takes longer than to find a workflow. What
        # doesn't hold isn't remembered, and of what does only a digest.
        digest = sha256(token.encode()).digest()
        known = self._known.pop(digest, None)
        if known is None or known.expires <= time.time() - LEEWAY_S:
            known = self._checked(token)
            if len(self._known) >= MAX_KNOWN:
                del self._known[next(iter(self._known))]
        self._known[digest] = known  # at the end: the first is the one that wasn't used for longest
        return known.principal

    def _checked(self, token: str) -> _Known:
        try:
            payload = self._jwt.decode(
                token, self._key, self._algorithms, audience=self._audience, issuer=self._issuer, leeway=LEEWAY_S
            )
            claims = convert(payload, Claims)
        except (jwt.PyJWTError, ValidationError):
            raise Unauthenticated(_BAD_TOKEN) from None
        granted = frozenset(claims.scope.split())
        if EVERY in granted:
            scope = EVERY_TENANT
        else:
            scope = TenantScope(tenant=None if claims.tenant_id is UNSET else claims.tenant_id)
        return _Known(Principal(claims.sub, scope, granted), int(payload["exp"]))


def prepared_key(key: str | bytes, algorithm: str) -> Any:
    """*key* as pyjwt uses it, parsed once instead of at every request. Raises `ValueError`, without the key."""
    if algorithm not in ALGORITHMS:
        raise ValueError(f"the JWT algorithm must be one of {', '.join(ALGORITHMS)}")
    method = jwt.get_algorithm_by_name(algorithm)
    try:
        prepared = method.prepare_key(key)
    except (jwt.PyJWTError, ValueError, TypeError):
        raise ValueError(f"the JWT key is none for {algorithm}") from None
    if too_short := method.check_key_length(prepared):
        raise ValueError(too_short)
    return prepared


def sign_token(
    key: str | bytes,
    algorithm: str,
    issuer: str,
    audience: str,
    *,
    subject: str,
    tenant: str | None,
    every: bool,
    permissions: tuple[Permission, ...],
    expires_s: int,
    now: datetime,
) -> str:
    """A token that `TokenVerifier` with the same key (its public half) accepts for *expires_s* seconds."""
    scopes = [*permissions, *([EVERY] if every else [])]
    claims: dict[str, Any] = {
        "iss": issuer,
        "aud": audience,
        "sub": subject,
        "iat": int(now.timestamp()),
        "exp": int((now + timedelta(seconds=expires_s)).timestamp()),
        "scope": " ".join(scopes),
    }
    if tenant is not None:
        claims["tenant_id"] = tenant
    return jwt.encode(claims, prepared_key(key, algorithm), algorithm)


class Gate(ASGIMiddleware):
    """Puts the `Principal` into the request, or refuses it: who doesn't say who they are, who may not do what the
    operation does, and writes while *draining*.

    A middleware and no guards: Litestar copies the route's handler for each guard, which takes longer than all of this.
    """

    scopes = (ScopeType.HTTP,)

    def __init__(
        self,
        verifier: TokenVerifier,
        signed_urls: SignedUrls,
        tickets: StreamTickets,
        clock: Clock,
        draining: Callable[[], bool],
    ) -> None:
        self.verifier, self.signed_urls, self.tickets = verifier, signed_urls, tickets
        self.clock, self.draining = clock, draining

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        operation: Operation | None = scope["route_handler"].opt.get(OPT_KEY)
        if operation is not None and operation.permission is not None:
            scope["user"] = caller = self.authenticate(scope, operation)
            if operation.permission not in caller.permissions:
                raise Forbidden(f"The token lacks the scope {operation.permission}.")
            if operation.permission is Permission.WRITE and self.draining():
                raise Unavailable("The service is stopping and takes no more work.")
        await next_app(scope, receive, send)

    def authenticate(self, scope: Scope, operation: Operation) -> Principal:
        headers = [value for name, value in scope["headers"] if name == b"authorization"]
        if not headers:
            return self.by_ticket(scope) if operation.ticketed else self.by_signature(scope, operation)
        kind, _, token = headers[0].decode("latin-1").partition(" ")
        if len(headers) > 1 or kind.lower() != "bearer":
            raise Unauthenticated(_NO_TOKEN)
        return self.verifier.verify(token.strip(" "))

    def by_ticket(self, scope: Scope) -> Principal:
        query = parse_query(scope["query_string"], TicketQuery, others=None)
        if query.ticket is UNSET:
            raise Unauthenticated(_NO_TOKEN)
        ticket = self.tickets.read(query.ticket)
        if ticket is None:
            raise Forbidden("The ticket has expired, or is not valid.")
        return Principal(ticket.subject, ticket.scope, frozenset({Permission.READ}))

    def by_signature(self, scope: Scope, operation: Operation) -> Principal:
        if not operation.signable:
            raise Unauthenticated(_NO_TOKEN)
        query = parse_query(scope["query_string"], SignatureQuery, others=None)
        if query.expires is UNSET or query.signature is UNSET:
            raise Unauthenticated(_NO_TOKEN)
        path = str(scope["path_params"]["path"]).lstrip("/")
        if not self.signed_urls.verify(path, query.expires, query.signature, self.clock.now()):
            raise Forbidden("The address has expired, or its signature is not valid.")
        return Principal("signed address", EVERY_TENANT, frozenset({Permission.READ}))
