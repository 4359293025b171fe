"""The benchmark's own schema: never anybody else's tables, whatever stands between, and no schema but its own goes."""

from typing import Any

import asyncpg
import pytest

from stepwell.persistence.benchmark import scratch_schema
from stepwell.persistence.schema.startup import DatabaseRefused
from support.database.stored_workflows import Bench

SCHEMAS = "SELECT array_agg(nspname::text ORDER BY nspname) FROM pg_namespace"
NOT_OURS = ("stepwell_scratch_of_mine", "stepwell_scratch_x; DROP TABLE public.events")


async def test_a_proxy_that_ignores_the_search_path_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """As PgBouncer does, where `ignore_startup_parameters` says so: the tables would be those of the service."""
    before = await bench.sql.fetchval(SCHEMAS)
    honest = asyncpg.connect

    async def connect(dsn: str, **options: Any) -> asyncpg.Connection:
        return await honest(dsn.partition("search_path=")[0].rstrip("?&"), **options)

    monkeypatch.setattr(asyncpg, "connect", connect)
    with pytest.raises(DatabaseRefused, match="search_path"):
        async with scratch_schema(bench.dsn):
            raise AssertionError("not to be entered")
    assert await bench.sql.fetchval(SCHEMAS) == before


async def test_only_schemas_with_our_form_of_name_are_leftovers(bench: Bench) -> None:
    leftover = f"stepwell_scratch_{'0' * 32}"
    for name in (*NOT_OURS, leftover):
        await bench.sql.execute(f'CREATE SCHEMA "{name}"')
    try:
        async with scratch_schema(bench.dsn) as (_, connection):
            assert str(await connection.fetchval("SELECT current_schema()")).startswith("stepwell_scratch_")
            found = await bench.sql.fetchval(SCHEMAS)
            assert set(NOT_OURS) <= set(found)
            assert leftover not in found
        assert await bench.sql.fetchval("SELECT count(*) FROM events") == 0
    finally:
        for name in (*NOT_OURS, leftover):
            await bench.sql.execute(f'DROP SCHEMA IF EXISTS "{name}"')
