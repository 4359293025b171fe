"""A full disk, a database that takes no writes, and one that lacks resources: each is reported by its kind.

The database's own errors come from a trigger, so that every account can run this; `cli/test_up_disk_full.py` fills a
disk.
"""

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from structlog.testing import capture_logs

from stepwell.contract.enums import ProviderType
from stepwell.engine.explain.availability import Probe, WriteTarget
from support.database.failing_store import nothing_left
from support.database.postgres import TestServer, connected, database
from support.providers.scripted import Hang, ScriptedProvider, Succeed, eventually, passthrough_step, scripted_step
from support.service.explain_requests import explain
from support.service.live_service import Service, running_service

NO_ROOM, NO_MEMORY = "53100", "53200"
# What requests and the engine write, each first in some statement.
WRITTEN = ("workflows", "steps", "events", "tasks", "idempotency_keys", "deliveries", "processes")
IS_FULL = "the database's disk is full: nothing can be stored until space is freed there"
BODY = {"name": "n", "origin_instance": "o", "steps": [passthrough_step("a")]}
FILES_FULL = "the disk for output files is full: no output can be stored until space is freed there"


@pytest.fixture(autouse=True)
def quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepwell.engine.explain.availability._PROBE_S", 0.05)


@asynccontextmanager
async def refusing(dsn: str, state: str = NO_ROOM, *tables: str) -> AsyncIterator[None]:
    """Make the database refuse every row for *tables* (default: all) with the SQLSTATE *state*."""
    sql = await asyncpg.connect(dsn)
    function = f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '{state}'; END $$"""
    triggers = [
        f"CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()"
        for table in tables or WRITTEN
    ]
    await _execute_alone(sql, ";".join([function, *triggers]))  # all at once
    try:
        yield
    finally:
        await _execute_alone(sql, "DROP FUNCTION refuse() CASCADE")
        await sql.close()


async def _execute_alone(sql: asyncpg.Connection, statements: str) -> None:
    """Execute *statements* while nobody else uses the tables, so that no lock of theirs can end in a deadlock."""
    async with asyncio.timeout(30):
        while True:
            with suppress(asyncpg.LockNotAvailableError):
                async with sql.transaction():
                    await sql.execute(f"LOCK TABLE {', '.join(WRITTEN)} IN ACCESS EXCLUSIVE MODE NOWAIT")
                    await sql.execute(statements)
                    return
            await asyncio.sleep(0.01)


def metric(service: Service, name: str) -> float:
    value: float = service.app.metrics.value(f"stepwell_{name}")
    return value


async def ready(service: Service) -> tuple[int, str]:
    """Return the status of the readiness check, and its detail."""
    response = await service.client.get("/health/ready")
    return response.status_code, response.json().get("detail", "")


async def until_ready(service: Service) -> None:
    async with asyncio.timeout(30):
        while (await ready(service))[0] != 200:
            await asyncio.sleep(0.01)


def count_probes(service: Service) -> list[WriteTarget]:
    """Return a list that gets the target of each probe from now on."""
    probes, probed = service.app.stores.probes, list[WriteTarget]()

    def counted(target: WriteTarget, probe: Probe) -> Probe:
        async def call() -> None:
            probed.append(target)
            await probe()

        return call

    for target, probe in probes.items():
        probes[target] = counted(target, probe)
    return probed


def events(logs: list[Any], *names: str) -> list[tuple[str, str, str | None]]:
    entries = [entry for entry in logs if entry["event"] in names]
    return [(entry["event"], entry["log_level"], entry.get("target")) for entry in entries]


async def test_a_create_on_a_full_disk_is_a_507_and_readiness_metric_and_log_report_it(
    dsn: str, tmp_path: Path
) -> None:
    async with running_service(dsn, tmp_path) as service:
        assert (await ready(service), metric(service, "disk_full")) == ((200, ""), 0)
        with capture_logs() as logs:
            async with refusing(dsn):
                for headers in ({}, {"Idempotency-Key": "once"}, {}):
                    response = await service.client.post("/api/v1/workflows/", json=BODY, headers=headers)
                    assert (response.status_code, response.headers["retry-after"]) == (507, "5")
                    assert (response.json()["title"], response.json()["detail"]) == ("Insufficient storage", IS_FULL)
                status, detail = await ready(service)
                assert (status, detail.startswith(f"{IS_FULL} (since 20")) == (507, True)
                assert detail.endswith("Z). Then the service continues by itself.")
                assert (metric(service, "disk_full"), metric(service, "database_away")) == (1, 0)
                assert (await service.client.get("/health/live")).status_code == 200
                assert (await service.client.get("/api/v1/workflows/")).json()["total"] == 0
            # No client writes any more, as behind a load balancer that has removed the process.
            await until_ready(service)
        assert metric(service, "disk_full") == 0
        assert events(logs, "disk.full", "disk.has_room") == [
            ("disk.full", "error", "database"),
            ("disk.has_room", "info", "database"),
        ]
        response = await service.client.post("/api/v1/workflows/", json=BODY, headers={"Idempotency-Key": "once"})
        assert (response.status_code, "idempotency-replayed" in response.headers) == (201, False)


@pytest.mark.parametrize("table", ["workflows", "steps", "events", "idempotency_keys"])
async def test_readiness_fails_as_long_as_a_create_would_fail(dsn: str, tmp_path: Path, table: str) -> None:
    async with running_service(dsn, tmp_path) as service:
        probed = count_probes(service)
        with capture_logs() as logs:
            async with refusing(dsn, NO_ROOM, table):
                response = await service.client.post("/api/v1/workflows/", json=BODY, headers={"Idempotency-Key": "k"})
                assert response.status_code == 507
                await eventually(lambda: len(probed) >= 3, "it has probed")
                assert (await ready(service))[0] == 507
            await until_ready(service)
        assert [event for event, *_ in events(logs, "disk.full", "disk.has_room")] == ["disk.full", "disk.has_room"]


async def test_nothing_is_probed_while_writes_succeed(dsn: str, tmp_path: Path) -> None:
    async with running_service(dsn, tmp_path) as service:
        async with refusing(dsn):
            assert (await service.client.post("/api/v1/workflows/", json=BODY)).status_code == 507
        await until_ready(service)
        probed = count_probes(service)
        for _ in range(3):
            await service.until_ended((await service.create(passthrough_step("a")))["id"])
        assert probed == []


async def test_work_goes_on_and_its_transitions_wait_for_disk_space(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepwell.engine.execution.workflow_access.COMMIT_S", 1.0)
    provider = ScriptedProvider(script={"a": [Hang(Succeed({"f": 1}))]})
    async with running_service(dsn, tmp_path, providers=[provider], grace_s=1) as service:
        waiting = (await service.create(scripted_step("c"), start=False))["id"]
        workflow_id = (await service.create(scripted_step("a"), scripted_step("b", "a")))["id"]
        await provider.until_called("a")
        with capture_logs() as logs:
            async with refusing(dsn):
                provider.release("a")
                await eventually(lambda: metric(service, "database_away") == 1, "its end waits to be recorded")
                assert metric(service, "disk_full") == 1
                explanation = await explain(service, workflow_id)
                assert explanation["reason"]["code"] == "disk_full"
                path = f"/api/v1/workflows/{waiting}"
                for method, route, body in [
                    ("POST", f"{path}/start", None),
                    ("PATCH", path, {"name": "m"}),
                    ("DELETE", path, None),
                    ("POST", f"{path}/cleanup", None),
                ]:
                    response = await service.client.request(method, route, json=body)
                    assert (response.status_code, response.headers["retry-after"]) == (507, "5"), route
                assert (await service.get(waiting))["status"] == "PENDING"
                assert provider.count("b") == 0
            workflow = await service.until_ended(workflow_id)
        assert [step["status"] for step in workflow["steps"]] == ["COMPLETED", "COMPLETED"]
        assert (provider.count("a"), provider.count("b")) == (1, 1)
        assert [event["id"] for event in await service.events(workflow_id)] == list(
            range(1, len(await service.events(workflow_id)) + 1)
        )
        await until_ready(service)
        assert events(logs, "disk.full", "checkpoint.delayed", "checkpoint.resumed") == [
            ("disk.full", "error", "database"),
            ("checkpoint.delayed", "warning", None),
            ("checkpoint.resumed", "info", None),
        ]
        await eventually(lambda: nothing_left(service))


async def test_a_verb_that_waits_for_disk_space_reports_that_it_may_still_take_effect(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepwell.engine.execution.workflow_access.COMMIT_S", 0.1)
    async with running_service(dsn, tmp_path, grace_s=1) as service:
        workflow_id = (await service.create(passthrough_step("a"), start=False))["id"]
        async with refusing(dsn):
            assert (await service.client.post("/api/v1/workflows/", json=BODY)).status_code == 507
            response = await service.verb(workflow_id, "start")
            assert response.status_code == 507
            assert response.json()["detail"] == f"{IS_FULL}; the request may still take effect"
        assert (await service.until_ended(workflow_id))["status"] == "COMPLETED"


async def test_a_database_out_of_memory_is_reported_with_that_cause(dsn: str, tmp_path: Path) -> None:
    async with running_service(dsn, tmp_path) as service:
        with capture_logs() as logs:
            async with refusing(dsn, NO_MEMORY):
                for _ in range(2):
                    response = await service.client.post("/api/v1/workflows/", json=BODY)
                    assert (response.status_code, response.json()["detail"]) == (503, "the database is out of memory")
        assert events(logs, "database.exhausted") == [("database.exhausted", "error", None)]
        assert (await ready(service), metric(service, "disk_full")) == ((200, ""), 0)


async def test_a_read_only_database_is_not_ready_until_it_takes_writes(dsn: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        stack.push_async_callback(set_read_only, dsn, "off")  # other tests use the server, too
        service = await stack.enter_async_context(running_service(dsn, tmp_path, grace_s=1))
        await service.until_ended((await service.create(passthrough_step("a")))["id"])
        with capture_logs() as logs:
            await set_read_only(dsn, "on")
            response = await eventually_refused(service)
            assert (response.status_code, response.json()["detail"].split(" (")[0]) == (
                503,
                "the database is read-only",
            )
            status, detail = await ready(service)
            assert (status, detail.split(" (")[0]) == (503, "the database is read-only")
            assert metric(service, "disk_full") == 0
            await set_read_only(dsn, "off")
            await until_ready(service)
        assert events(logs, "database.read_only", "database.writable", "disk.full") == [
            ("database.read_only", "error", "database"),
            ("database.writable", "info", "database"),
        ]
        assert (await service.client.post("/api/v1/workflows/", json=BODY)).status_code == 201


async def set_read_only(dsn: str, value: str) -> None:
    sql = await asyncpg.connect(dsn, server_settings={"default_transaction_read_only": "off"})
    await sql.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
    await sql.execute("SELECT pg_reload_conf()")
    await sql.close()


async def eventually_refused(service: Service) -> httpx.Response:
    """Return the first response to a create that isn't 201: a new setting takes a moment to reach the server."""
    async with asyncio.timeout(30):
        while (response := await service.client.post("/api/v1/workflows/", json=BODY)).status_code == 201:
            await asyncio.sleep(0.01)
    return response


