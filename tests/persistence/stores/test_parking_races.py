"""Two statements about one parked workflow at once: whichever comes second sees what the first has done.

What must hold:
- What was decided about a parked workflow is written only if the workflow isn't due meanwhile, and the other way round:
  a workflow that a verb is changing isn't taken from it (F1, F11).
- Nothing of that is lost: the workflow is due again after the verb, and the verb is repeated after the look (F6).
"""

import asyncio
from datetime import timedelta

from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.inputs import Cancel
from stepwell.persistence.statements.flow_statements import UNPARK
from support.database.parked_workflows import end_wait, make_parked
from support.database.stored_workflows import OTHER, Bench, renamed

PAST = timedelta(seconds=-1)


async def loaded(bench: Bench, handle: ActiveWorkflow) -> ActiveWorkflow:
    """The workflow as another process loads it for a verb."""
    found = await bench.workflow_store.load(EVERY_TENANT, handle.workflow_id)
    assert found is not None
    return ActiveWorkflow(found)


async def test_a_verb_that_waits_for_the_look_for_due_workflows_is_not_written(bench: Bench) -> None:
    handle = await make_parked(bench, bench.clock.now() + PAST)
    for verb in (renamed(), Cancel("alice"), None):
        await bench.sql.execute("UPDATE workflows SET wake_at = $1", bench.clock.now() + PAST)
        there = await loaded(bench, handle)
        decision = end_wait(there, bench.clock.now(), b"{}") if verb is None else bench.decide(there, verb)
        transaction = bench.sql.transaction()
        await transaction.start()
        row = await bench.sql.fetchrow(UNPARK, 9, 9, 60.0)
        assert row["tenants"] == ["t"]
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(bench.workflow_store.write([decision]))
            await bench.until_blocked()
            await transaction.commit()
        assert writing.result() == {handle.workflow_id}
    admitted = (await bench.workflow_store.admit(OTHER, {"t": 9}, [])).loaded
    assert [(each.state.id, each.state.name) for each in admitted] == [(handle.workflow_id, "n")]


async def test_the_look_for_due_workflows_leaves_one_that_a_verb_is_changing(bench: Bench) -> None:
    handle = await make_parked(bench, bench.clock.now() + PAST)
    transaction = bench.sql.transaction()
    await transaction.start()
    await bench.sql.execute("UPDATE workflows SET name = 'new'")
    page = await bench.workflow_store.unpark(9)
    assert (dict(page.waiting), page.next_at) == ({}, handle.run.state.wake_at)  # so it looks again soon
    await transaction.commit()
    assert dict((await bench.workflow_store.unpark(9)).waiting) == {"t": 1}


async def test_a_paused_workflow_goes_to_one_of_two_that_look(bench: Bench) -> None:
    handle = await make_parked(bench, bench.clock.now() + PAST, paused=True)
    transaction = bench.sql.transaction()
    await transaction.start()
    row = await bench.sql.fetchrow(UNPARK, 9, 9, 60.0)
    assert row["paused"] == [handle.workflow_id]
    assert (await bench.workflow_store.unpark(9)).paused == []
    await transaction.commit()
    assert (await bench.workflow_store.unpark(9)).paused == []


async def test_a_failed_statement_leaves_a_workflow_parked(bench: Bench) -> None:
    handle = await make_parked(bench, bench.clock.now() + PAST)
    transaction = bench.sql.transaction()
    await transaction.start()
    await bench.sql.fetchrow(UNPARK, 9, 9, 60.0)
    await transaction.rollback()
    assert dict((await bench.workflow_store.unpark(9)).waiting) == {"t": 1}
    assert (await loaded(bench, handle)).run.state.epoch == 2
