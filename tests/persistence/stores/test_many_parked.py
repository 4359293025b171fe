"""Many parked workflows cost a service nothing but their rows, until one of them is due."""

from pathlib import Path

import asyncpg

from support.database.many_parked import make_due, seed_parked
from support.database.statement_recorder import statements_sent, until_quiet
from support.providers.scripted import eventually
from support.service.live_service import running_service

_PARKED, _SOON_S, _LATER_S = 2_000, 3_600.0, 86_400.0
_MORE_AT_START = 3  # connections: a pool opens another one if two statements of the start overlap
# Autovacuum may work on the seeded rows meanwhile.
_CONNECTIONS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


async def test_no_memory_no_connection_and_no_statement_until_one_is_due(dsn: str, tmp_path: Path) -> None:
    sql = await asyncpg.connect(dsn)
    async with running_service(dsn, tmp_path):
        idle_connections = await sql.fetchval(_CONNECTIONS)
    first = await seed_parked(sql, _PARKED, first_in_s=_SOON_S, others_in_s=_LATER_S)
    async with running_service(dsn, tmp_path) as service:
        waiting, ownership = service.app.engine.workflow_queue, service.app.engine.ownership
        due_at = await sql.fetchval("SELECT wake_at FROM workflows WHERE id = $1", first)
        await eventually(
            lambda: waiting.next_due == due_at and ownership.resting,
            "it knows when the next one is due",
        )
        await until_quiet(service)
        sent = statements_sent(service)
        assert await sql.fetchval(_CONNECTIONS) <= idle_connections + _MORE_AT_START
        assert service.app.metrics.value("stepwell_workflows_in_memory") == 0
        await make_due(sql, first)
        assert statements_sent(service) == sent
        waiting.others_changed()  # as if the notification of another process had come
        assert (await service.until_ended(first))["status"] == "COMPLETED"
        assert await sql.fetchval("SELECT count(*) FROM workflows WHERE wake_at IS NULL") == 1
    await sql.close()
