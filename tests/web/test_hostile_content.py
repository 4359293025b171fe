"""Content of a hostile tenant in the views and dialogs of the page: it runs nowhere, and stays in its element."""

import json
from urllib.parse import quote

import pytest
from playwright.async_api import Page, expect

from support.browser.drops import drop_file
from support.browser.hostile_content import ATTACK, LONG, REVERSING, assert_nothing_ran, watched
from support.browser.pages import NARROW, User
from support.emulators.openai import drawn
from support.providers.configured_by_steps import configured_step, passthrough_step

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.extended]

NAME = ATTACK + REVERSING
RESULT = {"link": "javascript:hit=1", "result_text": NAME, "url": f"data:text/html,{ATTACK}"}


async def assert_harmless(page: Page, requests: list[str]) -> None:
    await assert_nothing_ran(page, requests)
    assert await page.evaluate("document.documentElement.scrollWidth") == NARROW


async def test_hostile_content_of_a_run_runs_in_no_dialog(user: User) -> None:
    run = await user.create(
        configured_step(NAME, prompt=ATTACK, texts={"a.txt": ATTACK, "b.txt": "b"}, result=RESULT),
        configured_step("fails", NAME, breaks=NAME + LONG, model=NAME),
        passthrough_step(LONG, "fails"),
        name=NAME + LONG,
        labels={"attack": NAME},
    )
    await user.site.service.until_ended(run["id"])
    path = f"/ui/workflows/{run['id']}"
    page = await user.open(f"{path}?step={quote(NAME)}", width=NARROW)
    requests = watched(page)
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_role("heading", name=NAME)).to_be_visible()
    await expect(dialog).to_contain_text("javascript:hit=1")
    assert await page.locator("a[href^='javascript'], a[href^='data']").count() == 0
    await assert_harmless(page, requests)
    await page.goto(f"{user.site.url}{path}?step=fails")
    await expect(dialog.locator(".attempts")).to_contain_text(NAME)
    await assert_harmless(page, requests)
    await page.keyboard.press("Escape")
    await expect(page.locator("a", has_text="attack:")).to_have_css("unicode-bidi", "isolate")
    for verb in ("Resume", "Clean up", "Delete data"):
        await page.get_by_role("group", name="Actions").get_by_role("button", name=verb, exact=True).click()
        await expect(dialog.locator(".verb-effects")).to_be_visible()
        await assert_harmless(page, requests)
        await page.keyboard.press("Escape")
    await page.goto(f"{user.site.url}{path}?tab=outputs")
    for number in range(2):
        await page.get_by_role("button", name="Compare").nth(number).click()
    await expect(page.get_by_role("dialog", name="Compare outputs")).to_contain_text(ATTACK)
    await assert_harmless(page, requests)


async def test_hostile_content_runs_in_no_other_view(user: User) -> None:
    await user.create(passthrough_step("a"), name=NAME, start=False)
    page = await user.open("/ui/new", width=NARROW)
    requests = watched(page)
    step = {"id": NAME, "task_type": "PASSTHROUGH", "depends_on": [NAME + LONG], ATTACK: 1, "config": {"x": NAME}}
    text = json.dumps({"name": NAME, "origin_instance": ATTACK, "steps": [step]})
    await page.get_by_role("textbox", name="Definition (JSON)").fill(text)
    await expect(page.get_by_role("main").get_by_text("<script>hit=1").last).to_be_visible()
    await drop_file(page, page.locator(".cm-content"), f"{NAME}.png", drawn((8, 8)))
    await drop_file(page, page.locator(".cm-content"), f"{NAME}.exe", b"MZ")
    await assert_harmless(page, requests)
    await page.goto(f"{user.site.url}/ui/uploads")
    await expect(page.locator("main h1")).to_be_visible()
    await drop_file(page, page.locator("body"), f"{NAME}.exe", b"MZ")
    await expect(page.get_by_role("main").get_by_text(".exe").first).to_be_visible()
    await assert_harmless(page, requests)
    for view in ("providers", "costs", f"?label={quote('attack:' + NAME)}&name={quote(NAME)}"):
        await page.goto(f"{user.site.url}/ui/{view}".replace("/?", "?"))
        await expect(page.locator("main h1")).to_be_visible()
        await assert_harmless(page, requests)
    await page.close()
    user.errors[:] = [error for error in user.errors if "status of 4" not in error]


async def test_hostile_content_of_a_stored_definition_runs_nowhere(user: User) -> None:
    text = NAME + LONG
    member = {"title": text, "description": text, "type": "string", "examples": [text]}
    members = {
        ATTACK: {**member, "pattern": f"^{LONG}$"},
        "kind": {"enum": [NAME, LONG, {ATTACK: text}]},
        "file": {**member, "format": "artifact"},
    }
    group = {
        "type": "object",
        "title": text,
        "properties": {LONG: member, "any": {"title": text, "oneOf": [member, {"type": "number"}]}},
    }
    schema = {"type": "object", "properties": {**members, "group": group, "list": {"type": "array", "items": member}}}
    for count in (1, 2):
        inputs = {"kind": NAME, "file": f"javascript:{text}", "list": [text] * count}
        body = {"steps": [passthrough_step("a", x=text)], "inputs": inputs, "inputs_schema": schema}
        response = await user.client.put("/api/v1/definitions/photo-set", json=body)
        assert response.status_code == 201, response.text
    changes = {"description": text, "labels": {"attack": NAME}}
    assert (await user.client.patch("/api/v1/definitions/photo-set", json=changes)).status_code == 200
    page = await user.open("/ui/definitions", width=NARROW)
    requests = watched(page)
    await expect(page.get_by_role("button", name="attack:")).to_have_css("unicode-bidi", "isolate")
    await assert_harmless(page, requests)
    await page.get_by_role("link", name="photo-set").click()
    await page.locator("form input").first.fill(text)
    await expect(page.locator(".field-error").first).to_be_visible()
    await page.get_by_text("Schema", exact=True).click()
    await page.get_by_role("button", name="Add to list").click()
    await assert_harmless(page, requests)
    for tab in ("Versions", "Definition"):
        await page.get_by_role("tab", name=tab).click()
        await expect(page.locator("pre").filter(has_text="<script>hit=1").last).to_be_visible()
        await assert_harmless(page, requests)
    await page.close()
    user.errors[:] = [error for error in user.errors if "status of 4" not in error]
