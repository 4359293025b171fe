"""Content of a hostile tenant, and a check that it runs nowhere."""

from playwright.async_api import Dialog, Page

ATTACK = (
    "\"'><img src=/hit onerror=hit=1><script>hit=1</script><svg onload=hit=1>"
    "<iframe srcdoc='<script>parent.hit=1</script>'>"
)
# Turns the text that follows it around, in the whole paragraph, unless its element is isolated.
REVERSING = "\u202eevil\u2066"
LONG = "W" * 100


def watched(page: Page) -> list[str]:
    """Return a list that gets the URLs of all requests of *page*, and its dialogs but those about unsaved changes."""
    requests: list[str] = []

    async def accept(dialog: Dialog) -> None:
        if dialog.type != "beforeunload":
            requests.append(f"dialog {dialog.message}")
        await dialog.accept()

    page.on("request", lambda request: requests.append(request.url))
    page.on("dialog", accept)
    return requests


async def assert_nothing_ran(page: Page, requests: list[str]) -> None:
    """Check that no content of `ATTACK` has run in *page*, or asked for anything."""
    assert await page.evaluate("[window.hit, ...document.querySelectorAll('iframe, [onerror], [onload]')]") == [None]
    assert [url for url in requests if url.startswith(("dialog", "javascript:")) or url.endswith("/hit")] == []
