"""Conditional requests: `ETag`, `If-Match` and `If-None-Match` (RFC 9110, 13), and the responses that carry an ETag.

What must hold:
- Two responses with the same ETag are equal to the byte, except that the response of create may have `warnings`. The
  ETags of a workflow and of a list of workflows are made of versions (`workflow_etags`), so comparing them needs no
  steps. All other ETags are digests of the body.
- An `If-Match` that can't be parsed matches nothing. An `If-None-Match` that can't be parsed is ignored.
"""

import re
from collections.abc import Sequence
from hashlib import sha256
from uuid import UUID

from anyio import to_thread
from litestar import Response
from litestar.types import ASGIApp, Receive, Scope, Send
from msgspec import Struct, json

from stepwell.api.auth.dependencies import ApiRequest
from stepwell.api.requests.body_buffers import INLINE_BYTES
from stepwell.api.requests.headers import (
    ETAG,
    IF_MATCH,
    IF_NONE_MATCH,
    NO_HEADERS,
    Headers,
    encode_headers,
    header_value,
)
from stepwell.api.requests.request_resources import resources_of
from stepwell.api.responses.serializers import workflow_to_public
from stepwell.api.responses.streamed_responses import ApiResponse, ResponseStreams, StreamedResponse
from stepwell.api.responses.workflow_etags import revision_of, version_of, workflow_etag
from stepwell.basics.idempotency import StoredResponse
from stepwell.contract.problems import DefinitionWarning
from stepwell.engine.service import Services
from stepwell.lifecycle.preconditions import Preconditions, ReadVersion
from stepwell.lifecycle.records import WHOLE, WorkflowParts, WorkflowRecord
from stepwell.rules.large_workflow_records import FoundWorkflow, LargeWorkflow
from stepwell.rules.stored_definitions import ANY_REVISION, RevisionConditions

_CONTENT_TYPE = (b"content-type", b"application/json")
_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')


def to_response(response: StoredResponse, more: Headers = NO_HEADERS) -> ASGIApp:
    """Return the ASGI app that sends *response* with *more* headers. Litestar's `Response` takes much longer."""

    async def respond(_scope: Scope, _receive: Receive, send: Send) -> None:
        length = (b"content-length", b"%d" % len(response.body))
        headers = [*encode_headers(response.headers), *encode_headers(more), _CONTENT_TYPE, length]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body, "more_body": False})

    return respond


def send_response(
    request: ApiRequest, services: Services, response: ApiResponse, more: Headers = NO_HEADERS
) -> ASGIApp:
    """Return the ASGI app that sends *response*, whole or in slices, with *more* headers."""
    if isinstance(response, StreamedResponse):
        return response_streams(request, services).workflows(response, more)
    return to_response(response, more)


def response_streams(request: ApiRequest, services: Services) -> ResponseStreams:
    """Return what sends responses with large workflows to this caller."""
    return ResponseStreams(services.reads, resources_of(request.scope).memory, request.user.scope)


async def workflow_response(
    workflow: FoundWorkflow,
    headers: Headers = NO_HEADERS,
    status: int = 200,
    parts: WorkflowParts = WHOLE,
    warnings: Sequence[DefinitionWarning] = (),
) -> ApiResponse:
    """Return the response that contains the workflow with *parts*, and in the response of create, its *warnings*."""
    if isinstance(workflow, LargeWorkflow):
        return StreamedResponse((workflow.id,), parts, headers, status, warnings=warnings)
    return response_with_etag(workflow, await workflow_to_public(workflow, warnings), headers, status)


def response_with_etag(
    record: WorkflowRecord, content: Struct, headers: Headers = NO_HEADERS, status: int = 200
) -> StoredResponse:
    """Return a response of *content*, with the ETag of the workflow *record* that it contains."""
    read = ReadVersion.of(record.state, record.summary.waits_for)
    tag = workflow_etag(read, WorkflowParts(steps=record.steps is not None, results=record.results))
    return StoredResponse(status, {**headers, ETAG: tag}, json.encode(content))


async def respond_unless_known(request: ApiRequest, content: Struct, more: Headers = NO_HEADERS) -> ASGIApp:
    """Return *content* with *more* headers and the digest of its body as ETag; 304 if `If-None-Match` names that."""
    body = json.encode(content)
    tag = f'"{(await digest(body)).hex()[:32]}"'
    headers = {**more, ETAG: tag}
    return not_modified(request, headers) or to_response(StoredResponse(200, headers, body))


async def not_modified_workflow(
    request: ApiRequest, services: Services, workflow_id: UUID, headers: Headers, parts: WorkflowParts
) -> ASGIApp | None:
    """Return 304 if `If-None-Match` names the workflow's present version; else None. Reads the version, not the steps.

    *parts* are those that the full response would contain. Raises `NotFound`.
    """
    if header_value(request.scope, IF_NONE_MATCH) is None:
        return None
    tag = workflow_etag(await services.reads.version(request.user.scope, workflow_id), parts)
    return not_modified(request, {**headers, ETAG: tag})


def not_modified(request: ApiRequest, headers: Headers) -> ASGIApp | None:
    """Return 304 if `If-None-Match` names the ETag in *headers*, by the weak comparison; else None."""
    value = header_value(request.scope, IF_NONE_MATCH) or ""
    if value.strip() != "*" and headers[ETAG] not in {f'"{opaque}"' for _, opaque in _TAG.findall(value)}:
        return None
    return Response(b"", status_code=304, headers=dict(headers)).to_asgi_response(None, request)


def read_preconditions(request: ApiRequest) -> Preconditions:
    """Return what `If-Match` demands of the workflow: the versions that it names, by the strong comparison.

    All forms of a workflow (with steps, without, dry run) name the same version.
    """
    value = header_value(request.scope, IF_MATCH)
    if value is None or value.strip() == "*":
        return Preconditions()
    versions = [version_of(opaque) for weak, opaque in _TAG.findall(value) if not weak]
    return Preconditions(if_match=frozenset(version for version in versions if version is not None))


def read_revision_conditions(request: ApiRequest) -> RevisionConditions:
    """Return what `If-Match` and `If-None-Match` of a change demand of a stored definition."""
    if_match, if_none_match = (header_value(request.scope, name) for name in (IF_MATCH, IF_NONE_MATCH))
    return RevisionConditions(
        None if if_match is None else _revisions(if_match, weak=False), _revisions(if_none_match or "", weak=True)
    )


def _revisions(value: str, *, weak: bool) -> frozenset[str]:
    """Return the revisions of the ETags in *value*; those of weak ones only if *weak*."""
    if value.strip() == ANY_REVISION:
        return frozenset({ANY_REVISION})
    return frozenset(revision_of(opaque) for mark, opaque in _TAG.findall(value) if weak or not mark)


async def digest(data: bytes) -> bytes:
    """Return the SHA-256 of *data*; a large body is hashed in a thread."""
    if len(data) <= INLINE_BYTES:
        return sha256(data).digest()
    return await to_thread.run_sync(lambda: sha256(data).digest())
