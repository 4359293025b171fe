"""Sign-in to the web page: sessions for tokens and for one-time codes.

What must hold:
- A session has the subject, the tenants and the permissions of the token that it is for, and never outlives it.
- A token is verified as in every request. A code works once, in whichever process.
- Who may sign in once by a code could sign in by its token at any time: only a token makes a code.
- A tenant waits for the database with a few requests at most, because there are few connections for sign-ins. So while
  the database is slow, no tenant holds up the others.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote
from uuid import uuid4

from litestar.types import Scope

from stepwell.api.auth.authentication import Principal, TokenVerifier, bearer_token, principal_of
from stepwell.api.auth.session_cookies import SessionCookies
from stepwell.basics.errors import InvalidToken, TooManyRequests, Unauthenticated
from stepwell.basics.tenancy import TenantScope
from stepwell.contract.scopes import SCOPES, Permission
from stepwell.ports.clock import Clock
from stepwell.ports.sign_ins import CodeRefusal, SignIns
from stepwell.rules.access.sessions import CODE, FIRST_PAGE, SIGN_IN, Grant, Session, SignInCode, SignInCodes

MOST_AT_ONCE: Final = 4  # requests of a tenant that wait for the database
_RETRY_S: Final = 1
_TOO_MANY: Final = f"{MOST_AT_ONCE} sign-ins of this tenant wait for the database already. Try again in a second."
_PAGE_SCOPES: Final = frozenset(SCOPES) - {Permission.RUN}  # no page is for those who only run definitions
_NEW_URL: Final = "`stepwell open` makes a new one."
_EXPIRED_CODE: Final = f"This sign-in URL has expired, or isn't complete. {_NEW_URL}"
_REFUSED_CODE: Final = {
    CodeRefusal.USED: f"This sign-in URL was used before, and works once. {_NEW_URL}",
    CodeRefusal.ENDED: f"All sessions were ended after this sign-in URL was made. {_NEW_URL}",
}
_EXPIRED_TOKEN: Final = "The token has expired. Get a new one; `stepwell token` makes it."  # noqa: S105


class CodeRefused(Exception):
    """A code signs nobody in. The message says why, for the user."""


class SignInService:
    """Begins sessions, finds those of viewers, and makes the codes for one-time URLs."""

    def __init__(
        self, verifier: TokenVerifier, cookies: SessionCookies, secret: bytes, sign_ins: SignIns, clock: Clock
    ) -> None:
        self.verifier, self.cookies = verifier, cookies
        self._codes, self._sign_ins, self._clock = SignInCodes(secret), sign_ins, clock
        self._waiting = Counter[TenantScope]()

    async def viewer(self, scope: Scope) -> Principal | None:
        """Return who asks for a page: the holder of the bearer token, or else the user whose session the cookie names.

        None without a valid one. A link to a page works from anywhere, so the origin of the request doesn't matter.
        Raises `Unavailable`.
        """
        try:
            if (token := bearer_token(scope)) is not None:
                return await self.verifier.verify_fetching_keys(token)
        except Unauthenticated:
            return None
        session = await self.cookies.session(scope)
        return None if session is None else principal_of(session)

    async def begin_by_token(self, token: str) -> Session:
        """Return a new session for the holder of *token*.

        Raises `InvalidToken`, `TooManyRequests` and `Unavailable`.
        """
        grant = _grant_of(await self.verifier.verify_fetching_keys(token))
        with self._counted(grant.scope):
            now = await self._sign_ins.now()
        return self._begin(grant, now)

    async def begin_by_code(self, code: str) -> tuple[Session, str]:
        """Use *code*, and return a new session and the path of the page to open.

        Raises `CodeRefused`, `InvalidToken` if its token has expired, `TooManyRequests` and `Unavailable`. A code that
        is refused isn't used.
        """
        content = self.read_code(code)
        with self._counted(content.grant.scope):
            now = await self._sign_ins.use_code(content.id, content.issued_at, content.expires_at)
        if isinstance(now, CodeRefusal):
            raise CodeRefused(_REFUSED_CODE[now])
        return self._begin(content.grant, now), content.page

    def read_code(self, code: str) -> SignInCode:
        """Return the content of *code*, which stays unused. Raises `CodeRefused`."""
        content = self._codes.read(code, self._clock.now())
        if content is None:
            raise CodeRefused(_EXPIRED_CODE)
        return content

    async def sign_in_path(self, token: str, *, page: str = FIRST_PAGE, valid: timedelta = CODE) -> str:
        """Return the path and query of a URL that signs the holder of *token* in once, and opens *page*.

        Raises `InvalidToken`, `TooManyRequests` and `Unavailable`.
        """
        grant = _grant_of(await self.verifier.verify_fetching_keys(token))
        with self._counted(grant.scope):
            now = await self._sign_ins.now()
        return f"{SIGN_IN}?code={self._codes.make(uuid4(), grant, now, page=page, valid=valid)}"

    @contextmanager
    def _counted(self, scope: TenantScope) -> Iterator[None]:
        """Count a request of *scope* while it waits for the database. Raises `TooManyRequests`."""
        if self._waiting[scope] >= MOST_AT_ONCE:
            raise TooManyRequests(_TOO_MANY, _RETRY_S)
        self._waiting[scope] += 1
        try:
            yield
        finally:
            self._waiting[scope] -= 1
            if not self._waiting[scope]:
                del self._waiting[scope]

    def _begin(self, grant: Grant, now: datetime) -> Session:
        session = self.cookies.sessions.begin(grant, now)
        if session is None:
            raise InvalidToken(_EXPIRED_TOKEN)
        return session


def sign_in_path_to(page: str) -> str:
    """Return the path of the sign-in page that opens *page* afterwards."""
    return SIGN_IN if page == FIRST_PAGE else f"{SIGN_IN}?next={quote(page, safe='')}"


def _grant_of(principal: Principal) -> Grant:
    """Return what a token allows its holder here. Scopes that mean nothing here would only fill the cookie."""
    assert principal.expires_at is not None  # each token has an end
    expires_at = datetime.fromtimestamp(principal.expires_at, UTC)
    permissions = tuple(sorted(principal.permissions & _PAGE_SCOPES))
    return Grant(principal.subject, principal.scope, permissions, expires_at, principal.origin_instance)
