"""What followers of the event feed cost the service, as the web page follows it, under a steady load. Run by hand:

    PYTHONPATH=tests .venv/bin/python tests/bench/feed_followers.py [--followers 100] [--creates 20] [--seconds 20]

A client creates workflows of two steps, which draw and enlarge an image, at a steady rate. Rounds without and with
followers take turns. Printed is the CPU time of the service's process for each workflow, without PostgreSQL and LOCAL's
workers, and the followers' share of it. A busy machine blurs it: use one that is quiet.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from asyncio import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from support.database.postgres import fresh_folder
from support.processes.stepwell_process import StepwellProcess, running_up

TICKS = os.sysconf("SC_CLK_TCK")
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


async def follow(host: str, port: int, token: str, delay_s: int, counts: list[int], number: int) -> None:
    """Follow the feed like an EventSource, and count its events."""
    reader, writer = await asyncio.open_connection(host, port, limit=2**20)
    writer.write(
        f"GET /api/v1/events?delay_s={delay_s} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
        "Accept: text/event-stream\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head + await reader.read(2**16)
    while part := await reader.read(2**16):
        counts[number] += part.count(b"\nevent: ") + part.startswith(b"event: ")


async def run_followers(address: str, followers: int, delay_s: int) -> None:
    """The followers' own process: it prints a line once all follow, and the counts once its input ends."""
    url, token, counts = urlsplit(address), sys.stdin.readline().strip(), [0] * followers
    assert url.hostname
    assert url.port
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(follow(url.hostname, url.port, token, delay_s, counts, number), name="follower")
            for number in range(followers)
        ]
        await asyncio.sleep(2)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        for task in tasks:
            task.cancel()
    print(json.dumps(counts), flush=True)


async def create_steadily(up: StepwellProcess, options: argparse.Namespace, seconds: float) -> int:
    rate, steps = options.creates, PLAIN_STEPS if options.plain else IMAGE_STEPS
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


async def round_of(up: StepwellProcess, followers: int, options: argparse.Namespace) -> float:
    """Return the CPU seconds of a round for each workflow."""
    seconds = options.seconds
    order = ["--follow", up.url, "--followers", str(followers), "--delay", str(options.delay)]
    process = await subprocess.create_subprocess_exec(sys.executable, __file__, *order, stdin=-1, stdout=-1)
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"{up.token}\n".encode())
    await process.stdout.readline()
    before = cpu_seconds(up.pid)
    created = await create_steadily(up, options, seconds)
    await asyncio.sleep(options.delay)
    used = cpu_seconds(up.pid) - before
    process.stdin.close()
    counts = json.loads(await process.stdout.read())
    await process.wait()
    got = f"{min(counts)} to {max(counts)} events each" if counts else ""
    print(
        f"{followers:>4} followers: {1000 * used / created:.2f} ms a workflow, {created} workflows, {got}", flush=True
    )
    return used / created


async def compare(up: StepwellProcess, options: argparse.Namespace) -> None:
    await create_steadily(up, options, 5)
    alone, followed = [], []
    for _ in range(options.rounds):
        alone.append(await round_of(up, 0, options))
        followed.append(await round_of(up, options.followers, options))
    without, with_them = statistics.median(alone), statistics.median(followed)
    print(f"{options.followers} followers: {1 - without / with_them:.1%} of the service's CPU time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--followers", type=int, default=100)
    parser.add_argument("--creates", type=float, default=20, help="workflows a second")
    parser.add_argument("--plain", action="store_true", help="steps that only pass on their config, instead of images")
    parser.add_argument("--seconds", type=float, default=20, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--delay", type=int, default=3, help="seconds that events may be late; the page's under load: 3"
    )
    parser.add_argument("--follow", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.follow:
        asyncio.run(run_followers(options.follow, options.followers, options.delay))
        return
    settings = {"STEPWELL_MAX_STREAMS_PER_TENANT": "1000", "STEPWELL_MAX_CONNECTIONS_PER_CLIENT": "2000"}
    with fresh_folder() as folder, running_up(folder / "data", settings) as up:
        asyncio.run(compare(up, options))


if __name__ == "__main__":
    main()
