"""The end of a sub-workflow and the parking of its parent, at once, on two connections.

What must hold, whichever statement comes first, and also if one of them waits for the other:
- A parked parent whose process hasn't seen an end is due (F6). No end is lost, and none is counted twice.
- A parent that has seen all ends stays parked.
- A statement that waits for a parent holds only locks of its own sub-workflows, and others only those of one depth. So
  no two of them wait for each other.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.basics.workflow_limits import RootLimits
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.child_records import ChildInsertion, ParentAttempt, ParentLink
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.records import NewWorkflow
from stepwell.persistence.connections.row_codec import use_encoded_rows
from stepwell.persistence.statements import engine_statements as statements
from stepwell.persistence.statements.command_statements import PROCESS
from stepwell.persistence.statements.encode_rows import checkpoint_rows, more_rows
from stepwell.persistence.statements.flow_statements import UNPARK
from support.database.parked_workflows import end_wait, make_parked, park, pause_parked, signals
from support.database.stored_workflows import CHAIN, ME, OTHER, Bench, completed, renamed
from support.database.sub_workflows import LIMITS, attempt_of, draft_child, end, make_child

LATER = timedelta(days=1)


async def write_by_hand(bench: Bench, decision: Decision) -> None:
    """Run the decision's statement on the connection of the test, which has begun a transaction."""
    child_ended = decision.ended_child_of is not None
    await use_encoded_rows(bench.sql)
    more = more_rows([decision], child_ended=child_ended)
    if more is None:
        rows = await bench.sql.fetch(statements.CHECKPOINT, *checkpoint_rows([decision]))
    else:
        statement = statements.CHECKPOINT_AND_CHILD_ENDED if child_ended else statements.CHECKPOINT_AND_FLOW
        rows = await bench.sql.fetch(statement, *checkpoint_rows([decision], flow=True), *more.parameters(ME))
    assert [row["id"] for row in rows] == [decision.workflow.id]


@asynccontextmanager
async def held(bench: Bench, decision: Decision, *, commits: bool = True) -> AsyncIterator[None]:
    """Within the context, *decision* is written and not committed. Then it is, or it is rolled back."""
    transaction = bench.sql.transaction()
    await transaction.start()
    await write_by_hand(bench, decision)
    yield
    await (transaction.commit() if commits else transaction.rollback())


async def write_behind(bench: Bench, first: Decision, *batch: Decision, commits: bool = True) -> None:
    """Write *batch* while the statement of *first* is not committed, so that it waits."""
    async with asyncio.TaskGroup() as group, held(bench, first, commits=commits):
        writing = group.create_task(bench.workflow_store.write(batch))
        await bench.until_blocked()
    assert writing.result() == set()


async def counted(bench: Bench, parent: ActiveWorkflow) -> int:
    number: int = await bench.sql.fetchval("SELECT child_ended_count FROM workflows WHERE id = $1", parent.workflow_id)
    return number


async def is_due(bench: Bench) -> bool:
    """Whether the only parked workflow is due, and waits for admission from then on."""
    return bool((await bench.workflow_store.unpark(9)).waiting)


async def make_family(bench: Bench, children: int = 1) -> tuple[ActiveWorkflow, list[ActiveWorkflow]]:
    parent = await bench.make(CHAIN)
    return parent, [await make_child(bench, parent) for _ in range(children)]


def park_later(bench: Bench, parent: ActiveWorkflow, seen: int = 0) -> Decision:
    parent.run.state.child_ended_seen = seen
    return park(parent, bench.clock.now() + LATER)


async def test_a_parent_that_is_parked_after_an_end_that_it_has_not_seen_is_due(bench: Bench) -> None:
    parent, (child,) = await make_family(bench)
    assert await bench.workflow_store.write([end(bench, child)]) == set()
    assert await bench.workflow_store.write([park_later(bench, parent)]) == set()
    assert await counted(bench, parent) == 1
    assert await is_due(bench)


async def test_a_parent_that_has_seen_all_ends_stays_parked(bench: Bench) -> None:
    parent, children = await make_family(bench, 2)
    for number, child in enumerate(children, 1):
        assert await bench.workflow_store.write([end(bench, child)]) == set()
        assert await counted(bench, parent) == number
    assert await bench.workflow_store.write([park_later(bench, parent, seen=2)]) == set()
    assert await counted(bench, parent) == 2
    assert not await is_due(bench)


async def test_a_parked_parent_is_due_after_an_end(bench: Bench) -> None:
    parent, (child,) = await make_family(bench)
    assert await bench.workflow_store.write([park_later(bench, parent)]) == set()
    assert not await is_due(bench)
    assert await bench.workflow_store.write([end(bench, child)]) == set()
    assert await is_due(bench)
    assert await counted(bench, parent) == 1


