"""Reads definitions of workflows, those that runs are created from and those that are stored.

A run of a stored definition becomes the body of a create first, and then it is read as one.
Their expressions are parsed in a worker process if that takes long, and their inputs are checked in one.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

from msgspec import MsgspecError, Raw, Struct, convert, json, structs

from stepwell.api.auth.dependencies import ApiRequest
from stepwell.api.requests.body_buffers import reserve_memory
from stepwell.api.requests.preferences import handling_of
from stepwell.api.requests.request_bodies import read_body, read_json
from stepwell.api.requests.request_resources import resources_of
from stepwell.basics.errors import Fault, InvalidRequest
from stepwell.basics.strict_json.canonical import digest
from stepwell.basics.strict_json.normalise import normalise
from stepwell.basics.strict_json.schema_faults import cap_faults, iter_faults
from stepwell.basics.workflow_limits import definition_size
from stepwell.contract.definition import DefinitionReference
from stepwell.contract.problems import DefinitionWarning
from stepwell.contract.stored_definitions import DEFINITION, DefinitionContent, RunDefinition
from stepwell.definition.mapping.expressions import FEW_CHARACTERS, Expressions, expressions_of
from stepwell.definition.validation.dependency_count import check_dependency_count
from stepwell.definition.validation.inputs_schema import inputs_faults
from stepwell.definition.validation.workflow import MAX_FAULTS, ValidatedWorkflow, validate_workflow
from stepwell.engine.reads.runnable_definitions import find_runnable
from stepwell.engine.service import Services
from stepwell.rules.stored_definitions import StoredName, body_of_run
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

    definition: Raw = Raw(b"null")


_read_named = json.Decoder(_NamedDefinition).decode
_MEMBER: Final = f'"{DEFINITION}"'.encode()
_BYTES_A_STEP: Final = 64  # of `off_loop`
_COPIES: Final = 3  # of a body and a definition: as text, decoded, and merged


async def apply_stored_definition(request: ApiRequest, services: Services) -> DefinitionReference | None:
    """If the body names a stored definition, replace it by the body of a create with its content. Return the version.

    Raises `DefinitionArchived`, `Forbidden`, and what `read_definition` does.
    """
    data, handling = await read_body(request), handling_of(request.scope)
    if _MEMBER not in data or not _names_definition(data):
        return None

    def parse(body: Any) -> dict[str, Any]:
        known: dict[str, Any] = normalise(RunDefinition, body, handling)
        if faults := cap_faults(iter_faults(RunDefinition, known, ("body",)), MAX_FAULTS):
            raise InvalidRequest(faults)
        return known

    body = await read_json(request, parse, check_dependency_count)
    wanted = convert(body[DEFINITION], DefinitionReference)
    tenant = request.user.tenant_for(body.get("origin_tenant_id"))
    found = await find_runnable(services.definitions, tenant, wanted, ("body", DEFINITION))
    memory = await resources_of(request.scope).memory()
    await reserve_memory(memory, memory.held + _COPIES * (found.version.size + len(data)))
    content = await services.definitions.content(tenant, wanted.name, found.version.version)
    merge = partial(_merge, body, found.name, content)
    resources_of(request.scope).body = await off_loop(merge, steps=(len(data) + len(content)) // _BYTES_A_STEP)
    return found.reference


def _names_definition(data: bytes) -> bool:
    with suppress(MsgspecError, RecursionError, UnicodeDecodeError):  # it will be refused
        return _read_named(data).definition != b"null"
    return False


def _merge(body: dict[str, Any], name: StoredName, content: bytes) -> bytes:
    return json.encode(body_of_run(body, name, json.decode(content)))


async def read_definition(
    request: ApiRequest, services: Services, definition: DefinitionReference | None = None
) -> ValidatedWorkflow:
    """Return the workflow that the body defines, and that is made of the stored *definition*.

    Raises `InvalidRequest`, `Unavailable`, and what `read_json` does.
    """
    origin_instance = request.user.origin_instance or services.origin_instance
    validator = partial(validate_workflow, origin_instance=origin_instance)
    valid, _ = await _read(request, services, validator, lambda _: None)
    return valid if definition is None else structs.replace(valid, definition=definition)


async def read_content(request: ApiRequest, services: Services) -> tuple[bytes, str, Sequence[DefinitionWarning]]:
    """Return the definition that the body stores, as JSON text, its digest as canonical JSON, and its warnings.

    Required inputs may be missing. Raises as `read_definition` does.
    """
    handling = handling_of(request.scope)

    def encode(body: Any) -> tuple[bytes, str]:
        members = normalise(DefinitionContent, body, handling).items()
        content = {name: value for name, value in members if value is not None}
        return json.encode(content), digest(content)

    validator = partial(validate_workflow, kind=DefinitionContent)
    valid, (content, content_digest) = await _read(request, services, validator, encode, partial_inputs=True)
    return content, content_digest, valid.warnings


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
