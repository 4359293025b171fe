"""Authentication and authorisation: tokens, signed URLs of artifacts, tickets for event streams, and session cookies.

A request with a token is authenticated by the token alone. A ticket or a signature in the URL precedes a cookie, which
a browser sends along with every request.

A token with `definitions:run` may go to a browser or a partner. What must hold for all that no other scope of the
token allows:
- It reaches the operations that say so (`Operation.for_runs`), and no others.
- It sees what its subject has created for its tenant, also if it has `tenants:all`. It gets 404 for all else.
- It runs the stored definitions that its claim names, in their default version, and sets nothing but inputs.
- Its runs read no files but uploads of its subject, files that the stored definition names, and their own.
- Nothing that it gets, and no status, depends on the files or the idempotency keys of others.

So the scope of such a call has a subject (see `TenantScope`), by which the stores, the uploads and the idempotency keys
are limited. A run has a `FileScope`, whichever way a path comes about.
"""

import re
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import jwt
from jwt.utils import base64url_decode
from litestar.types import Scope
from msgspec import UNSET, Struct
from msgspec.structs import replace

from stepwell.api.auth.claims import ClaimRules, has_expired
from stepwell.api.auth.session_cookies import SessionCookies, SessionsNotRead
from stepwell.api.auth.token_keys import TokenKeys, UnknownKey, parse_key
from stepwell.api.requests.operations import Operation, operation_of
from stepwell.api.requests.query_parameters import TicketQuery, parse_query
from stepwell.basics.errors import Forbidden, InvalidRequest, InvalidToken, Unauthenticated, Unavailable
from stepwell.basics.strict_json.decode import decode_body
from stepwell.basics.tenancy import EVERY_TENANT, Account, SharedCaller, TenantScope
from stepwell.contract.scopes import ALL_TENANTS, Permission
from stepwell.lifecycle.inputs import SERVICE
from stepwell.lifecycle.wait_ends import LINK_ACTOR
from stepwell.ports.clock import Clock
from stepwell.rules.access.sessions import Grant, Session
from stepwell.rules.access.signed_urls import SignedUrls
from stepwell.rules.access.stream_tickets import StreamTickets, Ticket
from stepwell.rules.uploads import Uploader

MAX_TOKEN_BYTES = 8 * 1024
MAX_CACHED = 1000  # tokens
_JWS = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)  # RFC 7515, 7.1: base64url without padding
_PREFIX = "sub:"
_API = "/api/v1/"  # /mcp is no part of it: assistants have tokens
_NO_TOKEN = "A bearer token is required, in the header Authorization: Bearer <token>."  # noqa: S105
_WRONG_FORM = "The header Authorization must have the form Bearer <token>."
_REPEATED = "The header Authorization must be sent once."
# Every token without a valid signature gets the same reason, so that a forger learns nothing.
_MALFORMED = (
    f"The token is malformed or longer than {MAX_TOKEN_BYTES} bytes, or its signature is wrong. "
    "Use one that this service's key has signed; `stepwell token` makes it."
)


class Principal(Struct, frozen=True):
    """The caller of a request: their name, the tenants whose workflows they may see, and their permissions.

    `expires_at` is the end of their token, in seconds since 1970. `origin_instance` is that of definitions without
    one. `session` is theirs if a cookie names them. The holder of a ticket has `expires_at` and `session` from the
    caller who got it. `definitions` are the names that they may run by `definitions:run`.
    """

    subject: str
    scope: TenantScope
    permissions: frozenset[str] = frozenset()
    expires_at: float | None = None
    origin_instance: str | None = None
    session: Session | None = None
    definitions: frozenset[str] = frozenset()

    @property
    def only_runs(self) -> bool:
        """True if `definitions:run` alone allows the request, so that its limits hold."""
        return self.scope.subject is not None

    @property
    def account(self) -> Account:
        """The account of the caller's requests until the tenant that owns their data is known."""
        return SharedCaller.SIGNED_URL if self is SIGNED_URL else self.scope.account

    def check_may_run(self, name: str) -> None:
        """Raise `Forbidden` unless the caller may run the stored definition *name*."""
        if self.only_runs and name not in self.definitions:
            raise Forbidden("The claim definitions of the token doesn't have this name.")

    def uploader_for(self, tenant: str | None) -> Uploader:
        return Uploader(tenant, self.subject, private=self.only_runs)

    def tenant_for(self, requested: str | None) -> str | None:
        """Return the tenant of a workflow that the caller creates for the tenant *requested*. Raises `Forbidden`."""
        if self.scope.every or requested == self.scope.tenant:
            return requested
        if requested is None:
            return self.scope.tenant
        raise Forbidden("origin_tenant_id is not the tenant of the token.")


