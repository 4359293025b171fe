"""Sign-in and sign-out in Chromium, as users do it."""

import re
from collections.abc import AsyncIterator
from typing import Literal

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, expect

from stepwell.contract.scopes import Permission
from support.browser.accessibility import accessibility_faults
from support.browser.pages import DEADLINE_MS, NARROW, WIDE, Site, keep_screenshot
from support.service.live_service import token

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.extended]

UPLOAD = """async () => {
  const form = new FormData();
  form.append("file", new Blob(["a secret"]), "a.txt");
  const response = await fetch("/api/v1/artifacts", { method: "POST", body: form });
  return `/api/v1/artifacts/${(await response.json()).artifacts[0].path}`;
}"""
# What the browser has cached is shown whether or not it's still right, as it is when the user goes back.
STATUS_OF_CACHED = "async (url) => (await fetch(url, { cache: 'force-cache' })).status"


@pytest_asyncio.fixture(loop_scope="session")
async def stranger(site: Site) -> AsyncIterator[BrowserContext]:
    """A browser in which nobody is signed in."""
    context = await site.browser.new_context()
    context.set_default_timeout(DEADLINE_MS)
    yield context
    await context.close()


async def test_a_user_signs_in_where_they_wanted_to_go_and_signs_out(site: Site, stranger: BrowserContext) -> None:
    page = await stranger.new_page()
    await page.goto(f"{site.url}/ui/providers")
    await expect(page).to_have_title("Sign in · Stepwell")
    await page.get_by_label("Token").fill("a wrong one")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_contain_text("The token is malformed")
    await page.get_by_label("Token").fill(token("acme", every=False))
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(f"{site.url}/ui/providers")
    await expect(page.locator("main h1")).to_have_text("Providers")
    await expect(page.get_by_role("main")).to_contain_text("LOCAL")  # its scripts read the API with the cookie
    assert await page.evaluate("document.cookie") == ""
    other_tab = await stranger.new_page()
    await other_tab.goto(f"{site.url}/ui/costs")
    await expect(other_tab.locator("main h1")).to_have_text("Costs")
    file = await page.evaluate(UPLOAD)
    assert await page.evaluate(STATUS_OF_CACHED, file) == 200
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("main")).to_contain_text("You are signed out.")
    assert await page.evaluate(STATUS_OF_CACHED, file) == 401  # the next user of the browser doesn't get it
    await expect(other_tab).to_have_url(f"{site.url}/ui/sign-in?next=%2Fui%2Fcosts")
    await page.goto(f"{site.url}/ui")
    await expect(page).to_have_title("Sign in · Stepwell")


async def test_other_tabs_show_the_user_who_has_signed_in_last(site: Site, stranger: BrowserContext) -> None:
    tab, other_tab = await stranger.new_page(), await stranger.new_page()
    for page, tenant in ((tab, "acme"), (other_tab, "rival")):
        own = token(tenant, every=False)
        await page.goto(site.url + await site.service.app.sign_in.sign_in_path(own, page="/ui/new"))
        await expect(page.locator("main h1")).to_have_text("New run")
        await expect(tab.locator("body")).to_have_attribute("data-tenant", tenant)
        await page.get_by_role("textbox", name="Definition (JSON)").fill("{}")  # nobody is asked about these changes
    # A link of another page to the one that says "signed out" loads nothing again.
    await tab.evaluate("document.body.dataset.same = 'yes'")
    await other_tab.goto(f"{site.url}/ui/sign-in?signed-out")
    await expect(other_tab.get_by_role("main")).to_contain_text("You are signed out.")
    await other_tab.goto(f"{site.url}/ui")
    await expect(other_tab.locator("main h1")).to_have_text("Runs")
    await expect(tab.locator("body")).to_have_attribute("data-same", "yes")


async def test_a_one_time_url_signs_in_without_a_dialog_and_once(site: Site, stranger: BrowserContext) -> None:
    path = await site.service.app.sign_in.sign_in_path(token("acme", every=False), page="/ui/costs")
    page = await stranger.new_page()
    await page.goto(site.url + path)
    await expect(page).to_have_url(f"{site.url}/ui/costs")
    await page.goto(site.url + path)
    await expect(page.get_by_role("alert")).to_contain_text("This sign-in URL was used before, and works once.")


