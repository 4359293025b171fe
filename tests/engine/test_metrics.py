import asyncio
import re

from support.service import Service


async def test_the_engine_tells_what_it_does(service: Service) -> None:
    created = await service.create({"id": "a", "task_type": "PASSTHROUGH"}, {"id": "b", "task_type": "PASSTHROUGH"})
    await service.until_ended(created["id"])
    async with asyncio.timeout(10):
        while (told := await _told(service))["stepwell_workflows_in_memory"]:
            await asyncio.sleep(0.01)  # its end is on disk a moment before it has left the memory
    assert told["stepwell_steps_running"] == told["stepwell_steps_waiting"] == told["stepwell_database_away"] == 0
    assert told["stepwell_checkpoint_batches_total"] >= 2
    # Two steps started and completed, and the workflow; its first two events were inserted with it.
    assert told["stepwell_checkpoint_events_total"] == 5


async def _told(service: Service) -> dict[str, float]:
    text = (await service.client.get("/metrics")).text
    return {name: float(value) for name, value in re.findall(r"^(stepwell_\w+) (\S+)$", text, re.MULTILINE)}
