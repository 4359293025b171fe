"""What a request may say of itself in headers, and what its answer says in return: that it is a repeat
(`Idempotency-Key`, draft-ietf-httpapi-idempotency-key-header), what its caller knows of the workflow (`ETag`,
`If-Match`, `If-None-Match`, RFC 9110), and how long it may take (`Prefer: wait`, RFC 7240).

What must hold:
- Two answers with the same ETag are the same to the byte. A workflow's is made of its version, so that it can be
  compared without a look at the steps; all others are made of the body.
- A header that can't be read changes nothing by mistake: a key is refused, an `If-Match` matches nothing, the others
  are passed over.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from uuid import UUID

from anyio import CancelScope, create_task_group, to_thread
from litestar import Response
from msgspec import Struct, json
from msgspec.structs import replace

from stepwell import __version__
from stepwell.api.dependencies import ApiRequest, Service, Workflows
from stepwell.api.request_bodies import INLINE_BYTES, read_body
from stepwell.api.schemas import WorkflowPublic
from stepwell.domain.errors import Fault, InvalidRequest, StepwellError, Unavailable
from stepwell.domain.idempotency import Preconditions, Reservation, StoredAnswer, Version
from stepwell.domain.records import WorkflowRecord

IDEMPOTENCY_KEY, IF_MATCH, IF_NONE_MATCH, PREFER = "Idempotency-Key", "If-Match", "If-None-Match", "Prefer"
REPLAYED, APPLIED, ETAG = "Idempotency-Replayed", "Preference-Applied", "ETag"
# What operations that change a workflow, or what is told of it, read.
CHANGING = (IDEMPOTENCY_KEY, IF_MATCH)

_MOST_S = 60
_LONGEST_KEY = 255
_BARE = re.compile(r"[\x21\x23-\x2b\x2d-\x7e]+")  # no quote, no comma: then it isn't one key
_QUOTED = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_VERSION = re.compile(r"([0-9]{1,10})-([0-9a-f]{1,16})-[snd]-.*")
_PREFERENCE = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*")+')
_WAIT = re.compile(r'wait[ \t]*=[ \t]*("?)0*([0-9]+)\1[ \t]*(?:;.*)?', re.IGNORECASE | re.DOTALL)
_LONGEST_PREFER = 1000

Headers = Mapping[str, str]
_NONE: Headers = {}
Work = Callable[[ApiRequest, Workflows, Preconditions], Awaitable[StoredAnswer]]
Shown = Callable[[ApiRequest, Workflows, WorkflowRecord], Awaitable[StoredAnswer]]


def repeatable(again: Shown) -> Callable[[Work], Callable[..., Awaitable[Response[bytes]]]]:
    """Make a handler of the decorated function, which is to keep to the terms that it is given, and which isn't called
    for repeats. *again* makes its answer where it is lost, from the workflow as it is by then.
    """

    def decorate(work: Work) -> Callable[..., Awaitable[Response[bytes]]]:
        async def handler(request: ApiRequest, service: Service) -> Response[bytes]:
            key, terms = idempotency_key(request), terms_of(request)
            if key is None:
                return response(await work(request, service, terms))

            async def first(reservation: Reservation) -> StoredAnswer:
                return await work(request, service, replace(terms, reservation=reservation))

            async def lost(workflow_id: UUID) -> StoredAnswer:
                record = await service.get(request.user.scope, workflow_id)
                return await again(request, service, record)

            print_ = await _fingerprint(request)
            answer, repeat = await service.repeats.once(request.user.scope, key, print_, first, lost)
            return response(answer, {REPLAYED: "true"} if repeat else _NONE)

        handler.__name__ = handler.__qualname__ = work.__name__
        return handler

    return decorate


def response(answer: StoredAnswer, more: Headers = _NONE) -> Response[bytes]:
    headers = {**answer.headers, **more}
    return Response(answer.body, status_code=answer.status, headers=headers, media_type="application/json")


def _unchanged(headers: Headers) -> Response[bytes]:
    return Response(b"", status_code=304, headers=headers)


async def shown(record: WorkflowRecord, headers: Headers = _NONE, status: int = 200) -> StoredAnswer:
    return tagged(record, await WorkflowPublic.from_record(record), headers, status)


def tagged(record: WorkflowRecord, content: Struct, headers: Headers = _NONE, status: int = 200) -> StoredAnswer:
    """*content* with the ETag of the workflow that is in it."""
    version = Version.of(record.state.last_event, record.state.updated_at)
    tag = _etag(version, steps=record.steps is not None)
    return StoredAnswer(status, {**headers, ETAG: tag}, json.encode(content))


async def content_tagged(request: ApiRequest, content: Struct, headers: Headers = _NONE) -> Response[bytes]:
    """*content*, or 304 if the caller has it."""
    body = json.encode(content)
    digest = await _hashed(body)
    answer = StoredAnswer(200, {**headers, ETAG: f'"{digest.hex()[:32]}"'}, body)
    return _unchanged(answer.headers) if _is_known(request, answer.headers[ETAG]) else response(answer)


async def still_known(
    request: ApiRequest, service: Workflows, workflow_id: UUID, headers: Headers, *, steps: bool
) -> Response[bytes] | None:
    """304 if the caller has the workflow as it is."""
    if _given(request, IF_NONE_MATCH) is None:
        return None
    tag = _etag(await service.version(request.user.scope, workflow_id), steps=steps)
    return _unchanged({**headers, ETAG: tag}) if _is_known(request, tag) else None


async def waited(request: ApiRequest, service: Workflows, workflow_id: UUID) -> Headers:
    """Wait for the workflow's end as long as the request prefers; what to say of it. Raises `Unavailable` once the
    caller has gone: then there is nobody to answer, and no answer to be kept for a repeat, which waits anew.
    """
    seconds = _preferred_wait(request)
    if seconds is None:
        return _NONE
    if seconds:
        await _until_terminal(request, service, workflow_id, seconds)
    return {APPLIED: f"wait={seconds}"}


async def in_the_end(
    request: ApiRequest, service: Workflows, record: WorkflowRecord, headers: Headers = _NONE, status: int = 200
) -> StoredAnswer:
    """The workflow, once it has ended if that is preferred."""
    if applied := await waited(request, service, record.state.id):
        record, headers = await service.get(request.user.scope, record.state.id), {**headers, **applied}
    return await shown(record, headers, status)


async def at_once(
    _request: ApiRequest, _service: Workflows, record: WorkflowRecord, headers: Headers = _NONE, status: int = 200
) -> StoredAnswer:
    return await shown(record, headers, status)


async def _until_terminal(request: ApiRequest, service: Workflows, workflow_id: UUID, seconds: int) -> None:
    failure: StepwellError | None = None
    ended = False
    async with create_task_group() as group:
        group.start_soon(_until_gone, request, group.cancel_scope, name="until the caller has gone")
        try:
            await service.awaiting.until_terminal(request.user.scope, workflow_id, seconds)
        except StepwellError as error:  # by itself, and not in the group's
            failure = error
        else:
            ended = True
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure
    if not ended:
        raise Unavailable("the caller has gone")


async def _until_gone(request: ApiRequest, waiting: CancelScope) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    waiting.cancel()


def _given(request: ApiRequest, name: str) -> str | None:
    """The values of the header *name*, as one list; null where there is none."""
    wanted = name.lower().encode()
    values = [value.decode("latin-1") for key, value in request.scope["headers"] if key == wanted]
    return ", ".join(values) if values else None


def idempotency_key(request: ApiRequest) -> str | None:
    """The key of the request; None if it has none. Raises `InvalidRequest` for a malformed one."""
    given = _given(request, IDEMPOTENCY_KEY)
    if given is None:
        return None
    given = given.strip(" \t")
    if (quoted := _QUOTED.fullmatch(given)) is not None:
        key = re.sub(r"\\(.)", r"\1", quoted[1])
    else:
        key = given if _BARE.fullmatch(given) else ""
    if not 1 <= len(key) <= _LONGEST_KEY:
        said = f"Expected one key of 1 to {_LONGEST_KEY} printable ASCII characters, bare without spaces, or quoted"
        raise InvalidRequest([Fault(("header", IDEMPOTENCY_KEY), said, "idempotency_key")])
    return key


async def _fingerprint(request: ApiRequest) -> bytes:
    """What makes another request of it; a slash at the path's end does not."""
    body = await read_body(request)
    head = f"{request.scope['method']} {request.scope['path'].rstrip('/')}?".encode()
    return sha256(head + request.scope["query_string"] + b"\n" + await _hashed(body)).digest()