async def test_an_output_without_disk_space_is_held_and_reported(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, sync = False, os.fsync

    def fsync(descriptor: int) -> None:
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr("stepwell.engine.attempts.attempt_io._DISK_RETRY_S", 0.05)
    provider = ScriptedProvider(ProviderType.CUSTOM, default=Succeed(files={"a.bin": b"paid for"}))
    async with running_service(dsn, tmp_path, providers=[provider], grace_s=1) as service:
        with capture_logs() as logs:
            full = True
            workflow_id = (await service.create(scripted_step("a", max_retries=0)))["id"]
            await eventually(lambda: metric(service, "disk_full") == 1, "it was noticed")
            status, detail = await ready(service)
            assert (status, detail.split(" (since")[0]) == (507, FILES_FULL)
            folder = service.artifacts / "media"
            assert [*folder.glob("*/*")] == [], "no half file is left"
            # The database takes writes all the same.
            await service.until_ended((await service.create(passthrough_step("a")))["id"])
            full = False
            assert (await service.until_ended(workflow_id))["status"] == "COMPLETED"
            await until_ready(service)
        assert (len([*folder.glob("*/a.bin")]), provider.count("a")) == (1, 1)
        assert events(logs, "disk.full", "disk.has_room") == [
            ("disk.full", "error", "artifacts"),
            ("disk.has_room", "info", "artifacts"),
        ]


async def test_an_output_without_disk_space_fails_its_attempt_shortly_before_its_time_is_up(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    provider = ScriptedProvider(ProviderType.CUSTOM, default=Succeed(files={"a.bin": b"paid for"}))
    async with running_service(dsn, tmp_path, providers=[provider], grace_s=1) as service:
        step = scripted_step("a", max_retries=0, config={"prompt": "p", "timeout_s": 11})
        workflow = await service.until_ended((await service.create(step))["id"])
        assert workflow["status"] == "FAILED"
        assert workflow["error_message"].startswith("a: the output could not be stored: ")
        assert workflow["error_message"].endswith(": No space left on device")


async def test_a_limit_of_temporary_files_does_not_keep_the_service_from_recovery(
    server: TestServer, template: str, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(database(server, template))
        async with connected(dsn) as sql:
            name = await sql.fetchval("SELECT current_database()")
            await sql.execute(f"ALTER DATABASE {name} SET temp_file_limit = 0")
        service = await stack.enter_async_context(running_service(dsn, tmp_path))
        async with refusing(dsn):
            assert (await service.client.post("/api/v1/workflows/", json=BODY)).status_code == 507
            assert (await ready(service))[0] == 507
        await until_ready(service)
