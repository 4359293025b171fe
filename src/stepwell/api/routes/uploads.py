"""The operations on uploads: send files, complete an upload to the bucket, list uploads, and delete one."""

from contextlib import AsyncExitStack
from typing import Annotated

from litestar import Response
from litestar.exceptions import MethodNotAllowedException
from msgspec import UNSET, Meta, Struct, UnsetType

from stepwell.api.auth.dependencies import ApiRequest, ServicesDep
from stepwell.api.requests.body_buffers import BodyTooLarge, reserve_memory
from stepwell.api.requests.operations import NoQuery, Operation, endpoint, read_operation
from stepwell.api.requests.query_parameters import Skip, TenantQuery, page_links, parse_id, parse_query
from stepwell.api.requests.request_bodies import ignore_empty_body
from stepwell.api.requests.request_resources import resources_of
from stepwell.api.requests.upload_bodies import read_files
from stepwell.basics.errors import Fault, InvalidRequest
from stepwell.contract.fields import about
from stepwell.contract.files import ArtifactListResponse, ArtifactPublic, PresignedPut, UploadResponse
from stepwell.contract.scopes import Permission
from stepwell.engine.files.spooled_file import SpooledFile
from stepwell.engine.files.uploads import StoredUpload
from stepwell.engine.service import Services
from stepwell.rules.access.signed_urls import ARTIFACTS_PATH
from stepwell.rules.uploads import Uploader, UploadRecord

TAG = "artifacts"
BASE = ARTIFACTS_PATH.rstrip("/")
_READ_BYTES = 4 * 1024 * 1024  # of a file in a bucket at once


class UploadQuery(TenantQuery, frozen=True, kw_only=True):
    name: (
        Annotated[str, Meta(max_length=1_000, description="The name of a file that is the whole body")] | UnsetType
    ) = UNSET
    presign: Annotated[bool, about("Return a URL of the bucket to PUT the file to; the request has no body")] = False
    size: Annotated[int, Meta(ge=1, description="The size of that file in bytes")] | UnsetType = UNSET


class UploadsQuery(Struct, frozen=True):
    skip: Skip = 0
    limit: Annotated[int, Meta(ge=0, le=1_000, description="The maximum number of files")] = 50


UPLOAD = Operation(
    method="POST",
    path=BASE,
    id="upload_artifact",
    description="Stores files: the parts named file of a form, or the whole body, whose Content-Type may be any other. "
    "The type of a file is read from its bytes. The path of a file is what any *_url input accepts. Bytes that the "
    "tenant has uploaded before get the same path; if all of them are such, the status is 200. With presign=true and "
    "size, the response is a URL of the bucket.",
    tag=TAG,
    permission=Permission.WRITE,
    for_runs=True,
    query=UploadQuery,
    files=True,
    status=201,
    repeat_status=200,
    response=UploadResponse,
    headers=("Location",),
    problems=(507,),
)
COMPLETE = Operation(
    method="POST",
    path=ARTIFACTS_PATH + "{upload_id}/complete",
    served_at=ARTIFACTS_PATH + "{path}",
    id="complete_upload",
    description="Examines and stores the file that was sent to the URL of presign=true. A file that is refused is "
    "deleted. If the tenant had the same bytes already, or the upload is completed already, the status is 200.",
    tag=TAG,
    permission=Permission.WRITE,
    for_runs=True,
    status=201,
    repeat_status=200,
    response=UploadResponse,
    headers=("Location",),
    problems=(409,),
)
UPLOADS = read_operation(
    path=BASE,
    id="list_artifacts",
    description="The uploaded files, newest first. The outputs of tasks aren't among them.",
    tag=TAG,
    query=UploadsQuery,
    response=ArtifactListResponse,
    headers=("Link",),
)
DELETE = Operation(
    method="DELETE",
    path=ARTIFACTS_PATH + "{path}",
    id="delete_artifact",
    description="Deletes an uploaded file. It is a 409 while a workflow that isn't deleted names the file.",
    tag=TAG,
    permission=Permission.WRITE,
    response=ArtifactPublic,
    problems=(409,),
)


@endpoint(UPLOAD)
async def upload_artifact(request: ApiRequest, services: ServicesDep) -> Response[UploadResponse]:
    query = parse_query(request.scope["query_string"], UploadQuery)
    tenant = request.user.tenant_for(query.tenant)
    resources_of(request.scope).count_for(tenant)
    services.availability.check_open()
    name = None if query.name is UNSET else query.name
    if query.presign:
        return await _presign(request, services, tenant, name or "", query.size)
    if query.size is not UNSET:
        raise InvalidRequest([Fault(("query", "size"), "Expected presign=true beside it", "presign")])
    async with AsyncExitStack() as stack:
        count = stack.enter_context(services.uploads.receiving(tenant))
        files = await read_files(request, name, services.uploads.max_bytes, count, stack)
        uploads = await _store_all(services, request.user.uploader_for(tenant), files)
    return _response(uploads)


