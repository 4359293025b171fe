"""Checks results of providers against the members that these declare."""

from collections.abc import Mapping
from typing import Any

from stepwell.contract.enums import ProviderType, TaskType
from stepwell.providers.installed_providers import installed_providers


def check_outputs(provider: ProviderType, task_type: TaskType, result: Mapping[str, Any]) -> None:
    """Fail if the result has a member that a mapping of it would be refused for."""
    names = installed_providers()[provider].outputs_of(task_type)
    assert names is None or result.keys() <= names, f"the descriptor lacks {result.keys() - names}"
