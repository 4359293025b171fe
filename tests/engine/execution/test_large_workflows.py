"""Large and odd shapes: how many commits they take, and that nothing of them stays in memory.

Ten thousand steps run on PostgreSQL, because the rows of its large batches are the subject.
"""

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from msgspec import json

from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.contract.enums import StepStatus
from stepwell.definition.validation.workflow import validate_workflow
from stepwell.lifecycle.records import WHOLE, WorkflowRecord
from stepwell.rules.large_workflow_records import StepSnapshot
from stepwell.testing import MemoryDatabase
from support.database.failing_store import FailingStore, nothing_left, scheduler_of, step_queue_of, use_failing_store
from support.providers.scripted import Hang, ScriptedProvider, Succeed, eventually, passthrough_step, scripted_step
from support.service.live_service import Service, running_service
from support.workflows.definitions import body


async def create(service: Service, *steps: dict[str, Any]) -> UUID:
    """Past the HTTP layer, which has tests of its own."""
    engine = service.app.services
    validated = validate_workflow(body(*steps), engine.catalog)
    return (await engine.workflows.create(EVERY_TENANT, "alice", validated, tenant=None, start=True)).state.id


async def completed(service: Service, workflow_id: UUID) -> WorkflowRecord:
    scheduler = scheduler_of(service)
    await eventually(lambda: workflow_id not in scheduler.workflows, "it has ended", within_s=60)
    await eventually(lambda: nothing_left(service), "the engine is empty")
    (snapshot,) = await service.app.services.reads.store.snapshot(EVERY_TENANT, [workflow_id], WHOLE)
    steps = [step for block in snapshot.states for step in json.decode(block, type=list[StepSnapshot])]
    record = snapshot.record
    assert record.state.status == "COMPLETED"
    assert record.state.completed_steps == record.total_steps == len(steps)
    assert {step.status for step in steps} == {StepStatus.COMPLETED}
    return record


def chain(length: int) -> list[dict[str, Any]]:
    mapping = {"from_field": "n", "to_field": "n"}
    first = passthrough_step("s0", config={"n": 1})
    return [first] + [
        passthrough_step(f"s{n}", f"s{n - 1}", input_mappings=[{"from_step": f"s{n - 1}", **mapping}])
        for n in range(1, length)
    ]


@pytest.fixture
async def counting(service: Service) -> FailingStore:
    return use_failing_store(service)


async def test_a_chain_costs_a_commit_a_step(service: Service, counting: FailingStore) -> None:
    record = await completed(service, await create(service, *chain(1000)))
    assert record.summary.final_step_result == b'{"n":1}'
    # The first start, and every completion with the start that follows from it.
    assert counting.commits == 1001
    assert record.state.last_event == 2 + 2 * 1000 + 1


async def test_a_fan_of_a_thousand_is_a_few_batches(service: Service, counting: FailingStore) -> None:
    fan = [passthrough_step(f"f{n}", "root") for n in range(1000)]
    steps = [passthrough_step("root"), *fan, passthrough_step("join", *(step["id"] for step in fan))]
    record = await completed(service, await create(service, *steps))
    assert record.state.last_event == 2 + 2 * 1002 + 1
    assert counting.commits < 50


async def test_what_happens_later_has_no_earlier_time(service: Service) -> None:
    missing = [{"from_step": "root", "from_field": "none", "to_field": "x"}]
    fan = [passthrough_step(f"f{n}", "root", **({"input_mappings": missing} if n % 5 == 3 else {})) for n in range(20)]
    joins = [passthrough_step(f"j{n}", f"f{n}", f"f{n + 1}") for n in range(19)]
    created = await service.create(passthrough_step("root"), *fan, *joins, config={"on_failure": "continue"})
    await service.until_ended(created["id"])
    times = [event["at"] for event in await service.events(created["id"])]
    assert times == sorted(times)


