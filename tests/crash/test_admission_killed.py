"""kill -9 at every point of an admission: each workflow completes once, and a tenant's start in their order."""

import signal
from pathlib import Path

import asyncpg
import pytest

from support.processes.forks import call_in_fork
from support.processes.killed_admission import admit_and_die
from support.providers.configured_by_steps import ConfiguredProvider, configured_step
from support.service.live_service import running_service

_EACH, _TENANTS = 4, ("a", "b")
_EVENTS = """
SELECT w.tenant, w.id FROM events AS e JOIN workflows AS w ON w.id = e.workflow_id WHERE e.type = $1
ORDER BY w.tenant, e.at
"""


@pytest.mark.extended
async def test_workflows_that_wait_complete_once_and_in_their_order_whenever_their_process_is_killed(
    dsn: str, tmp_path: Path
) -> None:
    sql = await asyncpg.connect(dsn)
    created = []
    async with running_service(
        dsn, tmp_path, providers=[ConfiguredProvider()], max_active_workflows=len(_TENANTS)
    ) as service:
        for number in range(_EACH * len(_TENANTS)):
            step = configured_step(f"s{number}", wait=True)
            workflow = await service.create(step, origin_tenant_id=_TENANTS[number % len(_TENANTS)])
            created.append(workflow["id"])
    # From now on the steps wait for nothing.
    await sql.execute("UPDATE steps SET definition = replace(definition::text, 'true', 'false')::json")
    deaths = 0
    while True:
        code = await call_in_fork(admit_and_die, dsn, tmp_path, len(_TENANTS), deaths)
        if code == 0:
            break
        assert code == -signal.SIGKILL, deaths
        deaths += 1
    assert deaths >= 5
    in_order = [(tenant, each) for number, tenant in enumerate(_TENANTS) for each in created[number :: len(_TENANTS)]]
    found = {
        event: [(row["tenant"], str(row["id"])) for row in await sql.fetch(_EVENTS, event)]
        for event in ("step.started", "step.completed", "workflow.completed")
    }
    await sql.close()
    assert found["step.started"] == in_order
    # Those that a killed process has begun continue beside those that are admitted, so they end in any order.
    assert sorted(found["step.completed"]) == sorted(found["workflow.completed"]) == sorted(in_order)
