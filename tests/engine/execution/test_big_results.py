from support.service.live_service import Service

BIG = "x" * 600_000


async def test_a_result_that_is_too_big_is_a_clear_step_error(service: Service) -> None:
    twice = {
        "id": "twice",
        "task_type": "PASSTHROUGH",
        "depends_on": ["once"],
        "input_mappings": [
            {"from_step": "once", "from_field": "text", "to_field": "first"},
            {"from_step": "once", "from_field": "text", "to_field": "second"},
        ],
    }
    created = await service.create({"id": "once", "task_type": "PASSTHROUGH", "config": {"text": BIG}}, twice)
    ended = await service.until_ended(created["id"])
    assert ended["status"] == "FAILED"
    assert ended["errors"] == [
        "twice: the result is over 1,048,576 bytes: files belong into artifacts, their paths into results"
    ]
    assert ended["steps"][1]["retry_count"] == 0


async def test_many_big_results_are_no_outage(service: Service) -> None:
    steps = [
        {
            "id": str(n),
            "task_type": "PASSTHROUGH",
            "depends_on": ["once"],
            "input_mappings": [{"from_step": "once", "from_field": "text", "to_field": "text"}],
        }
        for n in range(60)
    ]
    once = {"id": "once", "task_type": "PASSTHROUGH", "config": {"text": BIG}}
    body = await service.create(once, *steps)
    async with service.as_tenant(every=True) as client:
        # Step results are left out here: 36 MB of them would only slow the polling down.
        path = "/api/v1/workflows/"
        while (found := (await client.get(path, params={"include_steps": False})).json()["workflows"][0])[
            "progress"
        ] < 100:
            assert found["status"] == "RUNNING"
    assert found["id"] == body["id"]
    batches = service.app.components.engine.scheduler.checkpointer.batches
    assert batches >= 60 * len(BIG) / (4 * 1024 * 1024)