class TokenVerifier:
    """Verifies tokens with *keys*, each by its own algorithm, and their claims by *rules*."""

    def __init__(self, keys: TokenKeys, rules: ClaimRules, *, max_cached: int = MAX_CACHED) -> None:
        self.keys = keys
        self._rules, self._max_cached = rules, max_cached
        self._jws = jwt.PyJWS(options={"verify_signature": True, "enforce_minimum_key_length": True})
        self._accepted: dict[bytes, Principal] = {}
        keys.on_change(self._accepted.clear)

    def verify(self, token: str) -> Principal:
        """Return the holder of *token*. Raises `InvalidToken`, which names a cause only if the signature is valid.

        Raises `UnknownKey` if no known key fits the token: `TokenKeys.refresh` may find one.
        """
        self.keys.note_use()
        if len(token) > MAX_TOKEN_BYTES:
            raise InvalidToken(_MALFORMED)
        # Every request sends a token, and checking a signature takes longer than finding a workflow. So accepted
        # tokens are cached, by their digests.
        digest = sha256(token.encode()).digest()
        accepted = self._accepted.pop(digest, None)
        if accepted is None or has_expired(accepted.expires_at, time.time()):
            accepted = self._check(token)
            if len(self._accepted) >= self._max_cached:
                del self._accepted[next(iter(self._accepted))]
        self._accepted[digest] = accepted  # at the end, so that the first is the least recently used
        return accepted

    async def verify_fetching_keys(self, token: str) -> Principal:
        """Return the holder of *token* as `verify` does. If no known key fits, the keys are fetched first.

        Raises `InvalidToken`, and `Unavailable` if the keys can't be fetched now.
        """
        try:
            return self.verify(token)
        except UnknownKey:
            await self.keys.refresh()
            return self.verify(token)

    def _check(self, token: str) -> Principal:
        claims = self._rules.read(self._payload(token), time.time())
        if claims is None:
            raise InvalidToken(_MALFORMED)
        permissions = claims.scopes
        if ALL_TENANTS in permissions:
            scope = EVERY_TENANT
        else:
            scope = TenantScope(tenant=None if claims.tenant_id is UNSET else claims.tenant_id)
        origin_instance = None if claims.origin_instance is UNSET else claims.origin_instance
        definitions = frozenset(claims.definitions)
        actor = _actor(claims.sub)
        return Principal(actor, scope, permissions, claims.exp, origin_instance, definitions=definitions)

    def _payload(self, token: str) -> bytes:
        """Return the signed bytes. Raises `InvalidToken`.

        pyjwt accepts padding, other characters in the signature, and duplicate members in a header, which RFC 7515
        forbids. So the form is checked here, and the header is decoded once more.
        """
        if not _JWS.fullmatch(token):
            raise InvalidToken(_MALFORMED)
        try:
            key = self.keys.key_for(token)
            if key is None:
                raise InvalidToken(_MALFORMED)
            payload = self._jws.decode(token, key.key, [key.algorithm])
            decode_body(base64url_decode(token.partition(".")[0]))
        except (jwt.PyJWTError, InvalidRequest):
            raise InvalidToken(_MALFORMED) from None
        return bytes(payload)


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
    origin_instance: str | None = None,
    definitions: Collection[str] = (),
) -> str:
    """Return a token that a `TokenVerifier` with the same key, or its public half, accepts for *expires_s* seconds."""
    scopes = [*permissions, *([ALL_TENANTS] if every else [])]
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
    if origin_instance is not None:
        claims["origin_instance"] = origin_instance
    if definitions:
        claims["definitions"] = list(definitions)
    return jwt.encode(claims, parse_key(key, algorithm), algorithm)


SIGNED_URL = Principal("signed address", EVERY_TENANT, frozenset({Permission.READ}))
"""The caller of a request that a signed URL authorises."""


