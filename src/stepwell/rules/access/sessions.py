"""Sessions of the web page, and the codes in URLs that sign in once.

What must hold:
- A session allows what its token allows: the same tenants, with the same permissions and the same `origin_instance`.
  It ends after 12 hours, and no later than the token.
- Only this service makes sessions and codes. A session is no code, a code is no session, and neither is accepted in
  another notation.
- A code allows one sign-in, before it expires. It contains an id, by which the database records its use.
- A session ends when all sessions are ended after its beginning. A code that was made before signs nobody in then. Both
  times are the database's.
- After the sign-in, the browser opens a page of this service, and never another URL.
"""

import re
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from msgspec import Struct, structs

from stepwell.basics.tenancy import TenantScope
from stepwell.rules.access.signed_texts import SignedTexts

SESSION: Final = timedelta(hours=12)
CODE: Final = timedelta(minutes=10)
FIRST_PAGE: Final = "/ui"
SIGN_IN: Final = "/ui/sign-in"
SIGN_IN_URLS: Final = "/ui/sign-in/urls"
SIGN_OUT: Final = "/ui/sign-out"
# A browser stores no larger cookie. The longest texts of a grant, of four bytes a character, need two thirds of it.
MAX_COOKIE_CHARS: Final = 4_000
MAX_CODE_CHARS: Final = 6_000
_MAX_PATH: Final = 1_000
_PAGE = re.compile(rf"{FIRST_PAGE}(?:[/?][\x21-\x5b\x5d-\x7e]*)?")
# A path of a page has one notation: %73 or // would lead to the pages of sign-in as well.
_OTHER_PAGES = re.compile(r"/\.\.?(?:[/?#]|$)|^[^?]*(?:%|//)|^/ui/sign-")


class Grant(Struct, frozen=True, array_like=True):
    """The rights that a token gives to its subject: tenants, permissions, and the time at which they end.

    `origin_instance` is that of definitions which name none.
    """

    subject: str
    scope: TenantScope
    permissions: tuple[str, ...]
    expires_at: datetime
    origin_instance: str | None = None


class Session(Struct, frozen=True, array_like=True):
    """A session: what it allows, until when, and when it began."""

    grant: Grant
    issued_at: datetime

    def is_active(self, now: datetime, ended_at: datetime | None) -> bool:
        """Return whether the session lasts at *now*. *ended_at* is when all sessions were ended the last time."""
        return now < self.grant.expires_at and (ended_at is None or self.issued_at > ended_at)


class SignInCode(Struct, frozen=True, array_like=True):
    """The content of a code: its id, what its session allows, and the path of the page to open then."""

    id: UUID
    grant: Grant
    issued_at: datetime
    expires_at: datetime
    page: str


class Sessions:
    def __init__(self, secret: bytes) -> None:
        self._texts = SignedTexts(secret, "session", Session, MAX_COOKIE_CHARS)

    def begin(self, grant: Grant, now: datetime) -> Session | None:
        """Return a session for *grant*; None if that has expired."""
        expires_at = min(grant.expires_at, now + SESSION)
        return Session(structs.replace(grant, expires_at=expires_at), now) if now < expires_at else None

    def encode(self, session: Session) -> str:
        return self._texts.sign(session)

    def read(self, cookie: str) -> Session | None:
        """Return the session in *cookie*, which may be over; None if the cookie wasn't made here."""
        return self._texts.read(cookie)


class SignInCodes:
    def __init__(self, secret: bytes) -> None:
        self._texts = SignedTexts(secret, "sign-in code", SignInCode, MAX_CODE_CHARS)

    def make(self, code_id: UUID, grant: Grant, now: datetime, *, page: str, valid: timedelta = CODE) -> str:
        """Return a code for a session with *grant* that opens *page*. *code_id* is random."""
        return self._texts.sign(SignInCode(code_id, grant, now, now + valid, page_path(page)))

    def read(self, code: str, now: datetime) -> SignInCode | None:
        """Return the content of *code*; None if it has expired, or wasn't made here."""
        content = self._texts.read(code)
        return content if content is not None and now < content.expires_at else None


def page_path(text: str) -> str:
    """Return *text* if it is the path of a page of this service, with or without a query; else that of the first page.

    The pages of sign-in and sign-out don't count.
    """
    is_page = len(text) <= _MAX_PATH and _PAGE.fullmatch(text) and not _OTHER_PAGES.search(text)
    return text if is_page else FIRST_PAGE
