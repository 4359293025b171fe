"""What the attacks of one tenant do to another, and to the process. The attacks stand in `attackers.py`.

    PYTHONPATH=tests python tests/bench/attacks.py [--only A,B1] [--seconds 30] [--rest 60] [--scale 1]

Each attack gets a service of its own: `stepwell up` on a fresh folder, with PostgreSQL and durable commits. The
attacker and the victim are processes of their own, with tokens of two tenants. One after the other:

1. The victim measures while the attack runs: create + run of three steps, and `/health/live`, each over a new
   connection. Under I it measures previews of its own small images by signed URL instead of workflows. A refused
   request is sent again after 50 ms, and its time goes on.
2. The attack stops. A minute later the memory is read again.
3. The attack starts once more, and SIGTERM ends the service under it. For H this is a SIGKILL during a cleanup.
4. The service starts again on the same folder, and the victim measures for 10 s. An attack that resumes shows here.

Memory is the resident memory of the service's processes, without PostgreSQL and without LOCAL's workers, 10 times a
second; the highest that the kernel has recorded for the service itself counts too.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import httpx
from msgspec import Struct

from bench.attackers import ATTACKS, BASE, Attack, local, names, passthrough, preview_urls
from stepwell.bench.measurements import percentile
from support.database.postgres import fresh_folder
from support.processes.stepwell_process import StepwellProcess, start, stepwell, until

AGAIN_S = 0.05
HEALTH_EVERY_S = 0.1
SAMPLE_S = 0.1
AFTER_RESTART_S = 10.0
LONGEST_RESPONSE_S = 60.0
MEBIBYTE = 1024 * 1024
PAGE = os.sysconf("SC_PAGE_SIZE")
KINDS = ("workflow", "image", "preview")
HEAD = (
    "attack",
    "p50",
    "p99",
    "max",
    "refused",
    "health max",
    "peak memory",
    "after rest",
    "SIGTERM",
    "after a restart",
)


class Seen(Struct):
    """What the victim measured, in seconds. `refused` counts requests that were sent again."""

    workflows: list[float]
    health: list[float]
    refused: int


class Victim:
    """A tenant that measures for *seconds*. *anyone* is its client without a token."""

    def __init__(self, http: httpx.AsyncClient, anyone: httpx.AsyncClient, seconds: float) -> None:
        self._http, self._anyone, self._until = http, anyone, time.monotonic() + seconds
        self.seen = Seen([], [], 0)

    async def measure(self, kind: str) -> None:
        """Measure the work of that *kind*, a member of `KINDS`, and the health of the service."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._measure_previews() if kind == "preview" else self._measure_runs(kind), name="work")
            group.create_task(self._repeat(self._is_healthy, self.seen.health, HEALTH_EVERY_S), name="health")

    async def _measure_runs(self, kind: str) -> None:
        image = local("one", "GENERATION", prompt="x", width=64, height=64)
        first = image if kind == "image" else passthrough("one", value=1)
        steps = [first, passthrough("two", "one"), passthrough("three", "two")]
        body = json.dumps({"name": "victim", "origin_instance": "victim", "steps": steps}).encode()
        await self._repeat(lambda: self._run(body), self.seen.workflows, AGAIN_S)

    async def _measure_previews(self) -> None:
        """Measure previews. Each is of another image or width, so that none is stored already."""
        for width in range(300, sys.maxsize):
            async for url in preview_urls(self._http, width, int(time.time()) % 1_000 + 1):
                if time.monotonic() >= self._until:
                    return
                await self._time(partial(self._is_shown, url), self.seen.workflows)
                await asyncio.sleep(AGAIN_S)

    async def _run(self, body: bytes) -> bool:
        headers = {"Content-Type": "application/json", "Prefer": "wait=30"}
        response = await self._http.post(BASE, content=body, headers=headers)
        if response.status_code != 201:
            return False
        workflow = response.json()
        while workflow["status"] != "COMPLETED":
            assert workflow["status"] in ("PENDING", "RUNNING"), workflow
            workflow = (await self._http.get(BASE + workflow["id"], headers=headers)).raise_for_status().json()
        return True

    async def _is_shown(self, url: str) -> bool:
        return (await self._anyone.get(url)).status_code == 200

    async def _is_healthy(self) -> bool:
        return (await self._http.get("/health/live")).status_code == 200

    async def _repeat(self, request: Callable[[], Awaitable[bool]], took: list[float], pause_s: float) -> None:
        while time.monotonic() < self._until:
            await self._time(request, took)
            await asyncio.sleep(pause_s)

    async def _time(self, request: Callable[[], Awaitable[bool]], took: list[float]) -> None:
        began, succeeded = time.monotonic(), False
        while not succeeded and time.monotonic() < self._until + LONGEST_RESPONSE_S:
            with suppress(httpx.HTTPError, ValueError):
                succeeded = await request()
            if not succeeded:
                self.seen.refused += 1
                await asyncio.sleep(AGAIN_S)
        took.append(time.monotonic() - began)


