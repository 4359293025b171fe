"""Cleans up the sub-workflows of a workflow that is being cleaned up.

What must hold:
- The cleanup of a workflow ends only after all its sub-workflows are deleted, and those that were deleted here have
  their own cleanups. So no crash leaves one behind.
"""

import asyncio
from typing import Final
from uuid import UUID

from stepwell.basics.errors import InvalidTransition, NotFound, Unavailable
from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.contract.enums import WorkflowStatus
from stepwell.engine.execution.checkpointer import NotWritten
from stepwell.engine.execution.workflow_access import WorkflowAccess
from stepwell.lifecycle.inputs import SERVICE, Cleanup
from stepwell.ports.deletions import Cleanups

_PAGE: Final = 250
COMMIT_S: Final = 10.0


async def clean_children(cleanups: Cleanups, access: WorkflowAccess, workflow_id: UUID) -> bool:
    """Delete the sub-workflows, and let their cleanups begin. Return False if another pass is needed.

    One that is still being stopped is left to a later pass. Raises `Unavailable`.
    """
    children = await cleanups.children(workflow_id, _PAGE)
    results = [await _clean(access, child_id, status) for child_id, status in children.items()]
    return all(results) and len(results) < _PAGE


async def _clean(access: WorkflowAccess, child_id: UUID, status: WorkflowStatus) -> bool:
    if status is WorkflowStatus.RUNNING:
        return False
    try:
        async with access.pinned(EVERY_TENANT, child_id) as child, asyncio.timeout(COMMIT_S):
            access.scheduler.apply(child, Cleanup(SERVICE, cleanup_tasks=True))
            await access.scheduler.checkpointer.flushed(child_id)
    except NotFound:
        return True
    except (InvalidTransition, NotWritten, TimeoutError, Unavailable):
        return False  # it has changed meanwhile, or another process runs it
    return True
