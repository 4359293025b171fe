"""The migrations make exactly the tables that the code speaks of, however often and by how many at once they run."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.pool import NullPool

from stepwell.persistence.connections.database import create_engine
from stepwell.persistence.rows.engine_statements import TYPES
from stepwell.persistence.schema import migrations
from stepwell.persistence.schema.migrations import migrate, script_folder
from stepwell.persistence.schema.tables import metadata
from support.database.postgres import TestServer, database

# Earlier migrations built indexes under a lock. A migration never changes, because it has run in places unknown.
FIRST_WITHOUT_INDEXES = "0020"
CREATED_INDEX = re.compile(r"\bCREATE\s+(?:UNIQUE\s+)?INDEX\b.*?\bON\s+(\w+)", re.IGNORECASE | re.DOTALL)
CREATED_TABLE = re.compile(r"\bCREATE\s+TABLE\s+(\w+)", re.IGNORECASE)


def indexes_on_existing_tables(source: str) -> list[str]:
    """The tables on which the migration *source* creates an index, though it doesn't create the tables."""
    new = set(CREATED_TABLE.findall(source))
    existing = [table for table in CREATED_INDEX.findall(source) if table not in new]
    return existing + re.findall(r"op\.create_index\b", source)


@pytest.fixture
async def empty(server: TestServer) -> AsyncIterator[str]:
    async with database(server) as dsn:
        yield dsn


def scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(script_folder()))
    return ScriptDirectory.from_config(config)


async def differences(dsn: str) -> list[object]:
    def compare(connection: Connection) -> list[object]:
        options = {"compare_type": True, "compare_server_default": True}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    engine = create_engine(dsn, poolclass=NullPool)
    async with engine.connect() as connection:
        found = await connection.run_sync(compare)
    await engine.dispose()
    return found


async def fetch(dsn: str, statement: str) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(dsn)
    rows = [tuple(row) for row in await connection.fetch(statement)]
    await connection.close()
    return rows


async def test_the_tables_are_those_of_the_code(empty: str) -> None:
    assert await differences(empty) != []
    await migrate(empty)
    assert await differences(empty) == []


async def test_the_types_of_rows_are_those_of_the_code(empty: str) -> None:
    await migrate(empty)
    columns = await fetch(
        empty,
        """SELECT t.typname, a.attname, a.atttypid::regtype::text
        FROM pg_type AS t JOIN pg_attribute AS a ON a.attrelid = t.typrelid
        WHERE t.typname ~ '^(checkpoint|insert)_' ORDER BY 1, a.attnum""",
    )
    long = {"int[]": "integer[]", "int": "integer", "int8": "bigint", "bool": "boolean"}
    long |= {"float8": "double precision", "timestamptz": "timestamp with time zone"}
    wanted = [(name, column, long.get(kind, kind)) for name, types in sorted(TYPES.items()) for column, kind in types]
    # Types of earlier versions stay, for processes of theirs.
    assert [row for row in columns if row[0] in TYPES] == wanted


async def test_the_comparison_sees_a_difference(empty: str) -> None:
    await migrate(empty)
    await fetch(empty, "ALTER TABLE workflows ALTER COLUMN name TYPE varchar(9), ALTER COLUMN crashes DROP DEFAULT")
    await fetch(empty, "DROP INDEX workflows_by_owner")
    assert len(await differences(empty)) == 3


async def test_a_second_migration_changes_nothing(empty: str) -> None:
    await migrate(empty)
    catalog = "SELECT oid, relname FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY oid"
    before = await fetch(empty, catalog)
    await migrate(empty)
    assert await fetch(empty, catalog) == before
    assert await fetch(empty, "SELECT version_num FROM alembic_version") == [(scripts().get_current_head(),)]


async def test_there_is_one_head_and_one_base() -> None:
    assert len(scripts().get_heads()) == len(scripts().get_bases()) == 1


async def test_revisions_are_consecutive_numbers_of_four_digits() -> None:
    """`oldest_revision` is compared with them as a text."""
    revisions = [script.revision for script in scripts().walk_revisions()][::-1]
    assert revisions == [f"{number:04}" for number in range(1, len(revisions) + 1)]


async def test_the_version_before_the_newest_migration_may_work_on_the_tables(empty: str) -> None:
    await migrate(empty)
    ((oldest,),) = await fetch(empty, "SELECT oldest_revision FROM installation")
    before = scripts().get_revision("head").down_revision
    assert isinstance(before, str)
    assert "0019" <= str(oldest) <= before


def test_no_migration_builds_an_index_on_an_existing_table() -> None:
    """It would stop writes meanwhile. `schema.indexes` builds those of `schema.tables` CONCURRENTLY."""
    found = {
        script.revision: indexes_on_existing_tables(Path(script.path).read_text())
        for script in scripts().walk_revisions()
    }
    assert {revision for revision, tables in found.items() if tables and revision >= FIRST_WITHOUT_INDEXES} == set()
    assert found["0011"] == ["workflows"]
    assert found["0001"] == []


async def test_each_database_gets_an_id_of_its_own(server: TestServer, empty: str) -> None:
    await migrate(empty)
    async with database(server) as other:
        await migrate(other)
        assert await fetch(empty, "SELECT id FROM installation") != await fetch(other, "SELECT id FROM installation")


async def test_two_migrations_at_once_take_turns(empty: str) -> None:
    await asyncio.gather(*(migrate(empty) for _ in range(4)))
    assert await differences(empty) == []


async def test_a_migration_waits_while_another_holds_the_lock(empty: str) -> None:
    holder = await asyncpg.connect(empty)
    await holder.execute("SELECT pg_advisory_lock($1)", migrations._ADVISORY_LOCK)
    async with asyncio.TaskGroup() as group, asyncio.timeout(30):
        waiting = group.create_task(migrate(empty))
        while not await holder.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
            await asyncio.sleep(0.005)
        assert not waiting.done()
        assert await holder.fetchval("SELECT to_regclass('workflows')") is None
        await holder.execute("SELECT pg_advisory_unlock($1)", migrations._ADVISORY_LOCK)
    assert await differences(empty) == []
    await holder.close()


async def test_a_migration_that_fails_leaves_nothing_behind(empty: str) -> None:
    await fetch(empty, "CREATE TABLE tasks (a int)")
    with pytest.raises(Exception, match="already exists"):
        await migrate(empty)
    assert await fetch(empty, "SELECT to_regclass('workflows')::text, to_regclass('alembic_version')::text") == [
        (None, None)
    ]


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
async def test_addresses_of_every_form_lead_to_a_migrated_database(empty: str, scheme: str) -> None:
    _, _, rest = empty.partition("://")
    await migrate(f"{scheme}://{rest}&sslmode=disable&application_name=us")
    assert await fetch(empty, "SELECT version_num FROM alembic_version") == [(scripts().get_current_head(),)]
