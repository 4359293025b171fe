"""How soon the inbox shows a thousand open decisions, and takes twenty of them. Run by hand; it needs Chromium:

    PYTHONPATH=tests .venv/bin/python tests/bench/decisions_view.py [--decisions 1000] [--loads 5]

Each decision is that of a sub-workflow, one for each item, and shows a picture. All figures but the first have every
card loaded. *first card* is the time from the end of the HTML response until a card is shown, p50 of the loads. *all
cards* is that of scrolling to the end. *a key* is the time from a key that chooses until the card shows that. *twenty
by keys* is that of twenty such keys, one after the other, and *twenty recorded* that from the moment at which they may
be sent until the service has recorded all.
"""

import argparse
import asyncio
import statistics
from pathlib import Path
from typing import Any

import httpx
from playwright.async_api import Page

from support.browser.chromium import chromium_path, running_chromium
from support.database.postgres import fresh_folder
from support.emulators.openai import drawn
from support.processes.stepwell_process import StepwellProcess, running_up, stepwell

KEYS = 20
FIRST_CARD = """async () => {
  const began = performance.getEntriesByType("navigation")[0].responseEnd;
  while (!document.querySelector("article")) await new Promise(requestAnimationFrame);
  return performance.now() - began;
}"""
# Scrolls to the end until the number of cards is there. Returns the milliseconds, and the number of elements.
ALL_CARDS = """async (wanted) => {
  const began = performance.now();
  while (document.querySelectorAll("article").length < wanted) {
    scrollTo(0, document.body.scrollHeight);
    await new Promise(requestAnimationFrame);
  }
  return [performance.now() - began, document.querySelectorAll("*").length];
}"""
# Presses keys, each once the one before is shown. Returns the milliseconds of each.
BY_KEYS = """async (keys) => {
  const times = [];
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "j", bubbles: true }));
  for (let number = 1; number <= keys; number += 1) {
    const began = performance.now();
    document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "1", bubbles: true }));
    while (document.querySelectorAll("[data-state=pending]").length < number) await new Promise(requestAnimationFrame);
    times.push(performance.now() - began);
  }
  return times;
}"""
# Says that the page is left, so that the decisions are sent at once. Returns the milliseconds until all are recorded.
RECORDED = """async (keys) => {
  const began = performance.now();
  dispatchEvent(new Event("pagehide"));
  while (document.querySelectorAll("[data-state=decided]").length < keys) await new Promise(requestAnimationFrame);
  return performance.now() - began;
}"""


async def create_decisions(up: StepwellProcess, decisions: int) -> None:
    """Create a run with that many open decisions, each with a picture."""
    headers = {"Authorization": f"Bearer {up.token}"}
    async with httpx.AsyncClient(base_url=up.url, headers=headers, timeout=90) as client:
        uploaded = await client.post("/api/v1/artifacts", files={"file": ("photo.png", drawn((640, 480)))})
        photo = uploaded.json()["artifacts"][0]["path"]
        config = {"message": "Enlarge it?", "photo": photo, "text": "Studio light, white background. " * 8}
        below = {"name": "One product", "steps": [{"id": "pick", "task_type": "APPROVAL", "config": config}]}
        items = [f"SKU-{number:05}" for number in range(decisions)]
        for_each = {"items": items, "max_concurrency": decisions}
        each = {"id": "each", "task_type": "SUBWORKFLOW", "for_each": for_each, "config": {"workflow": below}}
        body = {"name": "Photo set", "origin_instance": "bench", "steps": [each]}
        (await client.post("/api/v1/workflows/", json=body)).raise_for_status()
        wanted: dict[str, Any] = {"limit": 0, "total": True}
        while (await client.get("/api/v1/decisions", params=wanted)).json()["total"] < decisions:
            await asyncio.sleep(0.2)


async def sign_in(page: Page, folder: Path) -> None:
    command = await asyncio.to_thread(stepwell, "open", "--print", "--data-dir", folder / "data")
    await page.goto(command.stdout.strip())
    if await page.get_by_role("button", name="Sign in").count():
        await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url("**/ui")


async def measure(up: StepwellProcess, folder: Path, decisions: int, loads: int) -> None:
    await create_decisions(up, decisions)
    async with running_chromium(chromium_path()) as browser:
        page = await browser.new_page(viewport={"width": 1280, "height": 800})
        await sign_in(page, folder)
        first = []
        for _ in range(loads + 1):
            await page.goto(f"{up.url}/ui/decisions")
            first.append(await page.evaluate(FIRST_CARD))
        print(f"first card: {statistics.median(first[1:]):.0f} ms; with an empty cache {first[0]:.0f} ms", flush=True)
        scrolled, elements = await page.evaluate(ALL_CARDS, decisions)
        print(f"all {decisions} cards: {scrolled:.0f} ms, {elements:,} elements", flush=True)
        times = await page.evaluate(BY_KEYS, KEYS)
        print(f"a key: {statistics.median(times):.0f} ms, at most {max(times):.0f} ms")
        print(f"twenty by keys: {sum(times):.0f} ms")
        print(f"twenty recorded: {await page.evaluate(RECORDED, KEYS):.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decisions", type=int, default=1_000)
    parser.add_argument("--loads", type=int, default=5)
    options = parser.parse_args()
    with fresh_folder() as folder, running_up(folder / "data") as up:
        asyncio.run(measure(up, folder, options.decisions, options.loads))


if __name__ == "__main__":
    main()
