"""Conditional requests: `ETag`, `If-Match` and `If-None-Match` (RFC 9110, 13), and the responses that carry an ETag.

What must hold:
- Two responses with the same ETag are equal to the byte. The ETag of a workflow is made of its version, so comparing
  it needs no steps. All other ETags are digests of the body.
- An `If-Match` that can't be parsed matches nothing. An `If-None-Match` that can't be parsed is ignored.
"""

import re
from hashlib import sha256
from uuid import UUID

from anyio import to_thread
from litestar import Response
from msgspec import Struct, json

from stepwell import __version__
from stepwell.api.dependencies import ApiRequest
from stepwell.api.headers import ETAG, IF_MATCH, IF_NONE_MATCH, NO_HEADERS, Headers, header_value
from stepwell.api.request_bodies import INLINE_BYTES
from stepwell.api.serializers import workflow_to_public
from stepwell.domain.idempotency import StoredAnswer
from stepwell.domain.preconditions import Preconditions, Version
from stepwell.domain.records import WorkflowRecord
from stepwell.engine.service import Services

_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_VERSION = re.compile(r"([0-9]{1,10})-([0-9a-f]{1,16})-[snd]-.*")


def to_response(answer: StoredAnswer, more: Headers = NO_HEADERS) -> Response[bytes]:
    """Return *answer* as a response, with *more* headers."""
    headers = {**answer.headers, **more}
    return Response(answer.body, status_code=answer.status, headers=headers, media_type="application/json")


async def workflow_answer(record: WorkflowRecord, headers: Headers = NO_HEADERS, status: int = 200) -> StoredAnswer:
    """Return the answer that contains the workflow."""
    return answer_with_etag(record, await workflow_to_public(record), headers, status)


def answer_with_etag(
    record: WorkflowRecord, content: Struct, headers: Headers = NO_HEADERS, status: int = 200
) -> StoredAnswer:
    """Return an answer of *content*, with the ETag of the workflow *record* that it contains."""
    version = Version.of(record.state.last_event, record.state.updated_at)
    tag = _workflow_etag(version, steps=record.steps is not None)
    return StoredAnswer(status, {**headers, ETAG: tag}, json.encode(content))


async def respond_unless_known(request: ApiRequest, content: Struct, headers: Headers = NO_HEADERS) -> Response[bytes]:
    """Return *content* with the digest of its body as ETag; 304 if `If-None-Match` names that ETag."""
    body = json.encode(content)
    tag = f'"{(await digest(body)).hex()[:32]}"'
    answer = StoredAnswer(200, {**headers, ETAG: tag}, body)
    return _not_modified(answer.headers) if _is_known(request, tag) else to_response(answer)


async def not_modified_workflow(
    request: ApiRequest, services: Services, workflow_id: UUID, headers: Headers, *, steps: bool
) -> Response[bytes] | None:
    """Return 304 if `If-None-Match` names the workflow's present version; else None. Reads the version, not the steps.

    *steps* says whether the full response would contain the steps. Raises `NotFound`.
    """
    if header_value(request, IF_NONE_MATCH) is None:
        return None
    tag = _workflow_etag(await services.reads.version(request.user.scope, workflow_id), steps=steps)
    return _not_modified({**headers, ETAG: tag}) if _is_known(request, tag) else None


def read_preconditions(request: ApiRequest) -> Preconditions:
    """Return what `If-Match` demands of the workflow."""
    return Preconditions(if_match=_matched_versions(request))


def dry_run_etag(version: Version) -> str:
    """Return the ETag of a dry run on the workflow at *version*. As `If-Match` of the verb, it matches that version."""
    return _etag(version, "d")


async def digest(data: bytes) -> bytes:
    """Return the SHA-256 of *data*; a large body is hashed in a thread."""
    if len(data) <= INLINE_BYTES:
        return sha256(data).digest()
    return await to_thread.run_sync(lambda: sha256(data).digest())


def _not_modified(headers: Headers) -> Response[bytes]:
    return Response(b"", status_code=304, headers=headers)


def _workflow_etag(version: Version, *, steps: bool) -> str:
    return _etag(version, "s" if steps else "n")


def _etag(version: Version, form: str) -> str:
    # Another release of Stepwell may encode the same version differently, so the release is part of the ETag.
    return f'"{version.last_event}-{version.updated_us:x}-{form}-{__version__}"'


def _is_known(request: ApiRequest, tag: str) -> bool:
    """Return whether `If-None-Match` names *tag*, by the weak comparison."""
    value = header_value(request, IF_NONE_MATCH)
    if value is None:
        return False
    return value.strip() == "*" or tag in {f'"{opaque}"' for _, opaque in _TAG.findall(value)}


def _matched_versions(request: ApiRequest) -> frozenset[Version] | None:
    """Return the versions that `If-Match` names, by the strong comparison; None if any version will do.

    All forms of a workflow (with steps, without, dry run) name the same version.
    """
    value = header_value(request, IF_MATCH)
    if value is None or value.strip() == "*":
        return None
    matches = [_VERSION.fullmatch(opaque) for weak, opaque in _TAG.findall(value) if not weak]
    return frozenset(Version(int(match[1]), int(match[2], 16)) for match in matches if match is not None)
