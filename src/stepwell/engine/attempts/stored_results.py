"""Reads results of steps that are in the database only. An outage of it doesn't fail the step that needs them."""

from collections.abc import Mapping, Sequence
from typing import Protocol
from uuid import UUID

from anyio import sleep

from stepwell.domain.errors import AttemptError, ResultTooLarge, Unavailable
from stepwell.domain.tenancy import EVERY_TENANT, TenantScope

OUTAGE_RETRY_S = 0.5


class StoredResults(Protocol):
    """Reads the results of steps from the database."""

    async def results(
        self, scope: TenantScope, wanted: Mapping[UUID, Sequence[int]]
    ) -> Mapping[UUID, Mapping[int, bytes]]:
        """Return the results at the *wanted* positions, by workflow and position. Raises `Unavailable`."""


async def read_results(stored: StoredResults, workflow_id: UUID, positions: Sequence[int]) -> Mapping[int, bytes]:
    """Return the results of the workflow at these positions. Raises `AttemptError`, not retryable, for a huge one."""
    while True:
        try:
            results = await stored.results(EVERY_TENANT, {workflow_id: positions})
        except Unavailable:
            await sleep(OUTAGE_RETRY_S)
            continue
        except ResultTooLarge as error:
            raise AttemptError(str(error), retryable=False, provider_fault=False) from error
        return results.get(workflow_id, {})