async def test_a_parent_that_is_parked_while_an_end_is_being_written_is_due(bench: Bench) -> None:
    parent, (child,) = await make_family(bench)
    await write_behind(bench, end(bench, child), park_later(bench, parent))
    assert await counted(bench, parent) == 1
    assert await is_due(bench)


async def test_a_parent_that_is_being_parked_while_an_end_is_written_is_due(bench: Bench) -> None:
    parent, (child,) = await make_family(bench)
    await write_behind(bench, park_later(bench, parent), end(bench, child))
    assert await counted(bench, parent) == 1
    assert await is_due(bench)


async def test_an_end_that_is_rolled_back_wakes_nobody(bench: Bench) -> None:
    parent, (child,) = await make_family(bench)
    decision = end(bench, child)
    await write_behind(bench, decision, park_later(bench, parent), commits=False)
    assert await counted(bench, parent) == 0
    assert not await is_due(bench)
    assert await bench.workflow_store.write([decision]) == set()
    assert await is_due(bench)


async def test_an_end_behind_a_parking_that_is_rolled_back_is_counted(bench: Bench) -> None:
    parent, (child,) = await make_family(bench)
    decision = park_later(bench, parent)
    await write_behind(bench, decision, end(bench, child), commits=False)
    assert await counted(bench, parent) == 1
    assert not await is_due(bench)
    assert await bench.workflow_store.write([decision]) == set()
    assert await is_due(bench)


async def test_a_parent_has_seen_one_end_while_another_is_being_written(bench: Bench) -> None:
    parent, (first, second) = await make_family(bench, 2)
    assert await bench.workflow_store.write([end(bench, first)]) == set()
    await write_behind(bench, end(bench, second), park_later(bench, parent, seen=1))
    assert await counted(bench, parent) == 2
    assert await is_due(bench)


async def test_two_ends_at_once_are_both_counted(bench: Bench) -> None:
    parent, (first, second) = await make_family(bench, 2)
    assert await bench.workflow_store.write([park_later(bench, parent)]) == set()
    await write_behind(bench, end(bench, first), end(bench, second))
    assert await counted(bench, parent) == 2
    assert await is_due(bench)


@pytest.mark.parametrize("place", [0, 3])
async def test_ends_in_one_batch_with_the_parking_are_counted(bench: Bench, place: int) -> None:
    parent, children = await make_family(bench, 3)
    batch = [end(bench, child) for child in children]
    batch.insert(place, park_later(bench, parent))
    assert await bench.workflow_store.write(batch) == set()
    assert await counted(bench, parent) == 3
    assert await is_due(bench)


async def test_an_end_whose_response_was_lost_is_counted_once(bench: Bench) -> None:
    parent, (child,) = await make_family(bench)
    decision = end(bench, child)
    for _ in range(2):
        assert await bench.workflow_store.write([decision]) == set()
    assert await counted(bench, parent) == 1


async def test_an_end_of_a_process_that_has_lost_the_child_is_not_counted(bench: Bench) -> None:
    parent, (child,) = await make_family(bench)
    decision = end(bench, child)
    await bench.sql.execute("UPDATE workflows SET owner = $2 WHERE id = $1", child.workflow_id, OTHER)
    assert await bench.workflow_store.write([decision]) == {child.workflow_id}
    assert await counted(bench, parent) == 0


async def test_a_verb_that_has_loaded_the_parent_before_an_end_leaves_it_due(bench: Bench) -> None:
    """Verbs are written without looking at sub-workflows, some with the columns of flow control."""
    for change in (None, "signals", "wait"):
        parent = await make_parked(bench, bench.clock.now() + LATER)
        await bench.sql.execute("UPDATE workflows SET owner = $2 WHERE id = $1", parent.workflow_id, ME)
        parent.run.state.owner = ME
        child = await make_child(bench, parent)
        await bench.sql.execute("UPDATE workflows SET owner = NULL WHERE id = $1", parent.workflow_id)
        loaded = await bench.workflow_store.load(EVERY_TENANT, parent.workflow_id)
        assert loaded is not None
        there, now = ActiveWorkflow(loaded), bench.clock.now()
        decision = bench.decide(there, renamed()) if change is None else signals(there, now, {})
        if change == "wait":
            decision.merge(end_wait(there, now, b"{}"))
        decision.parking_changes |= change is not None
        await write_behind(bench, end(bench, child), decision)
        assert await is_due(bench)


async def test_a_parent_that_is_being_admitted_counts_the_end(bench: Bench) -> None:
    parent, (child,) = await make_family(bench)
    assert await bench.workflow_store.write([park(parent, bench.clock.now())]) == set()
    transaction = bench.sql.transaction()
    await transaction.start()
    assert (await bench.sql.fetchrow(UNPARK, 9, 9, 60.0))["tenants"] == ["t"]
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(bench.workflow_store.write([end(bench, child)]))
        await bench.until_blocked()
        await transaction.commit()
    assert writing.result() == set()
    assert await counted(bench, parent) == 1
    (admitted,) = (await bench.workflow_store.admit(OTHER, {"t": 9}, [])).loaded
    assert (admitted.state.id, admitted.state.wake_at) == (parent.workflow_id, None)


