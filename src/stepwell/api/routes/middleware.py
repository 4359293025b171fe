"""The only middleware of the API. Each further one would cost every request as much as parsing its query does."""

from time import perf_counter

from litestar.types import ASGIApp, Receive, Scope, Send

from stepwell.api.auth.authentication import AccessControl
from stepwell.api.auth.session_cookies import SessionsNotRead, send_privately
from stepwell.api.auth.token_keys import UnknownKey
from stepwell.api.requests.query_parameters import check_path
from stepwell.api.requests.request_resources import ProcessResources, give_resources
from stepwell.api.responses.whole_answers import bounded_send

BEGAN = "began"
"""The key of the request's start in its state, by `time.perf_counter`."""


class RequestMiddleware:
    """Gives each request its resources and its caller, and bounds the requests of a tenant and their answers.

    It also refuses paths with characters that no name has.

    The caller's `Principal` is the request's user. No guard of Litestar does this, because Litestar copies the route's
    handler for each guard, which takes longer than the whole middleware.
    """

    def __init__(self, process: ProcessResources, access: AccessControl) -> None:
        self._process, self._access = process, access

    def __call__(self, app: ASGIApp) -> ASGIApp:
        async def handle(scope: Scope, receive: Receive, send: Send) -> None:
            scope["state"][BEGAN] = perf_counter()
            resources = give_resources(scope, self._process)
            try:
                try:
                    caller = self._access.caller(scope)
                except (UnknownKey, SessionsNotRead):
                    caller = await self._access.read_and_find_caller(scope)
                check_path(scope.get("raw_path") or b"")
                if caller is None:
                    await app(scope, receive, send)
                    return
                scope["user"] = caller
                resources.count_for(caller.account)
                if caller.session is not None:
                    send = send_privately(send)
                await app(scope, receive, bounded_send(scope, receive, send))
            finally:
                resources.free()

        return handle
