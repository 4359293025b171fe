"""The view "Uploads" in Chromium: upload by dropping and by the file dialog, copy of the path, deletion."""

import re

import pytest
from playwright.async_api import FilePayload, expect

from stepwell.contract.scopes import Permission
from support.browser.accessibility import accessibility_faults
from support.browser.drops import drop_file
from support.browser.pages import NARROW, Site, User, keep_screenshot, keep_screenshots, signed_in
from support.emulators.openai import drawn

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.extended]


async def test_a_file_that_is_dropped_is_listed_with_its_preview_and_path(user: User) -> None:
    await user.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = await user.open("/ui/uploads")
    await expect(page.get_by_text("There are no uploads yet.")).to_be_visible()
    await drop_file(page, page.locator("body"), "red <b>shoe</b>.png", drawn((64, 48)))
    row = page.get_by_role("region", name="Uploaded files").get_by_role("row").nth(1)
    await expect(row).to_contain_text(re.compile(r"64 \S 48"))
    await expect(row).to_contain_text(re.compile(r"in 6 d 23 h|in 7 d"))
    await expect(row.locator("img")).to_have_js_property("naturalWidth", 64)
    await row.get_by_role("button", name="Copy the path").click()
    await expect(page.locator("#announcer")).to_have_text("Copied")
    path = await row.locator("code").inner_text()
    assert await page.evaluate("navigator.clipboard.readText()") == path
    assert path.startswith("media/")
    await expect(page.get_by_text("1 file of 10,000")).to_be_visible()
    assert await accessibility_faults(page) == []
    await keep_screenshots(page, "uploads")
    await page.emulate_media(color_scheme="dark")
    assert await accessibility_faults(page) == []


async def test_a_file_is_deleted_after_a_dialog_unless_a_workflow_names_it(user: User) -> None:
    page = await user.open("/ui/uploads", width=NARROW)
    contents = {"named.txt": b"one text", "free.txt": b"another text"}
    files: list[FilePayload] = [
        {"name": name, "mimeType": "text/plain", "buffer": text} for name, text in contents.items()
    ]
    await page.get_by_label("Choose files").set_input_files(files)
    table = page.get_by_role("region", name="Uploaded files")
    await expect(table.get_by_role("row")).to_have_count(3)
    path = await table.get_by_role("row").filter(has_text="named.txt").locator("code").inner_text()
    await user.create({"id": "a", "task_type": "PASSTHROUGH", "config": {"base_image_url": path}}, start=False)
    await page.get_by_role("button", name="Delete free.txt").click()
    assert await accessibility_faults(page) == []
    await keep_screenshot(page, "uploads-dialog-narrow")
    await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    await expect(table.get_by_role("row")).to_have_count(3)
    for name in reversed(contents):
        await page.get_by_role("button", name=f"Delete {name}").click()
        await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(table.get_by_role("row")).to_have_count(2)
    await expect(page.get_by_role("alert")).to_contain_text("Clean the workflow up first.")
    await expect(table).to_contain_text("named.txt")
    assert await page.evaluate("document.documentElement.scrollWidth") == NARROW
    await keep_screenshots(page, "uploads-error")
    user.errors.clear()  # the console names the 409


async def test_a_file_of_a_type_that_is_not_accepted_is_refused_with_the_reason(user: User) -> None:
    page = await user.open("/ui/uploads")
    file: FilePayload = {
        "name": "setup.exe",
        "mimeType": "application/octet-stream",
        "buffer": b"MZ\x90\x00\x03" + bytes(100),
    }
    await page.get_by_label("Choose files").set_input_files([file])
    await expect(page.get_by_role("alert")).to_be_visible()
    await keep_screenshot(page, "uploads-refused")
    await page.get_by_role("button", name="Dismiss the upload of setup.exe").click()
    await expect(page.get_by_role("alert")).to_have_count(0)
    user.errors.clear()  # the console names the 415


async def test_who_may_only_read_sees_no_buttons(site: Site) -> None:
    async with signed_in(site, permissions=(Permission.READ,)) as user:
        page = await user.open("/ui/uploads")
        await expect(page.get_by_text("Your token may only read.")).to_be_visible()
        await expect(page.locator("main").get_by_role("button")).to_have_count(0)
