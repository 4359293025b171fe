"""The cost of open tabs with the list of runs for the service, under a steady load. Run by hand, on a quiet machine:

    PYTHONPATH=tests .venv/bin/python tests/bench/feed_followers.py [--followers 100] [--creates 100] [--images]

A client creates workflows of two steps at a steady rate. Rounds without and with followers take turns. A follower does
what a visible tab does: it follows the event feed, and reads the list and the counts again after events. Printed is the
CPU time of the service's process for each workflow, without PostgreSQL and LOCAL's workers, and the followers' share.
"""

import argparse
import asyncio
import json
import os
import re
import statistics
import sys
import time
from asyncio import subprocess
from collections import deque
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from support.database.postgres import fresh_folder
from support.processes.stepwell_process import StepwellProcess, running_up

TICKS = os.sysconf("SC_CLK_TCK")
TARGET = 0.05
_FOLLOW_S = 30.0
SOON_S, COUNTS_APART_S, MEASURED_S = 0.25, 5.0, 10.0
LIST = "/api/v1/workflows/?order=-created_at&limit=50&include_steps=false&total=false"
IMAGE_STEPS = [
    {"id": "draw", "task_type": "GENERATION", "config": {"prompt": "a red square", "width": 64, "height": 64}},
    {
        "id": "enlarge",
        "task_type": "REFINE",
        "config": {"upscale_factor": 2},
        "input_mappings": [{"from_step": "draw", "from_field": "result_image_path", "to_field": "base_image_url"}],
    },
]
PLAIN_STEPS = [
    {"id": "a", "task_type": "PASSTHROUGH", "config": {"x": 1}},
    {"id": "b", "task_type": "PASSTHROUGH", "config": {"x": 2}, "depends_on": ["a"]},
]


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Follower:
    """A tab with the list of runs: it follows the feed, and reads the list and the counts again after events.

    `views/runs.js`, `views/runs/event_rate.js`, `lib/refresher.js` and `lib/stream_hub.js` have the same rules. Without
    *apart_s*, the seconds between two lists depend on the rate of events.
    """

    def __init__(self, url: str, token: str, delay_s: int, apart_s: float | None) -> None:
        address = urlsplit(url)
        assert address.hostname
        assert address.port
        self.host, self.port = address.hostname, address.port
        self.token, self.delay_s, self.apart_s = token, delay_s, apart_s
        self.events = self.bytes = self.lists = self.counts = 0
        self.following = asyncio.Event()
        self._changed = [asyncio.Event(), asyncio.Event()]
        self._parts = deque[tuple[float, int]]()  # the time and the number of events of the last parts

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name="feed")
            group.create_task(self._read_list(), name="list")
            group.create_task(self._read_counts(), name="counts")

    def _request(self, path: str, accept: str) -> bytes:
        lines = (f"GET {path} HTTP/1.1", f"Host: {self.host}", f"Authorization: Bearer {self.token}", accept)
        return "\r\n".join((*lines, "\r\n")).encode()

    async def _follow(self) -> None:
        """Follow the feed like an EventSource, and count its events. Being cut off is an error."""
        reader, writer = await asyncio.open_connection(self.host, self.port, limit=2**20)
        accept = "Accept: text/event-stream"
        writer.write(self._request(f"/api/v1/events?delay_s={self.delay_s}", accept))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        self.following.set()
        while size := int(await reader.readline(), 16):
            chunk = (await reader.readexactly(size + 2))[:-2]
            self.bytes += size
            if count := chunk.count(b"event: "):
                self.events += count
                self._parts.append((time.monotonic(), count))
                for changed in self._changed:
                    changed.set()
        msg = "a follower was cut off"
        raise ConnectionError(msg)

    def _pause_s(self) -> float:
        if self.apart_s is not None:
            return self.apart_s
        while self._parts and self._parts[0][0] <= time.monotonic() - MEASURED_S:
            self._parts.popleft()
        return min(30.0, max(1.0, 0.05 * sum(count for _, count in self._parts) / MEASURED_S))

    async def _read_list(self) -> None:
        """Read the list after events, and not sooner than after a pause of five times the last read."""
        while True:
            await self._changed[0].wait()
            await asyncio.sleep(SOON_S)
            self._changed[0].clear()
            took = await self._read(LIST)
            self.lists += 1
            await asyncio.sleep(max(self._pause_s(), 5 * took))

    async def _read_counts(self) -> None:
        while True:
            await self._changed[1].wait()
            await asyncio.sleep(SOON_S)
            self._changed[1].clear()
            took = await self._read("/api/v1/workflows/counts")
            self.counts += 1
            await asyncio.sleep(max(COUNTS_APART_S, self._pause_s(), 10 * took))

    async def _read(self, path: str) -> float:
        """Read *path*, and return the seconds that it took. The service closes a connection that is idle meanwhile."""
        reader, writer = await asyncio.open_connection(self.host, self.port, limit=2**20)
        began = time.monotonic()
        writer.write(self._request(path, "Accept: application/json"))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = re.search(rb"(?i)^content-length: (\d+)", head, re.MULTILINE)
        assert length, head
        await reader.readexactly(int(length[1]))
        writer.close()
        return time.monotonic() - began


