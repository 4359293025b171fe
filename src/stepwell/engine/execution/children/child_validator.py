"""Validates the definitions of sub-workflows, once their inputs are known."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from msgspec import json

from stepwell.basics.errors import AttemptError, InvalidRequest
from stepwell.basics.strict_json.normalise import Handling
from stepwell.basics.workflow_limits import definition_size
from stepwell.definition.mapping.expressions import FEW_CHARACTERS, Expressions, expressions_of
from stepwell.definition.validation.provider_rules import ProviderCatalog
from stepwell.definition.validation.workflow import ValidatedWorkflow, validate_workflow
from stepwell.engine.attempts.expression_evaluator import ExpressionEvaluator
from stepwell.engine.attempts.inputs_checker import InputsChecker
from stepwell.ports.clock import Clock
from stepwell.runtime.offloop import off_loop_if_large
from stepwell.runtime.outages import until_available


class ChildValidator:
    """Checks definitions of sub-workflows. *check_url* refuses a webhook that can't be sent."""

    def __init__(
        self,
        catalog: ProviderCatalog,
        inputs: InputsChecker,
        expressions: ExpressionEvaluator,
        check_url: Callable[[str | None, str | None], None],
        clock: Clock,
    ) -> None:
        self._catalog, self._inputs, self._expressions = catalog, inputs, expressions
        self._check_url, self._clock = check_url, clock

    async def validate(self, tenant: str | None, body: Mapping[str, Any], depth: int) -> ValidatedWorkflow:
        """Validate the definition *body*. *depth* is the number of its ancestors.

        Raises `AttemptError`, which names the place of the first fault.
        """
        try:
            planned = await self._validate_rules(tenant, body, depth)
            self._check_url(tenant, planned.request.webhook_url)
            await until_available(partial(self._inputs.check, tenant, planned))
        except InvalidRequest as error:
            fault = error.faults[0]
            place = ".".join(map(str, fault.loc[1:]))
            message = f"the sub-workflow can't be created: {place}: {fault.msg}"
            raise AttemptError(message, retryable=False, provider_fault=False) from error
        return planned

    async def _validate_rules(self, tenant: str | None, body: Mapping[str, Any], depth: int) -> ValidatedWorkflow:
        """Check *body* by the rules of definitions. Many expressions are parsed by a worker process, as in a create."""
        checked, expressions = None, await off_loop_if_large(expressions_of, body)
        if sum(map(len, expressions)) > FEW_CHARACTERS:
            check = partial(self._expressions.check, tenant, expressions)
            checked = Expressions(await until_available(check))

        def validate(body: Any) -> ValidatedWorkflow:
            size, now = definition_size(json.encode(body)), self._clock.now()
            lenient = Handling.LENIENT
            return validate_workflow(
                body, self._catalog, checked, handling=lenient, definition_bytes=size, now=now, depth=depth
            )

        return await off_loop_if_large(validate, body)
