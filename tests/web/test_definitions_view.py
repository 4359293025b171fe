"""The views of stored definitions in Chromium: the list, and one definition with its versions and their differences."""

from typing import Any

import pytest
from playwright.async_api import expect

from stepwell.contract.scopes import Permission
from stepwell.web.static_files import static_files
from support.browser.accessibility import accessibility_faults
from support.browser.pages import CUT_TABLES, NARROW, Site, User, keep_screenshots, signed_in
from support.providers.configured_by_steps import passthrough_step
from support.providers.scripted import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.extended]

DEFINITIONS = "/api/v1/definitions"
DIFFERENCE = """async ({ url, texts }) => {
  const { differenceOf } = await import(url);
  return differenceOf(...texts).map(({ mark, text }) => mark + text);
}"""


async def put(user: User, name: str, *steps: dict[str, Any], **members: Any) -> int:
    """Store a definition, and return its version."""
    response = await user.client.put(
        f"{DEFINITIONS}/{name}", json={"steps": steps or [passthrough_step("a")], **members}
    )
    assert response.status_code in (200, 201), response.text
    version: int = response.json()["version"]
    return version


async def update(user: User, name: str, **changes: Any) -> None:
    response = await user.client.patch(f"{DEFINITIONS}/{name}", json=changes)
    assert response.status_code == 200, response.text


async def stored(user: User, name: str) -> dict[str, Any]:
    found: dict[str, Any] = (await user.client.get(f"{DEFINITIONS}/{name}")).json()
    return found


async def test_the_list_is_searched_by_name_label_and_archive(user: User) -> None:
    page = await user.open("/ui/definitions")
    await expect(page.get_by_text("There are no stored definitions yet.")).to_be_visible()
    for name in ("cards", "photo-set", "photo-set-large"):
        await put(user, name)
    await update(user, "cards", archived=True)
    await update(user, "photo-set", labels={"team": "shop"}, description="Photos of <b>one</b> product")
    await page.reload()
    rows = page.get_by_role("region", name="Stored definitions").locator("tbody tr")
    await expect(rows).to_have_count(2)
    await expect(rows.first).to_contain_text("Photos of <b>one</b> product")
    assert await accessibility_faults(page) == []
    await keep_screenshots(page, "definitions")
    await page.get_by_label("Name begins with").fill("photo-set-")
    await expect(rows).to_have_count(1)
    await page.get_by_label("Name begins with").fill("")
    await page.get_by_role("button", name="team:shop").click()
    await expect(rows).to_have_count(1)
    await page.get_by_label("Label").fill("team:none")
    await page.get_by_label("Label").press("Enter")
    await expect(page.get_by_text("No definition matches.")).to_be_visible()
    await page.goto(f"{user.site.url}/ui/definitions?archived=true")
    await expect(rows).to_have_count(1)
    await rows.get_by_role("link", name="cards").click()
    await expect(page.get_by_role("heading", level=1, name="cards")).to_be_visible()


async def test_a_long_list_is_read_in_pages(user: User) -> None:
    names = [f"set-{number:02}" for number in range(52)]
    for name in names:
        await put(user, name)
    page = await user.open("/ui/definitions", width=NARROW)
    links = page.locator(".definition-name")
    await expect(links).to_have_count(50)
    await page.get_by_role("button", name="Show more").click()
    await expect(links).to_have_text(names)
    assert await page.evaluate(CUT_TABLES) == []
    assert await page.evaluate("document.documentElement.scrollWidth") == NARROW


