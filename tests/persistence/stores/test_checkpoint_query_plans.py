"""What the engine sends finds its rows by keys, however small the tables were when it was planned."""

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from stepwell.persistence.connections.database import asyncpg_connect
from stepwell.persistence.rows import engine_statements as sql
from stepwell.persistence.stores import peer_commands
from support.database.query_plans import plan_nodes

READING = ("LOAD_WORKFLOWS", "LOAD_STEPS", "LOAD_OPEN_TASKS", "LOAD_RESULTS", "VERSIONS")
READ_WHOLE = {"Seq Scan", "Hash Join", "Merge Join"}


@pytest.fixture
async def engine_s(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection as the engine's are, to an empty database that was never analyzed."""
    connection = await asyncpg_connect(dsn, timeout_s=10)()
    yield connection
    await connection.close()


async def plan(connection: asyncpg.Connection, statement: str) -> list[dict[str, Any]]:
    """The nodes of the plan for whatever values *statement* gets."""
    await connection.execute(f"PREPARE explained AS {statement}")
    (parameters,) = await connection.fetchrow(
        "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'explained'"
    )
    nulls = ", ".join(["NULL"] * parameters)
    text = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE explained ({nulls})")
    await connection.execute("DEALLOCATE explained")
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


@pytest.mark.parametrize("name", READING)
async def test_reads_by_id_find_their_rows_by_index(engine_s: asyncpg.Connection, name: str) -> None:
    nodes = await plan(engine_s, getattr(sql, name))
    assert kinds(nodes) & READ_WHOLE == set()
    assert indexes(nodes) & {"workflows_pkey", "steps_pkey"}


async def test_a_checkpoint_with_commands_finds_its_rows_by_index(engine_s: asyncpg.Connection) -> None:
    nodes = await plan(engine_s, sql.CHECKPOINT_AND_COMMANDS)
    assert [node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"] == []
    assert {"commands_pkey", "idempotency_keys_pkey", "workflows_pkey"} <= {node.get("Index Name") for node in nodes}


@pytest.mark.parametrize("name", ["SEND", "WAITING", "ANSWER", "REPORT", "POLL", "WITHDRAW", "OUTCOME"])
async def test_commands_are_found_by_index(engine_s: asyncpg.Connection, name: str) -> None:
    nodes = await plan(engine_s, getattr(peer_commands, name))
    assert [node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"] == []


async def test_without_the_engines_settings_a_checkpoint_would_scan_tables(dsn: str) -> None:
    """Else the tests above would show nothing."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    assert kinds(await plan(connection, sql.CHECKPOINT)) & READ_WHOLE
    await connection.close()
