"""The operations on definitions that are stored by name. `definitions` reads their bodies."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Final

from litestar import Response
from litestar.types import ASGIApp
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, json
from msgspec.structs import replace

from stepwell.api.auth.dependencies import ApiRequest, CursorsDep, ServicesDep
from stepwell.api.requests.body_buffers import reserve_memory
from stepwell.api.requests.headers import ETAG, IF_MATCH, IF_NONE_MATCH
from stepwell.api.requests.operations import JSON_TYPE, MERGE_PATCH_TYPE, Operation, endpoint
from stepwell.api.requests.query_parameters import (
    CheckedQuery,
    Cursor,
    DryRun,
    TenantQuery,
    cursor_links,
    parse_query,
    read_cursor,
)
from stepwell.api.requests.request_bodies import ignore_empty_body, read_and_reserve, read_struct, release_decoding
from stepwell.api.requests.request_resources import resources_of
from stepwell.api.responses.conditional_requests import (
    not_modified,
    read_revision_conditions,
    respond_unless_known,
    to_response,
)
from stepwell.api.responses.workflow_etags import stored_definition_etag
from stepwell.api.routes.definitions import read_content, read_named_definitions
from stepwell.api.routes.list_query import Labels, label_faults, stable_parameters
from stepwell.basics.errors import Fault, Forbidden, InvalidRequest, NotFound
from stepwell.basics.idempotency import StoredResponse
from stepwell.contract.definition import DEFINITION_NAME, MAX_VERSION
from stepwell.contract.fields import about
from stepwell.contract.problems import DefinitionWarning
from stepwell.contract.scopes import Permission
from stepwell.contract.stored_definitions import (
    DefinitionContent,
    DefinitionDeletion,
    DefinitionForm,
    DefinitionListResponse,
    DefinitionPublic,
    DefinitionSummary,
    DefinitionUpdate,
    DefinitionVersion,
    DefinitionVersionsResponse,
)
from stepwell.engine.service import Services
from stepwell.rules.stored_definitions import DefinitionFilter, NewContent, StoredDefinition

TAG = "definitions"
BASE = "/api/v1/definitions"
ONE = BASE + "/{name}"
FORM_TYPE: Final = "application/vnd.stepwell.form+json"

_OF_NAME: Final = ("name", "default_version", "archived", "labels", "description")
_OF_VERSION: Final = ("version", "created_by", "created_at")
_NAME: Final = re.compile(DEFINITION_NAME)


class PutQuery(TenantQuery, frozen=True, kw_only=True):
    dry_run: DryRun = False


class VersionQuery(TenantQuery, frozen=True, kw_only=True):
    version: Annotated[int, Meta(ge=1, le=MAX_VERSION, description="The version; default: the newest")] | UnsetType = (
        UNSET
    )


class DefinitionsQuery(CheckedQuery, TenantQuery, frozen=True, kw_only=True):
    REPEATABLE: ClassVar = frozenset({"label"})

    archived: Annotated[bool, about("Only archived definitions, instead of those that aren't")] = False
    cursor: Cursor | UnsetType = UNSET
    label: Labels = ()
    limit: Annotated[int, Meta(ge=1, le=200, description="The maximum number of definitions")] = 50
    name: Annotated[str, about("Only definitions whose name begins with this text")] | UnsetType = UNSET

    value_faults = staticmethod(label_faults)


_OPERATION = Operation(
    method="GET",
    path=ONE,
    id="get_definition",
    description="A stored definition in its newest version, or in another one.",
    tag=TAG,
    permission=Permission.READ_DEFINITIONS,
    query=TenantQuery,
    response=DefinitionPublic,
    headers=("ETag",),
    takes=(IF_NONE_MATCH,),
)
GET = replace(_OPERATION, query=VersionQuery, for_runs=True, also=((FORM_TYPE, DefinitionForm),))
LIST = replace(
    _OPERATION,
    path=BASE,
    id="list_definitions",
    description="The stored definitions of the tenant without their contents, ordered by name.",
    query=DefinitionsQuery,
    response=DefinitionListResponse,
    headers=("Link", "ETag"),
)
VERSIONS = replace(
    _OPERATION,
    path=ONE + "/versions",
    id="list_definition_versions",
    description="All versions of a stored definition, the newest first.",
    response=DefinitionVersionsResponse,
)
_CHANGE = replace(_OPERATION, permission=Permission.WRITE_DEFINITIONS, takes=(IF_MATCH,))
PUT = replace(
    _CHANGE,
    method="PUT",
    id="put_definition",
    description="Stores the next version of a definition, which is checked as create checks it, except that required "
    "inputs may be missing. If the newest version has the same content, as canonical JSON, nothing is stored and the "
    "status is 200. With dry_run=true the definition is only checked.",
    query=PutQuery,
    body=DefinitionContent,
    status=201,
    repeat_status=200,
    headers=("Location", "ETag"),
    takes=(IF_MATCH, IF_NONE_MATCH),
)
UPDATE = replace(
    _CHANGE,
    method="PATCH",
    id="update_definition",
    description="Changes default_version, archived, labels or description, which belong to the name and have no "
    "versions. Labels are replaced together. null clears a member, and pins no version.",
    body=DefinitionUpdate,
    body_types=(JSON_TYPE, MERGE_PATCH_TYPE),
)
DELETE = replace(
    _CHANGE,
    method="DELETE",
    id="delete_definition",
    description="Deletes a stored definition with all its versions. If the name is stored again, the numbers of its "
    "versions go on.",
    response=DefinitionDeletion,
    headers=(),
)


@endpoint(PUT)
async def put_definition(request: ApiRequest, services: ServicesDep) -> ASGIApp:
    query = parse_query(request.scope["query_string"], PutQuery)
    tenant, name = _tenant(request, query), str(request.path_params["name"])
    if not _NAME.fullmatch(name):
        message = "Expected 1 to 63 of a-z 0-9 -, and no - at the beginning"
        raise InvalidRequest([Fault(("path", "name"), message, "string_pattern_mismatch")])
    services.availability.check_open()
    await read_named_definitions(request, services, tenant, name)
    size = len(await read_and_reserve(request))
    async with services.create_turns.turn(tenant, size):
        content, version, warnings = await read_content(request, services)
        conditions, limits = read_revision_conditions(request), services.limits.of_definitions
        new = NewContent(content=content, version=version, conditions=conditions, limits=limits)
        stored = await services.definitions.put(tenant, name, new, dry_run=query.dry_run)
    await release_decoding(request)
    if not stored.created:
        content = await _content(request, services, tenant, stored)
    status = 201 if stored.created and not query.dry_run else 200
    return _response(stored, content, {"Location": f"{BASE}/{name}"}, status, warnings=warnings)


@endpoint(GET)
async def get_definition(request: ApiRequest, services: ServicesDep) -> ASGIApp:
    query = parse_query(request.scope["query_string"], VersionQuery)
    tenant, name = _tenant(request, query), _name(request)
    version = None if query.version is UNSET else query.version
    request.user.check_may_run(name)
    if request.user.only_runs and version is not None:
        raise Forbidden("A token with definitions:run reads the version that runs take.")
    stored = await services.definitions.find(tenant, name, version)
    if response := not_modified(request, {ETAG: stored_definition_etag(stored.name.revision)}):
        return response
    if not request.user.only_runs:
        return _response(stored, await _content(request, services, tenant, stored))
    if stored.name.default_version is not None:
        stored = await services.definitions.find(tenant, name, stored.name.default_version)
    schema = json.decode(await _content(request, services, tenant, stored), type=_StoredSchema).inputs_schema
    form = DefinitionForm(name, stored.name.description, schema)
    tag = {ETAG: stored_definition_etag(stored.name.revision)}
    return Response(json.encode(form), media_type=FORM_TYPE, headers=tag).to_asgi_response(None, request)


@endpoint(LIST)
async def list_definitions(request: ApiRequest, services: ServicesDep, cursors: CursorsDep) -> ASGIApp:
    query = parse_query(request.scope["query_string"], DefinitionsQuery)
    tenant, prefix = _tenant(request, query), "" if query.name is UNSET else query.name
    wanted = DefinitionFilter(
        limit=query.limit + 1,
        after=read_cursor(cursors.definitions, query.cursor) or "",
        prefix=prefix,
        labels=query.label,
        archived=query.archived,
    )
    definitions = await services.definitions.page(tenant, wanted)
    page = definitions[: query.limit]
    last = page[-1].name.name if len(definitions) > len(page) else None
    links = cursor_links(BASE, [*stable_parameters(query), f"limit={query.limit}"], cursors.definitions, last)
    response = DefinitionListResponse([DefinitionSummary(**_members(each)) for each in page])
    return await respond_unless_known(request, response, {"Link": links})


@endpoint(VERSIONS)
async def list_definition_versions(request: ApiRequest, services: ServicesDep) -> ASGIApp:
    query = parse_query(request.scope["query_string"], TenantQuery)
    versions = await services.definitions.versions(_tenant(request, query), _name(request))
    response = [DefinitionVersion(each.version, each.created_by, each.created_at) for each in versions]
    return await respond_unless_known(request, DefinitionVersionsResponse(response))


@endpoint(UPDATE)
async def update_definition(request: ApiRequest, services: ServicesDep) -> ASGIApp:
    query = parse_query(request.scope["query_string"], TenantQuery)
    tenant, name = _tenant(request, query), _name(request)
    conditions = read_revision_conditions(request)
    changes = await read_struct(request, DefinitionUpdate)
    services.availability.check_open()
    stored = await services.definitions.update(tenant, name, changes, conditions)
    return _response(stored, await _content(request, services, tenant, stored))


@endpoint(DELETE)
async def delete_definition(request: ApiRequest, services: ServicesDep) -> Response[DefinitionDeletion]:
    query = parse_query(request.scope["query_string"], TenantQuery)
    tenant, name = _tenant(request, query), _name(request)
    await ignore_empty_body(request)
    services.availability.check_open()
    deleted = await services.definitions.delete(tenant, name, read_revision_conditions(request))
    return Response(DefinitionDeletion(name, deleted.name.versions, referred_by=list(deleted.referred_by)))


def _tenant(request: ApiRequest, query: TenantQuery) -> str | None:
    """Return the tenant whose definitions the request is about, and count the request for it. Raises `Forbidden`."""
    tenant = request.user.tenant_for(query.tenant)
    resources_of(request.scope).count_for(tenant)
    return tenant


def _name(request: ApiRequest) -> str:
    """Return the name in the path. Raises `NotFound` for a text that can't be one."""
    name = str(request.path_params["name"])
    if not _NAME.fullmatch(name):
        raise NotFound("definition")
    return name


