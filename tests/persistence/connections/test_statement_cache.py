"""The prepared statements of the engine's connections."""

from stepwell.persistence.connections.database import asyncpg_connect

PREPARED = "SELECT generic_plans + custom_plans FROM pg_prepared_statements WHERE statement = $1"


async def test_a_statement_is_prepared_once_however_long_it_is(shared_dsn: str) -> None:
    connection = await asyncpg_connect(shared_dsn, timeout_s=10)()
    statement = f"SELECT $1::int /* {'long ' * 20_000}*/"
    for number in range(3):
        assert await connection.fetchval(statement, number) == number
    assert await connection.fetchval(PREPARED, statement) == 3
    await connection.close()