async def test_two_versions_are_compared_as_text(user: User) -> None:
    for prompt in ("a shoe", "a red shoe", "a red shoe"):
        await put(user, "photo-set", {"id": "draw", "task_type": "GENERATION", "config": {"prompt": prompt}})
    await put(user, "photo-set", passthrough_step("a"), inputs={"seed": 2**60 + 1})
    page = await user.open("/ui/definitions/photo-set?tab=versions")
    lines = page.get_by_role("region", name="Lines of the difference")
    await expect(lines.locator(".line-added").filter(has_text='"seed"')).to_have_text(f'+    "seed": {2**60 + 1}')
    await page.get_by_label("to version").select_option("2")
    await page.get_by_label("From version").select_option("1")
    await expect(lines.locator(".line-removed")).to_have_text('-        "prompt": "a shoe"')
    await expect(lines.locator(".line-added")).to_have_text('+        "prompt": "a red shoe"')
    assert await accessibility_faults(page) == []
    await keep_screenshots(page, "definition-versions")
    await page.get_by_label("From version").select_option("2")
    await expect(page.get_by_text("They are equal.")).to_be_visible()
    await page.get_by_role("link", name="1", exact=True).click()
    await expect(page.locator(".view-header")).to_contain_text("Version 1")
    await page.get_by_role("tab", name="Definition").click()
    await expect(page.get_by_role("region", name="Definition")).to_contain_text('"prompt": "a shoe"')
    await page.set_viewport_size({"width": NARROW, "height": 800})
    assert await page.evaluate("document.documentElement.scrollWidth") == NARROW


async def test_the_difference_is_that_of_diff(user: User) -> None:
    old = [f"line {number}" for number in range(1, 31)]
    new = [*old[:2], "changed", *old[3:20], *old[21:], "added"]
    page = await user.open("/ui/costs")

    async def difference(before: list[str], after: list[str]) -> list[str]:
        arguments = {
            "url": static_files().url("views/definition/difference.js"),
            "texts": ["\n".join(before), "\n".join(after)],
        }
        found: list[str] = await page.evaluate(DIFFERENCE, arguments)
        return found

    assert await difference(old, old) == []
    assert await difference(old, new) == [
        "@@ -1,6 +1,6 @@", " line 1", " line 2", "-line 3", "+changed", " line 4", " line 5", " line 6",
        "@@ -18,7 +18,6 @@", " line 18", " line 19", " line 20", "-line 21", " line 22", " line 23", " line 24",
        "@@ -28,3 +27,4 @@", " line 28", " line 29", " line 30", "+added",
    ]  # fmt: skip
    many = [f"old {number}" for number in range(3_000)]
    others = [f"new {number}" for number in range(3_000)]
    header, *lines = await difference([*many, "end"], [*others, "end"])
    assert header == "@@ -1,3001 +1,3001 @@"
    assert lines == [*(f"-{line}" for line in many), *(f"+{line}" for line in others), " end"]


async def test_a_version_is_pinned_and_the_name_archived(user: User) -> None:
    for height in (64, 128):
        await put(user, "photo-set", passthrough_step("a", height=height))
    page = await user.open("/ui/definitions/photo-set?tab=versions")
    await page.get_by_role("button", name="Pin version 1").click()
    await expect(page.get_by_role("button", name="Unpin version 1")).to_be_visible()
    assert (await stored(user, "photo-set"))["default_version"] == 1
    await page.goto(f"{user.site.url}/ui/definitions/photo-set")
    await expect(page.locator(".view-header")).to_contain_text("Version 1")
    await page.get_by_role("button", name="Unpin version 1").click()
    await expect(page.get_by_role("button", name="Unpin version 1")).to_have_count(0)
    await page.get_by_role("button", name="Archive", exact=True).click()
    await expect(page.get_by_text("An archived definition can't be run.")).to_be_visible()
    await expect(page.get_by_role("button", name="Run", exact=True)).to_have_count(0)
    assert (await stored(user, "photo-set"))["archived"]
    await page.get_by_role("button", name="Unarchive").click()
    await expect(page.get_by_role("button", name="Run", exact=True)).to_be_visible()
    await update(user, "photo-set", description="changed by somebody else")
    await page.get_by_role("button", name="Archive", exact=True).click()
    await expect(page.get_by_role("alert")).to_contain_text("the definition has another ETag than If-Match names")
    assert not (await stored(user, "photo-set"))["archived"]
    user.errors.clear()  # the console names the 412


