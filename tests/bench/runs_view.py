"""Measures the list of runs of a million workflows in Chromium: rows, counts, filters and pages. Run by hand:

    PYTHONPATH=tests .venv/bin/python tests/bench/runs_view.py [--workflows 1000000] [--loads 3] [--folder kept]

A kept folder is seeded only once, which takes longer than all the rest. *rows* and *counts* are the times from the end
of the HTML response until the rows and the counts by status are shown, with scripts in the browser's cache: p50 of the
loads. The counts are those of the database, unless this process has counted the same in the last five seconds. *next*
is the time from a click on the link to the next page until its rows are shown. Then a filter that matches one in a
thousand is paged through to the end.
"""

import argparse
import asyncio
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter

import asyncpg
from playwright.async_api import Page

from stepwell.persistence.embedded.server import EmbeddedPostgres
from stepwell.persistence.schema.migrations import migrate
from support.browser.chromium import chromium_path, running_chromium
from support.database.bulk_workflows import seed
from support.database.postgres import fresh_folder
from support.processes.stepwell_process import StepwellProcess, running_up, stepwell

TARGET_MS = 300
LABEL = "env%3Aprod"
VIEWS = {
    "no filter": "",
    "oldest first": "?order=created_at",
    "COMPLETED (90%)": "?status=COMPLETED",
    "FAILED or PAUSED (6%)": "?status=FAILED,PAUSED",
    "PAUSED (0.1%)": "?status=PAUSED",
    "label (40%)": f"?label={LABEL}",
    "two labels (0.8%)": f"?label={LABEL}&label=team%3A19",
    "name (13%)": "?name=nightly",
    "name (13%) and label": f"?name=nightly&label={LABEL}",
    "zone (15%)": "?origin_zone=zone-0",
    "tenant (14%)": "?origin_tenant_id=tenant-0",
    "created before (8%)": "?created_before=2026-02-01T00:00:00Z",
    "200 rows": "?limit=200",
}
# Milliseconds after the end of the HTML response until the rows are shown, and until the counts are.
SHOWN = """async () => {
  const began = performance.getEntriesByType("navigation")[0].responseEnd;
  const frame = () => new Promise(requestAnimationFrame);
  const until = async (condition) => {
    while (!condition()) await frame();
    return performance.now() - began;
  };
  const counts = () => [...document.querySelectorAll(".status-switch-count")].map((each) => each.textContent);
  return Promise.all([
    until(() => document.querySelector(".runs-frame[aria-busy=false] .run, .empty")),
    until(() => counts().length && !counts().includes("·")),
  ]);
}"""
# Goes to the next page. Returns the milliseconds until its rows are shown, or null on the last page.
NEXT = """async () => {
  const link = [...document.querySelectorAll(".paging-links a")].find((each) => each.textContent.startsWith("Next"));
  if (!link) return null;
  const first = document.querySelector(".run").dataset.id;
  const began = performance.now();
  link.click();
  const frame = () => new Promise(requestAnimationFrame);
  while (document.querySelector(".runs-frame[aria-busy=true]") || document.querySelector(".run").dataset.id === first) {
    await frame();
  }
  return performance.now() - began;
}"""
PAGES = 5


async def prepare(dsn: str, workflows: int) -> None:
    """Store the workflows, unless they are there. None is RUNNING or PENDING, so that the service leaves them alone."""
    await migrate(dsn)
    connection = await asyncpg.connect(dsn)
    if not await connection.fetchval("SELECT EXISTS (SELECT FROM workflows)"):
        began = perf_counter()
        await seed(connection, workflows, steps=1)
        await connection.execute("UPDATE workflows SET status = 'PAUSED' WHERE status IN ('RUNNING', 'PENDING')")
        print(f"{workflows:,} workflows stored in {perf_counter() - began:.0f} s", flush=True)
    await connection.close()


def figures(times: Sequence[float]) -> str:
    return f"{statistics.median(times):.0f} ms"


async def page_on(page: Page, most: int) -> list[float]:
    """Go to the next page up to *most* times, and return the milliseconds of each."""
    times: list[float] = []
    while len(times) < most and (took := await page.evaluate(NEXT)) is not None:
        times.append(took)
    return times


async def measure(up: StepwellProcess, folder: Path, loads: int) -> None:
    command = await asyncio.to_thread(stepwell, "open", "--print", "--data-dir", folder)
    async with running_chromium(chromium_path()) as browser:
        page = await browser.new_page()
        await page.goto(command.stdout.strip())
        if await page.get_by_role("button", name="Sign in").count():
            await page.get_by_role("button", name="Sign in").click()
        await page.wait_for_url("**/ui")
        await page.evaluate(SHOWN)
        print(f"| view | rows | counts | next | target: rows in {TARGET_MS} ms |\n|---|---|---|---|---|")
        for name, query in VIEWS.items():
            rows, counts = [], []
            for _ in range(loads):
                await page.goto(f"{up.url}/ui{query}")
                shown = await page.evaluate(SHOWN)
                rows.append(shown[0])
                counts.append(shown[1])
            following = await page_on(page, PAGES)
            verdict = "met" if statistics.median(rows) <= TARGET_MS else "missed"
            print("|", " | ".join([name, *map(figures, (rows, counts, following or [0.0])), verdict]), "|", flush=True)
        await page.goto(f"{up.url}/ui?status=PAUSED&limit=200")
        await page.evaluate(SHOWN)
        times = await page_on(page, 10_000)
        longest = max(times, default=0.0)
        print(f"to the end of PAUSED: {len(times) + 1} pages of 200 rows, the longest took {longest:.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workflows", type=int, default=1_000_000)
    parser.add_argument("--loads", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = options.folder or stack.enter_context(fresh_folder()) / "data"
        embedded = EmbeddedPostgres(folder / "postgres")
        embedded.start()
        try:
            asyncio.run(prepare(embedded.dsn(), options.workflows))
        finally:
            embedded.stop()
        up = stack.enter_context(running_up(folder))
        asyncio.run(measure(up, folder, options.loads))


if __name__ == "__main__":
    main()
