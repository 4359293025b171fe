"""Who looks at a page."""

from collections.abc import Callable
from typing import TypeAlias

from litestar.di import NamedDependency
from litestar.params import SkipValidation

from stepwell.api.auth import Principal, TokenVerifier
from stepwell.api.dependencies import ApiRequest
from stepwell.domain.errors import InvalidToken

Viewer: TypeAlias = Callable[[ApiRequest], Principal | None]
ViewerDep: TypeAlias = NamedDependency[SkipValidation[Viewer]]


def viewer_by_token(verifier: TokenVerifier) -> Viewer:
    """Return a function that finds the viewer by the request's bearer token; None without a valid one."""

    def viewer(request: ApiRequest) -> Principal | None:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            return None
        try:
            return verifier.verify(token.strip(" "))
        except InvalidToken:
            return None

    return viewer
