from support.service import Service


async def test_pipeline(service: Service) -> None:
    w = await service.create({"id": "a", "task_type": "PASSTHROUGH", "config": {"x": 1}},
      {"id": "b", "task_type": "PASSTHROUGH", "depends_on": ["a"], "input_mappings": [{"from_step": "a", "from_field": "x", "to_field": "y"}]})
    done = await service.until_ended(w["id"])
    assert done["status"] == "COMPLETED", done
    assert done["final_step_result"] == {"y": 1}
    print(await service.events(w["id"]))
