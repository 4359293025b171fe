"""The definitions that the client accepts."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from stepwell.client.builder import WorkflowBuilder
from stepwell.client.requests import json_body
from stepwell.contract.definition import CreateWorkflow

Definition: TypeAlias = "Mapping[str, Any] | WorkflowBuilder | CreateWorkflow | bytes | str"


def definition_json(definition: Definition) -> bytes:
    """Return the JSON text of *definition*: an object, a built workflow, or JSON text."""
    if isinstance(definition, str):
        return definition.encode()
    return json_body(definition.definition() if isinstance(definition, WorkflowBuilder) else definition)
