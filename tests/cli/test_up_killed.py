"""`stepwell up` while its processes are killed: nothing is lost, and it comes back by itself or at the next start."""

import os
import signal
from pathlib import Path

import httpx

from support.processes.stepwell_process import PROGRAM, running_up, until
from support.workflows.image_pipelines import LONG, create, until_ended, until_running


def test_the_next_start_claims_the_workflows_of_a_killed_service(data_dir: Path) -> None:
    with running_up(data_dir, program=PROGRAM) as up, up.client() as client:
        workflow = create(client, LONG)
        until_running(up, client, workflow)
        up.kill()
        # No wait for what it leaves behind: the next start has to cope.
        with running_up(data_dir, program=PROGRAM) as second, second.client() as again:
            done = until_ended(again, workflow)
            assert done["status"] == "COMPLETED"
            events = again.get(f"/api/v1/workflows/{workflow}/events").json()["events"]
            assert [event["id"] for event in events] == list(range(1, len(events) + 1))
            assert [event["type"] for event in events].count("step.completed") == 1
            assert second.terminate() == 0


def test_a_dead_postmaster_is_respawned_under_load(data_dir: Path) -> None:
    with running_up(data_dir, program=PROGRAM) as up, up.client() as client:
        workflows = [create(client, 512) for _ in range(4)]
        until_running(up, client, workflows[0])
        for _ in range(2):
            old = up.postmaster
            os.kill(old, signal.SIGKILL)
            statuses: list[int] = []

            def back(old: int = old, statuses: list[int] = statuses) -> bool:
                answer = client.get("/health/ready")
                statuses.append(answer.status_code)
                assert answer.status_code == 200 or "retry-after" in answer.headers
                return answer.status_code == 200 and _postmaster(up.data_dir) not in (None, old)

            until(back, 20, lambda: up.stderr)
            assert set(statuses) == {200, 503}
        for workflow in workflows:
            assert until_ended(client, workflow)["status"] == "COMPLETED"
        assert up.stderr.count("postgres.back") == 2
        assert up.terminate() == 0
        assert up.processes() == set()


def _postmaster(data_dir: Path) -> int | None:
    try:
        return int((data_dir / "postgres/data/postmaster.pid").read_text().split()[0])
    except (OSError, IndexError):
        return None


def test_a_dead_worker_costs_a_retry(data_dir: Path) -> None:
    with running_up(data_dir, program=PROGRAM) as up, up.client() as client:
        retries = {"retry": {"base_s": 0}}
        workflow = create(client, LONG, config=retries)
        until_running(up, client, workflow)
        for pid in up.workers:
            os.kill(pid, signal.SIGKILL)
        done = until_ended(client, workflow)
        assert done["status"] == "COMPLETED"
        assert httpx.get(f"{up.url}/health/ready").status_code == 200
        assert up.terminate() == 0
