"""Which mappings an attempt uses if `run_if` lets its step run although some of their sources have no result."""

from uuid import UUID, uuid4

from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.new_workflow import Creation, build_workflow
from stepwell.lifecycle.inputs import AttemptFailed, Dispatched, Input, Pause, Resume, RetryDue, Start, Succeeded
from stepwell.testing import ManualClock
from support.database.stored_workflows import ME
from support.workflows.definitions import body, join, mapped, validate

A, B, JOIN = range(3)


class Played:
    """A workflow in memory, in which each input comes a microsecond after the one before."""

    def __init__(self) -> None:
        mappings = [mapped("a", to_field="a"), mapped("b", to_field="b")]
        last = join("join", run_if="all_ended", input_mappings=mappings)
        validated = validate(body(join("a"), join("b"), last, config={"on_failure": "continue"}))
        self._clock = ManualClock()
        start = Start("alice", uuid4(), ME)
        creation = Creation(uuid4(), None, "alice", "alice", self._clock.now())
        built = build_workflow(validated, creation, start, lambda _: uuid4())
        self.workflow: ActiveWorkflow = built.workflow

    def apply(self, input_: Input) -> None:
        self.workflow.run.apply(input_, self._clock.now())

    def start(self, position: int) -> None:
        self.apply(Dispatched(position, uuid4(), 1))

    def succeed(self, position: int) -> None:
        self.apply(Succeeded(position, self._task_id(position), b'{"f": 1}'))

    def fail(self, position: int, *, retryable: bool = False) -> None:
        task_id = self._task_id(position)
        self.apply(AttemptFailed(position, task_id, "no", retryable, provider_fault=False, jitter=0))

    def _task_id(self, position: int) -> UUID:
        task = self.workflow.run.open_task(position)
        assert task is not None
        return task.id

    @property
    def sources(self) -> list[str]:
        """The steps that the mappings of the join read from."""
        return [mapping.from_step for mapping in self.workflow.definition(JOIN).input_mappings]


def test_an_attempt_leaves_out_what_had_no_result_when_it_began_and_the_next_one_does_not() -> None:
    played = Played()
    played.start(A)
    played.fail(A)
    played.start(B)
    played.succeed(B)
    assert played.sources == ["a", "b"]
    played.start(JOIN)
    assert played.sources == ["b"]
    played.apply(Pause("alice"))
    played.apply(Resume("alice", uuid4(), ME))
    played.start(A)
    played.succeed(A)
    restarted = ActiveWorkflow(played.workflow.snapshot())
    assert [each.from_step for each in restarted.definition(JOIN).input_mappings] == played.sources == ["b"]
    played.fail(JOIN, retryable=True)
    played.apply(RetryDue(JOIN))
    played.start(JOIN)
    assert played.sources == ["a", "b"]
