"""`stepwell up`: from nothing to pictures, ended in order, gone on with, one at a time."""

import os
import resource
import signal
import socket
import stat
import sys
from pathlib import Path

import httpx
import jwt
import pytest

from support.processes.held_image import ALLOWED, HeldImage
from support.processes.stepwell_process import (
    READY_S,
    StepwellProcess,
    running_up,
    start,
    start_up,
    stepwell,
    until,
)
from support.workflows.image_pipelines import create, get, pipeline, until_ended


def test_up_runs_a_pipeline_and_continues_after_a_sigterm(data_dir: Path) -> None:
    with running_up(data_dir) as first, first.client() as client:
        assert stat.S_IMODE(data_dir.stat().st_mode) == (0o711 if os.geteuid() == 0 else 0o700)
        done = until_ended(client, create(client))
        assert done["status"] == "COMPLETED"
        picture = client.get(f"/api/v1/artifacts/{done['final_step_result']['result_image_path']}")
        assert (picture.status_code, picture.headers["content-type"]) == (200, "image/png")
        assert "server" not in picture.headers
        token = first.token
        assert first.stdout == f"Stepwell is ready on {first.url} (token in {data_dir}/token)\n"
        assert token not in first.stderr
        assert first.terminate() == 0
        assert first.processes() == set()
    with running_up(data_dir) as second:
        headers = {"Authorization": f"Bearer {token}"}  # the secret is the same
        again = httpx.get(f"{second.url}/api/v1/workflows/{done['id']}", headers=headers)
        assert again.json() == done
        assert second.terminate(signal.SIGINT) == 0
        assert second.processes() == set()


@pytest.mark.extended
def test_up_raises_its_limit_of_open_files(migrated_dir: Path) -> None:
    limited = ("sh", "-c", 'ulimit -Sn 256 && exec "$0" "$@"', sys.executable, "-m", "stepwell")
    running = start("up", migrated_dir, None, "--data-dir", str(migrated_dir), program=limited)
    try:
        soft, hard = resource.prlimit(running.wait_ready().pid, resource.RLIMIT_NOFILE)
        assert soft == min(hard, 65_536) > 256
    finally:
        running.kill_group()


def test_the_files_in_the_data_folder_are_private(up: StepwellProcess) -> None:
    mine = up.data_dir.stat()
    for name in ("secret", "token", "address"):
        found = (up.data_dir / name).stat()
        assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o600, mine.st_uid)
    assert stat.S_IMODE((up.data_dir / "artifacts").stat().st_mode) == 0o700
    claims = jwt.decode(up.token, (up.data_dir / "secret").read_text().strip(), ["HS256"], audience="stepwell")
    assert claims["scope"] == "workflows:read workflows:write definitions:read definitions:write tenants:all"
    assert claims["exp"] - claims["iat"] == 30 * 24 * 3600
    assert "tenant_id" not in claims


def test_the_folder_contains_the_address_while_up_runs(up: StepwellProcess, migrated_dir: Path) -> None:
    assert (up.data_dir / "address").read_text() == f"{up.url}\n"
    env = {
        "STEPWELL_DATABASE_URL": "postgresql://nowhere.invalid/x",
        "STEPWELL_DATA_DIR": "/nowhere",
        "STEPWELL_HOST": "192.0.2.1",
        "STEPWELL_PORT": "1",
    }
    with running_up(migrated_dir, env, "--host", "0.0.0.0") as other:  # options override settings
        port = httpx.URL(other.url).port
        assert (migrated_dir / "address").read_text() == f"http://127.0.0.1:{port}\n"
        assert other.terminate() == 0
        assert not (migrated_dir / "address").exists()


def test_a_second_up_on_the_same_folder_is_refused(up: StepwellProcess) -> None:
    refused = stepwell("up", "--port", "0", "--data-dir", up.data_dir)
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert refused.stderr == (
        f"stepwell: {up.data_dir}/postgres is in use by process {up.pid} (stepwell up): "
        "use that one, or choose another folder with --data-dir\n"
    )
    assert httpx.get(f"{up.url}/health/ready").status_code == 200


@pytest.mark.extended
def test_of_two_ups_at_once_one_is_refused(data_dir: Path) -> None:
    both = [start_up(data_dir), start_up(data_dir)]
    try:
        until(lambda: any(up.process.poll() is not None for up in both), READY_S)
        (refused,) = (up for up in both if up.process.poll() is not None)
        (winner,) = (up for up in both if up is not refused)
        assert refused.process.returncode == 1
        assert len(refused.stderr.splitlines()) == 1
        winner.wait_ready()
        assert winner.terminate() == 0
    finally:
        for up in both:
            up.kill_group()


