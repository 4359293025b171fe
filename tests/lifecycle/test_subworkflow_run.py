"""Steps that run sub-workflows, in single steps: what each part does, one after the other."""

from datetime import timedelta
from uuid import UUID

from stepwell.contract.definition import WorkflowConfig
from stepwell.contract.enums import EventType, OnFailure, StepStatus, TaskStatus, WaitKind, WorkflowStatus
from stepwell.lifecycle.inputs import Cancel, Decide, GiveUp, Park, Pause, RetryDue
from stepwell.lifecycle.model import NEVER
from support.workflows.flow_specs import RepeatSpec, Script, StepSpec
from support.workflows.flows import ACTOR, SimulatedFlow, approval, evaluate, flow, run_step

COMPLETED, FAILED, CANCELLED, RUNNING = (
    StepStatus.COMPLETED,
    StepStatus.FAILED,
    StepStatus.CANCELLED,
    StepStatus.RUNNING,
)
CHILD = StepSpec(child=True)


def create(sim: SimulatedFlow, position: int) -> None:
    """Let the attempt at the step create its sub-workflow."""
    sim.do(sim.dispatch_input(position))
    sim.do(sim.end_input(position))
    sim.do(sim.end_input(position))


def with_child(spec: StepSpec = CHILD, *others: StepSpec, config: WorkflowConfig | None = None) -> SimulatedFlow:
    sim = SimulatedFlow([spec, *others], config or WorkflowConfig())
    create(sim, 0)
    return sim


def parked(*specs: StepSpec, config: WorkflowConfig | None = None) -> SimulatedFlow:
    """Return a workflow that only waits for the sub-workflow of its first step, and for the approvals after it."""
    sim = with_child(*specs, config=config)
    evaluate(sim, *range(1, len(specs)))
    sim.do(Park())
    assert sim.is_parked
    return sim


def children(sim: SimulatedFlow) -> list[WorkflowStatus]:
    return list(sim.children.statuses.values())


def is_owned(sim: SimulatedFlow) -> bool:
    return sim.workflow.owner is not None


def test_an_attempt_tells_which_sub_workflow_it_waits_for() -> None:
    sim = with_child()
    (child,) = sim.children.statuses
    waiting = [event.data for event in sim.events if event.type is EventType.STEP_WAITING]
    assert waiting == [{"waits_for": WaitKind.WORKFLOW, "workflow_id": str(child)}]
    assert (sim.statuses, sim.live) == ([RUNNING], {})


def test_the_result_of_the_sub_workflow_is_that_of_the_step() -> None:
    sim = with_child()
    sim.do(sim.child_ended_input(0))
    assert (sim.status, sim.result(0)) == (WorkflowStatus.COMPLETED, {"run": 0})


def test_a_sub_workflow_that_fails_fails_its_step() -> None:
    sim = with_child(StepSpec(child=True, scripts={0: Script(succeeds=False)}))
    sim.do(sim.child_ended_input(0))
    assert (sim.status, sim.statuses) == (WorkflowStatus.FAILED, [FAILED])


def test_a_workflow_that_waits_for_a_sub_workflow_is_parked_without_a_time() -> None:
    sim = parked(CHILD)
    assert (sim.workflow.owner, sim.workflow.wake_at) == (None, NEVER)


def test_a_workflow_is_not_parked_before_its_sub_workflow_is_paused() -> None:
    sim = with_child()
    sim.crash()
    assert not sim.do(Park()).has_rows
    sim.take_up()
    assert sim.do(Park()).has_rows


def test_an_attempt_whose_process_died_creates_its_sub_workflow_once() -> None:
    sim = flow(CHILD)
    sim.do(sim.dispatch_input(0))
    sim.do(sim.end_input(0))
    sim.do_but_crash(sim.end_input(0))
    sim.take_up()
    sim.drive()
    assert (sim.status, len(sim.children.statuses)) == (WorkflowStatus.COMPLETED, 1)
    assert [task.attempt for task in sim.task_rows.values()] == [1]


def test_pause_and_resume_reach_the_sub_workflow_of_a_parked_workflow() -> None:
    sim = parked(CHILD)
    sim.load_for_verb()
    sim.do(Pause(ACTOR))
    assert is_owned(sim)
    sim.crash()
    sim.take_up()
    assert (children(sim), is_owned(sim), sim.workflow.wake_at) == ([WorkflowStatus.PAUSED], False, NEVER)
    sim.resume()
    assert children(sim) == [WorkflowStatus.RUNNING]


def test_a_sub_workflow_that_is_created_while_its_parent_pauses_is_paused() -> None:
    sim = flow(CHILD)
    sim.do(sim.dispatch_input(0))
    sim.do(sim.end_input(0))
    sim.do(Pause(ACTOR))
    sim.do(sim.end_input(0))
    sim.take_up()
    assert children(sim) == [WorkflowStatus.PAUSED]


