"""Reads definitions of workflows. Their expressions are parsed in a worker process if that takes long."""

from stepwell.api.dependencies import ApiRequest
from stepwell.api.preferences import handling_of
from stepwell.api.request_bodies import read_body, read_json
from stepwell.domain.mapping.expressions import FEW_CHARACTERS, Expressions, expressions_of
from stepwell.domain.validation.workflow import ValidatedWorkflow, validate_workflow
from stepwell.domain.workflow_limits import definition_size
from stepwell.engine.service import Services


async def read_definition(request: ApiRequest, services: Services) -> ValidatedWorkflow:
    """Return the workflow that the body defines. Raises `InvalidRequest`, `Unavailable`, and what `read_json` does."""
    text, handling = await read_body(request), handling_of(request.scope)

    def parse(body: object) -> ValidatedWorkflow | list[str]:
        expressions = expressions_of(body)
        if sum(map(len, expressions)) > FEW_CHARACTERS:
            return expressions
        return validate_workflow(body, services.catalog, handling=handling, definition_bytes=definition_size(text))

    parsed = await read_json(request, parse)
    if isinstance(parsed, ValidatedWorkflow):
        return parsed
    checked = await services.expressions.check(request.user.scope.tenant, parsed)
    known = Expressions(checked)

    def validate(body: object) -> ValidatedWorkflow:
        size = definition_size(text)
        return validate_workflow(body, services.catalog, known, handling=handling, definition_bytes=size)

    return await read_json(request, validate)
