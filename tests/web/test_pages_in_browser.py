"""Every view in Chromium: it mounts, its links work, and it fits a narrow screen in both themes."""

import re
from collections import Counter

import pytest
from playwright.async_api import expect

from stepwell.web.static_files import static_files
from support.browser.accessibility import accessibility_faults
from support.browser.pages import CUT_TABLES, NARROW, Site, User, keep_screenshots, signed_in
from support.providers.configured_by_steps import configured_step

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.extended]

VIEWS = {
    "/ui": "Runs",
    "/ui/new": "New run",
    "/ui/definitions": "Definitions",
    "/ui/decisions": "Decisions",
    "/ui/providers": "Providers",
    "/ui/uploads": "Uploads",
    "/ui/costs": "Costs",
}
_TABLES = {"/ui": 1, "/ui/uploads": 1, "timeline": 2, "definition": 2}


COUNT_READS = """{
  const original = fetch;
  globalThis.reads = [];
  globalThis.fetch = (url, options) => (reads.push(new URL(url, location.href).href), original(url, options));
}"""
# Once app.js has set its mark: what the page has preloaded, and what its scripts have loaded and read.
LOADED = """async () => {
  const shown = () => performance.getEntriesByName("stepwell:view-shown").length;
  while (!shown()) await new Promise((resolve) => setTimeout(resolve, 5));
  const links = (kind) => [...document.querySelectorAll(`link[rel=${kind}]`)].map((each) => each.href);
  const scripts = performance.getEntriesByType("resource").map((each) => each.name)
    .filter((name) => name.endsWith(".js") && !/(theme|stream_worker).js$/.test(name));
  return {preloads: links("preload"), modules: links("modulepreload"), scripts, reads};
}"""


async def test_no_view_waits_for_a_module_or_a_first_response_that_its_page_does_not_name(user: User) -> None:
    page = await user.context.new_page()
    await page.add_init_script(COUNT_READS)
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    run = f"/ui/workflows/{(await user.create(configured_step('a'), start=False))['id']}"
    for path in (*VIEWS, run):
        requested.clear()
        await page.goto(user.site.url + path)
        loaded = await page.evaluate(LOADED)
        assert {*loaded["scripts"]} <= {*loaded["modules"]}
        assert {*loaded["preloads"]} <= {*loaded["reads"]}, path
        # A view may have read again by now. What was preloaded is requested for its first read only.
        requests = Counter(requested)
        reads = Counter(await page.evaluate("reads"))
        assert all(requests[url] <= reads[url] for url in loaded["preloads"]), (path, requests, reads)


async def test_the_navigation_leads_to_every_view(user: User) -> None:
    page = await user.open("/ui")
    for path, name in VIEWS.items():
        await page.get_by_role("navigation", name="Views").get_by_role("link", name=name, exact=True).click()
        await expect(page).to_have_url(user.site.url + path)
        await expect(page.locator("main h1")).to_be_visible()
        await expect(page.locator("nav a[aria-current=page]")).to_have_text(name)
        await expect(page).to_have_title(f"{name} · Stepwell")


@pytest.mark.parametrize("path", VIEWS)
async def test_a_view_is_accessible_and_as_wide_as_a_narrow_screen(user: User, path: str) -> None:
    page = await user.open(path, width=NARROW)
    assert await page.evaluate("document.documentElement.scrollWidth") == NARROW
    links = page.get_by_role("navigation", name="Views").get_by_role("link")
    for i in range(await links.count()):
        await expect(links.nth(i)).to_be_in_viewport()
    assert await accessibility_faults(page) == []
    await keep_screenshots(page, f"{VIEWS[path].lower().replace(' ', '-')}-empty")


async def test_no_table_is_cut_on_a_narrow_screen(user: User) -> None:
    await user.upload("a-long-name" * 9 + ".txt", b"a text")
    steps = [configured_step("a" * 120, files=1), configured_step("b", breaks="it has no room " * 20)]
    run = await user.create(*steps, name="a name without an end " * 9)
    await user.site.service.until_ended(run["id"])
    views = {path: path for path in VIEWS}
    views |= {f"/ui/workflows/{run['id']}?tab={tab}": tab for tab in ("timeline", "definition", "events", "outputs")}
    for path, view in views.items():
        page = await user.open(path, width=NARROW)
        if view == "timeline":
            rows = page.locator("summary:has(.timeline-step)")
            await expect(rows).to_have_count(len(steps))
            for index in range(len(steps)):
                await rows.nth(index).click()
        elif view == "definition":
            await page.get_by_text("As completed").click()
        if view in _TABLES:
            await expect(page.locator("main table")).to_have_count(_TABLES[view])
        assert await page.evaluate(CUT_TABLES) == [], view
        assert await accessibility_faults(page) == []


async def test_the_theme_is_that_of_the_system_until_the_user_chooses_one(site: Site) -> None:
    async with signed_in(site, color_scheme="dark") as user:
        page = await user.open("/ui")
        await expect(page.locator("body")).to_have_css("background-color", "rgb(20, 24, 29)")
        await page.get_by_role("button", name="Theme: as the system").click()
        await expect(page.locator("body")).to_have_css("background-color", "rgb(251, 250, 247)")
        await page.reload()
        await expect(page.get_by_role("button", name="Theme: light")).to_be_visible()
        await expect(page.locator("body")).to_have_css("background-color", "rgb(251, 250, 247)")


async def test_nothing_is_animated_for_users_who_want_less_motion(site: Site) -> None:
    async with signed_in(site, reduced_motion="reduce") as user:
        await user.create(configured_step("held", wait=True))
        page = await user.open("/ui")
        badge = page.locator(".badge.status-running").first
        await expect(badge).to_be_visible()
        assert await badge.evaluate("(badge) => getComputedStyle(badge, '::before').animationIterationCount") == "1"
        await page.emulate_media(reduced_motion="no-preference")
        assert (
            await badge.evaluate("(badge) => getComputedStyle(badge, '::before').animationIterationCount") == "infinite"
        )


async def test_a_keyboard_reaches_the_content_by_the_first_link(user: User) -> None:
    page = await user.open("/ui")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("#main$"))
    await expect(page.locator("main")).to_be_focused()


async def test_the_check_of_accessibility_finds_a_button_without_a_name(user: User) -> None:
    page = await user.open("/ui/costs")
    await page.evaluate("document.querySelector('main').append(document.createElement('button'))")
    (fault,) = await accessibility_faults(page)
    assert fault.startswith("button-name: ")


async def test_midnight_is_the_hour_zero(user: User) -> None:
    page = await user.open("/ui/costs")
    script = "async (module) => (await import(module)).dateTime(new Date(2026, 0, 2, 0, 5).toISOString())"
    text = await page.evaluate(script, static_files().url("lib/format.js"))
    assert text == "Jan 2, 2026, 00:05:00"