async def test_a_name_that_does_not_exist_is_an_error(user: User) -> None:
    page = await user.open("/ui/definitions/nothing")
    await expect(page.get_by_role("alert")).to_contain_text("definition not found")
    await eventually(lambda: len(user.errors) == 2)
    user.errors.clear()  # the console names the 404 of the definition, and that of its versions


async def test_who_may_only_read_changes_nothing_and_who_may_not_read_sees_nothing(site: Site) -> None:
    reading = (Permission.READ, Permission.READ_DEFINITIONS)
    async with signed_in(site) as owner, signed_in(site, tenant=owner.tenant, permissions=reading) as reader:
        for height in (64, 128):
            await put(owner, "photo-set", passthrough_step("a", height=height))
        page = await reader.open("/ui/definitions/photo-set?tab=versions")
        await expect(page.get_by_role("region", name="Lines of the difference")).to_be_visible()
        buttons = page.locator("main").get_by_role("button")
        await expect(buttons).to_have_count(0)
        await page.get_by_role("tab", name="Run").click()
        await expect(page.get_by_text("Your token may only read.")).to_be_visible()
        await expect(buttons).to_have_count(0)
    async with signed_in(site, permissions=(Permission.READ,)) as user:
        page = await user.open("/ui/definitions")
        await expect(page.get_by_text("Your token may not read stored definitions.")).to_be_visible()
        await expect(
            page.get_by_role("navigation", name="Views").get_by_role("link", name="Definitions")
        ).to_have_count(0)


async def test_a_token_for_all_tenants_names_the_tenant(site: Site) -> None:
    async with signed_in(site) as owner, signed_in(site, every=True) as keeper:
        await put(owner, "photo-set")
        page = await keeper.open("/ui/definitions")
        await page.get_by_label("Tenant").fill(owner.tenant)
        await page.get_by_label("Tenant").press("Enter")
        await page.get_by_role("link", name="photo-set").click()
        await page.get_by_role("button", name="Archive", exact=True).click()
        await expect(page.get_by_role("button", name="Unarchive")).to_be_visible()
        assert (await stored(owner, "photo-set"))["archived"]


async def test_runs_and_decisions_are_filtered_by_definition(user: User) -> None:
    ask = {"id": "ask", "task_type": "APPROVAL", "config": {"message": "This one?"}}
    for _ in range(2):
        await put(user, "photo-set", ask)
        ask = ask | {"config": {"message": "Or this one?"}}
    for version in (1, 2):
        body = {"definition": {"name": "photo-set", "version": version}, "name": f"Run of {version}"}
        response = await user.client.post("/api/v1/workflows/", json=body)
        assert response.status_code == 201, response.text
        await user.site.service.until(response.json()["id"], lambda run: run["steps"][0]["waiting_for"] is not None)
    await user.create(ask, name="Other")
    page = await user.open("/ui/definitions/photo-set")
    await page.locator(".view-header").get_by_role("link", name="Runs", exact=True).click()
    names = page.locator(".run-link")
    await expect(names).to_have_text(["Run of 2", "Run of 1"])
    await page.get_by_role("button", name="Filters 1").click()
    await page.get_by_label("Definition", exact=True).fill("photo-set@1")
    await page.get_by_label("Definition", exact=True).press("Enter")
    await expect(names).to_have_text(["Run of 1"])
    await expect(page.get_by_text("Definition: photo-set@1")).to_be_visible()
    await names.click()
    await page.get_by_text("Details").click()
    await page.get_by_role("link", name="photo-set@1").click()
    await expect(page.locator(".view-header")).to_contain_text("Version 1")
    await page.goto(f"{user.site.url}/ui/decisions")
    await expect(page.get_by_role("article")).to_have_count(3)
    await page.get_by_label("Definition", exact=True).fill("photo-set")
    await page.get_by_label("Definition", exact=True).press("Enter")
    await expect(page.get_by_role("article")).to_have_count(2)
    await page.goto(f"{user.site.url}/ui/decisions?definition=photo-set@2")
    await expect(page.get_by_role("article")).to_have_count(1)
