"""Whose files workflows name: written with them, and asked for by cleanup."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import asyncpg
import pytest

from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.lifecycle.records import NewWorkflow
from stepwell.persistence.connections.connection_pool import SmallPool
from stepwell.persistence.connections.database import asyncpg_connect, create_api_engine
from stepwell.persistence.stores.workflow_reader import PostgresWorkflowReader
from support.database.stored_workflows import ME, Bench
from support.workflows.definitions import body, join

ONE, TWO, THREE = (UUID(int=number) for number in (1, 2, 3))
REFERENCES = "SELECT task_id, workflow_id FROM artifact_references ORDER BY 1, 2"


@pytest.fixture
async def store(bench: Bench) -> AsyncIterator[PostgresWorkflowReader]:
    engine = create_api_engine(bench.dsn, pool=1, timeout_s=10)
    readers = SmallPool(asyncpg_connect(bench.dsn, timeout_s=10), size=1, timeout_s=10)
    yield PostgresWorkflowReader(engine, readers, readers)
    readers.close()
    await engine.dispose()


def path(task_id: UUID) -> str:
    return f"media/{task_id}/image.png"


def naming(bench: Bench, *task_ids: UUID, tenant: str | None = "t") -> NewWorkflow:
    definition = body(*(join(str(number), config={"of": path(each)}) for number, each in enumerate(task_ids, 1)))
    return bench.draft(definition, tenant, ME)[1]


async def pairs(connection: asyncpg.Connection) -> list[tuple[UUID, UUID]]:
    return [tuple(row) for row in await connection.fetch(REFERENCES)]


async def test_references_are_stored_with_the_workflow_each_once(bench: Bench) -> None:
    new = naming(bench, TWO, ONE, TWO)
    await bench.workflow_store.insert(EVERY_TENANT, new)
    assert await pairs(bench.sql) == [(ONE, new.record.state.id), (TWO, new.record.state.id)]


async def test_references_of_concurrent_inserts_are_stored_though_one_is_refused(
    bench: Bench, store: PostgresWorkflowReader
) -> None:
    batch = [naming(bench, ONE), naming(bench, ONE, TWO), naming(bench, THREE)]
    batch[2] = NewWorkflow(batch[2].record, batch[2].final_position, 0, (*batch[2].events, batch[2].events[0]))
    inserts = [bench.workflow_store.insert(EVERY_TENANT, new) for new in batch]
    outcomes = await asyncio.gather(*inserts, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), type(None), asyncpg.UniqueViolationError]
    first, second, refused = (new.record.state.id for new in batch)
    assert (THREE, refused) in await pairs(bench.sql)  # so it is written first
    references = await store.references_to(EVERY_TENANT, uuid4(), [ONE, TWO, THREE])
    assert references == {ONE: min(first, second), TWO: second}


@pytest.mark.parametrize("tenant", ["t", None])
async def test_only_other_workflows_of_the_scope_that_are_not_deleted_count(
    bench: Bench, store: PostgresWorkflowReader, tenant: str | None
) -> None:
    own, other, foreign = naming(bench, ONE, tenant=tenant), naming(bench, TWO, tenant=tenant), naming(bench, THREE)
    foreign.record.tenant = "u"
    for new in (own, other, foreign):
        await bench.workflow_store.insert(EVERY_TENANT, new)
    own_id, other_id, foreign_id = (new.record.state.id for new in (own, other, foreign))
    ids = [ONE, TWO, THREE]
    assert await store.references_to(TenantScope(tenant), own_id, ids) == {TWO: other_id}
    assert await store.references_to(TenantScope("u"), own_id, ids) == {THREE: foreign_id}
    assert await store.references_to(TenantScope("v"), own_id, ids) == {}
    assert await store.references_to(EVERY_TENANT, own_id, ids) == {TWO: other_id, THREE: foreign_id}
    assert await store.references_to(EVERY_TENANT, own_id, [ONE]) == {}
    await bench.sql.execute("UPDATE workflows SET deleted_at = now() WHERE id = $1", other_id)
    assert await store.references_to(EVERY_TENANT, own_id, ids) == {THREE: foreign_id}


async def test_a_definition_may_name_as_many_files_as_fit(bench: Bench, store: PostgresWorkflowReader) -> None:
    task_ids = [UUID(int=number) for number in range(40_000)]  # more than a statement has parameters
    new = bench.draft(body(join("a", config={"of": [path(each) for each in task_ids]})), "t", ME)[1]
    await bench.workflow_store.insert(EVERY_TENANT, new)
    references = await store.references_to(EVERY_TENANT, uuid4(), task_ids)
    assert references == dict.fromkeys(task_ids, new.record.state.id)
