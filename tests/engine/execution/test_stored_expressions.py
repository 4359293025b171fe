"""Expressions of stored workflows, over PostgreSQL: those stored before there were any, a restart, named files."""

from pathlib import Path
from typing import Any

import asyncpg

from support.providers.scripted import ScriptedProvider, Succeed, passthrough_step, scripted_step
from support.service.live_service import Service, running_service


async def test_texts_of_workflows_stored_before_the_feature_are_never_evaluated(
    dsn: str, sql: asyncpg.Connection, tmp_path: Path
) -> None:
    async with running_service(dsn, tmp_path) as service:
        created = await service.create(passthrough_step("a", config={"x": "TEXT"}), start=False, inputs={"n": 1})
    await sql.execute("UPDATE steps SET definition = replace(definition::text, 'TEXT', '${inputs.n} $${b}')::json")
    async with running_service(dsn, tmp_path) as service:
        await service.verb(created["id"], "start")
        workflow = await service.until_ended(created["id"])
        definition = await service.client.get(f"/api/v1/workflows/{created['id']}/definition")
        again = await service.create(*definition.json()["steps"], inputs={"n": 1})
        repeated = await service.until_ended(again["id"])
    assert workflow["steps"][0]["result"] == {"x": "${inputs.n} $${b}"}
    assert repeated["steps"][0]["result"] == {"x": "${inputs.n} $${b}"}


async def test_expressions_read_the_same_after_a_restart(dsn: str, tmp_path: Path) -> None:
    provider = ScriptedProvider(script={"a": [Succeed({"text": "t" * 70_000, "n": 4})]})
    steps = [
        scripted_step("a", config={"prompt": "${inputs.x}"}),
        scripted_step("b", config={"prompt": "${a.n} ${workflow.labels.k} ${length(a.text)} ${inputs.x}"}),
    ]
    members: dict[str, Any] = {"inputs": {"x": "ü"}, "labels": {"k": "l:m"}}
    async with running_service(dsn, tmp_path, providers=[provider]) as service:
        created = await service.create(steps[0], passthrough_step("p", config={"x": "$${y}"}), steps[1], **members)
        done = await service.until_ended(created["id"])
        assert done["status"] == "COMPLETED", done["errors"]
        stopped = await service.create(*steps, start=False, **members)
    async with running_service(dsn, tmp_path, providers=[provider]) as service:
        await service.verb(stopped["id"], "start")
        done = await service.until_ended(stopped["id"])
        assert done["status"] == "FAILED"
    assert [call.inputs["prompt"] for call in provider.calls] == ["ü", "4 l:m 70000 ü", "ü"]
    assert done["errors"][0].startswith("b: Expression in config.prompt: a.n is null, which a text can't hold")


async def test_files_that_inputs_name_are_referenced_by_the_workflow(service: Service) -> None:
    upload = await service.client.post("/api/v1/artifacts", files={"file": ("a.txt", b"text", "text/plain")})
    path = upload.json()["artifacts"][0]["path"]
    step = passthrough_step("a", config={"x": "${inputs.photo}"})
    created = await service.create(step, start=False, inputs={"photo": path})
    refused = await service.client.delete(f"/api/v1/artifacts/{path}")
    assert refused.status_code == 409
    assert created["id"] in refused.json()["detail"]
