"""The viewer of a page: the holder of the request's bearer token, or else the user whose session its cookie names."""

from typing import TypeAlias

from litestar.di import NamedDependency
from litestar.params import SkipValidation
from msgspec import Struct

from stepwell.api.auth.authentication import Principal, TokenVerifier, bearer_token, principal_of
from stepwell.api.auth.dependencies import ApiRequest
from stepwell.api.auth.session_cookies import SessionCookies
from stepwell.basics.errors import Unauthenticated


class Viewers(Struct, frozen=True):
    """Finds the viewers of pages. A link to a page works from anywhere, so the origin of the request doesn't matter."""

    verifier: TokenVerifier
    cookies: SessionCookies

    async def find(self, request: ApiRequest) -> Principal | None:
        """Return the viewer; None without a valid token or a session. Raises `Unavailable`."""
        try:
            if (token := bearer_token(request.scope)) is not None:
                return await self.verifier.verify_fetching_keys(token)
        except Unauthenticated:
            return None
        session = await self.cookies.session(request.scope)
        return None if session is None else principal_of(session)


ViewersDep: TypeAlias = NamedDependency[SkipValidation[Viewers]]
