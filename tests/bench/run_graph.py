"""How fast Chromium shows the graph of a large run: its layout, the view, and the frames while it is moved.

Run by hand:

    PYTHONPATH=tests .venv/bin/python tests/bench/run_graph.py [--steps 1000 10000]

*layout* is the time from the call of the tab's `mount` until the graph and its list are built. *shown* begins when the
page is requested, and ends with the frame in which the graph is drawn. The browser is headless and has no GPU.
"""

import argparse
import asyncio
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx
from playwright.async_api import Page

from stepwell.testing import MemoryDatabase
from support.browser.chromium import chromium_path, running_chromium
from support.browser.pages import Site, User, signed_in
from support.service.listening_service import listening
from support.service.live_service import running_service, token

PAN_MS = 3_000
# Drags the graph to and fro for so long. Returns the frames per second, and the longest time between two frames in ms.
PAN = """async (ms) => {
    const canvas = document.querySelector('.graph-canvas');
    const box = canvas.getBoundingClientRect();
    const send = (target, type, x, y) => target.dispatchEvent(new MouseEvent(type, {
        bubbles: true, cancelable: true, view: window, button: 0, buttons: 1, clientX: box.x + x, clientY: box.y + y}));
    const frame = () => new Promise(requestAnimationFrame);
    const target = canvas.querySelector('canvas:last-of-type') ?? canvas;
    send(target, 'mousedown', 2, 2);
    const began = await frame();
    let [last, frames, longest] = [began, 0, 0];
    while (last - began < ms) {
        const at = (last - began) / 8;
        send(window, 'mousemove', 2 + Math.abs((at % 400) - 200), 2 + Math.abs((at % 200) - 100));
        const now = await frame();
        longest = Math.max(longest, now - last);
        [last, frames] = [now, frames + 1];
    }
    send(window, 'mouseup', 2, 2);
    return [frames / (last - began) * 1000, longest];
}"""
# Once app.js has set its mark, after the frame in which the graph was drawn.
SHOWN = """async () => {
  const shown = () => performance.getEntriesByName("stepwell:view-shown").length;
  while (!shown()) await new Promise((resolve) => setTimeout(resolve, 5));
}"""
TARGETS = "targets: 1,000 steps laid out in 2 s and moved at 30 frames/s; 10,000 steps shown in 10 s"
LAYOUT = "performance.getEntriesByName('stepwell:graph-laid-out')[0].duration"


def steps_of(count: int) -> list[dict[str, Any]]:
    """Steps in ten layers, of which each step needs two of the layer before."""
    width = count // 10
    return [
        {
            "id": f"step-{i}",
            "task_type": "PASSTHROUGH",
            "depends_on": [f"step-{(i // width - 1) * width + (i * 7 + k) % width}" for k in range(2) if i >= width],
        }
        for i in range(count)
    ]


async def create(user: User, count: int) -> str:
    headers = {"Authorization": f"Bearer {token(user.tenant, every=False)}"}
    body = {"name": f"{count:,} steps", "origin_instance": "bench", "steps": steps_of(count)}
    async with httpx.AsyncClient(transport=user.site.service.transport, base_url="http://t.local") as client:
        response = await client.post(
            "/api/v1/workflows/", params={"start": False}, json=body, headers=headers, timeout=60
        )
    return str(response.raise_for_status().json()["id"])


async def opened(user: User, count: int) -> tuple[Page, float]:
    """Open a run of *count* steps. Return its page, and the seconds until its graph is shown."""
    address = f"{user.site.url}/ui/workflows/{await create(user, count)}"
    page = await user.context.new_page()
    await page.set_viewport_size({"width": 1280, "height": 900})
    began = perf_counter()
    await page.goto(address)
    await page.evaluate(SHOWN)
    return page, perf_counter() - began


async def measure(counts: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with (
            running_service(MemoryDatabase(), Path(folder)) as service,
            listening(service) as port,
            running_chromium(chromium_path()) as browser,
            signed_in(Site(service, f"http://localhost:{port}", browser)) as user,
        ):
            print(f"{'steps':>7}{'shown s':>9}{'layout s':>10}{'frames/s':>10}{'longest ms':>12}")
            for count in counts:
                page, shown_s = await opened(user, count)
                layout_s = await page.evaluate(LAYOUT) / 1000
                frames, longest = await page.evaluate(PAN, PAN_MS)
                print(f"{count:7,}{shown_s:9.2f}{layout_s:10.2f}{frames:10.1f}{longest:12.0f}", flush=True)
                await page.close()
            print(TARGETS)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 1_000, 10_000])
    asyncio.run(measure(parser.parse_args().steps))
