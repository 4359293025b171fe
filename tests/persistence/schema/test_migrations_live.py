"""Tables are brought up to date while processes of the version before use them."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from stepwell.persistence.schema import migrations, startup
from stepwell.persistence.schema.migrations import script_folder
from stepwell.persistence.schema.startup import DatabaseRefused, prepare_database
from support.database.next_migration import add_migration

HEAD = "SELECT count(next) = 0 FROM {}.workflows"
WAITING = (
    "SELECT count(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database WHERE NOT l.granted AND datname"
)


@pytest.fixture
def old(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database of the version before: the code has a further migration."""
    folder = tmp_path / "migrations"
    add_migration(folder, "ALTER TABLE workflows ADD COLUMN next integer")
    monkeypatch.setattr(migrations, "script_folder", lambda: folder)
    return dsn


@pytest.fixture
def live(old: str, sql: asyncpg.Connection) -> asyncpg.Connection:
    """A process of the version before."""
    return sql


async def prepare(dsn: str, timeout_s: float = 30) -> None:
    await prepare_database(dsn, timeout_s=timeout_s, waiting=lambda _: None)


async def is_waiting(live: asyncpg.Connection) -> None:
    async with asyncio.timeout(60):
        while not await live.fetchval(f"{WAITING} = current_database()"):
            await asyncio.sleep(0.002)


async def test_a_migration_is_tried_again_after_a_deadlock(
    old: str, live: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(startup, "_MIGRATION_PAUSE_S", 0.01)
    await live.execute("SET deadlock_timeout = '1min'")  # so that the victim is the other one
    database_name = await live.fetchval("SELECT current_database()")
    await live.execute(f"ALTER DATABASE {database_name} SET deadlock_timeout = '20ms'")
    await live.execute("BEGIN; LOCK TABLE steps IN ROW EXCLUSIVE MODE")
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(prepare(old))
        await is_waiting(live)
        assert await live.fetchval("SELECT count(*) FROM workflows") == 0
        await live.execute("COMMIT")
    assert await live.fetchval(HEAD.format("public"))


async def test_a_migration_locks_all_tables_before_it_changes_one(old: str, live: asyncpg.Connection) -> None:
    """Else what has been done by then would have to be done again."""
    await live.execute("BEGIN; LOCK TABLE events IN ROW SHARE MODE")
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(prepare(old))
        await is_waiting(live)
        held = await live.fetch(
            "SELECT relation::regclass::text AS name FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted"
            " AND relation IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)"
        )
        assert {row["name"] for row in held} == {"workflows", "steps", "tasks"}
        await live.execute("COMMIT")
    assert await live.fetchval(HEAD.format("public"))


async def test_a_lock_that_is_not_granted_is_requested_again(
    old: str, live: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "_LOCK_TIMEOUT", "20ms")
    monkeypatch.setattr(startup, "_MIGRATION_PAUSE_S", 0.01)
    tries: list[str] = []

    async def counted(dsn: str) -> bool:
        tries.append(dsn)
        return await migrations.migrate(dsn)

    monkeypatch.setattr(startup, "migrate", counted)
    await live.execute("BEGIN; LOCK TABLE workflows IN ACCESS SHARE MODE")
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        preparing = group.create_task(prepare(old))
        while len(tries) < 3:
            await asyncio.sleep(0.005)
        assert not preparing.done()
        await live.execute("COMMIT")
    assert await live.fetchval(HEAD.format("public"))


async def test_a_migration_is_not_tried_for_longer_than_its_timeout(
    old: str, live: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "_LOCK_TIMEOUT", "20ms")
    monkeypatch.setattr(startup, "_MIGRATION_PAUSE_S", 0.01)
    await live.execute("BEGIN; LOCK TABLE workflows IN ACCESS SHARE MODE")
    async with asyncio.timeout(60):
        with pytest.raises(DatabaseRefused, match=r"can't be migrated: .*lock timeout"):
            await prepare(old, 0.4)


async def test_tables_that_are_up_to_date_are_not_locked(old: str, live: asyncpg.Connection) -> None:
    await prepare(old)
    await live.execute("BEGIN; LOCK TABLE workflows, steps, tasks, events IN ACCESS EXCLUSIVE MODE")
    async with asyncio.timeout(60):
        await prepare(old)
    await live.execute("COMMIT")


async def test_tables_of_a_newer_version_that_need_newer_code_are_refused(old: str, live: asyncpg.Connection) -> None:
    await prepare(old)
    known = await live.fetchval("SELECT version_num FROM schema_revision")
    await live.execute("UPDATE schema_revision SET version_num = '9999'")
    await live.execute("UPDATE installation SET oldest_revision = '9998'")
    with pytest.raises(DatabaseRefused) as refused:
        await prepare(old)
    assert str(refused.value) == (
        "the database was written by a newer version of Stepwell: its tables have revision 9999, which needs a version "
        f"with revision 9998 or later, and this one has {known}: start the newer version"
    )


@pytest.mark.parametrize("oldest", ["0001", None])
async def test_tables_of_a_newer_version_that_allow_this_one_are_used_and_left_as_they_are(
    old: str, live: asyncpg.Connection, oldest: str | None
) -> None:
    """`None` stands for this version itself. The newer version has dropped an index, which isn't built again."""
    await prepare(old)
    known = await live.fetchval("SELECT version_num FROM schema_revision")
    await live.execute("UPDATE schema_revision SET version_num = '9999'")
    await live.execute("UPDATE installation SET oldest_revision = $1", oldest or known)
    await live.execute("DROP INDEX workflows_list_by_zone")
    await live.execute("BEGIN; LOCK TABLE workflows, steps, tasks, events IN ACCESS EXCLUSIVE MODE")
    async with asyncio.timeout(60):
        await prepare(old)
    await live.execute("COMMIT")
    assert await live.fetchval("SELECT version_num FROM schema_revision") == "9999"
    assert await live.fetchval("SELECT to_regclass('workflows_list_by_zone') IS NULL")


async def test_a_migration_locks_only_tables_of_its_own_schema(
    old: str, live: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await live.execute("CREATE SCHEMA own; CREATE SCHEMA fresh")
    own, fresh = (f"{old}{'&' if '?' in old else '?'}search_path={name}" for name in ("own", "fresh"))
    with monkeypatch.context() as before:
        before.setattr(migrations, "script_folder", script_folder)
        await prepare(own)
    await live.execute("BEGIN; LOCK TABLE workflows, steps, tasks, events IN ACCESS EXCLUSIVE MODE")
    async with asyncio.timeout(60):
        await prepare(own)
        await prepare(fresh)
    await live.execute("COMMIT")
    assert await live.fetchval(HEAD.format("own"))
    assert await live.fetchval(HEAD.format("fresh"))
    with pytest.raises(asyncpg.UndefinedColumnError):
        await live.fetchval(HEAD.format("public"))
