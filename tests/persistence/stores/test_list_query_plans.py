"""The list is answered by indexes alone, whatever is filtered by: the database's own plans say so."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from itertools import product
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Select
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from stepwell.contract.enums import WorkflowStatus
from stepwell.domain.records import ListFilter
from stepwell.domain.tenancy import EVERY_TENANT, TenantScope
from stepwell.persistence.connections.database import create_api_engine
from stepwell.persistence.stores import workflow_queries
from stepwell.persistence.stores.workflow_queries import list_form, list_values
from stepwell.persistence.stores.workflow_reader import SMALL_PAGE_BYTES
from support.database.bulk_workflows import seed
from support.database.postgres import TestServer, create_database, drop_database
from support.database.query_plans import plan_nodes

HUGE, TINY, NONE = TenantScope("tenant-0"), TenantScope("tenant-900"), TenantScope()
SCOPES = [EVERY_TENANT, HUGE, TINY, NONE, TenantScope("unknown")]
STATUSES = [None, WorkflowStatus.COMPLETED, WorkflowStatus.FAILED, WorkflowStatus.PAUSED]
INSTANCES = [None, "instance-0", "instance-19", "unknown"]
TENANTS = [None, "tenant-0", "tenant-900"]
DIALECT = postgresql.asyncpg.dialect()  # type: ignore[no-untyped-call]
LIST_INDEXES = {
    f"workflows_{name}" for name in ("by_created", "by_status", "by_tenant", "without_tenant", "by_instance")
}


@pytest.fixture(scope="module")
def seeded_dsn(server: TestServer, template: str) -> Iterator[str]:
    async def make() -> str:
        name = await create_database(server.dsn(), template)
        connection = await asyncpg.connect(server.dsn(name))
        await seed(connection, 20_000, steps=2)
        await connection.close()
        return name

    name = asyncio.run(make())
    yield server.dsn(name)
    asyncio.run(drop_database(server.dsn(), name))


@pytest.fixture
async def connection(seeded_dsn: str) -> AsyncIterator[AsyncConnection]:
    engine = create_api_engine(seeded_dsn, pool=1, timeout_s=30)
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()


async def plan(
    connection: AsyncConnection, statement: Select[*tuple[Any, ...]], scope: TenantScope, query: ListFilter
) -> list[dict[str, Any]]:
    """The nodes of the statement's plan, the topmost first, as this connection's settings make it."""
    text = str(
        statement.params(list_values(scope, query)).compile(dialect=DIALECT, compile_kwargs={"literal_binds": True})
    )
    answer = (await connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {text}")).scalar_one()
    return list(plan_nodes(json.loads(answer)[0]["Plan"]))


async def page_plan(connection: AsyncConnection, scope: TenantScope, query: ListFilter) -> list[dict[str, Any]]:
    return await plan(connection, workflow_queries.page(list_form(scope, query), SMALL_PAGE_BYTES), scope, query)


def kinds(nodes: list[dict[str, Any]]) -> list[str]:
    return [node["Node Type"] for node in nodes]


def case(scope: TenantScope, query: ListFilter) -> str:
    return f"{scope} {query}"


async def test_every_filter_s_page_and_total_come_from_an_index_alone(connection: AsyncConnection) -> None:
    paged, counted = set(), set()
    for scope, status, instance, tenant, deleted, skip in product(
        SCOPES, STATUSES, INSTANCES, TENANTS, (False, True), (0, 500)
    ):
        query = ListFilter(
            status=status, origin_instance=instance, origin_tenant_id=tenant, include_deleted=deleted, skip=skip
        )
        ids = await plan(connection, workflow_queries.page_ids(list_form(scope, query)), scope, query)
        total = await plan(connection, workflow_queries.total(list_form(scope, query)), scope, query)
        if "Result" in kinds(ids):  # two tenants at once: there is nothing to look for
            assert tenant is not None
            assert not scope.every
            continue
        assert kinds(ids) == ["Limit", "Index Only Scan"], case(scope, query)
        assert kinds(total) == ["Aggregate", "Index Only Scan"], case(scope, query)
        paged.add(ids[1]["Index Name"])
        counted.add(total[1]["Index Name"])
    assert paged == LIST_INDEXES
    assert counted <= LIST_INDEXES | {"workflows_pkey"}  # the narrowest one, where nothing is filtered by


@pytest.mark.parametrize(
    ("scope", "query", "index"),
    [
        (EVERY_TENANT, ListFilter(), "workflows_by_created"),
        (EVERY_TENANT, ListFilter(status=WorkflowStatus.FAILED), "workflows_by_status"),
        (EVERY_TENANT, ListFilter(status=WorkflowStatus.PAUSED, include_deleted=True), "workflows_by_status"),
        (EVERY_TENANT, ListFilter(origin_instance="instance-0"), "workflows_by_instance"),
        (EVERY_TENANT, ListFilter(origin_tenant_id="tenant-0"), "workflows_by_tenant"),
        (HUGE, ListFilter(), "workflows_by_tenant"),
        (HUGE, ListFilter(origin_instance="instance-0"), "workflows_by_tenant"),
        (HUGE, ListFilter(status=WorkflowStatus.PAUSED), "workflows_by_status"),
        (TINY, ListFilter(status=WorkflowStatus.COMPLETED), "workflows_by_tenant"),
        (NONE, ListFilter(), "workflows_without_tenant"),
        (NONE, ListFilter(status=WorkflowStatus.PAUSED), "workflows_by_status"),
        (NONE, ListFilter(origin_instance="instance-19"), "workflows_by_instance"),
    ],
    ids=str,
)
async def test_the_most_selective_filter_leads(
    connection: AsyncConnection, scope: TenantScope, query: ListFilter, index: str
) -> None:
    form = list_form(scope, query)
    for statement in (workflow_queries.page_ids(form), workflow_queries.total(form)):
        assert (await plan(connection, statement, scope, query))[1]["Index Name"] == index


@pytest.mark.parametrize("skip", [0, 50, 15_000])
@pytest.mark.parametrize("scope", [EVERY_TENANT, HUGE, NONE], ids=str)
async def test_only_the_rows_of_the_page_are_read(connection: AsyncConnection, scope: TenantScope, skip: int) -> None:
    nodes = await page_plan(connection, scope, ListFilter(skip=skip))
    assert not {"Seq Scan", "Hash Join", "Merge Join", "Bitmap Heap Scan"} & set(kinds(nodes))
    (listed,) = [
        node for node in nodes if node["Node Type"] == "Index Only Scan" and node["Index Name"] in LIST_INDEXES
    ]
    looked_up = {node["Index Name"]: node["Plan Rows"] for node in nodes if "Index Name" in node and node is not listed}
    assert looked_up.keys() == {"workflows_pkey", "steps_pkey", "tasks_sent", "labels_pkey"}
    assert all(rows <= 2 for rows in looked_up.values())
    assert nodes[0]["Plan Rows"] <= 50


async def test_only_the_rows_of_the_page_are_sorted(connection: AsyncConnection) -> None:
    nodes = await page_plan(connection, EVERY_TENANT, ListFilter())
    assert all(node["Plan Rows"] <= 50 for node in nodes if node["Node Type"] == "Sort")
