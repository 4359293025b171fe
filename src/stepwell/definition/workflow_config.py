"""Reads the members of a workflow's `config` that Stepwell knows."""

from collections.abc import Mapping
from typing import Any

from msgspec import ValidationError, convert

from stepwell.basics.strict_json.normalise import Handling, normalise
from stepwell.contract.definition import WorkflowConfig
from stepwell.definition.mapping.task_configs import without_nulls


def read_workflow_config(config: Mapping[str, Any]) -> WorkflowConfig:
    """Return the known members of *config*, which was accepted at create."""
    known = without_nulls(config)
    try:
        return convert(known, WorkflowConfig)
    except ValidationError:
        return convert(normalise(WorkflowConfig, known, Handling.LENIENT), WorkflowConfig)