def test_a_stop_within_the_grace_time_counts_no_retry(migrated_dir: Path, image: HeldImage) -> None:
    with running_up(migrated_dir, ALLOWED | {"STEPWELL_GRACE_S": "1"}) as up, up.client() as client:
        workflow = create(client, steps=image.steps)
        image.wait_for_request()
        assert up.terminate() == 0
        assert up.processes() == set()
    image.release()
    with running_up(migrated_dir, ALLOWED) as up, up.client() as client:
        done = until_ended(client, workflow)
        assert done["status"] == "COMPLETED"
        assert [step["retry_count"] for step in done["steps"]] == [0]
        tasks = client.get(f"/api/v1/workflows/{workflow}/tasks").json()["tasks"]
        assert [task["attempt"] for task in tasks] == [1]


def test_a_second_signal_ends_the_process_within_the_grace_time(migrated_dir: Path, image: HeldImage) -> None:
    with running_up(migrated_dir, ALLOWED | {"STEPWELL_GRACE_S": "3600"}) as up, up.client() as client:
        workflow = create(client, steps=image.steps)
        image.wait_for_request()
        up.process.send_signal(signal.SIGTERM)
        until(lambda: client.get("/health/ready").status_code == 503, READY_S)
        refused = client.post("/api/v1/workflows/", json=pipeline())
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert get(client, workflow)["status"] == "RUNNING"

        def ended() -> bool:  # what follows within a tenth of a second counts as the same signal
            up.process.send_signal(signal.SIGTERM)
            return up.process.poll() is not None

        until(ended, READY_S)
        assert up.process.returncode == 128 + signal.SIGTERM
        up.wait_gone()


def test_a_signal_before_up_is_ready_ends_it_in_order(data_dir: Path) -> None:
    up = start("up", data_dir)
    try:
        until((data_dir / "postgres").exists, READY_S)
        assert up.terminate() == 0
        assert "Traceback" not in up.stderr
        up.wait_gone()
    finally:
        up.kill_group()


def test_a_port_in_use_is_reported_in_one_line_before_there_is_a_database(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = stepwell("up", "--port", str(port), "--data-dir", data_dir)
    assert refused.returncode == 1
    assert refused.stderr == (
        f"stepwell: cannot listen on 127.0.0.1 port {port}: Address already in use: "
        "choose another port with --port or STEPWELL_PORT\n"
    )
    assert not (data_dir / "postgres/data").exists()


def test_an_address_of_another_machine_names_the_option_for_the_host(data_dir: Path) -> None:
    refused = stepwell("up", "--host", "192.0.2.1", "--port", "0", "--data-dir", data_dir)
    assert refused.returncode == 1
    assert refused.stderr.startswith("stepwell: cannot listen on 192.0.2.1 port 0: ")
    assert refused.stderr.endswith(": choose another host with --host or STEPWELL_HOST\n")
    assert not (data_dir / "postgres/data").exists()


def test_an_invalid_host_name_is_refused_with_the_option_to_change(data_dir: Path) -> None:
    for host in ("a..b", "a" * 64):
        refused = stepwell("up", "--host", host, "--port", "0", "--data-dir", data_dir)
        assert refused.returncode == 1
        assert refused.stderr == (
            f"stepwell: cannot listen on {host} port 0: Not a host name: "
            "choose another host with --host or STEPWELL_HOST\n"
        )


def test_an_unusable_folder_is_reported_in_one_line(data_dir: Path) -> None:
    data_dir.write_text("a file in the way")
    definition = data_dir.with_name("definition.json")
    definition.write_text("{}")
    for folder in (data_dir, data_dir / "below"):
        for command in (["up", "--port", "0"], ["run", definition]):
            refused = stepwell(*command, "--data-dir", folder)
            assert refused.returncode == 2
            assert refused.stderr.startswith(f"stepwell: cannot use the data folder {folder}: ")
            assert refused.stderr.endswith(
                ": let this user write there, or choose another folder with --data-dir or STEPWELL_DATA_DIR\n"
            )
            assert len(refused.stderr.splitlines()) == 1
    nobody = stepwell("ls", "--data-dir", data_dir / "below")
    assert (nobody.returncode, nobody.stderr.partition(": ")[2].startswith("no `stepwell up` runs on ")) == (5, True)


def test_data_of_another_major_version_are_reported_in_one_line(data_dir: Path) -> None:
    other = data_dir / "postgres/data"
    other.mkdir(parents=True)
    (other / "PG_VERSION").write_text("13\n")
    if os.geteuid() == 0:
        data_dir.chmod(0o711)
    refused = stepwell("up", "--port", "0", "--data-dir", data_dir)
    assert refused.returncode == 1
    assert "is of PostgreSQL 13" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_every_wrong_setting_has_its_line(data_dir: Path) -> None:
    env = {"STEPWELL_GRACE_S": "soon", "STEPWELL_LOG_FORMAT": "xml", "STEPWELL_DATA_DIR": str(data_dir)}
    refused = stepwell("up", env=env)
    assert refused.returncode == 2
    assert [line.split(":")[:2] for line in refused.stderr.splitlines()] == [
        ["stepwell", " STEPWELL_GRACE_S"],
        ["stepwell", " STEPWELL_LOG_FORMAT"],
    ]
    assert not data_dir.exists()
