"""`stepwell open`: opens the web page in a browser, and signs in to the local service by a one-time URL.

What must hold:
- A one-time URL is made only for the service on the local data folder, by that service.
- It is printed only for `--print`. A browser gets it, and messages name the page without it.
"""

import os
import sys
import webbrowser
from http import HTTPStatus
from typing import Final

import httpx
from msgspec import DecodeError, Struct, ValidationError, json

from stepwell.cli.errors import MISUSED, UNAVAILABLE, Refused
from stepwell.cli.output import print_message
from stepwell.cli.workflow_commands.command_context import CommandContext
from stepwell.cli.workflow_commands.endpoint import Endpoint
from stepwell.cli.workflow_commands.text_tables import plain
from stepwell.rules.access.sessions import FIRST_PAGE, SIGN_IN_URLS

_TIMEOUT_S: Final = 10.0
_NO_BROWSER: Final = "there is no browser here: --print prints the URL for another one"
_DISPLAYS: Final = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME")


class PageUrl(Struct):
    """The result of `open`. `signs_in`: the URL signs in once."""

    url: str
    signs_in: bool


class _NewUrl(Struct):
    path: str


class _Problem(Struct):
    detail: str = ""


def open_page(context: CommandContext, workflow: str | None, *, print_url: bool) -> None:
    """Open the page of the runs, or of one *workflow*, in a browser; or print its URL. Raises `Refused`."""
    if not (print_url or _has_browser()):
        raise Refused(_NO_BROWSER, code=MISUSED)
    path = FIRST_PAGE if workflow is None else f"{FIRST_PAGE}/workflows/{context.workflow_id(workflow)}"
    endpoint = context.endpoint
    signs_in = endpoint.is_local and endpoint.token is not None
    url = endpoint.url + (_sign_in_path(endpoint, path) if signs_in else path)
    if print_url:
        context.show(PageUrl(url, signs_in), lambda each: plain(each.url))
        return
    if not webbrowser.open(url):
        raise Refused(_NO_BROWSER, code=MISUSED)
    if not signs_in:
        print_message("the page asks for a token, unless this browser is signed in")
    context.show(PageUrl(endpoint.url + path, signs_in), lambda each: plain(f"opened {each.url}"))


def _sign_in_path(endpoint: Endpoint, page: str) -> str:
    """Let the service make a one-time URL that opens *page*. Return its path with the query. Raises `Refused`."""
    try:
        with httpx.Client(transport=httpx.HTTPTransport(), timeout=_TIMEOUT_S) as client:
            response = client.post(
                endpoint.url + SIGN_IN_URLS,
                params={"next": page},
                headers={"Authorization": f"Bearer {endpoint.token}"},
            )
    except httpx.HTTPError as error:
        raise Refused(
            f"{endpoint.source} doesn't respond: {str(error) or type(error).__name__}", code=UNAVAILABLE
        ) from error
    try:
        if response.status_code == HTTPStatus.CREATED:
            return json.decode(response.content, type=_NewUrl).path
        reason = json.decode(response.content, type=_Problem).detail
    except (DecodeError, ValidationError):
        reason = ""
    raise Refused(
        f"{endpoint.source} made no sign-in URL: it responds with {response.status_code}: {reason}".rstrip(": "),
        code=UNAVAILABLE,
    )


def _has_browser() -> bool:
    """Return whether a browser can show a page. Without a display, Python might start one in the terminal."""
    return not sys.platform.startswith("linux") or any(os.environ.get(name) for name in _DISPLAYS)
