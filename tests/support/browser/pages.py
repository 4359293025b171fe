"""The web page in Chromium, as a user of one tenant sees it."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal
from uuid import uuid4

import httpx
from msgspec import Struct
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from stepwell.contract.scopes import Permission
from stepwell.ports.providers import Provider
from support.browser.chromium import running_chromium
from support.service.listening_service import listening
from support.service.live_service import EVERYTHING, Service, serving
from support.service.session_cookies import cookie_of

DEADLINE_MS = 60_000  # the machine may be loaded
WIDE, NARROW = 1280, 360
_LOOKS: Final[tuple[tuple[int, Literal["light", "dark"]], ...]] = ((WIDE, "light"), (NARROW, "dark"))
# Images that are neither loaded yet nor far away.
IMAGES_SHOWN = """Promise.all([...document.images]
  .filter((image) => !image.complete && image.getBoundingClientRect().top < innerHeight)
  .map((image) => image.decode().catch(() => {})))"""
# Ends when the page has the width and has answered to it: a ResizeObserver runs before a frame is drawn.
ARRANGED = """async (width) => {
  do await new Promise(requestAnimationFrame); while (innerWidth !== width);
  await new Promise(requestAnimationFrame);
}"""
# The tables of which a part is outside of the screen, or is shown only after scrolling.
CUT_TABLES = """[...document.querySelectorAll("table")].filter((table) => table.checkVisibility()
  && (table.scrollWidth > table.parentElement.clientWidth || table.getBoundingClientRect().right > innerWidth))
  .map((table) => table.className)"""
expect.set_options(timeout=DEADLINE_MS)


class Site(Struct):
    """The service behind a socket, and a browser."""

    service: Service
    url: str
    browser: Browser


@asynccontextmanager
async def running_site(
    dsn: str, folder: Path, provider: Provider, chromium: str, **settings: Any
) -> AsyncIterator[Site]:
    """Yield a service on the database *dsn* with files in *folder* and with *provider*, and the browser *chromium*."""
    async with (
        serving(dsn, folder, provider, **settings) as service,
        listening(service) as port,
        running_chromium(chromium) as browser,
    ):
        yield Site(service, f"http://localhost:{port}", browser)


class User(Struct):
    """A user of a tenant that nobody else uses: what they see in the browser, and their client of the API.

    `errors` are the messages of the page's console and its uncaught errors. A test that provokes one removes it.
    """

    site: Site
    tenant: str
    context: BrowserContext
    client: httpx.AsyncClient
    errors: list[str]

    async def open(self, path: str = "/ui", *, width: int = WIDE, height: int = 800) -> Page:
        """Open *path* in a new tab, and wait until its view is shown."""
        page = await self.context.new_page()
        await page.set_viewport_size({"width": width, "height": height})
        await page.goto(self.site.url + path)
        await expect(page.locator("main h1")).to_be_visible()
        return page

    async def create(self, *steps: dict[str, Any], start: bool = True, **fields: Any) -> dict[str, Any]:
        """Create a workflow of this tenant."""
        body = {"name": "a run", "origin_instance": "tests", "steps": list(steps), **fields}
        response = await self.client.post("/api/v1/workflows/", params={"start": start}, json=body)
        assert response.status_code == 201, response.text
        created: dict[str, Any] = response.json()
        return created

    async def upload(self, name: str, content: bytes) -> str:
        """Upload a file, and return its path."""
        response = await self.client.post("/api/v1/artifacts", files={"file": (name, content)})
        assert response.status_code == 201, response.text
        path: str = response.json()["artifacts"][0]["path"]
        return path


@asynccontextmanager
async def signed_in(
    site: Site,
    *,
    tenant: str | None = None,
    every: bool = False,
    permissions: tuple[Permission, ...] = EVERYTHING,
    **options: Any,
) -> AsyncIterator[User]:
    """Yield a user with a session, in a browser context of their own, with these *options* of Playwright.

    By default they are of a tenant of their own. *every*: they may see all tenants. Fails if the page has reported an
    error.
    """
    tenant = tenant or f"tenant-{uuid4().hex[:12]}"
    context = await site.browser.new_context(**options)
    name, _, value = (await cookie_of(site.service, tenant, every=every, permissions=permissions)).partition("=")
    await context.add_cookies([{"name": name, "value": value, "url": site.url, "httpOnly": True, "sameSite": "Lax"}])
    context.set_default_timeout(DEADLINE_MS)
    errors: list[str] = []
    context.on("console", lambda message: errors.append(_described(message)) if _is_fault(message) else None)
    context.on("weberror", lambda error: errors.append(str(error.error)))
    try:
        async with site.service.as_tenant(tenant, every=every, permissions=permissions) as client:
            yield User(site, tenant, context, client, errors)
    finally:
        await context.close()
    assert not errors, errors


def _is_fault(message: ConsoleMessage) -> bool:
    """Return whether the page is at fault. A busy service refuses reads with a 503, which Chromium reports itself."""
    return message.type == "error" and "status of 503" not in message.text


def _described(message: ConsoleMessage) -> str:
    """Return the text of a message, and where it comes from."""
    return f"{message.text} ({message.location['url']})"


async def keep_screenshot(page: Page, name: str) -> None:
    """Store a screenshot of the whole page in the folder that STEPWELL_SCREENSHOTS names, if it is set."""
    if folder := os.environ.get("STEPWELL_SCREENSHOTS"):
        await page.evaluate(IMAGES_SHOWN)
        await page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


async def keep_screenshots(page: Page, name: str) -> None:
    """Store two screenshots, as above: a wide one in light, and a narrow one in dark. Then the page is as before."""
    size = page.viewport_size
    if size is None or not os.environ.get("STEPWELL_SCREENSHOTS"):
        return
    scheme = await page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light'")
    for width, colours in _LOOKS:
        await _look(page, width, colours)
        await keep_screenshot(page, f"{name}-{width}-{colours}")
    await _look(page, size["width"], scheme)


async def _look(page: Page, width: int, scheme: Literal["light", "dark"]) -> None:
    await page.set_viewport_size({"width": width, "height": 800})
    await page.emulate_media(color_scheme=scheme)
    await page.evaluate(ARRANGED, width)
