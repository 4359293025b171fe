"""The plans of all statements that the stores send are those of the snapshots.

The tests that send the statements fail if one isn't in the snapshots: see `only_recorded_statements` in `conftest`.
"""

import asyncpg
import pytest

from support.snapshots import changes, statements


async def test_each_statement_has_the_plan_of_the_snapshot(dsn: str, sql: asyncpg.Connection) -> None:
    major = sql.get_server_version().major
    if major != statements.POSTGRES:
        pytest.skip(f"PostgreSQL {major}: the recorded plans are those of {statements.POSTGRES}")
    now = await statements.snapshots(dsn, statements.recorded_statements())
    if differences := [difference for name, text in now.items() if (difference := changes(name, text))]:
        pytest.fail("\n\n".join(differences), pytrace=False)
