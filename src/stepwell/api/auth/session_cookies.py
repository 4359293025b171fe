"""The cookie of the web page's session: how it is set, and which requests it authenticates.

What must hold:
- The cookie authenticates a request to `/api/v1` only if a page of this service makes it: with `Sec-Fetch-Site:
  same-origin`, or without that header with a matching `Origin`. So no other page can use it.
- If the service has a public URL, the cookie authenticates a request only at the host of that URL, and at loopback
  addresses. So no page can use it by DNS rebinding, which lets the page's own host lead to this service.
- The name contains the port, because browsers share cookies between the ports of a host. By https it begins with
  `__Host-`: browsers accept such a cookie only from this host itself, so no other host of the domain can set one.
- A request with two cookies of that name is refused, because another service or another host has set one.
- All sessions end within `FRESH_S` after they were ended. That time is read from the database while requests with
  cookies come, at most once every `FRESH_S` and once at a time. A request with a token costs no statement.
"""

import asyncio
import math
from contextlib import suppress
from datetime import datetime
from typing import Final

from litestar.types import Message, Scope, Send

from stepwell.api.requests.headers import header_value
from stepwell.basics.client_address import is_loopback_host, parse_address
from stepwell.basics.errors import Forbidden, Unauthenticated, Unavailable
from stepwell.basics.urls import split_url
from stepwell.ports.clock import Clock
from stepwell.ports.sign_ins import SignIns
from stepwell.rules.access.request_origin import RequestOrigin, request_origin
from stepwell.rules.access.sessions import Session, Sessions

FRESH_S: Final = 5.0
_PORTS: Final = {"http": 80, "https": 443}
_ENDED = "The session has ended. Sign in again."
_SEVERAL = (
    "The browser sends several cookies named {}, and another service or another host of this domain has set one of "
    "them. Delete all cookies of that name in the browser: clear the data of this site and of its domain. Then sign in "
    "again."
)
_OTHER_PAGE = (
    "The session cookie is accepted only from pages of this service: for these, the browser sends "
    "Sec-Fetch-Site: same-origin. Programs send a bearer token."
)
_NO_ORIGIN = (
    "The browser sends neither Sec-Fetch-Site nor Origin, so the session cookie isn't accepted. Browsers send them to "
    "https and to localhost: open the page there, or use a newer browser."
)
_OTHER_HOST = (
    "The session cookie is accepted only at the host of STEPWELL_PUBLIC_URL, {}, and at loopback "
    "addresses. Open the page there. If a proxy sends another Host, let it pass on the browser's; or correct the "
    "setting."
)


class SessionsNotRead(Exception):
    """The time at which all sessions were ended is not known yet: call `SessionCookies.refresh` first."""


