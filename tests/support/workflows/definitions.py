"""Definitions of workflows, sound unless a test breaks them, and a catalog that can run some of them."""

from copy import deepcopy
from datetime import datetime
from typing import Any

import pytest

from stepwell.basics.errors import Fault, InvalidRequest
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.definition.validation.provider_rules import ProviderCatalog
from stepwell.definition.validation.workflow import ValidatedWorkflow, validate_workflow
from stepwell.providers.fal.parameters import refusals
from stepwell.providers.installed_providers import installed_providers

IMAGES = set(TaskType) - {TaskType.LLM_INTERACTION, TaskType.EXPERIMENTAL_FAL, TaskType.PASSTHROUGH}
CATALOG = ProviderCatalog(
    installed_providers(),
    offers={
        ProviderType.LOCAL: {task_type: frozenset({"seed"}) for task_type in {*IMAGES, TaskType.LLM_INTERACTION}},
        ProviderType.FAL: {
            TaskType.GENERATION: frozenset({"lora", "seed"}),
            TaskType.EXPERIMENTAL_FAL: frozenset(),
            TaskType.LLM_INTERACTION: frozenset(),
        },
    },
    default=ProviderType.LOCAL,
    credentials=frozenset({"fal", "fal-team-b"}),
    refusals={ProviderType.FAL: refusals},
)


def body(*steps: Any, **members: Any) -> dict[str, Any]:
    return {"name": "n", "origin_instance": "o", "steps": list(steps)} | members


def draw(step_id: str = "a", **members: Any) -> dict[str, Any]:
    return {"id": step_id, "task_type": "GENERATION", "config": {"prompt": "x"}} | members


def refine(step_id: str, *needed: str, **members: Any) -> dict[str, Any]:
    return {
        "id": step_id,
        "task_type": "REFINE",
        "config": {"base_image_url": "x"},
        "depends_on": list(needed),
    } | members


def join(step_id: str, *needed: str, **members: Any) -> dict[str, Any]:
    return {"id": step_id, "task_type": "PASSTHROUGH", "depends_on": list(needed)} | members


def mapped(from_step: str, from_field: str = "f", to_field: str = "t", **members: Any) -> dict[str, Any]:
    return {"from_step": from_step, "from_field": from_field, "to_field": to_field} | members


def faults_of(value: Any, catalog: ProviderCatalog = CATALOG, now: datetime | None = None) -> tuple[Fault, ...]:
    before = deepcopy(value)
    with pytest.raises(InvalidRequest) as caught:
        validate_workflow(value, catalog, now=now)
    assert value == before
    assert all(fault.loc[0] == "body" for fault in caught.value.faults)
    return caught.value.faults


def faults(value: Any, catalog: ProviderCatalog = CATALOG) -> list[tuple[tuple[str | int, ...], str]]:
    return [(fault.loc[1:], fault.type) for fault in faults_of(value, catalog)]


def validate(value: Any, catalog: ProviderCatalog = CATALOG, now: datetime | None = None) -> ValidatedWorkflow:
    return validate_workflow(value, catalog, now=now)
