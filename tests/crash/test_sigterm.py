"""SIGTERM in the middle of the work: out after the grace time, and on from there at the next start."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from support.processes.crash_observer import ENDED, Observer, check_history, check_tasks
from support.processes.stepwell_process import StepwellProcess, running_up, start_up, until
from support.workflows.crash_scenarios import OPEN, SCENARIOS, Scenario

GRACE_S = 1


def test_a_long_attempt_is_cut_off_and_taken_up_again_uncounted(data_dir: Path) -> None:
    observer = Observer()
    with _slow_picture() as (url, asked, may_respond):
        refine = {"id": "refine", "task_type": "REFINE", "config": {"base_image_url": url}}
        running = start_up(data_dir, OPEN | {"STEPWELL_GRACE_S": str(GRACE_S)})
        try:
            with running.wait_ready().client() as client:
                observer.create(client, Scenario("long", (refine,)))
                [workflow_id] = observer.promised
                assert asked.wait(120)
                begun = _step(client, workflow_id)
            running.process.terminate()
            assert running.wait() == 0
        finally:
            running.kill_group()
        with running_up(data_dir, OPEN) as running, running.client() as client:
            again = _step(client, workflow_id)
            assert (again["status"], again["task_id"], again["retry_count"]) == ("RUNNING", begun["task_id"], 0)
            assert again["started_at"] == begun["started_at"]
            may_respond.set()
            until(lambda: _step(client, workflow_id)["status"] == "COMPLETED", 600)
            _check(running, client, observer)


@contextmanager
def _slow_picture() -> Iterator[tuple[str, threading.Event, threading.Event]]:
    """Yield the URL of a picture, an event of the first request, and one until which no request gets a response."""
    asked, may_respond, picture = threading.Event(), threading.Event(), BytesIO()
    Image.new("RGB", (64, 64)).save(picture, "PNG")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.set()
            may_respond.wait()
            with suppress(OSError):  # who asked has been cut off
                self.send_response(200)
                self.send_header("Content-Type", "image/png")
                self.end_headers()
                self.wfile.write(picture.getvalue())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/picture.png", asked, may_respond
        finally:
            may_respond.set()
            server.shutdown()


@pytest.mark.extended
def test_five_stops_at_random_moments_lose_and_count_nothing(data_dir: Path) -> None:
    chance, observer = random.Random(), Observer()
    for number in range(5):
        running = start_up(data_dir, OPEN | {"STEPWELL_GRACE_S": str(GRACE_S)})
        try:
            with running.wait_ready().client() as client:
                for scenario in chance.sample(SCENARIOS, 4):
                    observer.create(client, scenario)
                for _ in range(number * 3):
                    observer.push(client)
                    observer.read_workflows(client)
            running.process.terminate()
            assert running.wait() == 0, running.stderr
            assert running.processes() == set()
        finally:
            running.kill_group()
    with running_up(data_dir, OPEN) as running, running.client() as client:
        until(lambda: _all_ended(observer, client), 600)
        observer.check_promises(observer.read_workflows(client))
        _check(running, client, observer)


def _check(running: StepwellProcess, client: httpx.Client, observer: Observer) -> None:
    for workflow in observer.read_workflows(client):
        check_history(client, workflow)
        check_tasks(client, workflow, observer.promised[workflow["id"]], running.data_dir / "artifacts")


def _all_ended(observer: Observer, client: httpx.Client) -> bool:
    observer.push(client)
    return all(workflow["status"] in ENDED for workflow in observer.read_workflows(client))


def _step(client: httpx.Client, workflow_id: str) -> dict[str, Any]:
    [step] = client.get(f"/api/v1/workflows/{workflow_id}").json()["steps"]
    found: dict[str, Any] = step
    return found
