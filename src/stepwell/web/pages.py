"""The pages below `/ui`: one HTML shell for each view, which the view's script fills from the public API."""

from collections.abc import Collection
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import HttpMethod, Response, route
from litestar.handlers import HTTPRouteHandler
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.response import Template
from litestar.template import TemplateConfig
from msgspec import Struct, json

from stepwell import __version__
from stepwell.api.auth.authentication import Principal
from stepwell.api.auth.dependencies import ApiRequest
from stepwell.api.responses.problems import BY_STATUS, MEANINGS
from stepwell.api.routes.all_routes import WebPages
from stepwell.api.routes.system import DOCS, WEB_PAGE
from stepwell.contract.scopes import Permission, allowed_by
from stepwell.examples import read_examples
from stepwell.ports.clock import Clock
from stepwell.rules.access.attempt_limit import AttemptLimit
from stepwell.web.decision_page import decision_page, decision_page_limits
from stepwell.web.sign_in import HANDLERS as SIGN_IN_HANDLERS
from stepwell.web.sign_in import PAGE_HEADERS, SignInContext, SignInContextDep, redirect, redirect_to_sign_in
from stepwell.web.sign_in_service import SignInService
from stepwell.web.static_files import static_file, static_files

_TEMPLATES: Final = Path(__file__).parent / "templates"
_DECISIONS: Final = "/ui/decisions"
_OPEN: Final = ("/decisions?limit=50",)
_FIRST_LIST: Final = "/workflows/?order=-created_at&limit=50&include_steps=false&total=false"


class View(Struct, frozen=True):
    """A view of the page. Its script and its style sheet are below `static/views`, under its name.

    The navigation lists the views that have a *label*. *tab* is the tab that is shown first, a module of the folder
    with the view's name. *reads* are the paths of the API that the script reads first; the browser requests them while
    it loads the scripts. A view whose reads depend on the query of its URL has them for no query only (*fixed* false).
    *permission* is what its reads need. Without it, a viewer doesn't see the view in the navigation.
    """

    name: str
    path: str
    title: str
    label: str | None = None
    tab: str | None = None
    reads: tuple[str, ...] = ()
    fixed: bool = True
    permission: Permission = Permission.READ


VIEWS: Final = (
    View("runs", "/ui", "Runs", "Runs", reads=("/workflows/counts", _FIRST_LIST), fixed=False),
    View("new", "/ui/new", "New run", "New run"),
    View(
        "definitions",
        "/ui/definitions",
        "Definitions",
        "Definitions",
        reads=("/definitions?limit=50",),
        fixed=False,
        permission=Permission.READ_DEFINITIONS,
    ),
    View("definition", "/ui/definitions/{name:str}", "Definition", permission=Permission.READ_DEFINITIONS),
    View("decisions", _DECISIONS, "Decisions", "Decisions", reads=_OPEN, fixed=False, permission=Permission.APPROVE),
    View("providers", "/ui/providers", "Providers", "Providers", reads=("/providers", "/limits")),
    View("uploads", "/ui/uploads", "Uploads", "Uploads", reads=("/artifacts?skip=0&limit=50", "/limits")),
    View("costs", "/ui/costs", "Costs", "Costs"),
    View(
        "run",
        "/ui/workflows/{workflow_id:str}",
        "Run",
        tab="graph",
        reads=("/workflows/{workflow_id}?include_steps=false",),
    ),
)


@cache
def _modules(view: View, tab: str | None) -> list[str]:
    """Return the modules that *view* loads at its start, with its selected *tab*."""
    files = static_files()
    paths = ["app.js", f"views/{view.name}.js"]
    if tab is not None:
        paths.append(f"views/{view.name}/{tab}.js")
    return files.modules(*paths)


def _selected_tab(view: View, request: ApiRequest) -> str | None:
    tab = request.query_params.get("tab", view.tab) if view.tab else None
    return tab if f"views/{view.name}/{tab}.js" in static_files().files else view.tab


def _reads(view: View, request: ApiRequest, workflow_id: str) -> list[str]:
    if not view.fixed and request.scope["query_string"]:
        return []
    return [read.replace("{workflow_id}", quote(workflow_id, safe="")) for read in view.reads]


