"""The stream of events that all tabs of a browser share."""

import asyncio
import re

import pytest
from playwright.async_api import Page, expect

from stepwell.contract.scopes import Permission
from stepwell.web.static_files import static_files
from support.browser.pages import DEADLINE_MS, Site, User, signed_in
from support.providers.configured_by_steps import configured_step

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.extended]

# Chromium shows every tab of a headless browser, so the test says which are hidden.
SET_HIDDEN = """{
  Object.defineProperty(document, "hidden", { configurable: true, get: () => %s });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
HIDE, SHOW = SET_HIDDEN % "true", SET_HIDDEN % "false"


async def open_streams(site: Site) -> int:
    """Return how many streams of events the service has open."""
    text = (await site.service.client.get("/metrics")).text
    match = re.search(r"^stepwell_event_streams ([\d.]+)$", text, re.MULTILINE)
    assert match
    return int(float(match[1]))


async def until_open(site: Site, count: int) -> None:
    """Wait until so many are open: those of tabs that were closed, also by earlier tests, end a little later."""
    async with asyncio.timeout(DEADLINE_MS / 1000):
        while await open_streams(site) != count:
            await asyncio.sleep(0.05)


async def until_live(page: Page) -> None:
    await expect(page.locator("#stream-state")).to_have_text("Live")


async def test_all_tabs_share_one_stream_that_ends_with_the_last_of_them(user: User) -> None:
    first, second = await user.open("/ui"), await user.open("/ui")
    await until_live(first)
    await until_live(second)
    await until_open(user.site, 1)
    await user.create(configured_step("a"), name="Seen by both", start=False)
    for page in (first, second):
        await expect(page.get_by_role("link", name="Seen by both")).to_be_visible()
    await first.close()
    await user.create(configured_step("a"), name="Seen by one", start=False)
    await expect(second.get_by_role("link", name="Seen by one")).to_be_visible()
    await until_open(user.site, 1)
    await user.context.new_page()
    await second.close()
    await until_open(user.site, 0)


async def test_the_stream_is_closed_while_all_tabs_are_hidden_and_then_misses_nothing(user: User) -> None:
    first, second = await user.open("/ui"), await user.open("/ui")
    await until_live(first)
    await first.evaluate(HIDE)
    await until_live(second)
    await until_open(user.site, 1)
    await second.evaluate(HIDE)
    await until_open(user.site, 0)
    await expect(second.locator("#stream-state")).to_have_text("Paused")
    await user.create(configured_step("a"), name="Made meanwhile", start=False)
    await second.evaluate(SHOW)
    await until_live(second)
    await expect(second.get_by_role("link", name="Made meanwhile")).to_be_visible()


async def test_a_hidden_tab_shows_new_runs_as_soon_as_it_is_visible_again(user: User) -> None:
    first, second = await user.open("/ui"), await user.open("/ui")
    await until_live(first)
    await until_live(second)
    await second.evaluate(HIDE)
    await user.create(configured_step("a"), name="Made meanwhile", start=False)
    await expect(first.get_by_role("link", name="Made meanwhile")).to_be_visible()
    await second.evaluate(SHOW)
    await expect(second.get_by_role("link", name="Made meanwhile")).to_be_visible()


async def test_without_shared_workers_the_page_is_live_too(user: User) -> None:
    await user.context.add_init_script("delete globalThis.SharedWorker")
    first, second = await user.open("/ui"), await user.open("/ui")
    await until_live(first)
    await until_live(second)
    await until_open(user.site, 2)
    await user.create(configured_step("a"), name="Seen by both", start=False)
    for page in (first, second):
        await expect(page.get_by_role("link", name="Seen by both")).to_be_visible()
    await first.evaluate(HIDE)
    await until_open(user.site, 1)


# Follows the stream, and says in the page's title when it must read again what it shows.
FOLLOW = 'async (module) => { (await import(module)).follow({ onGap() { document.title = "Read again"; } }) }'


async def test_a_tab_that_joins_an_open_stream_reads_again_what_it_shows(site: Site) -> None:
    async with signed_in(site, permissions=(Permission.READ,)) as user:  # whose page counts no decisions
        first, second = await user.open("/ui"), await user.open("/ui/costs")
        await until_live(first)
        await second.evaluate(FOLLOW, static_files().url("lib/stream.js"))
        await expect(second).to_have_title("Read again")
        await until_open(site, 1)


# Feeds a hub with events in a time of its own, and returns the URLs of its connections.
ADAPTING = """async (module) => {
  const { StreamHub } = await import(module);
  const urls = [];
  globalThis.EventSource = class {
    constructor(url) { urls.push(url); }
    addEventListener() {}
    close() {}
  };
  const hub = new StreamHub("/feed", () => {});
  hub.resume();
  hub.lastId = "c";
  let now = hub.countedFrom;
  for (const count of [250, 150, 0]) {
    hub.counted = count;
    hub.adapt(now += 10_000);
    now = hub.countedFrom = Math.max(now, hub.countedFrom);
  }
  return urls;
}"""


# The pauses between two lists at several rates of events a second, and once they have ended.
PAUSES = """async (module) => {
  const { EventRate } = await import(module);
  const pauses = [0, 10, 100, 1000].map((perSecond) => {
    const rate = new EventRate();
    for (let second = 0; second < 20; second++) rate.add(perSecond, 1000 * second);
    return [rate.pauseMs(19_500), rate.pauseMs(40_000)];
  });
  return pauses.flat();
}"""


async def test_the_stream_and_the_list_are_slower_while_there_are_many_events(user: User) -> None:
    page = await user.open("/ui/costs")
    pauses = await page.evaluate(PAUSES, static_files().url("views/runs/event_rate.js"))
    assert pauses == [1_000, 1_000, 1_000, 1_000, 5_000, 1_000, 30_000, 1_000]
    urls = await page.evaluate(ADAPTING, static_files().url("lib/stream_hub.js"))
    assert urls == ["/feed?delay_s=1", "/feed?delay_s=3&cursor=c", "/feed?delay_s=1&cursor=c"]