def _response(uploads: list[StoredUpload]) -> Response[UploadResponse]:
    return Response(
        UploadResponse([artifact_to_public(upload.record) for upload in uploads]),
        status_code=201 if any(upload.created for upload in uploads) else 200,
        headers={"Location": ARTIFACTS_PATH + uploads[0].record.path},
    )


async def _presign(
    request: ApiRequest, services: Services, tenant: str | None, name: str, size: int | UnsetType
) -> Response[UploadResponse]:
    await ignore_empty_body(request)
    if size is UNSET:
        raise InvalidRequest([Fault(("query", "size"), "Expected the size of the file with presign=true", "missing")])
    if size > services.uploads.max_bytes:
        raise BodyTooLarge(services.uploads.max_bytes)
    put = await services.uploads.presign(request.user.uploader_for(tenant), name, size)
    complete = f"{ARTIFACTS_PATH}{put.upload_id}/complete"
    presigned = PresignedPut(put.upload_id, put.url, "PUT", {"Content-Length": str(size)}, complete, put.expires_at)
    return Response(UploadResponse([], presigned), status_code=201, headers={"Location": complete})


@endpoint(COMPLETE)
async def complete_upload(request: ApiRequest, services: ServicesDep) -> Response[UploadResponse]:
    upload_id, _, verb = str(request.path_params["path"]).strip("/").partition("/")
    if verb != "complete":  # the path of a file
        raise MethodNotAllowedException
    parse_query(request.scope["query_string"], NoQuery)
    await ignore_empty_body(request)
    services.availability.check_open()
    scope, valid_id, resources = request.user.scope, parse_id(upload_id, "upload"), resources_of(request.scope)
    if scope.every:
        resources.count_for(await services.uploads.owner(scope, valid_id))
    await reserve_memory(await resources.memory(), _READ_BYTES)
    return _response([await services.uploads.complete(scope, valid_id)])


async def _store_all(services: Services, uploader: Uploader, files: list[SpooledFile]) -> list[StoredUpload]:
    """Store all files or none."""
    uploads: list[StoredUpload] = []
    try:
        for file in files:
            uploads.append(await services.uploads.add(uploader, file))  # noqa: PERF401 - `except` reads them
    except BaseException:
        await services.uploads.take_back(upload for upload in uploads if upload.created)
        raise
    return uploads


@endpoint(UPLOADS)
async def list_artifacts(request: ApiRequest, services: ServicesDep) -> Response[ArtifactListResponse]:
    query = parse_query(request.scope["query_string"], UploadsQuery)
    page = await services.uploads.page(request.user.scope, query.skip, query.limit)
    content = ArtifactListResponse(
        [artifact_to_public(record) for record in page.uploads], page.total, query.skip, query.limit
    )
    return Response(content, headers={"Link": _links(query, page.total)})


@endpoint(DELETE)
async def delete_artifact(request: ApiRequest, services: ServicesDep) -> Response[ArtifactPublic]:
    parse_query(request.scope["query_string"], NoQuery)
    await ignore_empty_body(request)
    services.availability.check_open()
    path = str(request.path_params["path"]).lstrip("/")
    return Response(artifact_to_public(await services.uploads.delete(request.user.scope, path)))


def artifact_to_public(record: UploadRecord) -> ArtifactPublic:
    contents = record.contents
    return ArtifactPublic(
        path=record.path,
        name=record.name,
        size=record.size,
        sha256=record.sha256,
        media_type=contents.media_type,
        width=contents.width,
        height=contents.height,
        duration_s=contents.duration_s,
        created_by=record.created_by,
        created_at=record.created_at,
        expires_at=record.expires_at,
    )


def _links(query: UploadsQuery, total: int) -> str:
    limit = max(query.limit, 1)
    pages = {"first": 0}
    if query.skip > 0:
        pages["prev"] = max(0, query.skip - limit)
    if query.skip + limit < total:
        pages["next"] = query.skip + limit
    pages["last"] = max(0, (total - 1) // limit * limit)
    return page_links(BASE, (), {rel: f"skip={skip}&limit={query.limit}" for rel, skip in pages.items()})