class SessionCookies:
    """Sets and reads the cookies of sessions. *base_url* is that of the service, as users see it.

    *public* says that the operator has set that URL. Then the cookie is accepted at its host only, and at loopback
    addresses.
    """

    def __init__(self, secret: bytes, base_url: str, sign_ins: SignIns, clock: Clock, *, public: bool) -> None:
        parts = split_url(base_url)
        own_host = _as_browsers_write(parts.host or "")
        self._public_host = own_host if public else None
        host = f"[{own_host}]" if ":" in own_host else own_host
        port = parts.port if parts.port is not None else _PORTS.get(parts.scheme)
        shown_port = "" if port == _PORTS.get(parts.scheme) else f":{port}"
        self._name = f"stepwell-session-{port}"
        self.sessions = Sessions(secret)
        self._origin = f"{parts.scheme}://{host}{shown_port}"
        self._sign_ins, self._clock = sign_ins, clock
        self._fresh_until = -math.inf
        self._reading: asyncio.Future[None] | None = None
        self._ended_at: datetime | None = None

    def authenticate(self, scope: Scope) -> Session | None:
        """Return the session of a request to the API; None if it has no cookie.

        Raises `Forbidden` if no page of this service makes the request, or if the request names another host,
        `Unauthenticated` if the session has ended, and `SessionsNotRead`.
        """
        values = self._values(scope)
        if not values:
            return None
        if not self._is_own_host(scope):
            raise Forbidden(self._other_host())
        origin = self.origin(scope)
        if origin is not RequestOrigin.SAME:
            raise Forbidden(_NO_ORIGIN if origin is RequestOrigin.UNKNOWN else _OTHER_PAGE)
        if len(values) > 1:
            raise Unauthenticated(self._several(scope))
        session = self._active(values[0])
        if session is None:
            raise Unauthenticated(_ENDED)
        return session

    def conflict(self, scope: Scope) -> str | None:
        """Return why nobody can sign in by this request, and what to do.

        It names another host, or has several cookies of the session's name. None otherwise.
        """
        if not self._is_own_host(scope):
            return self._other_host()
        return self._several(scope) if len(self._values(scope)) > 1 else None

    async def session(self, scope: Scope) -> Session | None:
        """Return the session of a request for a page, from wherever the user comes; None without one.

        Raises `Unavailable`.
        """
        values = self._values(scope)
        if len(values) != 1 or not self._is_own_host(scope):
            return None
        while True:
            try:
                return self._active(values[0])
            except SessionsNotRead:
                await self.refresh()

    def lasts(self, session: Session) -> bool:
        """Return whether *session* lasts. Raises `SessionsNotRead`."""
        if self._clock.monotonic() >= self._fresh_until:
            raise SessionsNotRead
        return session.is_active(self._clock.now(), self._ended_at)

    async def is_active(self, session: Session) -> bool:
        """Return whether *session* lasts. While the database is away, all sessions count as not ended."""
        with suppress(Unavailable):
            await self.refresh()
        return session.is_active(self._clock.now(), self._ended_at)

    def origin(self, scope: Scope) -> RequestOrigin:
        """Return whether a page of this service makes the request of *scope*."""
        own = {self._origin, f"{scope['scheme']}://{header_value(scope, 'host')}"}
        return request_origin(header_value(scope, "sec-fetch-site"), header_value(scope, "origin"), own)

    def set(self, scope: Scope, session: Session) -> str:
        """Return the value of `Set-Cookie` that begins *session*."""
        lasts_s = math.ceil((session.grant.expires_at - self._clock.now()).total_seconds())
        return self._cookie(scope, self.sessions.encode(session), lasts_s)

    def clear(self, scope: Scope) -> str:
        """Return the value of `Set-Cookie` that ends the session in this browser."""
        return self._cookie(scope, "", 0)

    async def refresh(self) -> None:
        """Read whether all sessions were ended, unless that was read just before. Raises `Unavailable`."""
        while self._clock.monotonic() >= self._fresh_until:
            if self._reading is not None:
                await asyncio.shield(self._reading)
                continue
            reading = self._reading = asyncio.get_running_loop().create_future()
            try:
                self._ended_at = await self._sign_ins.ended_at()
            except Unavailable as error:
                reading.set_exception(error)
                reading.exception()  # marks it as retrieved, because no other request may wait
                raise
            else:
                self._fresh_until = self._clock.monotonic() + FRESH_S
            finally:
                self._reading = None
                if not reading.done():
                    reading.set_result(None)

    def _active(self, cookie: str) -> Session | None:
        """Return the session in *cookie* if it lasts. Raises `SessionsNotRead`."""
        session = self.sessions.read(cookie)
        return session if session is not None and self.lasts(session) else None

    def _values(self, scope: Scope) -> list[str]:
        headers = [value.decode("latin-1") for name, value in scope["headers"] if name == b"cookie"]
        pairs = [pair.strip(" ").partition("=") for header in headers for pair in header.split(";")]
        own = self._name_for(scope)
        return [value for name, _, value in pairs if name == own]

    def _cookie(self, scope: Scope, value: str, lasts_s: int) -> str:
        secure = "; Secure" if scope["scheme"] == "https" else ""
        return f"{self._name_for(scope)}={value}; Path=/; Max-Age={lasts_s}; HttpOnly; SameSite=Lax{secure}"

    def _name_for(self, scope: Scope) -> str:
        """Return the name of the cookie. Browsers accept the prefix only by https."""
        return f"__Host-{self._name}" if scope["scheme"] == "https" else self._name

    def _is_own_host(self, scope: Scope) -> bool:
        """Return whether the session's cookie is accepted at the host that the request names."""
        if self._public_host is None:
            return True
        host = split_url(f"//{header_value(scope, 'host') or ''}").host
        return host is not None and (_as_browsers_write(host) == self._public_host or is_loopback_host(host))

    def _other_host(self) -> str:
        return _OTHER_HOST.format(self._origin)

    def _several(self, scope: Scope) -> str:
        return _SEVERAL.format(self._name_for(scope))


def _as_browsers_write(host: str) -> str:
    address = parse_address(host)
    return host if address is None else str(address)


def send_privately(send: Send) -> Send:
    """Return *send*, but only the user's browser may cache the responses, and must ask whether they are still right.

    Shared caches know that the response to a request with a token is for one user. A cookie doesn't tell them.
    """

    async def send_private(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message["headers"])
            if not any(name.lower() == b"cache-control" for name, _ in headers):
                message["headers"] = [*headers, (b"cache-control", b"private, no-cache")]
        await send(message)

    return send_private