@pytest.mark.extended
async def test_ten_thousand_steps_in_layers(dsn: str, tmp_path: Path) -> None:
    layers, width = 50, 200
    steps = [
        passthrough_step(f"{layer}.{n}", *(f"{layer - 1}.{(n + d) % width}" for d in range(2 if layer else 0)))
        for layer in range(layers)
        for n in range(width)
    ]
    async with running_service(dsn, tmp_path, grace_s=1) as service:
        workflow_store = use_failing_store(service)
        workflow_id = await create(service, *steps)
        await completed(service, workflow_id)
        assert workflow_store.commits < 1000
    sql = await asyncpg.connect(dsn)
    seen = "SELECT count(*), count(DISTINCT id), min(id), max(id) FROM events"
    assert tuple(await sql.fetchrow(seen)) == (20_003, 20_003, 1, 20_003)
    early = """
        SELECT count(*) FROM steps AS s CROSS JOIN unnest(s.depends_on) AS d
        JOIN steps AS n ON n.position = d
        JOIN events AS started ON started.step_id = s.step_id AND started.type = 'step.started'
        JOIN events AS needed ON needed.step_id = n.step_id AND needed.type = 'step.completed'
        WHERE started.id < needed.id
    """
    await sql.execute("ANALYZE steps, events")  # without statistics, the plan may take hours
    assert await sql.fetchval(early) == 0
    await sql.close()


async def test_workflows_side_by_side_share_their_commits(service: Service, counting: FailingStore) -> None:
    length, many = 20, 50
    ids = [await create(service, *chain(length)) for _ in range(1)]
    counting.gate.clear()
    ids += await asyncio.gather(*(create(service, *chain(length)) for _ in range(many - 1)))
    counting.gate.set()
    for workflow_id in ids:
        await completed(service, workflow_id)
    # Alone they would take one commit a step and one for the start; how they group is a matter of chance.
    assert counting.commits < many * (length + 1) / 4
    assert max(len(batch) for batch in counting.batches) > many / 2


async def test_a_result_is_in_memory_only_while_a_step_may_still_read_it(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    provider = ScriptedProvider(
        script={"big": [Succeed({"n": "x" * 1000})], "unread": [Succeed({"n": "y"})], "b": [Hang()], "c": [Hang()]}
    )
    reads = [{"from_step": "big", "from_field": "n", "to_field": "n"}]
    steps = [
        scripted_step("big"),
        scripted_step("unread"),
        scripted_step("b", "big", "unread", input_mappings=reads),
        scripted_step("c", "b", "big", input_mappings=reads),
    ]
    async with running_service(memory, tmp_path, providers=[provider], grace_s=1) as service:
        workflow_id = await create(service, *steps)
        await provider.until_called("b")
        states = scheduler_of(service).workflows[workflow_id].run.steps
        assert [state.result is not None for state in states] == [True, False, False, False]
        provider.release("b")
        await provider.until_called("c")
        assert states[0].result is not None
        provider.release("c")
        await completed(service, workflow_id)
        assert [state.result for state in states] == [None] * 4
        assert provider.calls[-1].inputs["n"] == "x" * 1000


async def test_a_huge_workflow_does_not_hold_up_a_small_one(memory: MemoryDatabase, tmp_path: Path) -> None:
    provider = ScriptedProvider()
    async with running_service(memory, tmp_path, providers=[provider], grace_s=1, max_running_steps=2) as service:
        huge = await create(service, *(scripted_step(f"h{n}") for n in range(300)))
        small = await create(service, *chain(3), scripted_step("end", "s2"))
        begun = len(provider.calls)
        await completed(service, small)
        await completed(service, huge)
        order = [call.step_id for call in provider.calls]
        # Its four steps each wait for a turn of the other's, and for the batch that the other's were just in.
        assert order.index("end") - begun < 60
        assert provider.peak <= 2


async def test_slots_are_as_many_as_are_set_and_each_comes_back(memory: MemoryDatabase, tmp_path: Path) -> None:
    provider = ScriptedProvider(default=Hang())
    async with running_service(memory, tmp_path, providers=[provider], grace_s=1, max_steps_per_provider=7) as service:
        ids = [await create(service, *(scripted_step(f"{w}.{n}") for n in range(5))) for w in range(4)]
        await eventually(lambda: provider.running == 7)
        step_queue = step_queue_of(service)
        assert (step_queue.used, step_queue.waiting) == (7, 13)
        # Where there is room, first come is first served.
        running = [call.step_id[0] for call in provider.calls]
        assert sorted(running.count(str(w)) for w in range(4)) == [0, 0, 2, 5]
        for workflow_id in ids[:2]:
            assert (await service.verb(str(workflow_id), "cancel")).status_code == 200
        await eventually(lambda: provider.running == 7)
        assert (step_queue.used, step_queue.waiting) == (7, 3)
        provider.release(*(f"{w}.{n}" for w in range(4) for n in range(5)))
        for workflow_id in ids[2:]:
            await completed(service, workflow_id)
        assert provider.peak == 7
