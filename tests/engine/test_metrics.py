import re

from support.service import Service


async def test_the_engine_tells_what_it_does(service: Service) -> None:
    created = await service.create({"id": "a", "task_type": "PASSTHROUGH"}, {"id": "b", "task_type": "PASSTHROUGH"})
    await service.until_ended(created["id"])
    text = (await service.client.get("/metrics")).text
    told = {name: float(value) for name, value in re.findall(r"^(stepwell_\w+) (\S+)$", text, re.MULTILINE)}
    assert told["stepwell_steps_running"] == told["stepwell_steps_waiting"] == told["stepwell_database_away"] == 0
    assert told["stepwell_workflows_in_memory"] == 0
    assert told["stepwell_checkpoint_batches"] >= 2
    # Two steps started and completed, and the workflow; its first two events were inserted with it.
    assert told["stepwell_checkpoint_events"] == 5
