"""Reads definitions of workflows, those that runs are created from and those that are stored.

A run of a stored definition becomes the body of a create first, and then it is read as one.
Their expressions are parsed in a child process if that takes long, and their inputs are checked in one.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

from msgspec import MsgspecError, Raw, Struct, convert, json, structs

from stepwell.api.auth.dependencies import ApiRequest
from stepwell.api.requests.body_buffers import reserve_memory
from stepwell.api.requests.preferences import handling_of
from stepwell.api.requests.request_bodies import decode_in_turn, read_body, read_json
from stepwell.api.requests.request_resources import resources_of
from stepwell.basics.artifacts import named_paths, named_tasks
from stepwell.basics.errors import DefinitionArchived, Fault, Forbidden, InvalidRequest, NotFound
from stepwell.basics.strict_json.canonical import digest
from stepwell.basics.strict_json.normalise import normalise
from stepwell.basics.strict_json.schema_faults import Loc, cap_faults, iter_faults
from stepwell.basics.workflow_limits import definition_size
from stepwell.contract.definition import DefinitionReference
from stepwell.contract.problems import DefinitionWarning
from stepwell.contract.stored_definitions import DEFINITION, DefinitionContent, RunDefinition
from stepwell.definition.mapping.expressions import FEW_CHARACTERS, Expressions, expressions_of
from stepwell.definition.mapping.templates import INPUTS
from stepwell.definition.named_definitions import (
    NamedDefinition,
    check_size,
    fill_body,
    read_named,
    references_in,
    resolve,
    without_contents,
)
from stepwell.definition.validation.dependency_count import check_dependency_count
from stepwell.definition.validation.inputs_schema import inputs_faults
from stepwell.definition.validation.workflow import MAX_FAULTS, ValidatedWorkflow, validate_workflow
from stepwell.engine.execution.runnable_definitions import find_runnable, unknown_definition
from stepwell.engine.service import Services
from stepwell.rules.stored_definitions import StoredDefinition, StoredName, StoredVersion, body_of_run
from stepwell.runtime.offloop import off_loop

T = TypeVar("T")


class _Refused(Struct):
    """The faults of a definition, and its inputs and schema, if these can still be checked.

    It doesn't hold the error: with its traceback, that would keep the body in memory.
    """

    faults: Sequence[Fault]
    inputs: dict[str, Any]
    schema: dict[str, Any] | None


class _NamedDefinition(Struct):
    """The member of a body that names a stored definition. A plain create has none."""

    definition: Raw = Raw(b"")


_read_named = json.Decoder(_NamedDefinition).decode
_MEMBER: Final = f'"{DEFINITION}"'.encode()
_ESCAPED_LETTERS: Final = (b"\\u006", b"\\u007")  # as which JSON may have letters of the member's name
_BYTES_A_STEP: Final = 64  # of `off_loop`
_COPIES: Final = 3  # of a body and of definitions: as text, merged or joined, and as the new body
_UNUSED: Final = frozenset({"steps", "inputs_schema"})  # members of a create that a run may only have as null


class StoredParts(Struct, frozen=True):
    """The stored definitions in a body: the one that it runs, if any, and the contents of those that its steps name.

    `named_files`: see `NewWorkflow`.
    """

    definition: DefinitionReference | None = None
    named: bytes | None = None
    named_files: frozenset[str] | None = None


class _Applied(Struct, frozen=True):
    """A stored definition that has become the body: its version and its content, with the `inputs` of the body."""

    reference: DefinitionReference
    content: bytes
    inputs: Any


async def read_stored_parts(request: ApiRequest, services: Services) -> StoredParts:
    """Read the stored definitions that the body of a create names. They become parts of the body.

    Raises `DefinitionArchived`, `Forbidden`, and what `read_definition` does. It waits for memory, so a request calls
    it before it has a turn.
    """
    only_runs = request.user.only_runs
    may_name = _may_name_definitions(await read_body(request))
    applied = await _apply_definition(request, services) if may_name else None
    if applied is None and only_runs:
        raise Forbidden("A token with definitions:run runs stored definitions only: the body has no definition.")
    if not may_name:
        return _PLAIN
    reference, above = (None, ()) if applied is None else (applied.reference, (applied.reference.name,))
    named = await _fill(request, services, partial(_tenant_of, request), above, versions=True)
    files = None if applied is None or not only_runs else await _check_files(request, services, applied, named or b"")
    return StoredParts(reference, named, files)


async def read_named_definitions(request: ApiRequest, services: Services, tenant: str | None, name: str) -> None:
    """Add the stored definitions that the steps of the body name, which *tenant* stores as *name*. Raises as above."""
    if _may_name_definitions(await read_body(request)):
        await _fill(request, services, lambda _: tenant, (name,), versions=False)


def _may_name_definitions(data: bytes) -> bool:
    return _MEMBER in data or any(each in data for each in _ESCAPED_LETTERS)


async def _apply_definition(request: ApiRequest, services: Services) -> _Applied | None:
    """If the body names a stored definition, replace it by a create with its content."""
    resources, data, handling = resources_of(request.scope), await read_body(request), handling_of(request.scope)
    member = b""
    with suppress(MsgspecError, RecursionError, UnicodeDecodeError):  # it will be refused
        member = bytes(_read_named(data).definition)
    if not member:
        return None
    if member == b"null":
        resources.body = await read_json(
            request, lambda body: json.encode({name: body[name] for name in body if name != DEFINITION})
        )
        return None

    def parse(body: dict[str, Any]) -> dict[str, Any]:
        own = {name: value for name, value in body.items() if value is not None or name not in _UNUSED}
        members: dict[str, Any] = normalise(RunDefinition, own, handling)
        if faults := cap_faults(iter_faults(RunDefinition, members, ("body",)), MAX_FAULTS):
            raise InvalidRequest(faults)
        return members

    body = await read_json(request, parse, check_dependency_count)
    if request.user.only_runs:
        _check_members(body)
    reference = convert(body[DEFINITION], DefinitionReference)
    request.user.check_may_run(reference.name)
    stored, content = await _read_version(request, services, _tenant_of(request, body), reference, ("body", DEFINITION))
    merging = _COPIES * (len(data) + len(content))
    await _reserve(request, merging)
    resources.body = await decode_in_turn(request, content, partial(_merge, body, stored.name, content))
    (await resources.memory()).shrink(merging)
    check_size(len(resources.body), ("body", DEFINITION))
    return _Applied(stored.reference, content, body.get(INPUTS))


def _check_members(body: dict[str, Any]) -> None:
    """Raise `Forbidden` for a member that only other tokens may set."""
    own = [name for name, value in body.items() if name not in (DEFINITION, INPUTS) and value is not None]
    own += [f"{DEFINITION}.{name}" for name, value in body[DEFINITION].items() if name != "name" and value is not None]
    if own:
        raise Forbidden(f"A token with definitions:run may not set {', '.join(own)}.")


async def _check_files(request: ApiRequest, services: Services, applied: _Applied, named: bytes) -> frozenset[str]:
    """Return the files that the stored definitions name. *named* has the contents of those that steps name.

    Raises `InvalidRequest` if the inputs name others that the caller hasn't uploaded.
    """

    def files() -> tuple[frozenset[str], set[str]]:
        paths = named_paths(applied.content) | named_paths(named)
        return paths, named_tasks(json.encode(applied.inputs)) - named_tasks(" ".join(paths).encode())

    paths, others = await off_loop(files, steps=(len(applied.content) + len(named)) // _BYTES_A_STEP)
    if unknown := await services.uploads.missing(request.user.scope, others):
        message = f"There is no upload {min(unknown)} of this token's sub"
        raise InvalidRequest([Fault(("body", INPUTS), message, "file_invalid")])
    return paths


async def _read_version(
    request: ApiRequest, services: Services, tenant: str | None, reference: DefinitionReference, loc: Loc
) -> tuple[StoredDefinition, bytes]:
    """Return the version that a run of *reference* takes, and its content, for which memory is reserved."""
    stored = await find_runnable(services.definitions, tenant, reference, loc)
    await _reserve(request, stored.version.size)
    try:
        return stored, await services.definitions.content(tenant, reference.name, stored.version.version)
    except NotFound:  # it was deleted a moment ago
        raise unknown_definition(reference.name, loc) from None


async def _fill(
    request: ApiRequest,
    services: Services,
    tenant_of: Callable[[Any], str | None],
    above: tuple[str, ...],
    *,
    versions: bool,
) -> bytes | None:
    """Put the stored definitions that the steps of the body name beside their references.

    Return their contents, as `fill_body` does; None if there are none. *above* is that of `resolve`.
    """
    data = await read_body(request)

    def parse(body: Any) -> tuple[list[tuple[Loc, DefinitionReference]], str | None]:
        return list(references_in(body)), tenant_of(body)

    references, tenant = await read_json(request, parse, check_dependency_count)
    if not references:
        return None

    async def load(reference: DefinitionReference, loc: Loc) -> NamedDefinition:
        try:
            stored, content = await _read_version(request, services, tenant, reference, loc)
        except DefinitionArchived as error:
            raise InvalidRequest([Fault((*loc, "name"), str(error), "archived_definition")]) from None
        return await decode_in_turn(request, content, partial(read_named, stored.reference, content))

    resources = resources_of(request.scope)
    memory = await resources.memory()
    before = memory.held
    named, size = await resolve(references, load, above, len(data))
    await _reserve(request, _COPIES * size)
    texts = [data, *{each.reference: each.content for each in named.values()}.values()]
    fill = partial(fill_body, data, named, versions=versions)
    body, contents = await decode_in_turn(request, b"".join(texts), fill)
    resources.body = body
    memory.shrink(max(memory.held - before - len(body) - len(contents), 0))
    return contents


async def _reserve(request: ApiRequest, size: int) -> None:
    memory = await resources_of(request.scope).memory()
    await reserve_memory(memory, memory.held + size)


def _tenant_of(request: ApiRequest, body: Any) -> str | None:
    tenant = body.get("origin_tenant_id") if isinstance(body, dict) else None
    return request.user.tenant_for(tenant if isinstance(tenant, str) else None)


def _merge(body: dict[str, Any], name: StoredName, content: bytes) -> bytes:
    return json.encode(body_of_run(body, name, json.decode(content)))


_PLAIN: Final = StoredParts()


async def read_definition(request: ApiRequest, services: Services, stored: StoredParts = _PLAIN) -> ValidatedWorkflow:
    """Return the workflow that the body defines, in which the *stored* definitions are.

    Raises `InvalidRequest`, `Unavailable`, and what `read_json` does.
    """
    origin_instance = request.user.origin_instance or services.origin_instance
    validator = partial(validate_workflow, origin_instance=origin_instance)
    valid, _ = await _read(request, services, validator, lambda _: None)
    if stored is _PLAIN:
        return valid
    return structs.replace(valid, definition=stored.definition, named=stored.named, named_files=stored.named_files)


async def read_content(
    request: ApiRequest, services: Services
) -> tuple[bytes, StoredVersion, Sequence[DefinitionWarning]]:
    """Return the definition that the body stores, as JSON text and as a version, and its warnings.

    Required inputs may be missing. Raises as `read_definition` does.
    """
    handling, author, now = handling_of(request.scope), request.user.subject, services.clock.now()

    def encode(body: Any) -> tuple[bytes, StoredVersion]:
        members = normalise(DefinitionContent, without_contents(body), handling).items()
        content = {name: value for name, value in members if value is not None}
        names, text = {reference.name for _, reference in references_in(content)}, json.encode(content)
        version = StoredVersion(digest=digest(content), size=len(text), created_by=author, created_at=now)
        return text, structs.replace(version, refers_to=tuple(sorted(names)))

    validator = partial(validate_workflow, kind=DefinitionContent)
    valid, (content, version) = await _read(request, services, validator, encode, partial_inputs=True)
    return content, version, valid.warnings


async def _read(
    request: ApiRequest,
    services: Services,
    validator: Callable[..., ValidatedWorkflow],
    convert: Callable[[Any], T],
    *,
    partial_inputs: bool = False,
) -> tuple[ValidatedWorkflow, T]:
    """Return the workflow of the body, and what *convert* makes of the valid body, in a thread if it is large."""
    text, handling = await read_body(request), handling_of(request.scope)
    account = resources_of(request.scope).account

    def validate(body: object, known: Expressions | None = None) -> tuple[ValidatedWorkflow, T] | _Refused:
        size, now = definition_size(text), services.clock.now()
        try:
            valid = validator(body, services.catalog, known, handling=handling, definition_bytes=size, now=now)
        except InvalidRequest as error:
            return _refused(error.faults, body)
        return valid, convert(body)

    def parse(body: object) -> tuple[ValidatedWorkflow, T] | _Refused | list[str]:
        expressions = expressions_of(body)
        return expressions if sum(map(len, expressions)) > FEW_CHARACTERS else validate(body)

    parsed = await read_json(request, parse, check_dependency_count)
    if isinstance(parsed, list):
        known = Expressions(await services.expressions.check(account, parsed))
        parsed = await read_json(request, lambda body: validate(body, known))
    checker = services.inputs_checker
    if not isinstance(parsed, _Refused):
        await checker.check(account, parsed[0], partial=partial_inputs)
        return parsed
    faults = list(parsed.faults)
    if parsed.schema is not None:
        faults += await checker.faults(account, parsed.schema, parsed.inputs, partial=partial_inputs)
        faults = cap_faults(faults, MAX_FAULTS)
    raise InvalidRequest(faults)


def _refused(faults: Sequence[Fault], body: object) -> _Refused:
    members: dict[str, Any] = body if isinstance(body, dict) else {}
    inputs, schema = members.get("inputs"), members.get("inputs_schema")
    inputs = {} if inputs is None else inputs
    if not isinstance(schema, dict) or not isinstance(inputs, dict) or any(inputs_faults(inputs, schema)):
        return _Refused(faults, {}, None)
    return _Refused(faults, inputs, schema)
