"""The cost of operations, counted and not timed: statements, batches, events, and lines of code for each step.

They run on PostgreSQL, because only its adapters count statements.
"""

import asyncio
import gc
import re
import sys
import weakref
from asyncio import TimerHandle
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from msgspec import Struct

import stepwell
from stepwell.basics.artifacts import MAX_NAMED_FILES
from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.bench.loads import Load, Shape
from stepwell.definition.validation.workflow import validate_workflow
from stepwell.rules.list_records import DecisionFilter
from support.database.failing_store import FailingStore, nothing_left, scheduler_of, use_failing_store
from support.database.postgres import TestServer, database
from support.database.statement_recorder import until_quiet
from support.providers.scripted import eventually
from support.service.live_service import Service, running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

OURS = str(Path(stepwell.__file__).parent)
GRAPHLIB = "graphlib.py"
_ALWAYS = re.compile("_StatementCache|loop_lag")


class Cost(Struct):
    """The cost of an operation, by the counters of `/metrics`."""

    statements: int = 0
    batches: int = 0
    events: int = 0


@contextmanager
def measuring(service: Service) -> Iterator[Cost]:
    """Measure the cost of what the block does."""
    names = ("database_statements", "checkpoint_batches", "checkpoint_events")

    def counts() -> list[float]:
        return [service.app.metrics.value(f"stepwell_{name}_total") for name in names]

    before, cost = counts(), Cost()
    yield cost
    cost.statements, cost.batches, cost.events = (
        int(after - earlier) for after, earlier in zip(counts(), before, strict=True)
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(
    server: TestServer, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """The service on PostgreSQL, once it sends no statement of its own any more."""
    async with AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(database(server, template))
        service = await stack.enter_async_context(running_service(dsn, tmp_path_factory.mktemp("quiet")))
        await until_quiet(service)
        yield service


async def create(service: Service, body: dict[str, Any], *, start: bool = True) -> UUID:
    """Create a workflow without HTTP, which sends no statement of its own."""
    engine = service.app.services
    validated = validate_workflow(body, engine.catalog)
    return (await engine.workflows.create(EVERY_TENANT, "alice", validated, tenant=None, start=start)).state.id


async def run(service: Service, body: dict[str, Any]) -> UUID:
    """Create a workflow and wait until it has ended."""
    workflow_id = await create(service, body)
    async with asyncio.timeout(60):
        await service.app.services.workflows.until_idle(workflow_id)
    return workflow_id


async def test_the_files_of_open_decisions_take_few_statements_however_many_they_are(service: Service) -> None:
    unknown = [f"media/{UUID(int=number)}/a.png" for number in range(MAX_NAMED_FILES)]
    steps = [{"id": str(number), "task_type": "APPROVAL", "config": {"files": unknown}} for number in range(3)]
    workflow_id = await create(service, {"name": "n", "origin_instance": "tests", "steps": steps})
    reads, wanted = service.app.services.reads, DecisionFilter(100, workflow_id, None)
    async with asyncio.timeout(60):
        while len(await reads.decisions(EVERY_TENANT, wanted)) < len(steps):
            await asyncio.sleep(0.01)
    with measuring(service) as cost:
        assert [each.files for each in await reads.decisions(EVERY_TENANT, wanted)] == [[], [], []]
    assert cost.statements <= 10
    assert (await service.verb(str(workflow_id), "cancel")).status_code == 200


def workflow(shape: Shape, steps: int) -> dict[str, Any]:
    (body,) = Load(shape, 1, steps, 1).bodies()
    return body


# Statements


@pytest.mark.parametrize("steps", [1, 20])
async def test_a_chain_takes_one_batch_and_two_events_for_each_step(service: Service, steps: int) -> None:
    with measuring(service) as cost:
        await run(service, workflow(Shape.CHAIN, steps))
    # One batch for the first start, and one for each completion with the start that follows it.
    assert (cost.batches, cost.events) == (steps + 1, 2 * steps + 1)
    assert cost.statements == 1 + cost.batches


async def test_a_true_condition_takes_one_more_batch_and_no_event(service: Service) -> None:
    body = workflow(Shape.CHAIN, 20)
    body["steps"] = [step | {"when": "workflow.id"} for step in body["steps"]]
    with measuring(service) as cost:
        await run(service, body)
    # It is evaluated only when the completion is committed.
    assert cost == Cost(statements=1 + 2 * 20, batches=2 * 20, events=2 * 20 + 1)


@pytest.mark.parametrize(
    ("steps", "start"),
    [(1, False), (1, True), (200, False), pytest.param(1_000, True, marks=pytest.mark.extended)],
)
async def test_a_create_takes_one_statement(service: Service, steps: int, *, start: bool) -> None:
    workflow_store, body = use_failing_store(service), workflow(Shape.FAN, steps)
    workflow_store.gate.clear()  # so that what follows isn't counted
    with measuring(service) as cost:
        response = await service.client.post("/api/v1/workflows/", params={"start": start}, json=body)
    workflow_store.gate.set()
    assert response.status_code == 201
    assert cost == Cost(statements=1)
    await eventually(lambda: nothing_left(service))


@pytest.mark.parametrize("steps", [1, 100])
async def test_a_get_takes_one_statement(service: Service, steps: int) -> None:
    workflow_id = await create(service, workflow(Shape.FAN, steps), start=False)
    for include_steps in (True, False):
        with measuring(service) as cost:
            path = f"/api/v1/workflows/{workflow_id}"
            response = await service.client.get(path, params={"include_steps": include_steps})
        assert response.status_code == 200
        assert len(response.json().get("steps", ())) == (steps if include_steps else 0)
        assert cost == Cost(statements=1)


async def test_a_get_of_a_large_workflow_takes_four_statements_and_one_for_each_slice(service: Service) -> None:
    workflow_id = await create(service, workflow(Shape.FAN, 1_000), start=False)
    with measuring(service) as cost:
        response = await service.client.get(f"/api/v1/workflows/{workflow_id}")
    assert len(response.json()["steps"]) == 1_000
    assert cost == Cost(statements=4 + 3)


@pytest.mark.parametrize("workflows", [1, 30])
async def test_a_page_of_the_list_takes_two_statements_and_one_more_for_steps(service: Service, workflows: int) -> None:
    instance = f"a list of {workflows}"
    for _ in range(workflows):
        await create(service, workflow(Shape.CHAIN, 3) | {"origin_instance": instance}, start=False)
    for include_steps, statements in ((False, 2), (True, 3)):
        query: dict[str, Any] = {"include_steps": include_steps, "origin_instance": instance}
        with measuring(service) as cost:
            response = await service.client.get("/api/v1/workflows/", params=query)
        assert len(response.json()["workflows"]) == workflows
        assert cost == Cost(statements=statements)


# Growth


async def test_a_fan_of_ten_times_the_width_takes_at_most_ten_times_the_batches(service: Service) -> None:
    costs = []
    for steps in (40, 400):
        with measuring(service) as cost:
            await run(service, workflow(Shape.FAN, steps))
        assert cost.events == 2 * steps + 1
        assert cost.statements == 1 + cost.batches
        assert cost.batches <= steps / 10
        costs.append(cost)
    narrow, wide = costs
    assert wide.batches <= 10 * narrow.batches


async def test_transitions_that_are_queued_together_are_one_batch(service: Service) -> None:
    workflow_store, many, steps = use_failing_store(service), 50, 10
    workflow_store.gate.clear()
    with measuring(service) as cost:
        first = await create(service, workflow(Shape.CHAIN, steps))
        await eventually(lambda: workflow_store.batches == [[first]])
        ids = [first] + [await create(service, workflow(Shape.CHAIN, steps)) for _ in range(many - 1)]
        assert workflow_store.batches == [[first]]
        workflow_store.gate.set()
        await eventually(lambda: nothing_left(service))
    assert set(workflow_store.batches[1]) >= set(ids[1:])
    # From then on all workflows advance together, or the first one and the others alternate.
    assert cost.batches == len(workflow_store.batches) <= 2 * (steps + 1)
    assert cost.events == many * (2 * steps + 1)


@contextmanager
def counting_lines() -> Iterator[list[int]]:
    """Count the lines of Stepwell's code and of graphlib's that this thread executes. Each iteration counts."""
    counted, before = [0], sys.gettrace()

    def on_line(_: FrameType, event: str, __: Any) -> Any:
        counted[0] += event == "line"
        return on_line

    def on_call(frame: FrameType, _: str, __: Any) -> Any:
        name = frame.f_code.co_filename
        return on_line if name.startswith(OURS) or name.endswith(GRAPHLIB) else None

    sys.settrace(on_call)
    try:
        yield counted
    finally:
        sys.settrace(before)


async def lines_per_step(service: Service, workflow_store: FailingStore, body: dict[str, Any]) -> float:
    """Return the lines executed per step, from the workflow's first decision until its end is committed."""
    workflow_store.gate.clear()
    workflow_id = await create(service, body)
    with counting_lines() as lines:
        workflow_store.gate.set()
        async with asyncio.timeout(60):
            await service.app.services.workflows.until_idle(workflow_id)
    return lines[0] / len(body["steps"])


@pytest.mark.parametrize("shape", [Shape.LAYERED, Shape.FAN, Shape.CHAIN])
async def test_a_step_takes_as_much_work_in_a_long_workflow_as_in_a_short_one(service: Service, shape: Shape) -> None:
    workflow_store = use_failing_store(service)
    short, long = [await lines_per_step(service, workflow_store, workflow(shape, steps)) for steps in (40, 400)]
    assert long <= 1.3 * short


# Idle


def timers() -> list[TimerHandle]:
    """Return the timers of the running loop, without those of the driver's statement cache and of the loop's lag."""
    scheduled: list[TimerHandle] = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    return [timer for timer in scheduled if not timer.cancelled() and not _ALWAYS.search(repr(timer))]


@pytest.mark.parametrize("exclusive", [True, False])
async def test_an_idle_service_sends_no_statement_and_sets_no_timer(
    dsn: str, tmp_path: Path, *, exclusive: bool
) -> None:
    async with running_service(dsn, tmp_path, exclusive=exclusive, lease_s=1) as service:
        await run(service, workflow(Shape.LAYERED, 20))
        await create(service, workflow(Shape.CHAIN, 2), start=False)
        # One timer is that of `eventually`. The lease is renewed while there is work, and checked once more after that.
        ownership = service.app.engine.ownership
        checks: list[bool] = []

        def is_resting() -> bool:
            """Return whether the claims have rested in five checks in a row: just after a timer it only seems to."""
            checks.append(len(timers()) == 1 and ownership.resting)
            return all(checks[-5:]) and len(checks) >= 5

        await eventually(is_resting)
        assert timers() == []
        assert nothing_left(service)
        with measuring(service) as cost:
            for _ in range(100):
                await asyncio.sleep(0)
        assert cost == Cost()
        assert timers() == []


def completing(body: dict[str, Any]) -> dict[str, Any]:
    return body | {"config": {"workflow_timeout_s": 3_600}}


def failing(body: dict[str, Any]) -> dict[str, Any]:
    reads = {"from_step": body["steps"][0]["id"], "from_field": "nowhere", "to_field": "t"}
    last = body["steps"][-1] | {"input_mappings": [reads]}
    return completing(body) | {"steps": [*body["steps"][:-1], last]}


@pytest.mark.parametrize(("variant", "status"), [(completing, "COMPLETED"), (failing, "FAILED")])
async def test_an_ended_workflow_is_freed_from_memory(
    service: Service, variant: Callable[[dict[str, Any]], dict[str, Any]], status: str
) -> None:
    workflow_store, scheduler = use_failing_store(service), scheduler_of(service)
    workflow_store.gate.clear()
    workflow_id = await create(service, variant(workflow(Shape.LAYERED, 30)))
    active_ref = weakref.ref(scheduler.workflows[workflow_id])
    run_ref = weakref.ref(scheduler.workflows[workflow_id].run)
    workflow_store.gate.set()
    async with asyncio.timeout(60):
        await service.app.services.workflows.until_idle(workflow_id)
    assert (await service.get(str(workflow_id)))["status"] == status
    gc.collect()
    assert (active_ref(), run_ref()) == (None, None)
    assert nothing_left(service)
    assert timers() == []
    assert (scheduler.held, service.app.services.workflows.access.loading) == (set(), 0)
