"""Many parked workflows cost a service nothing but their rows, until one of them is due."""

from pathlib import Path

import asyncpg

from support.database.many_parked import seed_parked
from support.database.statement_recorder import statements_sent
from support.providers.scripted import eventually
from support.service.live_service import running_service

_PARKED, _LATER_S = 2_000, 86_400.0
_CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


async def test_no_memory_no_connection_and_no_statement_until_one_is_due(dsn: str, tmp_path: Path) -> None:
    sql = await asyncpg.connect(dsn)
    async with running_service(dsn, tmp_path):
        idle_connections = await sql.fetchval(_CONNECTIONS)
    due = await seed_parked(sql, _PARKED, first_in_s=3, others_in_s=_LATER_S)
    async with running_service(dsn, tmp_path) as service:
        admission = service.app.services.admission
        await eventually(lambda: admission.next_due is not None, "it knows when the next one is due")
        sent = statements_sent(service)
        connections = await sql.fetchval(_CONNECTIONS)
        completed = "SELECT status = 'COMPLETED' FROM workflows WHERE id = $1"
        assert service.app.metrics.value("stepwell_workflows_in_memory") == 0
        await eventually(lambda: statements_sent(service) > sent or admission.next_due is None, "one is due")
        assert statements_sent(service) - sent <= 1  # the look for what is due
        await service.until_ended(due)
        assert await sql.fetchval(completed, due)
        assert await sql.fetchval("SELECT count(*) FROM workflows WHERE wake_at IS NULL") == 1
        assert connections <= idle_connections
    await sql.close()
