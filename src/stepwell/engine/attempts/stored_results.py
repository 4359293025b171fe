"""Reads results of steps that are in the database only. An outage of it doesn't fail the step that needs them."""

from collections.abc import Mapping, Sequence
from functools import partial
from uuid import UUID

from stepwell.basics.errors import AttemptError, ResultTooLarge
from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.ports.storage import WorkflowStore
from stepwell.runtime.outages import until_available


async def read_results(store: WorkflowStore, workflow_id: UUID, positions: Sequence[int]) -> Mapping[int, bytes]:
    """Return the results of the workflow at these positions. Raises `AttemptError`, not retryable, for a huge one."""
    try:
        results = await until_available(partial(store.results, EVERY_TENANT, {workflow_id: positions}))
    except ResultTooLarge as error:
        raise AttemptError(str(error), retryable=False, provider_fault=False) from error
    return results.get(workflow_id, {})
