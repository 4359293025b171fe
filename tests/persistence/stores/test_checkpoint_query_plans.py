"""What the engine sends finds its rows by keys, however small the tables were when it was planned."""

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from stepwell.persistence.connections.database import asyncpg_connect
from stepwell.persistence.statements import engine_statements as sql
from stepwell.persistence.statements.claim_statements import ADMIT, WAITING
from stepwell.persistence.statements.flow_statements import LOAD_ITEMS, UNPARK
from stepwell.persistence.stores import peer_commands
from stepwell.persistence.stores.lease_store import NEXT_EXPIRY
from support.database.query_plans import explain, plan_nodes

READING = ("LOAD_WORKFLOWS", "LOAD_STEPS", "LOAD_OPEN_TASKS", "LOAD_RESULTS", "VERSIONS")
READING_ITEMS = (LOAD_ITEMS, sql.LOAD_ITEM_TASKS)
READ_WHOLE = {"Seq Scan", "Hash Join", "Merge Join"}


@pytest.fixture
async def engine_s(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection as the engine's are, to an empty database that was never analyzed."""
    connection = await asyncpg_connect(dsn, timeout_s=10)()
    yield connection
    await connection.close()


async def plan(connection: asyncpg.Connection, statement: str) -> list[dict[str, Any]]:
    """The nodes of the plan for whatever values *statement* gets."""
    (text,) = await explain(connection, statement, "FORMAT JSON")
    return list(plan_nodes(json.loads(text)[0]["Plan"]))


def kinds(nodes: list[dict[str, Any]]) -> set[str]:
    return {node["Node Type"] for node in nodes}


def indexes(nodes: list[dict[str, Any]]) -> set[str]:
    """Those that are looked into; each by a key, or it would be read whole."""
    looked_into = [node for node in nodes if "Index Name" in node]
    assert [node for node in looked_into if "Index Cond" not in node] == []
    return {node["Index Name"] for node in looked_into}


async def test_a_checkpoint_finds_its_rows_by_index(engine_s: asyncpg.Connection) -> None:
    nodes = await plan(engine_s, sql.CHECKPOINT)
    assert kinds(nodes) & READ_WHOLE == set()
    assert indexes(nodes) == {"workflows_pkey", "steps_pkey"}
    written = {node["Relation Name"] for node in nodes if node["Node Type"] == "ModifyTable"}
    assert written == {"workflows", "steps", "tasks", "events"}


async def test_a_checkpoint_finds_the_earlier_costs_of_its_tasks_by_index(engine_s: asyncpg.Connection) -> None:
    nodes = await plan(engine_s, sql.CHECKPOINT_AND_COSTS)
    assert [node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"] == []
    assert "tasks_pkey" in {node.get("Index Name") for node in nodes}


async def test_the_end_of_a_sub_workflow_finds_its_rows_by_index(engine_s: asyncpg.Connection) -> None:
    for statement in (sql.CHECKPOINT_AND_CHILD_ENDED, sql.INSERT_CHILD):
        nodes = await plan(engine_s, statement)
        assert [node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"] == []
        assert "workflows_pkey" in {node.get("Index Name") for node in nodes}


@pytest.mark.parametrize("name", READING)
async def test_reads_by_id_find_their_rows_by_index(engine_s: asyncpg.Connection, name: str) -> None:
    nodes = await plan(engine_s, getattr(sql, name))
    assert kinds(nodes) & READ_WHOLE == set()
    assert indexes(nodes) & {"workflows_pkey", "steps_pkey"}


@pytest.mark.parametrize("statement", READING_ITEMS)
async def test_reads_of_items_find_their_rows_by_index(engine_s: asyncpg.Connection, statement: str) -> None:
    nodes = await plan(engine_s, statement)
    assert kinds(nodes) & READ_WHOLE == set()
    assert "step_items_pkey" in indexes(nodes)


async def test_a_checkpoint_with_commands_finds_its_rows_by_index(engine_s: asyncpg.Connection) -> None:
    nodes = await plan(engine_s, sql.CHECKPOINT_AND_COMMANDS)
    assert [node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"] == []
    assert {"commands_pkey", "idempotency_keys_pkey", "workflows_pkey"} <= {node.get("Index Name") for node in nodes}


@pytest.mark.parametrize("name", ["SEND", "WAITING", "STORE_OUTCOME", "REPORT", "POLL", "WITHDRAW", "OUTCOME"])
async def test_commands_are_found_by_index(engine_s: asyncpg.Connection, name: str) -> None:
    nodes = await plan(engine_s, getattr(peer_commands, name))
    assert [node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"] == []


async def test_without_the_engines_settings_a_checkpoint_would_scan_tables(dsn: str) -> None:
    """Else the tests above would show nothing."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    assert kinds(await plan(connection, sql.CHECKPOINT)) & READ_WHOLE
    await connection.close()


async def test_a_checkpoint_with_flow_control_finds_its_rows_by_index(engine_s: asyncpg.Connection) -> None:
    nodes = await plan(engine_s, sql.CHECKPOINT_AND_FLOW)
    assert [node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"] == []
    found = {node.get("Index Name") for node in nodes}
    assert {"workflows_pkey", "steps_pkey", "waits_pkey", "signals_pkey"} <= found
    written = {node["Relation Name"] for node in nodes if node["Node Type"] == "ModifyTable"}
    assert {"workflows", "steps", "step_items", "tasks", "events"} <= written


async def test_what_is_due_is_found_by_one_index(engine_s: asyncpg.Connection) -> None:
    """No row is read but those that are due, however many workflows are parked."""
    nodes = await plan(engine_s, UNPARK)
    assert [node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"] == []
    assert [node for node in nodes if node["Node Type"] == "Sort"] == []
    used = {node["Index Name"] for node in nodes if node.get("Relation Name") == "workflows" and "Index Name" in node}
    assert used == {"workflows_due", "workflows_pkey"}


async def test_admission_and_leases_read_no_parked_workflows(engine_s: asyncpg.Connection) -> None:
    for statement in (WAITING, ADMIT, NEXT_EXPIRY):
        nodes = await plan(engine_s, statement)
        scans = [node["Node Type"] for node in nodes if node.get("Relation Name") == "workflows"]
        assert "Seq Scan" not in scans
        assert "workflows_to_admit" in {node.get("Index Name") for node in nodes}
