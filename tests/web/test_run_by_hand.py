"""Steps and items that a user ends in the drawer of a run in Chromium: with a picture, or by skipping them."""

import pytest
from playwright.async_api import FilePayload, expect

from stepwell.contract.scopes import Permission
from support.browser.accessibility import accessibility_faults
from support.browser.pages import Site, User, keep_screenshots, signed_in
from support.emulators.openai import drawn
from support.providers.configured_by_steps import passthrough_step
from support.service.live_service import statuses_of, step_of

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.extended]

BROKEN = {
    "id": "enlarge",
    "task_type": "REFINE",
    "config": {"base_image_url": "media/00000000-0000-4000-8000-000000000000/image.png"},
}
EACH = passthrough_step("each", text="a ${item}") | {"for_each": {"items": [None, None], "max_concurrency": 2}}


async def test_a_user_mends_a_picture_and_skips_the_next_step(user: User) -> None:
    run = await user.create(BROKEN, passthrough_step("last", "enlarge"), passthrough_step("end", "last"))
    await user.site.service.until_ended(run["id"])
    page = await user.open(f"/ui/workflows/{run['id']}?step=enlarge")
    by_hand = page.get_by_role("region", name="By hand: enlarge")
    await by_hand.get_by_role("button", name="Give a result…").click()
    form = by_hand.get_by_role("form", name="Result of enlarge")
    await form.get_by_label("Result (JSON)").fill("[1]")
    await form.get_by_role("button", name="Give this result").click()
    await expect(by_hand.get_by_role("alert")).to_contain_text("isn't a JSON object")
    picture: FilePayload = {"name": "mended.png", "mimeType": "image/png", "buffer": drawn((64, 48))}
    await form.get_by_label("Upload a picture or a video").set_input_files([picture])
    await expect(form.get_by_role("img", name="Preview of the result")).to_have_js_property("naturalWidth", 64)
    assert await accessibility_faults(page) == []
    await keep_screenshots(page, "run-drawer-by-hand")
    await form.get_by_role("button", name="Give this result").click()
    await expect(by_hand).to_have_count(0)
    drawer = page.get_by_role("dialog", name="enlarge")
    await expect(drawer).to_contain_text("Result given by")
    given = step_of(await user.site.service.get(run["id"]), "enlarge")
    assert (given["status"], given["result"]["result_image_path"].split("/")[-1]) == ("COMPLETED", "mended.png")

    await page.goto(f"{user.site.url}/ui/workflows/{run['id']}?step=last")
    by_hand = page.get_by_role("region", name="By hand: last")
    await by_hand.get_by_role("button", name="Skip…").click()
    await expect(by_hand).to_contain_text("Skipped are: last, end.")
    await by_hand.get_by_role("button", name="Skip last").click()
    await expect(page.get_by_role("dialog", name="last")).to_contain_text("Skipped by a person.")
    statuses = statuses_of(await user.site.service.get(run["id"]))
    assert statuses == {"enlarge": "COMPLETED", "last": "SKIPPED", "end": "SKIPPED"}


async def test_a_user_ends_an_item(user: User) -> None:
    run = await user.create(EACH)
    await user.site.service.until_ended(run["id"])
    page = await user.open(f"/ui/workflows/{run['id']}?step=each")
    first = page.get_by_role("region", name="By hand: item 0 of each")
    await first.get_by_role("button", name="Give a result…").click()
    await first.get_by_label("Result (JSON)").fill('{"text": "a card"}')
    await first.get_by_role("button", name="Give this result").click()
    await expect(first).to_have_count(0)
    second = page.get_by_role("region", name="By hand: item 1 of each")
    await second.get_by_role("button", name="Skip…").click()
    await second.get_by_role("button", name="Skip item 1 of each").click()
    await expect(page.get_by_role("dialog", name="each")).to_contain_text("1 of 2 completed, 1 skipped")
    assert (await user.site.service.get(run["id"]))["steps"][0]["status"] == "COMPLETED"


async def test_who_may_only_read_ends_nothing_by_hand(site: Site) -> None:
    async with signed_in(site, permissions=(Permission.READ,)) as user:
        run = await site.service.create(BROKEN, origin_tenant_id=user.tenant)
        await site.service.until_ended(run["id"])
        page = await user.open(f"/ui/workflows/{run['id']}?step=enlarge")
        await expect(page.get_by_role("dialog", name="enlarge")).to_contain_text("REFINE")
        await expect(page.get_by_role("button", name="Skip…")).to_have_count(0)
