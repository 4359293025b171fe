"""A process that stops hands over the workflows that have no attempt, while attempts of others still end."""

import asyncio
from pathlib import Path

from stepwell.testing import MemoryDatabase
from support.providers.scripted import Hang, ScriptedProvider, eventually, scripted_step
from support.service.live_service import Service, running_service


async def test_a_queued_workflow_goes_on_elsewhere_before_a_long_attempt_ends(dsn: str, tmp_path: Path) -> None:
    await hand_over(dsn, tmp_path)


async def test_the_database_in_memory_hands_over_in_the_same_way(
    memory_in_real_time: MemoryDatabase, tmp_path: Path
) -> None:
    await hand_over(memory_in_real_time, tmp_path)


async def stop_in_order(service: Service) -> None:
    await service.app.stop()


async def hand_over(database: str | MemoryDatabase, folder: Path) -> None:
    hanging = ScriptedProvider(default=Hang())
    async with running_service(database, folder, providers=[ScriptedProvider()], exclusive=False, lease_s=600) as other:
        async with running_service(
            database, folder, providers=[hanging], exclusive=False, lease_s=600, max_running_steps=1, grace_s=60
        ) as stopping:
            long = await stopping.create(scripted_step("long"))
            await hanging.until_called("long")
            queued = await stopping.create(scripted_step("queued"))
            async with asyncio.TaskGroup() as group:
                stop = group.create_task(stop_in_order(stopping))
                assert (await other.until_ended(queued["id"]))["status"] == "COMPLETED"
                assert not stop.done()
                assert (await other.get(long["id"]))["status"] == "RUNNING"
                hanging.release("long")
            await eventually(stopping.app.running.done)
        assert (await other.until_ended(long["id"]))["status"] == "COMPLETED"
