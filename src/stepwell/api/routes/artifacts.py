"""The operations that stream a file to its tenant, or to anyone with a signed URL, and that make such a URL.

Providers make these files from users' input, so a browser must not trust them. The response takes the media type from
the file's name alone, and forbids sniffing and scripts.
"""

from datetime import timedelta
from pathlib import PurePosixPath

from litestar import Response
from litestar.types import ASGIApp, Receive, Scope, Send
from msgspec import UNSET, Struct

from stepwell.api.auth.dependencies import ApiRequest, ArtifactsDep, ClockDep, ServicesDep, SignedUrlsDep
from stepwell.api.requests.headers import (
    ACCEPT_RANGES,
    CONTENT_RANGE,
    ETAG,
    IF_NONE_MATCH,
    IF_RANGE,
    RANGE,
    Headers,
    encode_headers,
)
from stepwell.api.requests.operations import Content, NoQuery, Operation, endpoint, read_operation
from stepwell.api.requests.query_parameters import ArtifactQuery, parse_query
from stepwell.api.requests.request_bodies import read_struct
from stepwell.api.requests.request_resources import resources_of
from stepwell.api.responses.byte_ranges import ByteRange, requested_range
from stepwell.api.responses.conditional_requests import not_modified
from stepwell.basics.artifacts import PREVIEW_WIDTHS, content_type_of, media_type_of, parse_artifact_path
from stepwell.basics.errors import Fault, InvalidRequest, NotFound
from stepwell.contract.files import ArtifactLink, CreateArtifactLink
from stepwell.contract.scopes import Permission
from stepwell.ports.artifacts import Artifacts
from stepwell.rules.access.signed_urls import ARTIFACTS_PATH

ARTIFACT = read_operation(
    path=ARTIFACTS_PATH + "{path}",
    id="get_artifact",
    description="The bytes of an output file. Results contain its path, media/{task_id}/{name}. With w, a preview of "
    "an image as WebP, upright, made when it is first requested.",
    tag="artifacts",
    for_runs=True,
    signable=True,
    query=ArtifactQuery,
    response=Content("*/*", "The file", binary=True),
    headers=("ETag", "Content-Disposition", "Accept-Ranges"),
    takes=(RANGE, IF_RANGE, IF_NONE_MATCH),
    problems=(206,),
)
LINK = Operation(
    method="POST",
    path=ARTIFACTS_PATH + "links",
    id="create_artifact_link",
    description="A signed URL by which a browser reads the file without a token, until it expires. &w= and &download=1 "
    "may be appended to it.",
    tag="artifacts",
    permission=Permission.READ,
    for_runs=True,
    body=CreateArtifactLink,
    response=ArtifactLink,
    problems=(404,),
)


class _File(Struct, frozen=True):
    """A file as it is served: where it is stored, its size in bytes, and the headers of every response with it."""

    path: str
    size: int
    headers: Headers


@endpoint(ARTIFACT)
async def get_artifact(request: ApiRequest, services: ServicesDep, artifacts: ArtifactsDep) -> ASGIApp:
    query = parse_query(request.scope["query_string"], ArtifactQuery)
    path = str(request.path_params["path"]).lstrip("/")
    if parse_artifact_path(path) is None:  # no such file is stored
        raise NotFound("artifact")
    tenant, output = await services.reads.artifact(request.user.scope, path)
    resources_of(request.scope).count_for(tenant)
    name = PurePosixPath(path)
    if query.w is UNSET:
        headers = _headers(name.name, f'"{output.sha256}"', download=query.download)
    elif query.w in PREVIEW_WIDTHS:
        headers = _headers(f"{name.stem}-{query.w}.webp", f'"{output.sha256}-{query.w}"', download=query.download)
    else:
        msg = f"Expected one of {', '.join(map(str, PREVIEW_WIDTHS))}"
        raise InvalidRequest([Fault(("query", "w"), msg, "enum")])
    if response := not_modified(request, headers):
        return response
    if query.w is UNSET:
        file = _File(path, output.size, headers)
    else:
        preview = await services.previews.get(tenant, output, query.w)
        file = _File(preview.path, preview.size, headers)
    return _response(file, requested_range(request, file.size, file.headers[ETAG]), artifacts)


@endpoint(LINK)
async def create_artifact_link(
    request: ApiRequest, services: ServicesDep, signed_urls: SignedUrlsDep, clock: ClockDep
) -> Response[ArtifactLink]:
    parse_query(request.scope["query_string"], NoQuery)
    wanted = await read_struct(request, CreateArtifactLink)
    ttl_s = signed_urls.ttl_s if wanted.ttl_s is None else wanted.ttl_s
    if ttl_s > signed_urls.ttl_s:
        msg = f"Expected at most {signed_urls.ttl_s}, the value of STEPWELL_SIGNED_URL_TTL_S"
        raise InvalidRequest([Fault(("body", "ttl_s"), msg, "less_than_equal")])
    _, output = await services.reads.artifact(request.user.scope, wanted.path)
    expires_at = (clock.now() + timedelta(seconds=ttl_s)).replace(microsecond=0)
    return Response(ArtifactLink(signed_urls.url_until(output.path, expires_at), expires_at))


def _response(file: _File, part: ByteRange | None, artifacts: Artifacts) -> ASGIApp:
    """Return the response that streams the file, or a part of it.

    It opens the file before it begins, so that a lost file is a 404.
    """
    length = file.size if part is None else part.end - part.start
    headers = {**file.headers, "content-length": str(length)}
    if part is not None:
        headers[CONTENT_RANGE] = part.content_range(file.size)

    async def respond(scope: Scope, _receive: Receive, send: Send) -> None:
        async with artifacts.stream(file.path, part) as chunks:
            status = 200 if part is None else 206
            await send({"type": "http.response.start", "status": status, "headers": encode_headers(headers)})
            if scope.get("method") != "HEAD":
                async for chunk in chunks:
                    await send({"type": "http.response.body", "body": bytes(chunk), "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return respond


def _headers(name: str, etag: str, *, download: bool) -> Headers:
    """Return the headers of the file *name*, which needs no escapes, by the grammar of paths."""
    attachment = download or not media_type_of(name)  # empty for a file that browsers must not display
    return {
        "content-type": content_type_of(name),
        "content-disposition": f'attachment; filename="{name}"' if attachment else "inline",
        "content-security-policy": "sandbox; default-src 'none'",
        "x-content-type-options": "nosniff",
        # Shared caches must not store it, and others must ask again each time, because cleanup deletes files.
        "cache-control": "private, no-cache",
        ACCEPT_RANGES: "bytes",
        ETAG: etag,
    }
