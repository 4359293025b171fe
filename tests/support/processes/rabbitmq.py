"""A real RabbitMQ, where the machine has one."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from support.processes.celery_workers import free_port

# The package of Debian has a wrapper in the path, which only root and the user `rabbitmq` may call.
_PROGRAMS = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server")
_START_S = 90.0


def rabbitmq_program() -> str | None:
    """Return the path of the server's program; None if this machine has none."""
    return next((found for program in _PROGRAMS if (found := shutil.which(program)) is not None), None)


@contextmanager
def running_rabbitmq(program: str, folder: Path) -> Iterator[str]:
    """Run a server with its files in *folder*. Yields its URL."""
    port, epmd_port = free_port(), free_port()
    environ = {
        **os.environ,
        "HOME": str(folder),
        "ERL_EPMD_PORT": str(epmd_port),
        "RABBITMQ_NODENAME": f"tests{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_CONFIG_FILE": str(folder / "none"),
    }
    log = folder / "rabbitmq.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [program], env=environ, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        _wait_ready(process, port, log)
        yield f"amqp://guest:guest@127.0.0.1:{port}//"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)
        # The name server of Erlang is a daemon of its own.
        subprocess.run(["epmd", "-kill"], env=environ, capture_output=True, timeout=30, check=False)


def _wait_ready(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while "completed with" not in log.read_text(errors="replace"):
        assert process.poll() is None, log.read_text(errors="replace")
        assert time.monotonic() < deadline, log.read_text(errors="replace")
        time.sleep(0.1)
    with socket.create_connection(("127.0.0.1", port), timeout=10):
        pass
