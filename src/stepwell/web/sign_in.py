"""The pages of sign-in and sign-out, and the headers of all pages.

What must hold:
- Only a page of this service can sign a user in or out by a form: the browser must say so. A URL that signs in works at
  once if the user has typed it, or a program has opened it. From any page, for a browser that loads ahead, and for one
  that doesn't say, a form asks first. Otherwise such a page could sign a user in as somebody else.
- A code isn't used by HEAD, by a request that is refused, and by a form that asks.
- No response is stored, and no code or token is passed on, by `Referer` or otherwise. No log contains them.
- A client that fails often must wait. The limit is per address, and its memory is bounded. A valid token or code
  signs in all the same, because others may fail at the same address.
- After the sign-in, the browser opens a page of this service.
"""

from http import HTTPStatus
from typing import Final, TypeAlias

from litestar import HttpMethod, Response, post, route
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from litestar.response import Template
from msgspec import Struct

from stepwell.api.auth.authentication import require_bearer_token
from stepwell.api.auth.dependencies import ApiRequest
from stepwell.api.requests.headers import header_value
from stepwell.api.requests.query_parameters import first_values
from stepwell.api.requests.request_bodies import read_any_body
from stepwell.basics.client_address import client_name
from stepwell.basics.errors import InvalidToken, TooManyRequests, Unavailable
from stepwell.ports.clock import Clock
from stepwell.rules.access.attempt_limit import AttemptLimit
from stepwell.rules.access.request_origin import RequestOrigin
from stepwell.rules.access.sessions import FIRST_PAGE, SIGN_IN, SIGN_IN_URLS, SIGN_OUT, page_path
from stepwell.web.sign_in_service import CodeRefused, SignInService, sign_in_path_to

# That of all pages: it allows what this service serves, and no inline code.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
PAGE_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    # A page shows who is signed in.
    "Cache-Control": "private, no-store",
}
_MAX_FORM_BYTES: Final = 32 * 1024  # a token or a code has at most a quarter of it
_MAX_FIELDS: Final = 16
# Without it, the next user of the browser could go back to files: going back, browsers don't ask for them again.
_CACHE: Final = '"cache"'
_AHEAD: Final = ("sec-purpose", "purpose", "x-moz")
_SIGNED_OUT: Final = "You are signed out."
_OTHER_PAGE: Final = "The form came from another page than this one. Send it again from here."
_NO_TOKEN: Final = "Paste a token."  # noqa: S105
_NOT_NOW: Final = "Nobody can sign in now: the database doesn't respond. Try again in a few seconds."
_TOO_OFTEN: Final = "Too many attempts have failed. Try again in {} s."


class SignInContext(Struct, frozen=True):
    """The context of the pages: the sessions, and the limit of failed attempts in this process."""

    service: SignInService
    attempts: AttemptLimit
    clock: Clock


class SignInUrl(Struct):
    path: str


SignInContextDep: TypeAlias = NamedDependency[SkipValidation[SignInContext]]
PageResponse: TypeAlias = Response[bytes] | Template


@route(SIGN_IN, http_method=[HttpMethod.GET, HttpMethod.HEAD], include_in_schema=False)
async def sign_in_page(request: ApiRequest, sign_in_context: SignInContextDep) -> PageResponse:
    """Sign in by the code in the query, or show the form."""
    query = first_values(request.scope["query_string"], _MAX_FIELDS)
    code = query.get("code")
    if code is None:
        page, conflict = query.get("next", FIRST_PAGE), sign_in_context.service.cookies.conflict(request.scope)
        if conflict is not None:
            return _form(HTTPStatus.FORBIDDEN, page=page, error=conflict)
        return _form(page=page, done=_SIGNED_OUT if "signed-out" in query else "")
    if request.method == "HEAD" or not _opened_by_user(request):
        return _form(code=code)
    return await _sign_in(request, sign_in_context, {"code": code})


@post(SIGN_IN, include_in_schema=False)
async def sign_in(request: ApiRequest, sign_in_context: SignInContextDep) -> PageResponse:
    """Sign in by the token or the code in the form."""
    fields = first_values(await read_any_body(request, _MAX_FORM_BYTES), _MAX_FIELDS)
    if sign_in_context.service.cookies.origin(request.scope) is not RequestOrigin.SAME:
        return _form(HTTPStatus.FORBIDDEN, page=fields.get("next", FIRST_PAGE), error=_OTHER_PAGE)
    return await _sign_in(request, sign_in_context, fields)


