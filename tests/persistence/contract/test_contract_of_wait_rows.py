"""Random flows, whose processes die at random: the rows of waits are those of the steps that wait, after each write."""

from collections.abc import Mapping
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import given, settings
from msgspec import Struct, structs

from lifecycle.test_flow_properties import Setup, ending_scripts, timed_flows
from stepwell.app import DatabaseSource
from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.contract.definition import WorkflowStepDefinition
from stepwell.contract.enums import WaitKind, WaitsFor, WorkflowStatus
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.model import StepState, WorkflowState
from stepwell.lifecycle.records import NewWorkflow, StepRecord, Summary, WorkflowRecord
from stepwell.testing import MemoryDatabase
from support.database.stored_workflows import Stored
from support.workflows.flow_scripts import Op, play
from support.workflows.flows import EPOCH_AT, SimulatedFlow

Waits = Mapping[int, WaitKind]


class Written(Struct):
    """A decision as a run has made it, and the waits that the run has afterwards, by position."""

    decision: Decision
    waits: Waits


class RecordedFlow(SimulatedFlow):
    """A `SimulatedFlow` that keeps what it commits."""

    written: list[Written]

    def commit(self, decision: Decision) -> None:
        super().commit(decision)
        if decision.has_rows:
            waits = {position: self.specs[position].waits_for or WaitKind.WORKFLOW for position in self.waiting_rows()}
            self.written = [*getattr(self, "written", ()), Written(decision, waits)]


def recorded(make: Setup, script: list[Op]) -> RecordedFlow:
    made = make()
    flow = RecordedFlow(made.specs, made.config, unpark=made.takes)
    for op in script:
        play(flow, op, crashing=True)
    flow.drive()
    return flow


def drawn_flows(number: int) -> list[RecordedFlow]:
    flows: list[RecordedFlow] = []

    @settings(max_examples=number, database=None, derandomize=True)
    @given(timed_flows, ending_scripts)
    def draw(make: Setup, script: list[Op]) -> None:
        flow = recorded(make, script)
        if any(spec.waits_for is not None for spec in flow.specs):
            flows.append(flow)

    draw()
    return flows


async def insert(stored: Stored, flow: RecordedFlow) -> UUID:
    steps = [
        StepRecord(
            uuid4(),
            resolved,
            WorkflowStepDefinition(id=resolved.step_id, task_type=resolved.task_type, config={}),
            StepState(at),
            EPOCH_AT,
        )
        for at, resolved in enumerate(flow.resolved_steps)
    ]
    state, summary = (
        WorkflowState(uuid4(), WorkflowStatus.PENDING, "n", updated_at=EPOCH_AT),
        Summary(None, "", None, ()),
    )
    record = WorkflowRecord(
        state,
        "t",
        "alice",
        "tests",
        None,
        None,
        {},
        suppress_subtask_events=True,
        total_steps=len(steps),
        created_at=EPOCH_AT,
        summary=summary,
        steps=steps,
    )
    await stored.workflow_store.insert(EVERY_TENANT, NewWorkflow(record, len(steps) - 1, 0, (), has_flow=True))
    return state.id


async def rows(source: DatabaseSource, dsn: str | None, workflow_id: UUID) -> Waits:
    if isinstance(source, MemoryDatabase):
        return {at: row.wait.kind for at, row in source.tables.workflows[workflow_id].waits.items()}
    connection = await asyncpg.connect(dsn)
    found = await connection.fetch("SELECT * FROM waits WHERE workflow_id = $1", workflow_id)
    await connection.close()
    assert {row["root_id"] for row in found} <= {workflow_id}
    return {row["position"]: WaitKind(row["kind"]) for row in found}


@pytest.mark.extended
async def test_the_rows_of_waits_are_those_of_the_steps_that_wait(
    stored: Stored, source: DatabaseSource, contract_dsn: str | None
) -> None:
    kinds, ends = set[WaitKind](), set[WorkflowStatus]()
    for flow in drawn_flows(100):
        workflow_id = await insert(stored, flow)
        for written in flow.written:
            loaded = await stored.workflow_store.load(EVERY_TENANT, workflow_id)
            assert loaded is not None
            own = structs.replace(written.decision.workflow, id=workflow_id)
            fence = {"owner": loaded.state.owner, "epoch": loaded.state.epoch}  # another process may have claimed it
            decision = structs.replace(written.decision, workflow=own, tasks={}, **fence)
            assert await stored.workflow_store.write([decision]) == set()
            assert await rows(source, contract_dsn, workflow_id) == written.waits
            record = await stored.here.reader.get(EVERY_TENANT, workflow_id)
            assert record is not None
            expected = next((kind for kind in WaitsFor if WaitKind(kind) in written.waits.values()), None)
            assert record.summary.waits_for is expected
            kinds |= set(written.waits.values())
        assert flow.written[-1].waits == {}
        ends.add(flow.status)
    assert kinds == {WaitKind.DECISION, WaitKind.SIGNAL, WaitKind.DELAY}
    assert len(ends) >= 2