async def test_a_link_of_another_page_asks_before_it_signs_in(site: Site, stranger: BrowserContext) -> None:
    path = await site.service.app.sign_in.sign_in_path(token("acme", every=False))
    page = await stranger.new_page()
    await page.goto(f"{site.url.replace('localhost', '127.0.0.1')}/health/live")  # a page of another site
    await page.set_content(f'<a href="{site.url}{path}">Here you are</a>')
    await page.get_by_role("link", name="Here you are").click()
    await expect(page.get_by_role("main")).to_contain_text("This URL signs you in once.")
    assert await stranger.cookies() == []
    assert await accessibility_faults(page) == []
    await page.get_by_role("button", name="Sign in").click()
    await expect(page).to_have_url(f"{site.url}/ui")
    # A link in a mail leads to a page of a user who is signed in.
    await page.goto(f"{site.url.replace('localhost', '127.0.0.1')}/health/live")
    await page.set_content(f'<a href="{site.url}/ui/costs">Look</a>')
    await page.get_by_role("link", name="Look").click()
    await expect(page.locator("main h1")).to_have_text("Costs")


async def test_a_one_time_url_asks_before_it_signs_in_by_plain_http(site: Site, stranger: BrowserContext) -> None:
    path = await site.service.app.sign_in.sign_in_path(token("acme", every=False))
    elsewhere = site.url.replace("localhost", "0.0.0.0")  # an address to which Chromium sends no Sec-Fetch-Site
    page = await stranger.new_page()
    await page.goto(elsewhere + path)
    await expect(page.get_by_role("main")).to_contain_text("This URL signs you in once.")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page).to_have_url(f"{elsewhere}/ui")


async def test_a_form_of_another_page_does_nothing(site: Site, stranger: BrowserContext) -> None:
    page = await stranger.new_page()
    await page.goto(site.url + await site.service.app.sign_in.sign_in_path(token("acme", every=False)))
    await expect(page).to_have_url(f"{site.url}/ui")
    for action in ("/ui/sign-out", "/ui/sign-in"):
        other = await stranger.new_page()
        await other.goto(f"{site.url.replace('localhost', '127.0.0.1')}/health/live")
        fields = f'<input name="token" value="{token("evil", every=False)}"><button>Win</button>'
        await other.set_content(f'<form method="post" action="{site.url}{action}">{fields}</form>')
        await other.get_by_role("button", name="Win").click()
        await expect(other.get_by_role("alert")).to_contain_text("The form came from another page than this one.")
    await page.reload()
    await expect(page.locator("body")).to_have_attribute("data-tenant", "acme")


async def test_a_user_who_may_only_read_gets_no_way_to_write(site: Site, stranger: BrowserContext) -> None:
    own = token("acme", every=False, permissions=(Permission.READ,))
    page = await stranger.new_page()
    await page.goto(site.url + await site.service.app.sign_in.sign_in_path(own))
    await expect(page.locator("body")).to_have_attribute("data-scopes", "workflows:read")
    response = await page.evaluate(
        "fetch('/api/v1/workflows', {method: 'POST', headers: {'Content-Type': 'application/json'}, body: '{}'})"
        ".then((response) => response.json())"
    )
    assert (response["status"], response["detail"]) == (403, "The token lacks the scope workflows:write.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [NARROW, WIDE])
async def test_the_sign_in_page_is_accessible_and_fits(
    site: Site, scheme: Literal["light", "dark"], width: int
) -> None:
    context = await site.browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
    page = await context.new_page()
    await page.goto(f"{site.url}/ui/sign-in")
    await expect(page.get_by_label("Token")).to_be_focused()
    await keep_screenshot(page, f"sign-in-{scheme}-{width}")
    await page.get_by_label("Token").fill("x")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") == width
    assert await accessibility_faults(page) == []
    assert re.search(r"code=|token=", page.url) is None
    await keep_screenshot(page, f"sign-in-refused-{scheme}-{width}")
    await context.close()
