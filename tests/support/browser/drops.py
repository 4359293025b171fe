"""Files that are dropped onto an element of a page."""

from base64 import b64encode

from playwright.async_api import Locator, Page

_TRANSFER = """([name, content]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([Uint8Array.from(atob(content), (char) => char.charCodeAt(0))], name));
  return transfer;
}"""


async def drop_file(page: Page, target: Locator, name: str, content: bytes, **point: float) -> None:
    """Drag the file *name* onto *target*, and drop it at *point*: clientX and clientY."""
    transfer = await page.evaluate_handle(_TRANSFER, [name, b64encode(content).decode()])
    for event in ("dragenter", "dragover", "drop"):
        await target.dispatch_event(event, {"dataTransfer": transfer, **point})