async def _content(request: ApiRequest, services: Services, tenant: str | None, stored: StoredDefinition) -> bytes:
    """Return the content of the version, for which the request reserves memory until its response is sent."""
    memory = await resources_of(request.scope).memory()
    await reserve_memory(memory, memory.held + _COPIES * stored.version.size)
    return await services.definitions.content(tenant, stored.name.name, stored.version.version)


_COPIES: Final = 3  # of the content: as text, as bytes, and in the response


class _StoredSchema(Struct):
    """The member of a stored content that a form needs."""

    inputs_schema: Raw = Raw(b"null")


def _response(
    stored: StoredDefinition,
    content: bytes,
    headers: dict[str, str] | None = None,
    status: int = 200,
    warnings: Sequence[DefinitionWarning] | UnsetType = UNSET,
) -> ASGIApp:
    response = DefinitionPublic(**_members(stored), definition=Raw(content), warnings=warnings)
    tag = {ETAG: stored_definition_etag(stored.name.revision)}
    return to_response(StoredResponse(status, tag | (headers or {}), json.encode(response)))


def _members(stored: StoredDefinition) -> dict[str, Any]:
    """Return the members of a `DefinitionSummary`."""
    sources = (stored.name, *_OF_NAME), (stored.version, *_OF_VERSION)
    return {member: getattr(source, member) for source, *members in sources for member in members}
