"""`stepwell up` while its processes are killed: nothing is lost, and it comes back by itself or at the next start."""

import os
import signal
from pathlib import Path

import httpx

from support.processes.held_image import ALLOWED, HeldImage
from support.processes.stepwell_process import PROGRAM, READY_S, running_up, until
from support.workflows.image_pipelines import LONG, create, until_ended, until_running


def test_the_next_start_continues_what_a_killed_service_and_its_postgresql_have_left(
    data_dir: Path, image: HeldImage
) -> None:
    with running_up(data_dir, ALLOWED, program=PROGRAM) as up, up.client() as client:
        workflow = create(client, steps=image.steps)
        image.wait_for_request()
        up.kill_group()
        image.release()
    with running_up(data_dir, ALLOWED) as up, up.client() as client:
        assert until_ended(client, workflow)["status"] == "COMPLETED"
        events = client.get(f"/api/v1/workflows/{workflow}/events").json()["events"]
        assert [event["id"] for event in events] == list(range(1, len(events) + 1))
        assert [event["type"] for event in events].count("step.completed") == 1
        tasks = client.get(f"/api/v1/workflows/{workflow}/tasks").json()["tasks"]
        assert [task["attempt"] for task in tasks] == [1]
        assert up.terminate() == 0
        assert up.processes() == set()


def test_a_start_does_not_wait_for_what_a_killed_service_leaves_behind(migrated_dir: Path, image: HeldImage) -> None:
    with running_up(migrated_dir, ALLOWED) as up, up.client() as client:
        workflow = create(client, steps=image.steps)
        image.wait_for_request()
        up.kill()
        with running_up(migrated_dir, ALLOWED) as second, second.client() as again:
            image.release()
            assert until_ended(again, workflow)["status"] == "COMPLETED"
            assert second.terminate() == 0


def test_a_dead_postmaster_is_respawned_under_load(migrated_dir: Path) -> None:
    with running_up(migrated_dir) as up, up.client() as client:
        workflows = [create(client, 256) for _ in range(4)]
        until_running(up, client, workflows[0])
        for respawns in range(1, 3):
            old = up.postmaster
            os.kill(old, signal.SIGKILL)
            statuses: list[int] = []

            def back(old: int = old, respawns: int = respawns, statuses: list[int] = statuses) -> bool:
                response = client.get("/health/ready")
                statuses.append(response.status_code)
                assert response.status_code == 200 or "retry-after" in response.headers
                responds = response.status_code == 200 and _postmaster(up.data_dir) not in (None, old)
                # Until `up` has seen that the server responds, another death would be a part of the first one.
                return responds and up.stderr.count("postgres.back") == respawns

            until(back, READY_S, lambda: up.stderr)
            assert set(statuses) <= {200, 503}
        for workflow in workflows:
            assert until_ended(client, workflow)["status"] == "COMPLETED"
        assert up.terminate() == 0
        assert up.processes() == set()


def _postmaster(data_dir: Path) -> int | None:
    try:
        return int((data_dir / "postgres/data/postmaster.pid").read_text().split()[0])
    except (OSError, IndexError):
        return None


def test_a_dead_child_process_costs_a_retry(migrated_dir: Path) -> None:
    with running_up(migrated_dir) as up, up.client() as client:
        workflow = create(client, LONG, config={"retry": {"base_s": 0}})
        until_running(up, client, workflow)
        for pid in up.workers:
            os.kill(pid, signal.SIGKILL)
        assert until_ended(client, workflow)["status"] == "COMPLETED"
        assert httpx.get(f"{up.url}/health/ready").status_code == 200
        assert up.terminate() == 0
