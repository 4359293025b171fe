"""`stepwell health`, which is the health check of the image: against a live service, and where there is none."""

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from stepwell.cli import health
from support.processes.command_line import CommandLine
from support.processes.source_tree import TOP
from support.processes.stepwell_process import StepwellProcess

PROXIES = {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}

Check = Callable[..., tuple[int, str, str]]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    """Run the image's health check with `STEPWELL_<NAME>` settings. Returns exit code, stdout and stderr."""
    command = re.findall(r"^HEALTHCHECK .*CMD (\[.*\])$", (TOP / "deploy/Dockerfile").read_text(), re.MULTILINE)
    program, *arguments = json.loads(command[0])
    assert program == "stepwell"
    user = CommandLine(tmp_path, monkeypatch, capsys)
    user.export(**PROXIES)

    def run(**settings: str) -> tuple[int, str, str]:
        user.export(**{f"STEPWELL_{name}": value for name, value in settings.items()})
        return user(*arguments)

    return run


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


@contextmanager
def server(status: int, body: bytes = b"") -> Iterator[str]:
    """A server that responds to every request with *status* and *body*; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield str(http.server_port)
        finally:
            http.shutdown()
            thread.join()


def test_the_health_check_follows_host_and_port(check: Check, up: StepwellProcess) -> None:
    port = str(httpx.URL(up.url).port)
    assert check(HOST="0.0.0.0", PORT=port) == (0, "ready\n", "")
    assert check(HOST="localhost", PORT=port) == (0, "ready\n", "")
    nobodys = free_port()
    code, out, error = check(HOST="0.0.0.0", PORT=nobodys)
    assert (code, out) == (1, "")
    assert error.startswith(f"stepwell: the service on 127.0.0.1 port {nobodys} doesn't respond: ")


def test_the_health_check_reports_an_invalid_host(check: Check) -> None:
    code, out, error = check(HOST="a..b", PORT=free_port())
    assert (code, out) == (1, "")
    assert error.startswith("stepwell: the service on a..b port ")
    assert len(error.splitlines()) == 1


def test_the_health_check_reaches_a_service_on_every_address_of_ipv6(check: Check) -> None:
    assert check(HOST="::", PORT=free_port())[2].startswith("stepwell: the service on ::1 port ")


def test_the_health_check_finds_the_port_that_the_system_chose(
    check: Check, up: StepwellProcess, tmp_path: Path
) -> None:
    assert check(PORT="0", DATA_DIR=str(up.data_dir)) == (0, "ready\n", "")
    line = f"stepwell: STEPWELL_PORT is 0, and no `stepwell up` runs on {tmp_path}\n"
    assert check(DATA_DIR=str(tmp_path)) == (1, "", line)


@pytest.mark.parametrize("status", [503, 404, 302])
def test_a_service_that_is_not_ready_is_unhealthy(status: int, check: Check) -> None:
    with server(status) as port:
        line = f"stepwell: the service on 127.0.0.1 port {port} is not ready: it responds with {status}\n"
        assert check(PORT=port) == (1, "", line)


def test_the_health_check_reports_why_the_service_is_not_ready(check: Check) -> None:
    with server(507, b'{"status": 507, "detail": "the disk is full"}') as port:
        line = f"stepwell: the service on 127.0.0.1 port {port} is not ready: it responds with 507: the disk is full\n"
        assert check(PORT=port) == (1, "", line)


@pytest.mark.parametrize("body", [b'{"detail":"\xff"}', b"[1]", b"<html>"])
def test_the_health_check_reads_no_reason_from_other_bodies(body: bytes, check: Check) -> None:
    with server(503, body) as port:
        assert check(PORT=port)[2].endswith("is not ready: it responds with 503\n")


def test_a_service_that_does_not_respond_is_unhealthy(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        code, _, error = check(PORT=str(silent.getsockname()[1]))
    assert (code, error.endswith(" doesn't respond: timed out\n")) == (1, True)


def test_the_health_check_without_valid_settings_is_refused_as_the_service_is(check: Check) -> None:
    code, _, error = check(PORT="http")
    assert (code, error.startswith("stepwell: STEPWELL_PORT: Expected")) == (2, True)
