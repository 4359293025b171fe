"""A command at an address where something else than Stepwell responds says so, and exits with 5."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from msgspec import json

from stepwell.cli.workflow_commands import command_context
from support.processes.command_line import CommandLine
from support.workflows.image_pipelines import pipeline

MISSING = "00000000-0000-0000-0000-000000000000"
PAGE = (200, "text/html", b"<html>a portal</html>")
STREAM = (200, "text/event-stream", b"retry: 1\n\n")
BROKEN_STREAM = (200, "text/event-stream", b'event: step.started\nid: 1\ndata: {"id": 1}\n\n')
WORKFLOW: dict[str, Any] = {
    "id": MISSING,
    "name": "n",
    "status": "RUNNING",
    "total_steps": 1,
    "completed_steps": 0,
    "progress": 0,
    "config": {},
    "suppress_subtask_events": True,
    "origin_instance": "tests",
    "errors": [],
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z",
}
FOUND = (200, "application/json", json.encode(WORKFLOW))
LIST = (200, "application/json", json.encode({"workflows": [], "total": None, "limit": 1, "skip": 0}))

Response = tuple[int, str, bytes]


@contextmanager
def serving(response: Response, stream: Response | None = None) -> Iterator[str]:
    """Serve *response* for every request, and *stream* for those that want a stream of events. Yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wants_stream = self.headers["Accept"] == "text/event-stream"
            status, kind, content = stream if stream is not None and wants_stream else response
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "response",
    [
        PAGE,
        (200, "application/json", b'{"hello": 1}'),
        (404, "text/html", b"<html>Not found</html>"),
        (404, "application/json", b'{"detail": "Not Found"}'),
        (405, "text/plain", b"no"),
    ],
    ids=["a page", "JSON", "a page for 404", "JSON for 404", "405"],
)
@pytest.mark.parametrize("command", [["ls"], ["show", MISSING], ["submit", "-"], ["watch", MISSING], ["top"]])
def test_a_response_of_another_server_is_reported_as_one(
    response: Response, command: list[str], user: CommandLine
) -> None:
    with serving(response) as url:
        done = user(*command, "--url", url, "--token", "t", stdin=json.encode(pipeline()).decode())
    assert (done.code, done.out) == (5, "")
    assert done.err.splitlines()[-1] == f"stepwell: is {url} the address of a Stepwell service, and of this version?"


@pytest.mark.parametrize("command", [["watch", MISSING], ["events", MISSING, "-f"], ["events", "-f"]], ids=" ".join)
def test_a_stream_that_ends_at_once_again_and_again_is_not_followed_for_ever(
    command: list[str], user: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_context, "_RESTART_S", 0.5)
    with serving(FOUND if MISSING in command else LIST, STREAM) as url:
        done = user(*command, "--url", url, "--token", "t")
    assert (done.code, done.out) == (5, "")
    assert done.err.startswith(f"stepwell: {url} ended the stream GET /api/v1/")
    assert done.err.endswith("/events at once, without an event\n")


def test_an_invalid_event_of_a_stream_is_reported(user: CommandLine) -> None:
    with serving(FOUND, BROKEN_STREAM) as url:
        done = user("events", MISSING, "-f", "--url", url, "--token", "t")
    assert (done.code, done.out) == (5, "")
    assert done.err.startswith("stepwell: an event of the stream isn't one of Stepwell's API, or is of another version")
