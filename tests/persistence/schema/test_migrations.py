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
from sqlalchemy.dialects import postgresql
from sqlalchemy.pool import NullPool

from stepwell.persistence.connections.database import create_engine
from stepwell.persistence.schema import migrations
from stepwell.persistence.schema.migrations import VERSION_TABLE, migrate, newest_revision, script_folder
from stepwell.persistence.schema.startup import DatabaseRefused, prepare_database
from stepwell.persistence.schema.tables import metadata
from stepwell.persistence.tables.column import RowType
from support.database.postgres import TestServer, connected, database
from support.documents.schema_sheet import SHEET, schema_sheet
from support.generated import COMMAND

CREATED_INDEX = re.compile(r"\bCREATE\s+(UNIQUE\s+)?INDEX\b|\bop\.create_index\b", re.IGNORECASE)
PRE_RELEASE = (
    "the database was written by a pre-release of Stepwell, which no release can use: begin with an empty database or "
    "data folder"
)


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
        options = {"compare_type": True, "compare_server_default": True, "version_table": VERSION_TABLE}
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
    wanted = [
        (name, column.name, str(column.type.compile(postgresql.dialect())).lower())  # type: ignore[no-untyped-call]
        for name, own in sorted(RowType.by_name.items())
        for column in own.columns
    ]
    # Types of earlier versions stay, for processes of theirs.
    assert [row for row in columns if row[0] in RowType.by_name] == wanted


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
    assert await fetch(empty, "SELECT version_num FROM schema_revision") == [(scripts().get_current_head(),)]


async def test_there_is_one_head_and_one_base() -> None:
    assert len(scripts().get_heads()) == len(scripts().get_bases()) == 1
    assert scripts().get_current_head() == newest_revision()


async def test_revisions_are_consecutive_numbers_of_four_digits() -> None:
    """`oldest_revision` is compared with them as a text."""
    revisions = [script.revision for script in scripts().walk_revisions()][::-1]
    assert revisions == [f"{number:04}" for number in range(1, len(revisions) + 1)]


async def test_the_version_before_the_newest_migration_may_work_on_the_tables(empty: str) -> None:
    await migrate(empty)
    ((oldest,),) = await fetch(empty, "SELECT oldest_revision FROM installation")
    newest = scripts().get_revision("head")
    assert "0001" <= str(oldest) <= str(newest.down_revision or newest.revision)


def test_no_migration_creates_an_index() -> None:
    """It would stop writes meanwhile. `schema.indexes` builds those of `schema.tables` CONCURRENTLY."""
    sources = {script.revision: Path(script.path).read_text() for script in scripts().walk_revisions()}
    assert [revision for revision, source in sources.items() if CREATED_INDEX.search(source)] == []


async def test_the_sheet_shows_the_database(empty: str) -> None:
    await migrate(empty)
    async with connected(empty) as connection:
        assert await schema_sheet(connection) == SHEET.read_text(), f"run: {COMMAND} schema"


async def test_the_sheet_refuses_what_it_cannot_show(empty: str) -> None:
    await fetch(empty, "CREATE VIEW shown AS SELECT 1 AS number")
    async with connected(empty) as connection:
        with pytest.raises(ValueError, match="shown"):
            await schema_sheet(connection)


async def make_pre_release(dsn: str, revision: str) -> None:
    await fetch(dsn, "CREATE TABLE workflows (id uuid)")
    await fetch(dsn, f"CREATE TABLE alembic_version AS SELECT '{revision}' AS version_num")


@pytest.mark.parametrize("revision", ["0001", "0033"])
async def test_a_database_of_a_pre_release_is_refused_and_stays_as_it_is(empty: str, revision: str) -> None:
    await make_pre_release(empty, revision)
    with pytest.raises(DatabaseRefused, match=f"^{PRE_RELEASE}$"):
        await prepare_database(empty, timeout_s=30, waiting=lambda _: None)
    assert await fetch(empty, "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY 1") == [
        ("alembic_version",),
        ("workflows",),
    ]


async def test_the_alembic_version_of_another_program_does_not_matter(empty: str) -> None:
    await fetch(empty, "CREATE TABLE alembic_version AS SELECT 'a1b2' AS version_num")
    await migrate(empty)
    assert await fetch(empty, "SELECT version_num FROM alembic_version") == [("a1b2",)]
    assert await fetch(empty, "SELECT count(*) FROM workflows") == [(0,)]


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
    assert await fetch(empty, "SELECT to_regclass('workflows')::text, to_regclass('schema_revision')::text") == [
        (None, None)
    ]


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
async def test_addresses_of_every_form_lead_to_a_migrated_database(empty: str, scheme: str) -> None:
    _, _, rest = empty.partition("://")
    await migrate(f"{scheme}://{rest}&sslmode=disable&application_name=us")
    assert await fetch(empty, "SELECT version_num FROM schema_revision") == [(scripts().get_current_head(),)]