async def run_followers(options: argparse.Namespace) -> None:
    """The followers' own process: it prints a line once all follow, and what they got once its input ends."""
    token = sys.stdin.readline().strip()
    followers = [Follower(options.follow, token, options.delay, options.apart) for _ in range(options.followers)]
    async with asyncio.TaskGroup() as group:
        asyncio_tasks = [group.create_task(each.run(), name="follower") for each in followers]
        async with asyncio.timeout(_FOLLOW_S):
            for each in followers:
                await each.following.wait()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        for asyncio_task in asyncio_tasks:
            asyncio_task.cancel()
    print(json.dumps([[each.events, each.lists, each.counts, each.bytes] for each in followers]), flush=True)


async def create_steadily(up: StepwellProcess, options: argparse.Namespace, seconds: float) -> int:
    rate, steps = options.creates, IMAGE_STEPS if options.images else PLAIN_STEPS
    headers = {"Authorization": f"Bearer {up.token}"}
    body = {"name": "steady", "origin_instance": "bench", "steps": steps}
    began, created = time.monotonic(), 0
    async with httpx.AsyncClient(base_url=up.url, headers=headers, timeout=30) as client, asyncio.TaskGroup() as group:
        while (now := time.monotonic()) < began + seconds:
            if created < (now - began) * rate:
                group.create_task(client.post("/api/v1/workflows/", json=body), name="create")
                created += 1
            else:
                await asyncio.sleep(0.005)
    async with httpx.AsyncClient(base_url=up.url, headers=headers, timeout=30) as client:
        unfinished: dict[str, str | int] = {"status": "PENDING,RUNNING", "limit": 1, "total": "false"}
        while (await client.get("/api/v1/workflows/", params=unfinished)).json()["workflows"]:
            await asyncio.sleep(0.5)
    return created


async def round_of(up: StepwellProcess, followers: int, seconds: float, options: argparse.Namespace) -> float:
    """Return the CPU seconds of a round for each workflow."""
    order = ["--follow", up.url, "--followers", followers, "--delay", options.delay]
    if options.apart is not None:
        order += ["--apart", options.apart]
    process = await subprocess.create_subprocess_exec(sys.executable, __file__, *map(str, order), stdin=-1, stdout=-1)
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"{up.token}\n".encode())
    await process.stdout.readline()
    if followers:  # until they have measured the rate of events
        await create_steadily(up, options, MEASURED_S)
    before = cpu_seconds(up.pid)
    created = await create_steadily(up, options, seconds)
    await asyncio.sleep(options.delay)
    used = cpu_seconds(up.pid) - before
    process.stdin.close()
    got = json.loads(await process.stdout.read())
    await process.wait()
    events, lists, counts = ([each[part] for each in got] for part in range(3)) if got else ([0], [0], [0])
    sent = sum(each[3] for each in got) / max(1, sum(events))
    print(
        f"{followers:>4} followers: {1000 * used / created:.2f} ms a workflow, {created} workflows; each got "
        f"{min(events)} to {max(events)} events, {min(lists)} to {max(lists)} lists and {min(counts)} to {max(counts)} "
        f"counts, {sent:.0f} bytes an event",
        flush=True,
    )
    return used / created


async def compare(up: StepwellProcess, options: argparse.Namespace) -> None:
    await create_steadily(up, options, 3)
    alone, followed = [await round_of(up, 0, options.seconds / 2, options)], []
    for _ in range(options.rounds):
        followed.append(await round_of(up, options.followers, options.seconds, options))
        alone.append(await round_of(up, 0, options.seconds / 2, options))
    share = 1 - statistics.mean(alone) / statistics.mean(followed)
    verdict = "met" if share < TARGET else "missed"
    print(f"{options.followers} followers: {share:.1%} of the service's CPU time; target: < {TARGET:.0%}, {verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--followers", type=int, default=100)
    parser.add_argument("--creates", type=float, help="workflows a second: 100, or 20 with --images")
    parser.add_argument("--images", action="store_true", help="steps that draw, instead of those that pass on a config")
    parser.add_argument("--seconds", type=float, default=14, help="of a round with followers; one without takes half")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--delay", type=int, default=3, help="seconds that events may be late; the page's under load")
    parser.add_argument("--apart", type=float, help="seconds between two lists, instead of the page's rule")
    parser.add_argument("--follow", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.creates = options.creates or (20 if options.images else 100)
    if options.follow:
        asyncio.run(run_followers(options))
        return
    settings = {"STEPWELL_MAX_STREAMS_PER_TENANT": "1000", "STEPWELL_MAX_CONNECTIONS_PER_CLIENT": "2000"}
    with fresh_folder() as folder, running_up(folder / "data", settings) as up:
        asyncio.run(compare(up, options))


if __name__ == "__main__":
    main()
