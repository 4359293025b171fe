# Generated from the asynchronous client by `poe generate`: don't change it.
"""The operations on steps that wait for decisions and signals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from stepwell.client.concurrency import Items
from stepwell.client.filters import filter_query
from stepwell.client.requests import ChangeOptions, Id, change, json_body, segment
from stepwell.client.requests import workflow_path as path_of
from stepwell.client.responses import decode
from stepwell.client.synchronous.connection import Connection
from stepwell.contract.workflows import DecisionListResponse, OpenDecision, WorkflowStepPublic

_DECISIONS = "/api/v1/decisions"


class WaitCalls(Connection):
    """The operations on steps that wait for decisions and signals."""

    def decisions(
        self,
        workflow_id: Id | None = None,
        *,
        step_id: str | None = None,
        labels: Mapping[str, str] | None = None,
        definition: str | None = None,
        page_size: int = 50,
    ) -> Items[OpenDecision]:
        """Yield the steps that wait for a decision, the longest waiting first.

        *workflow_id*: only those of this workflow and its sub-workflows. *step_id*: only steps with this id. *labels*:
        only in runs with all of them. *definition*: only in runs of this stored definition, a name or name@version. A
        page of *page_size* is read when it is needed.
        """
        filters = {"workflow_id": workflow_id, "step_id": step_id, "labels": labels, "definition": definition}
        for response in self._pages(_DECISIONS, filter_query({"limit": page_size, **filters})):
            yield from decode(response, DecisionListResponse).decisions

    def decide(
        self,
        workflow_id: Id,
        step_id: str,
        choice: str,
        *,
        note: str | None = None,
        data: Any = None,
        **options: Unpack[ChangeOptions],
    ) -> WorkflowStepPublic:
        """Decide for a step that waits for it, and return the step. A step is decided once."""
        path = path_of(workflow_id, f"/steps/{segment(step_id)}/decision")
        content = json_body({"choice": choice, "note": note, "data": data})
        request = change("POST", path, options, content=content)
        return decode(self._send(request), WorkflowStepPublic)

    def signal(
        self, workflow_id: Id, name: str, data: Any = None, **options: Unpack[ChangeOptions]
    ) -> WorkflowStepPublic:
        """Send a signal, and return the step that takes it. One that comes early is stored for the step."""
        path = path_of(workflow_id, f"/signals/{segment(name)}")
        request = change("POST", path, options, content=json_body({"data": data}))
        return decode(self._send(request), WorkflowStepPublic)
