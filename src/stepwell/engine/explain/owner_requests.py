"""Requests to the process that runs a workflow, because only that process knows the state in memory.

What must hold:
- A request changes nothing, so the sender gives it up if no outcome comes in time.
- An explanation has at most `MOST_EXPLANATION_BYTES`, because decoding it takes the event loop 12 ms per MiB, also in a
  thread. The explanation of 10,000 steps usually fits. For a larger one, the rows must do.
- The result of a dry run isn't decoded, so it may have `MOST_DRY_RUN_BYTES`.
"""

from contextlib import suppress
from typing import Final
from uuid import UUID

from msgspec import Raw, Struct, json

from stepwell.basics.errors import TooManyRequests, Unavailable
from stepwell.basics.tenancy import TenantScope
from stepwell.contract.forecasts import DryRun
from stepwell.contract.reasons import Explanation
from stepwell.engine.execution.command_sender import CommandSender
from stepwell.lifecycle.peer_commands import DryRunRequest, ExplainRequest, RequestServed, VerbRefused, error_of
from stepwell.lifecycle.preconditions import NO_PRECONDITIONS, Preconditions, Version

MOST_EXPLANATION_BYTES: Final = 4 * 1024 * 1024
MOST_DRY_RUN_BYTES: Final = 32 * 1024 * 1024
_EXPLAIN_S = 3.0


class DryRunOutcome(Struct, frozen=True):
    """The outcome of a `DryRunRequest`: a `DryRun` as JSON, and the version of its workflow."""

    version: Version
    result: Raw


class OwnerRequests:
    def __init__(self, sender: CommandSender) -> None:
        self._sender = sender

    async def explain(self, scope: TenantScope, workflow_id: UUID) -> Explanation | None:
        """Return the explanation of the workflow. None if there is none in time."""
        with suppress(Unavailable, TooManyRequests):
            outcome = await self._sender.send(scope, workflow_id, ExplainRequest(), NO_PRECONDITIONS, _EXPLAIN_S)
            if isinstance(outcome, RequestServed):
                return json.decode(outcome.result, type=Explanation)
        return None

    async def dry_run(
        self, scope: TenantScope, workflow_id: UUID, request: DryRunRequest, preconditions: Preconditions
    ) -> DryRunOutcome | None:
        """Return what the verb would do. None if no other process runs the workflow any more.

        Raises the verb's errors, and `Unavailable` and `TooManyRequests` if there is no outcome.
        """
        outcome = await self._sender.send(scope, workflow_id, request, preconditions)
        if isinstance(outcome, VerbRefused):
            raise error_of(outcome)
        return json.decode(outcome.result, type=DryRunOutcome) if isinstance(outcome, RequestServed) else None


def encode_explanation(explanation: Explanation) -> Raw:
    """Return the outcome of an `ExplainRequest`. Raises `Unavailable` if it is too large."""
    return _within(MOST_EXPLANATION_BYTES, json.encode(explanation))


def encode_dry_run(version: Version, result: DryRun | Raw) -> Raw:
    """Return the outcome of a `DryRunRequest`. Raises `Unavailable` if it is too large."""
    return _within(MOST_DRY_RUN_BYTES, json.encode(DryRunOutcome(version, Raw(json.encode(result)))))


def _within(most_bytes: int, outcome: bytes) -> Raw:
    if len(outcome) > most_bytes:
        raise Unavailable("another process runs the workflow, and its response is too large to be passed on")
    return Raw(outcome)
