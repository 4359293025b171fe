"""An attempt for tests of providers that need no service."""

from typing import Any
from uuid import UUID

from stepwell.contract.enums import TaskType
from stepwell.ports.providers import Attempt
from support.providers.attempt_io import TASK

WORKFLOW = UUID("0197a5f0-1c2d-7e3f-8a4b-5c6d7e8f9a0c")


def attempt(task_type: TaskType = TaskType.GENERATION, config: dict[str, Any] | None = None, **inputs: Any) -> Attempt:
    """Return the first attempt at a step with these inputs and this `provider_config`."""
    return Attempt(
        task_id=TASK,
        workflow_id=WORKFLOW,
        tenant=None,
        step_id="step",
        task_type=task_type,
        number=1,
        inputs=inputs,
        provider_config=config or {},
        seed=7,
    )
