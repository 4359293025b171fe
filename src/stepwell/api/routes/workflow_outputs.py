"""The operation that lists the files of a run: those of its items and sub-workflows, too."""

from typing import Annotated

from litestar.types import ASGIApp
from msgspec import UNSET, Meta, Struct, UnsetType

from stepwell.api.auth.dependencies import ApiRequest, CursorsDep, ServicesDep
from stepwell.api.requests.headers import IF_NONE_MATCH
from stepwell.api.requests.operations import Operation, endpoint
from stepwell.api.requests.query_parameters import Cursor, cursor_links, parse_id, parse_query, read_cursor
from stepwell.api.responses.conditional_requests import respond_unless_known
from stepwell.basics.artifacts import content_type_of
from stepwell.contract.scopes import Permission
from stepwell.contract.workflows import OutputListResponse, OutputPublic
from stepwell.rules.list_records import StoredOutput


class OutputsQuery(Struct, frozen=True, kw_only=True):
    """The page of the list of outputs."""

    cursor: Cursor | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=1, le=1000, description="The most files of the page")] = 50


OUTPUTS = Operation(
    method="GET",
    path="/api/v1/workflows/{workflow_id}/outputs",
    id="list_outputs",
    description="The files of the results of a workflow, of its items and of its sub-workflows at any depth.",
    tag="workflows",
    permission=Permission.READ,
    query=OutputsQuery,
    answers=OutputListResponse,
    headers=("Link", "ETag"),
    takes=(IF_NONE_MATCH,),
)


@endpoint(OUTPUTS)
async def list_outputs(request: ApiRequest, services: ServicesDep, cursors: CursorsDep) -> ASGIApp:
    workflow_id = parse_id(request.path_params["workflow_id"], "workflow")
    query = parse_query(request.scope["query_string"], OutputsQuery)
    after = read_cursor(cursors.outputs, query.cursor)
    outputs = await services.reads.outputs(request.user.scope, workflow_id, after, query.limit + 1)
    page = outputs[: query.limit]
    last = page[-1].cursor if len(outputs) > query.limit else None
    path = OUTPUTS.path.format(workflow_id=workflow_id)
    link = cursor_links(path, [f"limit={query.limit}"], cursors.outputs, last)
    return await respond_unless_known(request, OutputListResponse([*map(_to_public, page)]), {"Link": link})


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
