"""`stepwell up` on a real disk that is full, and then has space again.

`engine/test_disk_full.py` covers the same for machines that let no ordinary user mount a disk.
"""

import json
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from support.database.embedded_servers import ask
from support.processes.small_disk import create_large, up_on_small_disk
from support.processes.stepwell_process import StepwellProcess, until
from support.workflows.image_pipelines import create, until_ended

pytestmark = pytest.mark.extended

RECOVERS_S = 60.0


def metrics(client: httpx.Client) -> dict[str, float]:
    lines = [line.split() for line in client.get("/metrics").text.splitlines() if line.startswith("stepwell_d")]
    return {line[0]: float(line[1]) for line in lines}


def until_ready(running: StepwellProcess, client: httpx.Client) -> None:
    until(lambda: client.get("/health/ready").status_code == 200, RECOVERS_S, lambda: running.stderr)


def logged(running: StepwellProcess, *names: str) -> list[str]:
    entries: list[dict[str, Any]] = [json.loads(line) for line in running.stderr.splitlines() if line.startswith("{")]
    return [entry["event"] for entry in entries if entry["event"] in names]


def test_a_full_disk_is_reported_and_the_service_recovers_when_there_is_room(data_dir: Path) -> None:
    with up_on_small_disk(data_dir, "postgres", 200) as (running, disk, client):
        assert create_large(client).status_code == 201
        disk.fill()
        responses = [create_large(client) for _ in range(5)]
        assert {(response.status_code, response.headers.get("retry-after")) for response in responses} == {(507, "5")}
        ready = client.get("/health/ready")
        assert ready.status_code == 507
        assert ready.json()["detail"].startswith("the database's disk is full: ")
        assert metrics(client)["stepwell_disk_full"] == 1
        assert client.get("/health/live").status_code == 200
        assert client.get("/api/v1/workflows/").json()["total"] == 1
        disk.empty()
        until_ready(running, client)
        assert metrics(client)["stepwell_disk_full"] == 0
        assert create_large(client).status_code == 201
        assert logged(running, "disk.full", "disk.has_room", "postgres.died") == ["disk.full", "disk.has_room"]
        assert running.terminate() == 0


def test_a_server_that_died_of_a_full_disk_comes_back_with_all_that_was_acknowledged(data_dir: Path) -> None:
    with up_on_small_disk(data_dir, "postgres", 200) as (running, disk, client):
        created = [create_large(client).json()["id"] for _ in range(3)]
        disk.fill()
        die(running, data_dir)
        until(lambda: client.get("/health/ready").status_code == 507, RECOVERS_S, lambda: running.stderr)
        until(lambda: create_large(client).status_code == 507, RECOVERS_S, lambda: running.stderr)
        assert client.get("/health/live").status_code == 200
        disk.empty()
        until_ready(running, client)
        assert [until_ended(client, each)["status"] for each in created] == ["COMPLETED"] * 3
        assert create_large(client).status_code == 201
        assert logged(running, "disk.full", "disk.has_room") == ["disk.full", "disk.has_room"]
        assert running.terminate() == 0


def die(running: StepwellProcess, data_dir: Path) -> None:
    """Make PostgreSQL need a new segment of its log on a full disk, which ends the server."""
    sockets = f"/proc/{running.pid}/root{data_dir}/postgres/run"
    dsn = f"postgresql://stepwell@/stepwell?host={sockets}&port=5432"
    for _ in range(20):  # some may have been made before
        try:
            ask(dsn, "SELECT pg_switch_wal()", "SELECT pg_logical_emit_message(true, '', '')")
        except (asyncpg.PostgresError, OSError):
            break
    until(lambda: "postgres.died" in running.stderr, RECOVERS_S, lambda: running.stderr)


def test_an_output_is_stored_once_there_is_room(data_dir: Path) -> None:
    with up_on_small_disk(data_dir, "artifacts", 8) as (running, disk, client):
        disk.fill()
        workflow = create(client)
        until(lambda: client.get("/health/ready").status_code == 507, RECOVERS_S, lambda: running.stderr)
        assert client.get("/health/ready").json()["detail"].startswith("the disk for output files is full: ")
        disk.empty()
        until_ready(running, client)
        done = until_ended(client, workflow)
        assert (done["status"], [step["retry_count"] for step in done["steps"]]) == ("COMPLETED", [0, 0])
        assert logged(running, "disk.full", "disk.has_room") == ["disk.full", "disk.has_room"]
        assert running.terminate() == 0