class AccessControl:
    """Decides who may call an operation. It refuses callers without the operation's permission, and writes while
    *draining* returns true.
    """

    def __init__(
        self,
        verifier: TokenVerifier,
        signed_urls: SignedUrls,
        tickets: StreamTickets,
        cookies: SessionCookies,
        clock: Clock,
        draining: Callable[[], bool],
    ) -> None:
        self.verifier, self.signed_urls, self.tickets, self.cookies = verifier, signed_urls, tickets, cookies
        self.clock, self.draining = clock, draining

    def caller(self, scope: Scope) -> Principal | None:
        """Return the caller of a request; None if its operation needs no token.

        Raises `Unauthenticated`, `InvalidToken`, `Forbidden` and `Unavailable`; and `UnknownKey` and `SessionsNotRead`
        if something must be read first, which `read_and_find_caller` does.
        """
        operation = operation_of(scope)
        if operation is None or operation.permission is None:
            return None
        caller = self.authenticate(scope, operation)
        if not operation.permission.is_in(caller.permissions):
            if not operation.for_runs or Permission.RUN not in caller.permissions:
                raise Forbidden(f"The token lacks the scope {operation.permission}.")
            caller = replace(caller, scope=TenantScope(caller.scope.tenant, subject=caller.subject))
        if operation.method != "GET" and operation.permission is not Permission.READ and self.draining():
            raise Unavailable("The service is stopping and takes no more work.")
        return caller

    async def read_and_find_caller(self, scope: Scope) -> Principal | None:
        """Return the caller of a request for which `caller` has raised `UnknownKey` or `SessionsNotRead`.

        Raises the other errors of `caller`, and `UnknownKey` if no key is known even then.
        """
        has_keys = False
        while True:
            try:
                return self.caller(scope)
            except SessionsNotRead:
                await self.cookies.refresh()
            except UnknownKey:
                if has_keys:
                    raise
                await self.verifier.keys.refresh()
                has_keys = True

    def authenticate(self, scope: Scope, operation: Operation) -> Principal:
        token = bearer_token(scope)
        if token is not None:
            return self.verifier.verify(token)
        caller = self.by_ticket(scope) if operation.ticketed else self.by_signature(scope, operation)
        return self.by_cookie(scope, operation) if caller is None else caller

    def by_ticket(self, scope: Scope) -> Principal | None:
        query = parse_query(scope["query_string"], TicketQuery, others=None)
        if query.ticket is UNSET:
            return None
        ticket = self.tickets.read(query.ticket)
        if ticket is None or not self._has_access(holder := _holder_of(ticket)):
            raise Forbidden("The ticket has expired, or is not valid.")
        if ticket.workflow_id is not None and _workflow_of(scope) != ticket.workflow_id:
            raise Forbidden("The ticket is for the stream of another workflow.")
        return holder

    def _has_access(self, holder: Principal) -> bool:
        """Return whether the token or the session of a ticket's *holder* lasts. Raises `SessionsNotRead`."""
        if holder.session is not None:
            return self.cookies.lasts(holder.session)
        return not has_expired(holder.expires_at, self.clock.now().timestamp())

    def by_signature(self, scope: Scope, operation: Operation) -> Principal | None:
        if not operation.signable:
            return None
        # The raw path and query, because many notations decode to the same `scope["path"]` and parsed query.
        path, query = scope.get("raw_path") or b"", scope["query_string"]
        if b"signature=" not in query:
            return None
        if not self.signed_urls.verify(f"{path.decode('latin-1')}?{query.decode('latin-1')}", self.clock.now()):
            raise Forbidden("The signed URL has expired or was changed.")
        return SIGNED_URL

    def by_cookie(self, scope: Scope, operation: Operation) -> Principal:
        session = self.cookies.authenticate(scope) if operation.path.startswith(_API) else None
        if session is None:
            raise Unauthenticated(_NO_TOKEN)
        return principal_of(session)


def _actor(subject: str) -> str:
    """Return the actor that events and results show for a token.

    `link` and `stepwell` get a prefix, because Stepwell itself acts under these names. So does what has that prefix
    already, so that no two subjects are the same actor.
    """
    return f"{_PREFIX}{subject}" if _name_of(subject) in (SERVICE, LINK_ACTOR) else subject


def _name_of(subject: str) -> str:
    while subject.startswith(_PREFIX):
        subject = subject.removeprefix(_PREFIX)
    return subject


def bearer_token(scope: Scope) -> str | None:
    """Return the token of a request; None without one. Raises `Unauthenticated` and `InvalidToken`."""
    headers = [value for name, value in scope["headers"] if name == b"authorization"]
    if not headers:
        return None
    if len(headers) > 1:
        raise InvalidToken(_REPEATED)
    kind, _, token = headers[0].decode("latin-1").partition(" ")
    token = token.strip(" ")
    if kind.lower() != "bearer" or not token:
        raise Unauthenticated(_WRONG_FORM)
    return token


def require_bearer_token(scope: Scope) -> str:
    """Return the token of a request. Raises `Unauthenticated`, and `InvalidToken`."""
    token = bearer_token(scope)
    if token is None:
        raise Unauthenticated(_NO_TOKEN)
    return token


def principal_of(session: Session) -> Principal:
    grant = session.grant
    permissions = frozenset(grant.permissions)
    expires_at = grant.expires_at.timestamp()
    return Principal(grant.subject, grant.scope, permissions, expires_at, grant.origin_instance, session)


def _holder_of(ticket: Ticket) -> Principal:
    permissions = (Permission.READ,)
    if ticket.access_ends is None or ticket.session_issued_at is None:
        return Principal(ticket.subject, ticket.scope, frozenset(permissions), ticket.access_ends)
    grant = Grant(ticket.subject, ticket.scope, permissions, datetime.fromtimestamp(ticket.access_ends, UTC))
    return principal_of(Session(grant, ticket.session_issued_at))


def _workflow_of(scope: Scope) -> UUID | None:
    """Return the id of the workflow in the path of a request; None if there is none."""
    try:
        return UUID(scope["path_params"].get("workflow_id", ""))
    except ValueError:
        return None
