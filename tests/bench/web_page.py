"""How soon the web page shows each view. Run by hand; it needs Chromium:

    PYTHONPATH=tests .venv/bin/python tests/bench/web_page.py [--loads 20]

The first column is the first load, with an empty cache. *after the page* is the time from the end of the HTML response
to the frame in which the view shows its data; it contains the scripts and all requests to the API. The data of a run
are its drawn graph, those of a new run the plan of what is in the editor. *after the data* begins at the end of the
last response of the API before that frame. The target holds for *after the page*.
"""

import argparse
import asyncio
import statistics
from pathlib import Path
from typing import Any

import httpx
from playwright.async_api import Browser

from support.browser.chromium import chromium_path, running_chromium
from support.database.postgres import fresh_folder
from support.processes.stepwell_process import StepwellProcess, running_up, stepwell

RUNS = 60
TARGET_MS = 300
IMAGE = {"id": "draw", "task_type": "GENERATION", "config": {"prompt": "a red square", "width": 64, "height": 64}}
# Once app.js has set its mark. The page's policy forbids to wait by an expression.
TIMES = """async () => {
  const mark = () => performance.getEntriesByName("stepwell:view-shown")[0]?.startTime;
  while (mark() === undefined) await new Promise((resolve) => setTimeout(resolve, 5));
  const shown = mark();
  const page = performance.getEntriesByType("navigation")[0].responseEnd;
  const responses = performance.getEntriesByType("resource")
    .filter((each) => each.name.includes("/api/v1/") && each.initiatorType !== "img" && each.responseEnd < shown);
  return [shown - page, shown - Math.max(page, ...responses.map((each) => each.responseEnd))];
}"""


async def create_runs(up: StepwellProcess) -> str:
    """Create the runs of the list, and return the id of one with an image."""
    headers = {"Authorization": f"Bearer {up.token}", "Prefer": "wait=60"}
    plain = {"id": "a", "task_type": "PASSTHROUGH", "config": {"x": 1}}
    image = ""
    async with httpx.AsyncClient(base_url=up.url, headers=headers, timeout=90) as client:
        for number in range(RUNS):
            steps = [IMAGE] if number % 10 == 0 else [plain]
            body = {"name": f"Run {number}", "origin_instance": "bench", "steps": steps, "labels": {"team": "bench"}}
            response = await client.post("/api/v1/workflows/", json=body)
            response.raise_for_status()
            if number % 10 == 0:
                image = str(response.json()["id"])
    return image


async def times_of(browser: Browser, state: Any, url: str, loads: int) -> list[list[float]]:
    """Load a view several times in one tab, and return the milliseconds of each load."""
    context = await browser.new_context(storage_state=state)
    page = await context.new_page()
    times = []
    for _ in range(loads + 1):
        await page.goto(url)
        times.append(await page.evaluate(TIMES))
    await context.close()
    return times


async def measure(up: StepwellProcess, folder: Path, loads: int) -> None:
    workflow_id = await create_runs(up)
    command = await asyncio.to_thread(stepwell, "open", "--print", "--data-dir", folder / "data")
    async with running_chromium(chromium_path()) as browser:
        context = await browser.new_context()
        page = await context.new_page()
        await page.goto(command.stdout.strip())
        if await page.get_by_role("button", name="Sign in").count():
            await page.get_by_role("button", name="Sign in").click()
        await page.wait_for_url("**/ui")
        state = await context.storage_state()
        await context.close()
        print(
            "| view | first load | after the page, p50 | p95 | after the data, p50 | p95 "
            f"| target: {TARGET_MS} ms |\n|---|---|---|---|---|---|---|"
        )
        views = ("new", "definitions", "providers", "uploads", "costs")
        for path in ("/ui", f"/ui/workflows/{workflow_id}", *(f"/ui/{view}" for view in views)):
            first, *rest = await times_of(browser, state, up.url + path, loads)
            figures = [f"{first[0]:.0f} ms"]
            for column in (0, 1):
                values = [each[column] for each in rest]
                figures += [f"{statistics.median(values):.0f} ms", f"{statistics.quantiles(values, n=20)[-1]:.0f} ms"]
            median = statistics.median(each[0] for each in rest)
            verdict = f"{'met' if median <= TARGET_MS else 'missed'} by p50: {median / TARGET_MS:.0%}"
            print("|", " | ".join([path.replace(workflow_id, "{id}"), *figures, verdict]), "|", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", type=int, default=20)
    options = parser.parse_args()
    with fresh_folder() as folder, running_up(folder / "data") as up:
        asyncio.run(measure(up, folder, options.loads))


if __name__ == "__main__":
    main()
