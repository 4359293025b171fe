"""Checks the `inputs` of definitions against their `inputs_schema`, in a child process with little time."""

from collections.abc import Mapping
from typing import Any, Final

from anyio import fail_after
from msgspec import json

from stepwell.basics.errors import Fault, InvalidRequest, Unavailable
from stepwell.basics.strict_json.schema_faults import cap_faults
from stepwell.basics.tenancy import Account
from stepwell.definition.validation.inputs_schema import SCHEMA_LOC, InputsToCheck, check_inputs
from stepwell.definition.validation.workflow import MAX_FAULTS, ValidatedWorkflow
from stepwell.runtime.child_processes import ChildProcessFailed, ChildProcessLimits, ChildProcessPool

_CHECK_S: Final = 10.0  # in all, with the wait for a child process
# The processor time of one check. The kernel rounds it up by at most a second.
LIMITS: Final = ChildProcessLimits(cpu_s=1, wall_s=_CHECK_S)
_TOO_SLOW = "The check takes longer than 1 s, or too much memory: simplify the schema, above all each pattern"


class InputsChecker:
    """Checks inputs in the child processes of *pool*, which have `LIMITS`."""

    def __init__(self, pool: ChildProcessPool) -> None:
        self._pool = pool

    async def check(self, account: Account, planned: ValidatedWorkflow, *, partial: bool = False) -> None:
        """Raise `InvalidRequest` if the inputs of a valid definition don't fit its schema; `Unavailable`.

        *partial*: more inputs may come.
        """
        if planned.request.inputs_schema is None:
            return
        faults = await self.faults(account, planned.request.inputs_schema, planned.request.inputs, partial=partial)
        if faults:
            raise InvalidRequest(cap_faults(faults, MAX_FAULTS))

    async def faults(
        self, account: Account, schema: Mapping[str, Any], inputs: Mapping[str, Any], *, partial: bool = False
    ) -> list[Fault]:
        """Return the faults of the schema, or else those of the inputs. Raises `Unavailable`.

        Both passed `inputs_schema.inputs_faults`. *partial*: more inputs may come.
        """
        request = json.encode(InputsToCheck(dict(schema), dict(inputs), partial))
        try:
            with fail_after(_CHECK_S):
                result = await self._pool.run(account, check_inputs, lambda: [request])
        except TimeoutError:
            raise Unavailable("Too many inputs wait to be checked.") from None
        except ChildProcessFailed as error:
            if error.repeatable:
                raise Unavailable(f"The inputs could not be checked: {error}.") from error
            return [Fault(SCHEMA_LOC, _TOO_SLOW, "bad_schema")]
        return json.decode(result, type=list[Fault])
