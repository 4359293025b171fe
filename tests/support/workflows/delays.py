"""Workflows with delays, and how a test waits until they are parked."""

from typing import Any
from uuid import UUID

from stepwell.engine.execution.timers import PARK_AFTER_S
from stepwell.lifecycle.model import WorkflowState
from stepwell.testing import ManualClock, MemoryDatabase
from support.database.failing_store import nothing_left, scheduler_of
from support.providers.scripted import eventually, scripted_step
from support.service.live_service import Service, statuses_of

HOUR = 3600


def delay(step_id: str = "wait", *needed: str, **config: Any) -> dict[str, Any]:
    config = config or {"seconds": HOUR}
    return {"id": step_id, "task_type": "DELAY", "config": config, "depends_on": list(needed)}


def state_of(service: Service, workflow_id: str) -> WorkflowState:
    assert isinstance(service.database, MemoryDatabase)
    return service.database.tables.workflows[UUID(workflow_id)].record.state


def in_memory(service: Service) -> set[str]:
    return {str(each) for each in scheduler_of(service).workflows}


async def until_only_waiting(service: Service, workflow_id: str) -> None:
    """Return once the workflow has a timer that parks it after `PARK_AFTER_S` seconds."""

    def waits() -> bool:
        workflow = scheduler_of(service).workflows.get(UUID(workflow_id))
        return workflow is not None and workflow.park_timer is not None

    await eventually(waits, "it only waits")


async def until_parked(service: Service, workflow_id: str, clock: ManualClock) -> None:
    await service.until(workflow_id, lambda workflow: "RUNNING" in statuses_of(workflow).values())
    await until_only_waiting(service, workflow_id)
    clock.advance(PARK_AFTER_S)
    await eventually(lambda: workflow_id not in in_memory(service), "it has left memory")
    assert state_of(service, workflow_id).wake_at is not None
    assert nothing_left(service)


async def parked(service: Service, clock: ManualClock, *steps: dict[str, Any], **more: Any) -> str:
    created = await service.create(*(steps or (delay(), scripted_step("after", "wait"))), **more)
    await until_parked(service, created["id"], clock)
    return str(created["id"])
