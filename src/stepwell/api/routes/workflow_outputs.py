"""The operation that lists or sends the files of a run: those of its items and sub-workflows, too."""

from functools import partial
from typing import Annotated

from litestar.types import ASGIApp
from msgspec import UNSET, Meta, Struct, UnsetType

from stepwell.api.auth.dependencies import ApiRequest, ArtifactsDep, ClockDep, CursorsDep, ServicesDep
from stepwell.api.requests.headers import IF_NONE_MATCH, prefers
from stepwell.api.requests.operations import Content, endpoint, read_operation
from stepwell.api.requests.query_parameters import Cursor, cursor_links, parse_id, parse_query, read_cursor
from stepwell.api.requests.request_resources import resources_of
from stepwell.api.responses.conditional_requests import respond_unless_known
from stepwell.api.responses.output_archive import ZIP_TYPE, archive_response
from stepwell.basics.artifacts import content_type_of
from stepwell.basics.errors import Fault, InvalidRequest
from stepwell.contract.fields import about
from stepwell.contract.workflows import OutputListResponse, OutputPublic
from stepwell.rules.list_records import StoredOutput

_DOWNLOAD = (
    "Whether the response is the ZIP, as with Accept: application/zip: for links. It takes no cursor and no limit"
)
_LIMIT = 50


class OutputsQuery(Struct, frozen=True, kw_only=True):
    """The page of the list of outputs, or a ZIP of the whole list."""

    cursor: Cursor | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=1, le=1000, description="The most files of the page (default 50)")] | UnsetType = (
        UNSET
    )
    download: Annotated[bool, about(_DOWNLOAD)] = False


OUTPUTS = read_operation(
    path="/api/v1/workflows/{workflow_id}/outputs",
    id="list_outputs",
    description="The files of the results of a workflow, of its items and of its sub-workflows at any depth. With "
    "Accept: application/zip, all of them as one ZIP.",
    tag="workflows",
    for_runs=True,
    query=OutputsQuery,
    response=OutputListResponse,
    also=(Content(ZIP_TYPE, binary=True),),
    optional_headers=("Link", "ETag", "Content-Disposition"),
    takes=(IF_NONE_MATCH,),
)


@endpoint(OUTPUTS)
async def list_outputs(
    request: ApiRequest, services: ServicesDep, artifacts: ArtifactsDep, clock: ClockDep, cursors: CursorsDep
) -> ASGIApp:
    workflow_id = parse_id(request.path_params["workflow_id"], "workflow")
    query = parse_query(request.scope["query_string"], OutputsQuery)
    read_page = partial(services.reads.outputs, request.user.scope, workflow_id)
    if query.download or prefers(request.scope, ZIP_TYPE):
        pages = [name for name in ("cursor", "limit") if getattr(query, name) is not UNSET]
        if pages:
            raise InvalidRequest(
                [Fault(("query", name), "A ZIP has all files: leave it out", "extra") for name in pages]
            )
        memory = resources_of(request.scope).memory
        return archive_response(workflow_id, read_page, artifacts, memory, clock.now())
    after, limit = read_cursor(cursors.outputs, query.cursor), _LIMIT if query.limit is UNSET else query.limit
    outputs = await read_page(after, limit + 1)
    page = outputs[:limit]
    last = page[-1].cursor if len(outputs) > limit else None
    path = OUTPUTS.path.format(workflow_id=workflow_id)
    link = cursor_links(path, [f"limit={limit}"], cursors.outputs, last)
    content = OutputListResponse([*map(_to_public, page)])
    return await respond_unless_known(request, content, {"Link": link, "Vary": "Accept"})


def _to_public(stored: StoredOutput) -> OutputPublic:
    output = stored.output
    name = output.path.rpartition("/")[2]
    return OutputPublic(
        path=output.path,
        step_path=stored.step_path,
        name=name,
        media_type=content_type_of(name),
        size=output.size,
        sha256=output.sha256,
        task_id=stored.task_id,
        final=stored.is_final,
    )
