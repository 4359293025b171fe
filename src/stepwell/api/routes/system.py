"""The operations of the system: the root, health, metrics, and the description of the API. They need no token."""

from typing import Any

from litestar import Response
from msgspec import structs

from stepwell import __version__
from stepwell.api.auth.dependencies import ApiRequest, DescriptionDep, MetricsDep, ServicesDep
from stepwell.api.requests.headers import prefers
from stepwell.api.requests.operations import Content, Operation, endpoint
from stepwell.basics.errors import Unavailable
from stepwell.contract.system import Health, Root

TAG = "system"
WEB_PAGE = "/ui"
DOCS = "/docs"

ROOT = Operation(
    method="GET",
    path="/",
    id="root",
    description="The version, and the paths of the API's description and of the readiness check. A client that prefers "
    "text/html, as browsers do, is redirected to /ui, the web page.",
    tag=TAG,
    permission=None,
    response=Root,
    problems=(307,),
)
LIVE = Operation(
    method="GET",
    path="/health/live",
    id="live",
    description="The process responds.",
    tag=TAG,
    permission=None,
    response=Health,
)
READY = Operation(
    method="GET",
    path="/health/ready",
    id="ready",
    description="The database responds and accepts writes, no disk is full, and the service accepts work.",
    tag=TAG,
    permission=None,
    response=Health,
    problems=(503, 507),
)
METRICS = Operation(
    method="GET",
    path="/metrics",
    id="metrics",
    description="The metrics of this process, in Prometheus's text format.",
    tag=TAG,
    permission=None,
    response=Content("text/plain"),
)
SCHEMA_PAGE = Operation(
    method="GET",
    path="/schema",
    id="schema_page",
    summary="API description as a page",
    description="Redirects to /docs, the interactive page of the API.",
    tag=TAG,
    permission=None,
    response=Content("text/html"),
    status=307,
    headers=("Location",),
)
SCHEMA = Operation(
    method="GET",
    path="/schema/openapi.json",
    id="schema",
    summary="API description as JSON",
    description="The OpenAPI document.",
    tag=TAG,
    permission=None,
    response=Content("application/json"),
)
SCHEMA_ALIAS = structs.replace(SCHEMA, path="/openapi.json", id="schema_alias", summary="Alias of /schema/openapi.json")


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