async def measure_as_victim(url: str, token: str, seconds: float, kind: str) -> None:
    """Measure, and print what was seen as JSON."""
    headers, limits = {"Authorization": f"Bearer {token}"}, httpx.Limits(max_keepalive_connections=0)
    async with (
        httpx.AsyncClient(base_url=url, timeout=LONGEST_RESPONSE_S, limits=limits, headers=headers) as http,
        httpx.AsyncClient(base_url=url, timeout=LONGEST_RESPONSE_S, limits=limits) as anyone,
    ):
        victim = Victim(http, anyone, seconds)
        await victim.measure(kind)
    print(json.dumps([victim.seen.workflows, victim.seen.health, victim.seen.refused]))


class MemorySampler:
    """Reads the memory of a service in a thread. `peak` and `now` are in bytes."""

    def __init__(self, running: StepwellProcess) -> None:
        self._running, self.peak, self.now = running, 0, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="memory")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        pids: set[int] = set()
        for turn in range(sys.maxsize):
            if turn % 10 == 0:
                pids = {pid for pid in self._running.processes() if not _is_other(pid)}
            self.now = sum(map(_resident, pids))
            self.peak = max(self.peak, self.now, _high_water(self._running.pid))
            if self._stop.wait(SAMPLE_S):
                return


def _is_other(pid: int) -> bool:
    """Whether the process belongs to PostgreSQL, or is a worker of LOCAL, which has loaded Pillow."""
    with suppress(OSError):
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        worker = b"anyio.to_process" in command or b"providers.local.pool" in command
        return name in ("postgres", "initdb") or (worker and "_imaging" in Path(f"/proc/{pid}/maps").read_text())
    return True


def _resident(pid: int) -> int:
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    return 0


