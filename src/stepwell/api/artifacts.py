"""The operation that streams an output file to its tenant, or to anyone with a signed URL.

Providers make these files from users' input, so a browser must not trust them. The response takes the media type from
the file's name alone, and forbids sniffing and scripts.
"""

from pathlib import PurePosixPath

from litestar.types import ASGIApp, Receive, Scope, Send

from stepwell.api.dependencies import ApiRequest, ArtifactsDep, ServicesDep
from stepwell.api.operations import Content, Operation, Permission, endpoint
from stepwell.api.query_parameters import SignatureQuery, parse_query
from stepwell.contract.tasks import Output
from stepwell.domain.access.signed_urls import ARTIFACTS_PATH
from stepwell.domain.artifacts import media_type_of, parse_artifact_path
from stepwell.domain.errors import NotFound
from stepwell.ports.artifacts import Artifacts

ARTIFACT = Operation(
    method="GET",
    path=ARTIFACTS_PATH + "{path}",
    id="get_artifact",
    summary="Get Artifact",
    description="The bytes of an output file. Results contain its path, media/{task_id}/{name}.",
    tag="artifacts",
    permission=Permission.READ,
    signable=True,
    query=SignatureQuery,
    answers=Content("*/*", "The file", binary=True),
    headers=("ETag", "Content-Disposition"),
    problems=(304,),
)


@endpoint(ARTIFACT)
async def get_artifact(request: ApiRequest, services: ServicesDep, artifacts: ArtifactsDep) -> ASGIApp:
    parse_query(request.scope["query_string"], SignatureQuery)
    path = str(request.path_params["path"]).lstrip("/")
    if parse_artifact_path(path) is None:  # no such file is stored, and the database refuses NUL in a query
        raise NotFound("artifact")
    output = await services.reads.artifact(request.user.scope, path)
    known_tags = request.headers.get("if-none-match", "")
    return _not_modified(output) if _etag(output) in known_tags else _file(output, artifacts)


def _file(output: Output, artifacts: Artifacts) -> ASGIApp:
    """Return the response that streams the file. It opens the file first, so that a lost file is a 404."""

    async def answer(scope: Scope, _receive: Receive, send: Send) -> None:
        async with artifacts.stream(output.path) as chunks:
            headers = [*_headers(output), (b"content-length", b"%d" % output.size)]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            if scope.get("method") != "HEAD":
                async for chunk in chunks:
                    await send({"type": "http.response.body", "body": bytes(chunk), "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return answer


def _not_modified(output: Output) -> ASGIApp:
    async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 304, "headers": _headers(output)})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return answer


def _etag(output: Output) -> str:
    return f'"{output.sha256}"'


def _headers(output: Output) -> list[tuple[bytes, bytes]]:
    name = PurePosixPath(output.path)
    displayed = media_type_of(name.name)  # empty for a file that browsers must not display
    headers = {
        "content-type": displayed or "application/octet-stream",
        "content-disposition": "inline" if displayed else f'attachment; filename="{name.name}"',
        "content-security-policy": "sandbox; default-src 'none'",
        "x-content-type-options": "nosniff",
        # Shared caches must not store it, and others must ask again each time, because cleanup deletes files.
        "cache-control": "private, no-cache",
        "etag": _etag(output),
    }
    return [(key.encode(), value.encode()) for key, value in headers.items()]


HANDLERS = (get_artifact,)
