"""Many connections of one client or tenant, on a process that may open few files: nobody else is cut off."""

import re
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from stepwell.api.auth.authentication import sign_token
from stepwell.api.requests.connection_limits import RESERVED
from stepwell.contract.scopes import Permission
from stepwell.persistence.clock import DatabaseClock
from support.processes.stepwell_process import StepwellProcess, start, until
from support.workflows.image_pipelines import create, until_ended

pytestmark = pytest.mark.extended

FILES = 400
SERVED = FILES // 2 - 16 - 2 * RESERVED


@contextmanager
def up_with_few_files(data_dir: Path, env: Mapping[str, str] | None = None) -> Iterator[StepwellProcess]:
    limited = ("sh", "-c", f'ulimit -n {FILES} && exec "$0" "$@"', sys.executable, "-m", "stepwell")
    running = start("up", data_dir, env, "--data-dir", str(data_dir), program=limited)
    try:
        yield running.wait_ready()
        assert running.terminate() == 0
    finally:
        running.kill_group()


def tenant_token(up: StepwellProcess, tenant: str) -> str:
    return sign_token(
        (up.data_dir / "secret").read_text().strip(),
        "HS256",
        "stepwell",
        "stepwell",
        subject=tenant,
        tenant=tenant,
        every=False,
        permissions=(Permission.READ, Permission.WRITE),
        expires_s=600,
        now=DatabaseClock().now(),
    )


def connect(stack: ExitStack, up: StepwellProcess, sent: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
    url = httpx.URL(up.url)
    held = socket.create_connection((url.host, url.port), 30, source_address=(source, 0))
    stack.enter_context(held)
    with suppress(ConnectionError):  # it was closed for another one
        held.sendall(sent)
    return held


def stream_request(token: str) -> bytes:
    head = "GET /api/v1/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
    return f"{head}Authorization: Bearer {token}\r\n\r\n".encode()


def assert_works(up: StepwellProcess, tenant: str) -> None:
    headers = {"Authorization": f"Bearer {tenant_token(up, tenant)}"}
    with httpx.Client(base_url=up.url, headers=headers, timeout=30) as client:
        assert client.get("/health/live").status_code == 200
        assert until_ended(client, create(client))["status"] == "COMPLETED"
    assert len(list(Path(f"/proc/{up.pid}/fd").iterdir())) < FILES * 3 / 4


def sample(up: StepwellProcess, name: str) -> float:
    match = re.search(rf"^{re.escape(name)} (\S+)", httpx.get(f"{up.url}/metrics").text, re.MULTILINE)
    assert match is not None
    return float(match[1])


def test_silent_sockets_and_slow_heads_are_closed_for_others(migrated_dir: Path) -> None:
    with up_with_few_files(migrated_dir) as up:
        for _ in range(3):
            with ExitStack() as stack:
                for number in range(280):
                    connect(stack, up, b"GET /health/live HTTP/1.1\r\nHost: x\r\n" if number % 2 else b"")
                assert_works(up, "other")
        assert sample(up, 'stepwell_http_connections_closed_total{reason="another"}') >= 3 * (280 - SERVED)


def test_idle_connections_are_closed_for_others(migrated_dir: Path) -> None:
    with up_with_few_files(migrated_dir) as up, ExitStack() as stack:
        for _ in range(280):
            held = connect(stack, up, b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert held.recv(12) == b"HTTP/1.1 200"
        assert_works(up, "other")


def test_streams_of_one_tenant_leave_others_half_of_the_connections(migrated_dir: Path) -> None:
    settings = {"STEPWELL_MAX_STREAMS_PER_TENANT": "1000", "STEPWELL_MAX_CONNECTIONS_PER_CLIENT": "1000"}
    with up_with_few_files(migrated_dir, settings) as up, ExitStack() as stack:
        request = stream_request(tenant_token(up, "attacker"))
        statuses = [connect(stack, up, request).recv(12) for _ in range(280)]
        assert statuses == [b"HTTP/1.1 200"] * (SERVED // 2) + [b"HTTP/1.1 429"] * (280 - SERVED // 2)
        assert_works(up, "other")
        assert sample(up, 'stepwell_http_requests_refused_total{bound="tenant"}') == 280 - SERVED // 2


def test_busy_connections_of_one_client_leave_others_a_quarter_and_health_to_all(migrated_dir: Path) -> None:
    with up_with_few_files(migrated_dir, {"STEPWELL_MAX_STREAMS_PER_TENANT": "10"}) as up, ExitStack() as stack:
        tokens = [tenant_token(up, f"attacker {number}") for number in range(14)]
        streams = [connect(stack, up, stream_request(tokens[number % 14]), "127.0.0.2") for number in range(140)]
        statuses = [each.recv(12) for each in streams]
        most = SERVED * 3 // 4
        assert statuses == [b"HTTP/1.1 200"] * most + [b"HTTP/1.1 503"] * (140 - most)
        assert_works(up, "other")  # from another address
        for _ in range(2 * RESERVED):
            connect(stack, up, source="127.0.0.2")
        probe = connect(stack, up, b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n", "127.0.0.2")
        assert probe.recv(12) == b"HTTP/1.1 200"
        for each in streams:
            each.close()
        request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        until(lambda: connect(stack, up, request, "127.0.0.2").recv(12) == b"HTTP/1.1 200", 30)
