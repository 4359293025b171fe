"""The checks of axe-core."""

from typing import Any

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page

_COUNTED = {"serious", "critical"}


async def accessibility_faults(page: Page) -> list[str]:
    """Return what axe-core finds serious or critical on *page*: the rule, the element, and what is wrong with it."""
    await page.evaluate(Axe().axe_script)
    results: dict[str, Any] = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{violation['id']}: {node['target']}: {node['failureSummary']}"
        for violation in results["violations"]
        if violation["impact"] in _COUNTED
        for node in violation["nodes"]
    ]
