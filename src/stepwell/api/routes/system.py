"""The operations of the system: the root, health, metrics, the description of the API, and the manual.

They need no token.
"""

from functools import partial
from typing import Any, Final

from anyio import to_thread
from litestar import Response
from litestar.exceptions import NotFoundException
from msgspec import structs

from stepwell import __version__
from stepwell.api.auth.dependencies import ApiRequest, DescriptionDep, MetricsDep, ServicesDep
from stepwell.api.requests.headers import prefers
from stepwell.api.requests.operations import Content, Operation, endpoint
from stepwell.api.responses.page_style import page_response
from stepwell.api.routes.manual_pages import FIRST_PAGE, PAGES, read_images, render_page
from stepwell.basics.errors import Unavailable
from stepwell.contract.system import Health, Root

TAG = "system"
WEB_PAGE = "/ui"
DOCS = "/docs"

_operation = partial(Operation, method="GET", tag=TAG, permission=None)

ROOT = _operation(
    path="/",
    id="root",
    description="The version, and the paths of the API's description and of the readiness check. A client that prefers "
    "text/html, as browsers do, is redirected to /ui, the web page.",
    response=Root,
    problems=(307,),
)
LIVE = _operation(path="/health/live", id="live", description="The process responds.", response=Health)
READY = _operation(
    path="/health/ready",
    id="ready",
    description="The database responds and accepts writes, no disk is full, and the service accepts work.",
    response=Health,
    problems=(503, 507),
)
METRICS = _operation(
    path="/metrics",
    id="metrics",
    description="The metrics of this process, in Prometheus's text format.",
    response=Content("text/plain"),
)
SCHEMA_PAGE = _operation(
    path="/schema",
    id="schema_page",
    summary="API description as a page",
    description="Redirects to /docs, the interactive page of the API.",
    response=Content("text/html"),
    status=307,
    headers=("Location",),
)
SCHEMA = _operation(
    path="/schema/openapi.json",
    id="schema",
    summary="API description as JSON",
    description="The OpenAPI document.",
    response=Content("application/json"),
)
SCHEMA_ALIAS = structs.replace(SCHEMA, path="/openapi.json", id="schema_alias", summary="Alias of /schema/openapi.json")
MANUAL = _operation(
    path="/manual",
    id="manual",
    summary="The manual",
    description="The first page of the manual.",
    response=Content("text/html"),
)
MANUAL_PAGE = _operation(
    path="/manual/{page}",
    id="manual_page",
    summary="A page of the manual",
    description="A page of the manual, by its name.",
    response=Content("text/html"),
    problems=(404,),
)
MANUAL_IMAGE = _operation(
    path="/manual/images/{image}",
    id="manual_image",
    summary="An image of the manual",
    description="An image of a page of the manual, by its file name.",
    response=Content("image/webp", binary=True),
    problems=(404,),
)
# An upgrade may bring other images under the same names.
_IMAGE_HEADERS: Final = {"Cache-Control": "public, max-age=3600", "X-Content-Type-Options": "nosniff"}


@endpoint(ROOT)
async def root(request: ApiRequest) -> Response[Any]:
    headers = {"Vary": "Accept"}
    if prefers(request.scope, "text/html"):
        return Response(b"", status_code=307, headers={**headers, "Location": WEB_PAGE})
    return Response(Root(version=__version__), headers=headers)


@endpoint(LIVE)
async def live() -> Health:
    return Health()


@endpoint(READY)
async def ready(services: ServicesDep) -> Health:
    if services.availability.draining:
        raise Unavailable("The service is stopping.")
    await services.availability.check_ready()
    return Health()


@endpoint(METRICS)
async def metrics(metrics: MetricsDep) -> Response[bytes]:
    # Litestar adds the charset to every text type.
    return Response(await metrics.exposition(), media_type="text/plain; version=0.0.4")


@endpoint(SCHEMA_PAGE)
async def schema_page() -> Response[bytes]:
    return Response(b"", status_code=307, media_type="text/html", headers={"Location": DOCS})


@endpoint(SCHEMA)
async def schema(description: DescriptionDep) -> Response[bytes]:
    return Response(description.json, media_type="application/json")


@endpoint(SCHEMA_ALIAS)
async def schema_alias(description: DescriptionDep) -> Response[bytes]:
    return Response(description.json, media_type="application/json")


@endpoint(MANUAL)
async def manual() -> Response[bytes]:
    return await _manual_response(FIRST_PAGE)


@endpoint(MANUAL_PAGE)
async def manual_page(request: ApiRequest) -> Response[Any]:
    page = str(request.path_params["page"])
    if page not in PAGES:
        raise NotFoundException(f"The manual has no such page. Its pages are {', '.join(PAGES)}.")
    return await _manual_response(page)


@endpoint(MANUAL_IMAGE)
async def manual_image(request: ApiRequest) -> Response[Any]:
    # In a thread, because the first request reads the files.
    image = (await to_thread.run_sync(read_images)).get(str(request.path_params["image"]))
    if image is None:
        raise NotFoundException("The manual has no such image.")
    return Response(image, media_type="image/webp", headers=_IMAGE_HEADERS)


async def _manual_response(page: str) -> Response[bytes]:
    # In a thread, because the first request for a page renders it.
    return page_response(await to_thread.run_sync(partial(render_page, page)), images=True)