@post(SIGN_OUT, include_in_schema=False)
async def sign_out(request: ApiRequest, sign_in_context: SignInContextDep) -> PageResponse:
    """End the session in this browser, which then deletes what it has cached."""
    if sign_in_context.service.cookies.origin(request.scope) is not RequestOrigin.SAME:
        return _form(HTTPStatus.FORBIDDEN, error=_OTHER_PAGE)
    response = redirect(f"{SIGN_IN}?signed-out", sign_in_context.service.cookies.clear(request.scope))
    response.headers["Clear-Site-Data"] = _CACHE
    return response


@post(SIGN_IN_URLS, include_in_schema=False)
async def create_sign_in_url(request: ApiRequest, sign_in_context: SignInContextDep) -> Response[SignInUrl]:
    """Make a one-time URL for the holder of the bearer token, which opens the page in `next`. For `stepwell open`.

    No cookie is accepted, so a page can't make URLs.
    """
    page = first_values(request.scope["query_string"], _MAX_FIELDS).get("next", FIRST_PAGE)
    path = await sign_in_context.service.sign_in_path(require_bearer_token(request.scope), page=page)
    return Response(SignInUrl(path), status_code=HTTPStatus.CREATED, headers=PAGE_HEADERS)


def redirect_to_sign_in(request: ApiRequest) -> Response[bytes]:
    """Return the response to a request for a page by nobody: after the sign-in, the browser opens that page."""
    scope = request.scope
    target = (scope.get("raw_path") or b"") + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    return redirect(sign_in_path_to(page_path(target.decode("latin-1"))))


async def _sign_in(request: ApiRequest, sign_in_context: SignInContext, fields: dict[str, str]) -> PageResponse:
    """Begin a session by the code or the token in *fields*, and open the page that the code or the field next names."""
    page, code, token = fields.get("next", FIRST_PAGE), fields.get("code"), fields.get("token", "").strip()
    if (conflict := sign_in_context.service.cookies.conflict(request.scope)) is not None:
        return _form(HTTPStatus.FORBIDDEN, page=page, code=code, error=conflict)
    if code is None and not token:
        return _form(HTTPStatus.UNPROCESSABLE_ENTITY, page=page, error=_NO_TOKEN)
    try:
        if code is None:
            session, page = await sign_in_context.service.begin_by_token(token), page_path(page)
        else:
            session, page = await sign_in_context.service.begin_by_code(code)
    except (CodeRefused, InvalidToken) as error:
        client = client_name(request.client.host if request.client else "")
        if wait_s := sign_in_context.attempts.count(client, sign_in_context.clock.monotonic()):
            status, why = HTTPStatus.TOO_MANY_REQUESTS, _TOO_OFTEN.format(wait_s)
            return _form(status, page=page, code=code, error=why, retry_after_s=wait_s)
        return _form(HTTPStatus.FORBIDDEN, page=page, error=str(error))
    except TooManyRequests as error:
        status = HTTPStatus.TOO_MANY_REQUESTS
        return _form(status, page=page, code=code, error=str(error), retry_after_s=error.retry_after_s)
    except Unavailable as error:
        status, wait_s = HTTPStatus.SERVICE_UNAVAILABLE, error.retry_after_s
        return _form(status, page=page, code=code, error=_NOT_NOW, retry_after_s=wait_s)
    return redirect(page, sign_in_context.service.cookies.set(request.scope, session))


def _form(
    status: HTTPStatus = HTTPStatus.OK,
    *,
    page: str = FIRST_PAGE,
    code: str | None = None,
    error: str = "",
    done: str = "",
    retry_after_s: int | None = None,
) -> Template:
    """Return the page with the form: for a token, or, with *code*, the one that asks whether to sign in."""
    context = {"page": page_path(page), "code": code, "error": error, "done": done, "sign_in": SIGN_IN}
    headers = PAGE_HEADERS if retry_after_s is None else PAGE_HEADERS | {"Retry-After": str(retry_after_s)}
    return Template("sign_in.html", context=context, status_code=status, headers=headers)


def redirect(path: str, cookie: str | None = None) -> Response[bytes]:
    """Return the response that opens the page at *path*, and sets the *cookie*."""
    headers = PAGE_HEADERS | {"Location": path} | ({} if cookie is None else {"Set-Cookie": cookie})
    return Response(b"", status_code=HTTPStatus.SEE_OTHER, headers=headers)


def _opened_by_user(request: ApiRequest) -> bool:
    """Return whether the browser says that the user has opened the URL, and neither a page nor itself ahead."""
    scope = request.scope
    return header_value(scope, "sec-fetch-site") == "none" and not any(header_value(scope, name) for name in _AHEAD)


HANDLERS: Final = (sign_in_page, sign_in, sign_out, create_sign_in_url)
