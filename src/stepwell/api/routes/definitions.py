"""Reads definitions of workflows.

Their expressions are parsed in a worker process if that takes long, and their inputs are checked in one.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from stepwell.api.auth.dependencies import ApiRequest
from stepwell.api.requests.preferences import handling_of
from stepwell.api.requests.request_bodies import read_body, read_json
from stepwell.api.requests.request_resources import resources_of
from stepwell.basics.errors import Fault, InvalidRequest
from stepwell.basics.strict_json.schema_faults import cap_faults
from stepwell.basics.workflow_limits import definition_size
from stepwell.definition.mapping.expressions import FEW_CHARACTERS, Expressions, expressions_of
from stepwell.definition.validation.dependency_count import check_dependency_count
from stepwell.definition.validation.inputs_schema import inputs_faults
from stepwell.definition.validation.workflow import MAX_FAULTS, ValidatedWorkflow, validate_workflow
from stepwell.engine.service import Services


class _Refused(Struct):
    """The faults of a definition, and its inputs and schema, if these can still be checked.

    It doesn't hold the error: with its traceback, that would keep the body in memory.
    """

    faults: Sequence[Fault]
    inputs: dict[str, Any]
    schema: dict[str, Any] | None


async def read_definition(request: ApiRequest, services: Services) -> ValidatedWorkflow:
    """Return the workflow that the body defines. Raises `InvalidRequest`, `Unavailable`, and what `read_json` does."""
    text, handling = await read_body(request), handling_of(request.scope)
    account = resources_of(request.scope).account
    origin_instance = request.user.origin_instance or services.origin_instance

    def validate(body: object, known: Expressions | None = None) -> ValidatedWorkflow | _Refused:
        size = definition_size(text)
        try:
            return validate_workflow(
                body,
                services.catalog,
                known,
                handling=handling,
                definition_bytes=size,
                now=services.clock.now(),
                origin_instance=origin_instance,
            )
        except InvalidRequest as error:
            return _refused(error.faults, body)

    def parse(body: object) -> ValidatedWorkflow | _Refused | list[str]:
        expressions = expressions_of(body)
        return expressions if sum(map(len, expressions)) > FEW_CHARACTERS else validate(body)

    parsed = await read_json(request, parse, check_dependency_count)
    if isinstance(parsed, list):
        known = Expressions(await services.expressions.check(account, parsed))
        parsed = await read_json(request, lambda body: validate(body, known))
    if isinstance(parsed, ValidatedWorkflow):
        await services.inputs_checker.check(account, parsed)
        return parsed
    faults = list(parsed.faults)
    if parsed.schema is not None:
        faults += await services.inputs_checker.faults(account, parsed.schema, parsed.inputs)
        faults = cap_faults(faults, MAX_FAULTS)
    raise InvalidRequest(faults)


def _refused(faults: Sequence[Fault], body: object) -> _Refused:
    members: dict[str, Any] = body if isinstance(body, dict) else {}
    inputs, schema = members.get("inputs"), members.get("inputs_schema")
    inputs = {} if inputs is None else inputs
    if not isinstance(schema, dict) or not isinstance(inputs, dict) or any(inputs_faults(inputs, schema)):
        return _Refused(faults, {}, None)
    return _Refused(faults, inputs, schema)
