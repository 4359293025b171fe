"""Chooses the state machine of a workflow."""

from stepwell.lifecycle.flow_run import FlowRun
from stepwell.lifecycle.item_run import ItemRun
from stepwell.lifecycle.run import Run
from stepwell.lifecycle.stored_run import StoredRun
from stepwell.lifecycle.subworkflow_run import SubworkflowRun


def new_run(stored: StoredRun) -> Run:
    """Return the run of a workflow: the simplest one that knows what its steps need."""
    flows = [plan.flow for plan in stored.plans if plan.flow is not None]
    if not flows:
        return Run(stored)
    if any(flow.runs_workflow for flow in flows):
        return SubworkflowRun(stored)
    if all(flow.for_each is None for flow in flows):
        return FlowRun(stored)
    return ItemRun(stored)