def _high_water(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


@contextmanager
def attacking(name: str, running: StepwellProcess, token: str, scale: float) -> Iterator[None]:
    script = Path(__file__).with_name("attackers.py")
    process = subprocess.Popen([sys.executable, script, name, running.url, token, str(scale)])
    try:
        yield
        assert process.poll() is None, f"attack {name} has failed"
    finally:
        process.terminate()
        process.wait()


def measured(running: StepwellProcess, token: str, seconds: float, attack: Attack) -> Seen:
    kind = "preview" if attack.preview else "image" if attack.image else "workflow"
    order = ["--victim", running.url, "--token", token, "--seconds", str(seconds), "--kind", kind]
    process = subprocess.run([sys.executable, __file__, *order], stdout=subprocess.PIPE, text=True, check=True)
    return Seen(*json.loads(process.stdout))


def started(attack: Attack, folder: Path) -> StepwellProcess:
    program = (sys.executable, "-m", "stepwell")
    if attack.open_files is not None:
        program = ("prlimit", f"--nofile={attack.open_files}:{attack.open_files}", *program)  # type: ignore[assignment]
    options = ("--data-dir", str(folder))
    return start("up", folder, attack.settings, *options, program=program).wait_ready(120)


def token_of(tenant: str, folder: Path) -> str:
    return stepwell("token", "--tenant", tenant, "--data-dir", str(folder)).stdout.strip()


def compare(name: str, attack: Attack, options: argparse.Namespace) -> list[str]:
    """Run one attack on a service of its own, and return its row. *name* is empty for the row without an attack."""
    with fresh_folder() as parent:
        folder = parent / "data"
        running = started(attack, folder)
        try:
            mallory, alice = token_of("mallory", folder), token_of("alice", folder)
            measured(running, alice, 2, attack)  # the first requests load code
            with MemorySampler(running) as memory:
                if name:
                    with attacking(name, running, mallory, options.scale):
                        time.sleep(1)
                        seen = measured(running, alice, options.seconds, attack)
                    time.sleep(options.rest)
                else:
                    seen = measured(running, alice, options.seconds, attack)
                peak, rest = memory.peak, memory.now
            end, after = ended_under_attack(name, running, mallory, options.scale)
            running = started(attack, folder)
            with MemorySampler(running) as memory:
                again = measured(running, alice, AFTER_RESTART_S, attack)
                after = after(running) if callable(after) else resumed(again, memory.peak)
        finally:
            running.kill_group()
    return [
        f"{name}: {attack.text}" if name else attack.text,
        *(_ms(seen.workflows, percent) for percent in (50, 99, 100)),
        str(seen.refused),
        _ms(seen.health, 100),
        _mb(peak),
        _mb(rest),
        end,
        after,
    ]


def ended_under_attack(name: str, running: StepwellProcess, token: str, scale: float) -> tuple[str, Any]:
    """End the service under the attack. Return how, and for H the function that checks the files after a restart."""
    if name == "H":
        return "kill -9", kill_during_cleanup(running, token, scale)
    if not name:
        return _end(running), None
    with attacking(name, running, token, scale):
        time.sleep(5)
        return _end(running), None


def _end(running: StepwellProcess) -> str:
    began = time.monotonic()
    running.process.terminate()
    with suppress(subprocess.TimeoutExpired):
        running.process.wait(60)
        running.wait_gone()
        return f"{time.monotonic() - began:.1f} s"
    running.kill_group()
    return "**no end in 60 s**"


def kill_during_cleanup(running: StepwellProcess, token: str, scale: float) -> Any:
    """Kill the service when a cleanup has deleted its first file. Return a function that counts what is left."""
    number = max(2, round(300 * scale))
    steps = [local(f"draw-{n}", "GENERATION", prompt="x", width=16, height=16) for n in range(number)]
    body = {"name": "attack", "origin_instance": "attack", "steps": steps}
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=running.url, headers=headers, timeout=60) as http:
        path = BASE + http.post(BASE, json=body).raise_for_status().json()["id"]
        until(lambda: http.get(path, params={"include_steps": False}).json()["status"] == "COMPLETED", 300)
        tasks = http.get(f"{path}/tasks").json()["tasks"]
        files = [running.data_dir / "artifacts" / output["path"] for task in tasks for output in task["outputs"]]
        assert all(file.exists() for file in files), files[:3]

        def clean() -> None:
            with suppress(httpx.HTTPError):
                http.post(f"{path}/cleanup")

        thread = threading.Thread(target=clean)
        thread.start()
        while all(file.exists() for file in files):
            pass
        running.kill()
        left = sum(file.exists() for file in files)
        thread.join()

    def left_after(_: StepwellProcess) -> str:
        with suppress(AssertionError):
            until(lambda: not any(file.exists() for file in files), 30)
        return f"{left} files were left, now {sum(file.exists() for file in files)}"

    return left_after


def resumed(again: Seen, peak: int) -> str:
    return f"health max {_ms(again.health, 100)}, {_mb(peak)}"


def _ms(values_s: list[float], percent: float) -> str:
    return f"{round(percentile(values_s, percent) * 1e3):,} ms"


def _mb(size: int) -> str:
    return f"{round(size / MEBIBYTE):,} MiB"


def row(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="letters or names of attacks, with commas between them")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long the victim measures")
    parser.add_argument("--rest", type=float, default=60.0, help="the time from the end of the attack to rest")
    parser.add_argument("--scale", type=float, default=1.0, help="a factor for requests, steps and sockets")
    parser.add_argument("--victim", help=argparse.SUPPRESS)
    parser.add_argument("--token", help=argparse.SUPPRESS)
    parser.add_argument("--kind", choices=KINDS, default=KINDS[0], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.victim:
        asyncio.run(measure_as_victim(options.victim, options.token, options.seconds, options.kind))
        return
    print(row(HEAD), row(["---", *["---:"] * (len(HEAD) - 1)]), sep="\n", flush=True)
    if not options.only:
        for calm in (Attack("none", asyncio.sleep), Attack("none, with an image", asyncio.sleep, image=True)):  # type: ignore[arg-type]
            print(row(compare("", calm, options)), flush=True)
    for name in names(options.only):
        print(row(compare(name, ATTACKS[name], options)), flush=True)


if __name__ == "__main__":
    main()