def template_config(providers: Collection[str]) -> TemplateConfig[JinjaTemplateEngine]:
    """Return the templates of the page, which offers the examples that *providers* can run.

    They escape whatever they insert, and an unknown name is an error.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, auto_reload=False, undefined=StrictUndefined
    )
    environment.globals.update(
        # The first page reads the files, so that a service whose page nobody uses doesn't hold them: 3 MB.
        static=lambda path: static_files().url(path),
        has_file=lambda path: path in static_files().files,
        version=__version__,
        examples=json.encode([each for each in read_examples().values() if each.providers <= {*providers}]).decode(),
    )
    return TemplateConfig(instance=JinjaTemplateEngine.from_environment(environment))


def _render_view(view: View, viewer: Principal, request: ApiRequest) -> Template:
    """Return the shell of *view* for *viewer*. The scripts read what they need from its `data-` attributes."""
    workflow_id = str(request.path_params.get("workflow_id", ""))
    context = {
        "view": view,
        "navigation": [each for each in VIEWS if each.label and each.permission.is_in(viewer.permissions)],
        "modules": _modules(view, _selected_tab(view, request)),
        "reads": _reads(view, request, workflow_id) if view.permission.is_in(viewer.permissions) else [],
        "scopes": sorted(allowed_by(viewer.permissions)),
        "subject": viewer.subject,
        "tenant": viewer.scope.tenant or "",
        "every_tenant": viewer.scope.every,
        "has_session": viewer.session is not None,
        "workflow_id": workflow_id,
    }
    return Template("view.html", context=context, headers=PAGE_HEADERS)


def _page(view: View) -> HTTPRouteHandler:
    @route(view.path, http_method=[HttpMethod.GET, HttpMethod.HEAD], name=f"ui_{view.name}", include_in_schema=False)
    async def page(request: ApiRequest, sign_in_context: SignInContextDep) -> Template | Response[bytes]:
        viewer = await sign_in_context.service.viewer(request.scope)
        if viewer is None:
            return redirect_to_sign_in(request)
        if view.path != _DECISIONS and not Permission.READ.is_in(viewer.permissions):
            return redirect(_DECISIONS)  # people who may only decide
        return _render_view(view, viewer, request)

    return page


@route(
    ["/ui/runs", "/ui/workflows", "/ui/runs/{workflow_id:str}"],
    http_method=[HttpMethod.GET, HttpMethod.HEAD],
    include_in_schema=False,
)
async def redirect_to_runs(request: ApiRequest) -> Response[bytes]:
    """Redirect from URLs that users guess to the page of a run, or to the runs. The query stays."""
    workflow_id = request.path_params.get("workflow_id")
    page = WEB_PAGE if workflow_id is None else f"{WEB_PAGE}/workflows/{quote(str(workflow_id), safe='')}"
    query = request.scope["query_string"].decode("latin-1")
    headers = PAGE_HEADERS | {"Location": f"{page}?{query}" if query else page}
    return Response(b"", status_code=HTTPStatus.TEMPORARY_REDIRECT, headers=headers)


@route(DOCS, http_method=[HttpMethod.GET, HttpMethod.HEAD], include_in_schema=False)
async def docs() -> Template:
    """Show the OpenAPI document as an interactive page, and what each status of a problem means."""
    problems = [(status, row.title, MEANINGS[status]) for status, row in sorted(BY_STATUS.items())]
    context = {"modules": static_files().modules("docs.js"), "problems": problems}
    return Template("docs.html", context=context, headers=PAGE_HEADERS)


def no_such_page() -> Template:
    headers = PAGE_HEADERS | {"Vary": "Accept"}
    return Template("not_found.html", status_code=HTTPStatus.NOT_FOUND, headers=headers)


HANDLERS: Final = (static_file, *SIGN_IN_HANDLERS, decision_page, *map(_page, VIEWS), redirect_to_runs, docs)


def build_pages(sign_in: SignInService, clock: Clock, providers: Collection[str]) -> WebPages:
    """Return the pages. *sign_in* says who looks at them. *providers* are those that are configured."""
    context = SignInContext(sign_in, AttemptLimit(), clock)
    dependencies = {"sign_in_context": context, "decision_limits": decision_page_limits()}
    return WebPages(HANDLERS, dependencies, template_config(providers), no_such_page)