def test_a_sub_workflow_that_ends_while_its_parent_is_paused_completes_its_step() -> None:
    sim = parked(CHILD)
    sim.load_for_verb()
    sim.do(Pause(ACTOR))
    sim.take_up()
    assert sim.child_wakes()
    assert (sim.status, sim.statuses) == (WorkflowStatus.COMPLETED, [COMPLETED])


def test_cancel_reaches_the_sub_workflow_of_a_parked_workflow() -> None:
    sim = parked(CHILD)
    sim.load_for_verb()
    sim.do(Cancel(ACTOR))
    assert is_owned(sim)
    sim.crash()
    (task_id,) = sim.following
    sim.do(sim.follow_input(task_id))
    assert (children(sim), is_owned(sim)) == ([WorkflowStatus.CANCELLED], False)


def test_a_failed_workflow_fails_its_sub_workflow_so_that_resume_continues_it() -> None:
    sim = with_child()
    sim.do(GiveUp("crashed too often"))
    (task_id,) = sim.following
    sim.do(sim.follow_input(task_id))
    assert (sim.status, children(sim)) == (WorkflowStatus.FAILED, [WorkflowStatus.FAILED])
    sim.resume()
    sim.drive()
    assert (sim.status, children(sim)) == (WorkflowStatus.COMPLETED, [WorkflowStatus.COMPLETED])


def test_resume_continues_the_same_sub_workflow_once_it_has_stopped() -> None:
    sim = with_child(config=WorkflowConfig(workflow_timeout_s=60.0))
    sim.now += timedelta(seconds=60)
    sim.take_up()
    assert sim.status is WorkflowStatus.FAILED
    sim.resume()
    assert sim.startable() == []  # its follow-up may still stop it
    sim.do(sim.follow_input(next(iter(sim.following))))
    assert sim.startable() == [0]
    sim.drive()
    assert (sim.status, len(sim.children.statuses)) == (WorkflowStatus.COMPLETED, 1)


def test_a_failure_that_drains_lets_the_sub_workflow_end() -> None:
    sim = with_child(CHILD, StepSpec(scripts={0: Script(succeeds=False)}), approval())
    evaluate(sim, 2)
    run_step(sim, 1)
    assert (sim.status, sim.statuses) == (WorkflowStatus.RUNNING, [RUNNING, FAILED, CANCELLED])
    sim.do(sim.child_ended_input(0))
    assert (sim.status, sim.statuses) == (WorkflowStatus.FAILED, [COMPLETED, FAILED, CANCELLED])


def test_a_rejection_that_cancels_a_parked_workflow_stops_its_sub_workflow() -> None:
    sim = parked(CHILD, approval(), config=WorkflowConfig(on_failure=OnFailure.CANCEL))
    sim.load_for_verb()
    sim.do(Decide(ACTOR, 1, "reject"))
    assert (sim.status, len(sim.following)) == (WorkflowStatus.FAILED, 1)
    assert is_owned(sim)


def test_a_time_out_in_a_paused_workflow_stops_its_sub_workflow() -> None:
    config = WorkflowConfig(on_failure=OnFailure.CANCEL)
    sim = with_child(CHILD, approval(answer="timeout"), config=config)
    evaluate(sim, 1)
    sim.do(Pause(ACTOR))
    sim.take_up()
    assert sim.is_parked
    assert sim.wake_up()
    assert (sim.status, len(sim.following)) == (WorkflowStatus.FAILED, 1)


def test_each_run_of_a_repetition_has_a_sub_workflow_of_its_own() -> None:
    sim = flow(StepSpec(child=True, repeat=RepeatSpec(3, 1, has_best=False)))
    assert sim.drive() is WorkflowStatus.COMPLETED
    assert (children(sim), sim.result(0)) == ([WorkflowStatus.COMPLETED] * 2, {"run": 1})


def test_each_item_has_a_sub_workflow_of_its_own() -> None:
    sim = flow(StepSpec(child=True, items=3, collect=True, scripts={(1, 0): Script(succeeds=False)}))
    assert sim.drive() is WorkflowStatus.COMPLETED
    assert sorted(children(sim)) == [WorkflowStatus.COMPLETED, WorkflowStatus.COMPLETED, WorkflowStatus.FAILED]
    assert [task.status for task in sim.task_rows.values()].count(TaskStatus.COMPLETED) == 2


def test_the_end_of_an_earlier_sub_workflow_changes_nothing() -> None:
    sim = with_child()
    late = sim.child_ended_input(0)
    sim.do(Cancel(ACTOR))
    assert not sim.do(late).has_rows


def test_a_timer_of_the_parent_leaves_its_sub_workflow_alone() -> None:
    sim = with_child(CHILD, StepSpec(waits_for=WaitKind.DELAY))
    evaluate(sim, 1)
    sim.now += timedelta(seconds=100)
    sim.do(RetryDue(1))
    assert (sim.statuses, children(sim)) == ([RUNNING, COMPLETED], [WorkflowStatus.RUNNING])
    assert UUID(sim.child_rows()[0].remote_id or "") in sim.children.statuses
