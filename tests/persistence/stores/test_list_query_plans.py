"""The list is read by indexes alone, whatever is filtered by: the database's own plans say so."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from itertools import product
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from msgspec import structs
from sqlalchemy import Select
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.contract.enums import WorkflowStatus
from stepwell.persistence.connections.database import create_api_engine
from stepwell.persistence.stores import workflow_queries
from stepwell.persistence.stores.workflow_queries import filter_form, list_form, list_values
from stepwell.rules.large_workflow_records import SMALL_PAGE_BYTES
from stepwell.rules.list_records import ListFilter, WorkflowCursor
from support.database.bulk_workflows import seed
from support.database.postgres import TestServer, create_database, drop_database
from support.database.query_plans import plan_nodes

HUGE, TINY, NONE = TenantScope("tenant-0"), TenantScope("tenant-900"), TenantScope()
SCOPES = [EVERY_TENANT, HUGE, TINY, NONE, TenantScope("unknown")]
STATUSES = [(), (WorkflowStatus.COMPLETED,), (WorkflowStatus.FAILED,), (WorkflowStatus.PAUSED,)]
INSTANCES = [None, "instance-0", "instance-19", "unknown"]
TENANTS = [None, "tenant-0", "tenant-900"]
DIALECT = postgresql.asyncpg.dialect()  # type: ignore[no-untyped-call]
MIDDLE = datetime(2026, 7, 1, tzinfo=UTC)
LIST_INDEXES = {
    f"workflows_list_{name}" for name in ("by_created", "by_status", "by_tenant", "without_tenant", "by_instance")
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
    plans = (await connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {text}")).scalar_one()
    return list(plan_nodes(json.loads(plans)[0]["Plan"]))


async def page_plan(connection: AsyncConnection, scope: TenantScope, query: ListFilter) -> list[dict[str, Any]]:
    return await plan(connection, workflow_queries.page(list_form(scope, query), SMALL_PAGE_BYTES), scope, query)


def kinds(nodes: list[dict[str, Any]]) -> list[str]:
    return [node["Node Type"] for node in nodes]


def case(scope: TenantScope, query: ListFilter) -> str:
    return f"{scope} {query}"


@pytest.mark.extended
async def test_every_filter_s_page_and_total_come_from_an_index_alone(connection: AsyncConnection) -> None:
    paged, counted = set(), set()
    for scope, status, instance, tenant, included, skip in product(
        SCOPES, STATUSES, INSTANCES, TENANTS, (False, True), (0, 500)
    ):
        filters: dict[str, Any] = {"statuses": status, "origin_instance": instance, "origin_tenant_id": tenant}
        query = ListFilter(**filters, include_deleted=included, include_children=included, skip=skip)
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
        (EVERY_TENANT, ListFilter(), "workflows_list_by_created"),
        (EVERY_TENANT, ListFilter(statuses=(WorkflowStatus.FAILED,)), "workflows_list_by_status"),
        (EVERY_TENANT, ListFilter(statuses=(WorkflowStatus.PAUSED,), include_deleted=True), "workflows_list_by_status"),
        (EVERY_TENANT, ListFilter(origin_instance="instance-0"), "workflows_list_by_instance"),
        (EVERY_TENANT, ListFilter(origin_tenant_id="tenant-0"), "workflows_list_by_tenant"),
        (HUGE, ListFilter(), "workflows_list_by_tenant"),
        (HUGE, ListFilter(origin_instance="instance-0"), "workflows_list_by_tenant"),
        (HUGE, ListFilter(statuses=(WorkflowStatus.PAUSED,)), "workflows_list_by_status"),
        (TINY, ListFilter(statuses=(WorkflowStatus.COMPLETED,)), "workflows_list_by_tenant"),
        (NONE, ListFilter(), "workflows_list_without_tenant"),
        (NONE, ListFilter(statuses=(WorkflowStatus.PAUSED,)), "workflows_list_by_status"),
        (NONE, ListFilter(origin_instance="instance-19"), "workflows_list_by_instance"),
    ],
    ids=str,
)
async def test_the_most_selective_filter_leads(
    connection: AsyncConnection, scope: TenantScope, query: ListFilter, index: str
) -> None:
    form = list_form(scope, query)
    for statement in (workflow_queries.page_ids(form), workflow_queries.total(form)):
        assert (await plan(connection, statement, scope, query))[1]["Index Name"] == index


SEARCHES = {
    "label, common": ListFilter(labels=("env:prod",)),
    "label, rare": ListFilter(labels=("order:40",)),
    "two labels": ListFilter(labels=("env:prod", "team:19")),
    "name, common": ListFilter(name="pipe"),
    "name, rare": ListFilter(name="Nightly number 77"),
    "reference": ListFilter(origin_reference="order 40"),
    "zone, common": ListFilter(origin_zone="zone-0"),
    "zone, rare": ListFilter(origin_zone="zone-9"),
    "after": ListFilter(created_after=MIDDLE),
    "before": ListFilter(created_before=MIDDLE),
    "statuses, common": ListFilter(statuses=(WorkflowStatus.COMPLETED, WorkflowStatus.FAILED)),
    "statuses, rare": ListFilter(statuses=(WorkflowStatus.PAUSED, WorkflowStatus.PENDING)),
}
LABEL = ("env:test",)


@pytest.mark.parametrize("label", [(), LABEL], ids=["alone", "with a label"])
@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("scope", [EVERY_TENANT, HUGE, NONE], ids=str)
async def test_every_search_uses_indexes_in_either_order_and_behind_a_cursor(
    connection: AsyncConnection, scope: TenantScope, search: str, label: tuple[str, ...]
) -> None:
    query = SEARCHES[search]
    query = structs.replace(query, labels=(*query.labels, *label))
    behind = WorkflowCursor(MIDDLE, UUID(int=0))
    for oldest_first, after in product((False, True), (None, behind)):
        one = structs.replace(query, oldest_first=oldest_first, after=after)
        ids = await plan(connection, workflow_queries.page_ids(list_form(scope, one)), scope, one)
        assert "Seq Scan" not in kinds(ids), case(scope, one)
    for statement in (workflow_queries.total, workflow_queries.counts):
        counted = await plan(connection, statement(filter_form(scope, query)), scope, query)
        assert "Seq Scan" not in kinds(counted), case(scope, query)


@pytest.mark.parametrize(
    ("search", "index"),
    [
        ("label, common", "labels_by_label"),
        ("label, rare", "labels_by_label"),
        ("name, rare", "workflows_list_by_name"),
        ("reference", "workflows_list_by_reference"),
        ("zone, common", "workflows_list_by_zone"),
        ("zone, rare", "workflows_list_by_zone"),
        ("after", "workflows_list_by_created"),
        ("before", "workflows_list_by_created"),
        ("statuses, rare", "workflows_list_by_status"),
    ],
)
async def test_a_filter_has_an_index_of_its_own(connection: AsyncConnection, search: str, index: str) -> None:
    query = SEARCHES[search]
    for statement in (workflow_queries.page_ids, workflow_queries.total):
        nodes = await plan(connection, statement(list_form(EVERY_TENANT, query)), EVERY_TENANT, query)
        assert index in [node.get("Index Name") for node in nodes], kinds(nodes)


@pytest.mark.parametrize(
    ("search", "index"),
    [
        (ListFilter(), "workflows_list_by_created"),
        (ListFilter(origin_zone="zone-0"), "workflows_list_by_zone"),
        (ListFilter(statuses=(WorkflowStatus.FAILED,)), "workflows_list_by_status"),
        (ListFilter(labels=("env:prod",)), "labels_by_label"),
        (ListFilter(labels=("env:prod",), statuses=(WorkflowStatus.COMPLETED,)), "labels_by_label"),
    ],
    ids=str,
)
async def test_a_page_behind_a_cursor_reads_no_page_before_it(
    connection: AsyncConnection, search: ListFilter, index: str
) -> None:
    query = structs.replace(search, after=WorkflowCursor(MIDDLE, UUID(int=0)))
    nodes = await plan(connection, workflow_queries.page_ids(list_form(EVERY_TENANT, query)), EVERY_TENANT, query)
    (scan,) = [node for node in nodes if node.get("Index Name") == index]
    assert "ROW(created_at" in scan["Index Cond"]


@pytest.mark.parametrize("skip", [0, 50, 15_000])
@pytest.mark.parametrize("scope", [EVERY_TENANT, HUGE, NONE], ids=str)
async def test_only_the_rows_of_the_page_are_read(connection: AsyncConnection, scope: TenantScope, skip: int) -> None:
    nodes = await page_plan(connection, scope, ListFilter(skip=skip))
    assert not {"Seq Scan", "Hash Join", "Merge Join", "Bitmap Heap Scan"} & set(kinds(nodes))
    (listed,) = [
        node for node in nodes if node["Node Type"] == "Index Only Scan" and node["Index Name"] in LIST_INDEXES
    ]
    looked_up = {node["Index Name"]: node["Plan Rows"] for node in nodes if "Index Name" in node and node is not listed}
    own = {"workflows_pkey", "steps_pkey", "step_items_pkey", "tasks_sent", "labels_pkey", "waits_by_root"}
    assert looked_up.keys() == own
    assert all(rows <= 2 for rows in looked_up.values())
    assert nodes[0]["Plan Rows"] <= 50


async def test_only_the_rows_of_the_page_are_sorted(connection: AsyncConnection) -> None:
    nodes = await page_plan(connection, EVERY_TENANT, ListFilter())
    assert all(node["Plan Rows"] <= 51 for node in nodes if node["Node Type"] == "Sort")