async def test_a_paused_parent_that_is_postponed_is_due_after_the_next_end(bench: Bench) -> None:
    parent, (first, second) = await make_family(bench, 2)
    now = bench.clock.now()
    decision = park_later(bench, parent)
    decision.merge(pause_parked(parent, now, now + LATER))
    assert await bench.workflow_store.write([decision]) == set()
    for child in (first, second):
        assert (await bench.workflow_store.unpark(9)).paused == []
        assert await bench.workflow_store.write([end(bench, child)]) == set()
        assert (await bench.workflow_store.unpark(9)).paused == [parent.workflow_id]


async def is_locked(bench: Bench, workflow_id: UUID) -> bool:
    connection = await asyncpg.connect(bench.dsn)
    try:
        await connection.execute("SELECT FROM workflows WHERE id = $1 FOR UPDATE NOWAIT", workflow_id)
    except asyncpg.LockNotAvailableError:
        return True
    finally:
        await connection.close()
    return False


async def test_ends_that_wait_for_a_parent_lock_nothing_but_its_children(bench: Bench) -> None:
    one, (first, second) = await make_family(bench, 2)
    other, (third,) = await make_family(bench)
    plain = await bench.make(CHAIN)
    batch = [end(bench, first), end(bench, third), bench.decide(plain, renamed()), end(bench, second)]
    async with asyncio.TaskGroup() as group, held(bench, park_later(bench, one)):
        writing = group.create_task(bench.workflow_store.write(batch))
        await bench.until_blocked()
        locked = [await is_locked(bench, each.workflow_id) for each in (first, second, third, other, plain)]
        assert locked == [True, True, False, False, False]
    assert writing.result() == set()
    assert (await counted(bench, one), await counted(bench, other)) == (2, 1)


