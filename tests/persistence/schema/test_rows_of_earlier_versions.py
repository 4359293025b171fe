"""Workflows that an earlier version has stored continue after the migration."""

from pathlib import Path

from stepwell.persistence.schema.migrations import migrate
from support.database.old_versions import fill_as_of_0009
from support.database.postgres import TestServer, database
from support.providers.configured_by_steps import ConfiguredProvider
from support.service.live_service import running_service, statuses_of


async def test_workflows_of_revision_0009_continue_from_where_they_stood(server: TestServer, tmp_path: Path) -> None:
    provider = ConfiguredProvider()
    async with database(server) as dsn:
        workflows = await fill_as_of_0009(dsn)
        await migrate(dsn)
        provider.release(workflows["running"], "b")
        async with running_service(
            dsn, tmp_path, providers=[provider], max_active_workflows=2, max_running_steps=1
        ) as service:
            before = {name: await service.get(each) for name, each in workflows.items() if name != "deleted"}
            for name in ("running", "queued"):
                assert (await service.until_ended(workflows[name]))["status"] == "COMPLETED"
            for name, verb in (("pending", "start"), ("paused", "resume")):
                assert before[name]["status"] == name.upper()
                assert (await service.verb(workflows[name], verb)).status_code == 200
                assert (await service.until_ended(workflows[name]))["status"] == "COMPLETED"
            assert (await service.verb(workflows["failed"], "resume")).status_code == 200
            failed = await service.until_ended(workflows["failed"])
            assert (failed["status"], statuses_of(failed)) == ("FAILED", {"a": "FAILED", "b": "PENDING"})
            for name in ("completed", "cancelled"):
                assert (before[name]["status"], await service.get(workflows[name])) == (name.upper(), before[name])
            for name in ("completed", "running", "paused"):
                events = [event["type"] for event in await service.events(workflows[name])]
                assert events.count("step.completed") == before[name]["total_steps"]
                assert events.count("workflow.completed") == 1
            attempts = [(task["step_id"], task["attempt"]) for task in await service.tasks(workflows["running"])]
            assert sorted(attempts) == [("a", 1), ("b", 1), ("c", 1)]


async def test_a_deleted_workflow_of_revision_0009_stays_deleted_and_its_cleanup_may_be_repeated(
    server: TestServer, tmp_path: Path
) -> None:
    async with database(server) as dsn:
        workflows = await fill_as_of_0009(dsn)
        workflow_id, provider = workflows["deleted"], ConfiguredProvider()
        await migrate(dsn)
        provider.release(workflows["running"], "b")
        async with running_service(dsn, tmp_path, providers=[provider]) as service:
            assert (await service.get(workflow_id))["is_deleted"] is True
            assert (await service.verb(workflow_id, "start")).status_code == 409
            answer = await service.verb(workflow_id, "cleanup")
            assert (answer.status_code, answer.json()["cleanup"]["errors"]) == (200, [])