async def _hashed(data: bytes) -> bytes:
    if len(data) <= INLINE_BYTES:
        return sha256(data).digest()
    return await to_thread.run_sync(lambda: sha256(data).digest())


def terms_of(request: ApiRequest) -> Preconditions:
    """Those of a request that is no repeat."""
    return Preconditions(if_match=_versions(request))


def foretold(version: Version) -> str:
    """The ETag of what isn't the workflow, but tells of it in that state: for the verb's own `If-Match`."""
    return f'"{version.last_event}-{version.updated_us:x}-d-{__version__}"'


def _etag(version: Version, *, steps: bool) -> str:
    # Another version of Stepwell may show the same in other words.
    return f'"{version.last_event}-{version.updated_us:x}-{"s" if steps else "n"}-{__version__}"'


def _is_known(request: ApiRequest, tag: str) -> bool:
    """By the weak comparison, which is the one for `If-None-Match`."""
    given = _given(request, IF_NONE_MATCH)
    if given is None:
        return False
    return given.strip() == "*" or tag in {f'"{opaque}"' for _, opaque in _TAG.findall(given)}


def _versions(request: ApiRequest) -> frozenset[Version] | None:
    """What `If-Match` names, by the strong comparison. With steps or without, the workflow is the same."""
    given = _given(request, IF_MATCH)
    if given is None or given.strip() == "*":
        return None
    found = [_VERSION.fullmatch(opaque) for weak, opaque in _TAG.findall(given) if not weak]
    return frozenset(Version(int(each[1]), int(each[2], 16)) for each in found if each is not None)


def _preferred_wait(request: ApiRequest) -> int | None:
    """Seconds. Of several the first counts."""
    for preference in _PREFERENCE.findall((_given(request, PREFER) or "")[:_LONGEST_PREFER]):
        if (found := _WAIT.fullmatch(preference.strip(" \t"))) is not None:
            return min(int(found[2]), _MOST_S)
    return None