async def test_batches_with_children_of_the_same_parents_never_wait_for_each_other(bench: Bench) -> None:
    """The parents are children of each other's batches, too: a deadlock would be an outage."""
    grandparent = await bench.make(CHAIN)
    parents = [await make_child(bench, grandparent) for _ in range(2)]
    batches: list[list[Decision]] = [[], []]
    for number in range(40):
        child = await make_child(bench, parents[number % 2])
        batches[number // 2 % 2].append(end(bench, child))
    for batch, parent in zip(batches, reversed(parents), strict=True):
        batch.insert(len(batch) // 2, bench.decide(parent, renamed()))
        batch.append(end(bench, parent))
    assert await asyncio.gather(*map(bench.workflow_store.write, batches)) == [set(), set()]
    assert [await counted(bench, each) for each in (*parents, grandparent)] == [20, 20, 2]


async def test_a_new_sub_workflow_waits_for_its_parent_before_it_locks_the_root(bench: Bench) -> None:
    root = await bench.make(CHAIN)
    parent = await make_child(bench, root)
    link = ParentLink(parent.workflow_id, "a", None, root.workflow_id, 2)
    _, new = draft_child(bench, parent, link=link)
    attempt = ParentAttempt(ME, await attempt_of(bench, parent))
    async with asyncio.TaskGroup() as group, held(bench, park_later(bench, parent)):
        inserting = group.create_task(bench.workflow_store.insert_child(EVERY_TENANT, new, attempt, LIMITS))
        await bench.until_blocked()
        assert not await is_locked(bench, root.workflow_id)
    assert inserting.result() is ChildInsertion.LOST  # the parent is parked, so nobody may start its steps


async def test_a_late_statement_stores_no_sub_workflow_of_an_attempt_that_has_ended_meanwhile(bench: Bench) -> None:
    """It began before the end of the attempt, whose follow-up has found nothing to stop."""
    root = await bench.make(CHAIN)
    parent = await make_child(bench, root)
    attempt = ParentAttempt(ME, await attempt_of(bench, parent))
    _, new = draft_child(bench, parent, link=ParentLink(parent.workflow_id, "a", None, root.workflow_id, 2))
    async with asyncio.TaskGroup() as group, held(bench, bench.decide(parent, completed(attempt.task_id))):
        inserting = group.create_task(bench.workflow_store.insert_child(EVERY_TENANT, new, attempt, LIMITS))
        await bench.until_blocked()
    assert inserting.result() is ChildInsertion.LOST
    owner = await bench.sql.fetchval("SELECT owner FROM workflows WHERE id = $1", parent.workflow_id)
    assert owner == ME, "only the end of the attempt is the reason"


@pytest.mark.parametrize("most", [1, 2])
async def test_two_statements_that_store_the_same_sub_workflow_at_once_store_it_once(bench: Bench, most: int) -> None:
    """The first one got no response in time, so it was repeated."""
    parent = await bench.make(CHAIN)
    drafts = [draft_child(bench, parent)[1]] * 2
    assert await store_at_once(bench, parent, drafts, 2) == [ChildInsertion.NEW, ChildInsertion.STORED]
    assert await bench.sql.fetchval("SELECT max(sub_workflows) FROM workflows") == 1


async def test_of_two_sub_workflows_at_once_the_second_may_find_its_root_full(bench: Bench) -> None:
    parent = await bench.make(CHAIN)
    drafts = [draft_child(bench, parent)[1] for _ in range(2)]
    assert await store_at_once(bench, parent, drafts, 1) == [ChildInsertion.NEW, ChildInsertion.TOO_MANY]


async def store_at_once(
    bench: Bench, parent: ActiveWorkflow, drafts: list[NewWorkflow], most: int
) -> list[ChildInsertion]:
    """Store sub-workflows by statements that wait for the parent together. Return the results, NEW first."""
    storing = []
    attempt, limits = ParentAttempt(ME, await attempt_of(bench, parent)), RootLimits(most)
    async with asyncio.TaskGroup() as group, bench.sql.transaction():
        await bench.sql.execute("SELECT FROM workflows WHERE id = $1 FOR UPDATE", parent.workflow_id)
        for number, new in enumerate(drafts, 1):
            storing.append(group.create_task(bench.workflow_store.insert_child(EVERY_TENANT, new, attempt, limits)))
            await bench.until_blocked(number)
    return sorted((each.result() for each in storing), key=lambda each: each is not ChildInsertion.NEW)


async def test_a_statement_locks_workflows_of_one_depth_only(bench: Bench) -> None:
    root = await bench.make(CHAIN)
    parent = await make_child(bench, root)
    batch = [bench.decide(root, renamed()), bench.decide(parent, renamed())]
    for first, second in ((root, parent), (parent, root)):
        transaction = bench.sql.transaction()
        await transaction.start()
        await bench.sql.execute("SELECT FROM workflows WHERE id = $1 FOR UPDATE", first.workflow_id)
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(bench.workflow_store.write(batch))
            await bench.until_blocked()
            assert not await is_locked(bench, second.workflow_id)
            await transaction.commit()
        assert writing.result() == set()
        batch = [bench.decide(parent, renamed("a")), bench.decide(root, renamed("a"))]


@pytest.mark.parametrize("releases", [False, True])
async def test_a_claim_never_waits_for_an_end_that_waits_for_it(bench: Bench, *, releases: bool) -> None:
    """The end is the last statement of a process that has died. The claim waits for another workflow in between."""
    parent, between = sorted([await bench.make(CHAIN) for _ in range(2)], key=lambda each: each.workflow_id)
    child, new = draft_child(bench, parent)
    while child.workflow_id < between.workflow_id:
        child, new = draft_child(bench, parent)
    attempt = ParentAttempt(ME, await attempt_of(bench, parent))
    assert await bench.workflow_store.insert_child(EVERY_TENANT, new, attempt, LIMITS) is ChildInsertion.NEW
    await bench.write(parent, completed(attempt.task_id))
    store, now = bench.workflow_store, bench.clock.now() + LATER
    transaction = bench.sql.transaction()
    await transaction.start()
    await bench.sql.execute("SELECT FROM workflows WHERE id = $1 FOR UPDATE", between.workflow_id)
    async with asyncio.TaskGroup() as group:
        work = store.release_idle(OTHER, [], now, 9) if releases else store.claim(OTHER, [], now, 9)
        group.create_task(work)
        await bench.until_blocked()
        writing = group.create_task(store.write([end(bench, child)]))
        await bench.until_blocked(2)
        await transaction.commit()
    assert writing.result() == {child.workflow_id}, "nothing was wrong, and the claim came first"


async def test_the_process_of_the_parent_is_notified_of_an_end(bench: Bench) -> None:
    parent, (child,) = await make_family(bench)
    heard = asyncio.Queue[str]()
    await bench.sql.add_listener(f"{PROCESS}{ME}", lambda *payload: heard.put_nowait(payload[-1]))
    assert await bench.workflow_store.write([end(bench, child)]) == set()
    async with asyncio.timeout(30):
        assert await heard.get() == f"child_ended:{parent.workflow_id}"


async def test_an_end_without_a_parent_is_written(bench: Bench) -> None:
    parent, (child,) = await make_family(bench)
    await bench.sql.execute("DELETE FROM workflows WHERE id = $1", parent.workflow_id)
    assert await bench.workflow_store.write([end(bench, child)]) == set()
