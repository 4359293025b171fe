"""The system's Chromium, driven by Playwright."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, async_playwright

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_FLAGS = (
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium_path() -> str:
    """Return the path of Chromium: STEPWELL_CHROMIUM, or the first that is installed. Without one, skip the test."""
    path = os.environ.get("STEPWELL_CHROMIUM") or next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if path is None:
        pytest.skip("Chromium is not installed: the web page is not tested in a browser")
    return path


@asynccontextmanager
async def running_chromium(path: str) -> AsyncIterator[Browser]:
    """Yield a headless browser, the program at *path*."""
    async with async_playwright() as playwright:
        # Debian's Chromium is a few versions away from the one that Playwright knows, which it tolerates.
        browser = await playwright.chromium.launch(executable_path=path, args=_FLAGS, chromium_sandbox=False)
        try:
            yield browser
        finally:
            await browser.close()
