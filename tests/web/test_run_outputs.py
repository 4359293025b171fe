"""The tab "Outputs" of a run in Chromium: it shows, compares and downloads. Hostile content runs in no tab."""

import json
from base64 import b64encode
from typing import Any
from zipfile import ZipFile

import pytest
from playwright.async_api import Locator, Page, Route, expect

from support.browser.accessibility import accessibility_faults
from support.browser.hostile_content import ATTACK
from support.browser.pages import NARROW, User, keep_screenshot, keep_screenshots
from support.browser.videos import webm
from support.emulators.webhook_receiver import response_of, running_sink
from support.providers.configured_by_steps import ConfiguredProvider, configured_step
from support.workflows.sub_workflows import child_of, runs

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.extended]

RED = {"id": "red", "task_type": "GENERATION", "config": {"prompt": "a red square", "width": 64, "height": 64}}
BLUE = {"id": "blue", "task_type": "GENERATION", "config": {"prompt": "a blue square", "width": 64, "height": 64}}
DRAWING = "<svg xmlns='http://www.w3.org/2000/svg' width='30' height='20'><rect width='30' height='20'/></svg>"


def card(page: Page, step: str, name: str) -> Locator:
    cards = page.get_by_role("tabpanel", name="Outputs").get_by_role("listitem")
    return cards.filter(has=page.get_by_role("button", name=step, exact=True)).filter(has_text=name)


async def open_outputs(user: User, *steps: dict[str, Any], width: int = 1280) -> Page:
    """Run *steps*, and return the page with their outputs."""
    run = await user.create(*steps)
    await user.site.service.until_ended(run["id"])
    return await user.open(f"/ui/workflows/{run['id']}?tab=outputs", width=width)


async def test_outputs_are_shown_by_their_kinds_and_the_runs_result_first(user: User) -> None:
    texts = {
        "drawing.svg": DRAWING,
        "page.html": "<h1>a page</h1>",
        "facts.json": '{"a":[1]}',
        "notes.txt": "<b>plain</b>",
    }
    files = configured_step("files", texts=texts)
    text = configured_step("text", "files", result={"result_text": "A field of wheat."})
    page = await open_outputs(user, files, text)
    cards = page.get_by_role("tabpanel", name="Outputs").get_by_role("listitem")
    await expect(page.get_by_role("heading", name="5 outputs")).to_be_visible()
    await expect(cards.first).to_contain_text("Result of the run")
    await expect(cards.first.get_by_role("region", name="Text of text")).to_have_text("A field of wheat.")
    drawing = card(page, "files", "drawing.svg").get_by_role("img", name="Image of files")
    await expect(drawing).to_have_js_property("naturalWidth", 30)
    await expect(card(page, "files", "facts.json").locator("pre")).to_have_text(json.dumps({"a": [1]}, indent=2))
    await expect(card(page, "files", "notes.txt").locator("pre")).to_have_text("<b>plain</b>")
    await expect(card(page, "files", "page.html")).to_contain_text("This kind of file isn't shown.")
    for theme in ("light", "dark"):
        await page.emulate_media(color_scheme=theme)
        assert await accessibility_faults(page) == []
    await keep_screenshots(page, "run-outputs")
    await page.set_viewport_size({"width": NARROW, "height": 800})
    assert await page.evaluate("document.documentElement.scrollWidth") == NARROW


async def test_one_output_or_all_of_them_are_downloaded(user: User) -> None:
    page = await open_outputs(user, RED, BLUE, configured_step("text", result={"result_text": "words"}))
    async with page.expect_download() as one:
        await card(page, "text", "Text").get_by_role("button", name="Download").click()
    found = await one.value
    assert found.suggested_filename == "text-result.txt"
    assert (await found.path()).read_bytes() == b"words"
    async with page.expect_download() as every:
        await page.get_by_role("link", name="Download all").click()
    with ZipFile(await (await every.value).path()) as archive:
        assert archive.namelist() == ["red/result.png", "blue/result.png"]


async def test_the_browser_reports_a_zip_that_breaks_off(user: User) -> None:
    long = configured_step("long", texts={"a.txt": "long " * 500_000})
    run = await user.create(long, configured_step("gone", "long", files=1))
    ended = await user.site.service.until_ended(run["id"])
    page = await user.open(f"/ui/workflows/{run['id']}?tab=outputs")
    await expect(page.get_by_role("heading", name="2 outputs")).to_be_visible()
    (user.site.service.artifacts / ended["steps"][1]["result"]["paths"][0]).unlink()
    async with page.expect_download() as download:
        await page.get_by_role("link", name="Download all").click()
    assert await (await download.value).failure() is not None


async def test_each_output_has_the_path_of_its_step_and_item(user: User) -> None:
    square = {"task_type": "GENERATION", "config": {"prompt": "a square", "width": 64, "height": 64}}
    each = runs(square | {"id": "small"}, square | {"id": "large"}, step_id="each", for_each={"items": ["cup", "jug"]})
    page = await open_outputs(user, {**RED, "id": "Ä/b"}, each)
    cards = page.get_by_role("tabpanel", name="Outputs").get_by_role("listitem")
    await expect(cards).to_have_count(5)
    steps = cards.locator(".output-step")
    await expect(steps).to_have_text(["each/0/large", "each/1/large", "Ä/b", "each/0/small", "each/1/small"])
    await expect(cards.filter(has_text="Result of the run").locator(".output-step")).to_have_text(
        ["each/0/large", "each/1/large"]
    )
    assert await accessibility_faults(page) == []
    await keep_screenshots(page, "run-outputs-paths")
    await page.get_by_role("button", name="each/1/small", exact=True).click()
    await expect(page.get_by_role("dialog", name="each")).to_be_visible()


async def test_files_of_a_sub_workflow_appear_while_it_runs(user: User, scripted: ConfiguredProvider) -> None:
    steps = configured_step("first", files=1, wait=True), configured_step("second", "first", files=1, wait=True)
    run = await user.create(runs(*steps, step_id="sub"))
    child = await child_of(user.site.service, run)
    page = await user.open(f"/ui/workflows/{run['id']}?tab=outputs")
    await expect(page.get_by_text("There are no outputs yet.")).to_be_visible()
    await expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
    for step in ("first", "second"):
        scripted.release(child, step)
        await expect(page.get_by_role("button", name=f"sub/{step}", exact=True)).to_be_visible()


async def test_the_next_page_of_files_is_read_when_it_is_shown(user: User) -> None:
    texts = {f"{number:02}.txt": f"text {number}" for number in range(60)}
    run = await user.create(configured_step("a", texts=texts))
    await user.site.service.until_ended(run["id"])
    page = await user.context.new_page()
    source = user.site.url + "/ui/static/**/outputs.js"

    async def with_small_pages(route: Route) -> None:
        response = await route.fetch()
        await route.fulfill(response=response, body=(await response.text()).replace("PAGE = 1000", "PAGE = 50"))

    await page.route(source, with_small_pages)
    await page.goto(f"{user.site.url}/ui/workflows/{run['id']}?tab=outputs")
    await expect(page.get_by_role("heading", name="more than 50 outputs")).to_be_visible()
    await page.get_by_role("button", name="Show more").click()
    await expect(page.get_by_role("heading", name="60 outputs", exact=True)).to_be_visible()
    await expect(card(page, "a", "59.txt")).to_be_visible()


async def test_two_outputs_are_compared_side_by_side_and_by_a_slider(user: User) -> None:
    page = await open_outputs(user, RED, BLUE)
    await card(page, "red", "result.png").get_by_role("button", name="Compare").click()
    await expect(page.get_by_text("Select “Compare” of the output to compare with red · result.png.")).to_be_visible()
    await card(page, "blue", "result.png").get_by_role("button", name="Compare").click()
    dialog = page.get_by_role("dialog", name="Compare outputs")
    await expect(dialog.get_by_role("img", name="Image of red")).to_have_js_property("naturalWidth", 64)
    await expect(dialog.get_by_role("img", name="Image of blue")).to_have_js_property("naturalWidth", 64)
    await dialog.get_by_role("radio", name="Slider").check()
    slider = dialog.get_by_role("slider", name="Boundary between left and right")
    await slider.press("ArrowRight")
    await expect(slider).to_have_attribute("aria-valuetext", "51% left, 49% right")
    left = dialog.locator(".comparison-left")
    await expect(left).to_have_css("clip-path", "inset(0px 49% 0px 0px)")
    await expect(left.get_by_role("img", name="Image of red")).to_be_visible()
    assert await accessibility_faults(page) == []
    await keep_screenshots(page, "run-comparison")
    await dialog.get_by_role("button", name="Exchange left and right").click()
    await expect(left.get_by_role("img", name="Image of blue")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()


async def test_two_videos_that_are_compared_play_in_step(user: User) -> None:
    films = [b64encode(webm(colour, 60)).decode() for colour in ("red", "blue")]
    steps = [configured_step(f"v{number}", media={"film.webm": film}) for number, film in enumerate(films)]
    page = await open_outputs(user, *steps)
    for step in ("v0", "v1"):
        await card(page, step, "webm").get_by_role("button", name="Compare").click()
    dialog = page.get_by_role("dialog", name="Compare outputs")
    videos = dialog.locator("video")
    await dialog.get_by_role("radio", name="Slider").check()
    await expect(videos.nth(0)).to_have_js_property("readyState", 4)
    await expect(videos.nth(1)).to_have_js_property("readyState", 4)
    await videos.nth(1).evaluate("(video) => { video.currentTime = 2 }")
    await expect(videos.nth(0)).to_have_js_property("currentTime", 2)
    await videos.nth(0).evaluate("(video) => { video.playbackRate = 0.5; return video.play() }")
    await expect(videos.nth(1)).to_have_js_property("paused", value=False)
    await expect(videos.nth(1)).to_have_js_property("playbackRate", 0.5)
    await videos.nth(1).evaluate("(video) => video.pause()")
    await expect(videos.nth(0)).to_have_js_property("paused", value=True)
    await keep_screenshot(page, "run-comparison-videos")


async def test_an_output_is_enlarged_and_the_arrow_keys_show_the_next_one(user: User) -> None:
    page = await open_outputs(user, RED, BLUE)
    await page.get_by_role("button", name="Enlarge: Image of blue").click()
    dialog = page.get_by_role("dialog", name="Image of blue")
    await expect(dialog.get_by_role("img", name="Image of blue")).to_have_js_property("naturalWidth", 64)
    await page.keyboard.press("ArrowRight")
    dialog = page.get_by_role("dialog", name="Image of red")
    await expect(dialog).to_contain_text("2 of 2")
    await dialog.get_by_role("button", name="Close").click()
    await expect(dialog).to_be_hidden()


async def test_a_run_without_outputs_says_when_they_appear(user: User) -> None:
    run = await user.create(RED, start=False)
    page = await user.open(f"/ui/workflows/{run['id']}?tab=outputs", width=NARROW)
    await expect(page.get_by_text("Start the run: its outputs appear here.")).to_be_visible()


HOSTILE_FILES = {
    "a.svg": (
        "<svg xmlns='http://www.w3.org/2000/svg' onload='parent.hit=1'><script>parent.hit=1</script>"
        "<image href='/hit'/></svg>"
    ),
    "a.html": f"<script>parent.hit=1</script>{ATTACK}",
    "a.txt": ATTACK,
    "a.json": json.dumps({ATTACK: ATTACK}),
}
HOSTILE_RESULT = {
    "result_text": ATTACK,
    "result_json": {ATTACK: ATTACK},
    "link": "javascript:hit=1",
    ATTACK: "data:text/html," + ATTACK,
}


async def test_hostile_content_runs_nowhere(user: User) -> None:
    async with running_sink() as sink:
        sink.response = response_of(500, ATTACK.encode())
        run = await user.create(
            configured_step(ATTACK, prompt=ATTACK, texts=HOSTILE_FILES, result=HOSTILE_RESULT),
            configured_step("fails", ATTACK, breaks=ATTACK),
            name=ATTACK,
            description=ATTACK,
            labels={"attack": ATTACK},
            origin_reference=ATTACK,
            webhook_url=sink.url(),
            suppress_subtask_events=False,
            config={"on_failure": "continue", "step_defaults": {"GENERATION": {"negative_prompt": ATTACK}}},
        )
        await user.site.service.until_ended(run["id"])
        page = await user.context.new_page()
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.on("dialog", lambda dialog: requests.append(f"dialog {dialog.message}"))
        path = f"/ui/workflows/{run['id']}"
        for address, shown in {
            path: page.get_by_role("tabpanel", name="Graph"),
            f"{path}?tab=outputs": page.get_by_role("region", name=f"JSON of {ATTACK}").get_by_text(ATTACK).first,
            f"{path}?tab=timeline": page.locator(".timeline-step", has_text=ATTACK),
            f"{path}?tab=events": page.locator(".event-step", has_text=ATTACK).first,
            f"{path}?tab=definition": page.get_by_role("region", name="Definition as sent"),
            f"{path}?tab=webhooks": page.locator(".delivery-response", has_text=ATTACK).first,
            "/ui": page.get_by_role("link", name=ATTACK, exact=True),
        }.items():
            await page.goto(user.site.url + address)
            await expect(shown).to_be_visible()
            if "outputs" in address:
                await expect(card(page, ATTACK, "a.txt").locator("pre")).to_have_text(ATTACK)
                await page.get_by_role("button", name=f"Enlarge: Image of {ATTACK}").first.click()
                await expect(page.get_by_role("dialog").get_by_role("img")).to_be_visible()
            if "definition" in address:
                await page.get_by_text("As completed").click()
                await expect(page.get_by_role("region", name=f"Inputs of {ATTACK}")).to_be_visible()
            assert await page.evaluate("typeof hit") == "undefined"
            assert len(page.frames) == 1
    foreign = [url for url in requests if not url.startswith((f"{user.site.url}/ui", f"{user.site.url}/api/v1/"))]
    assert foreign == []


@pytest.mark.parametrize("name", ["a.svg", "a.html"])
async def test_an_address_of_a_file_with_scripts_downloads_it(user: User, name: str) -> None:
    run = await user.create(configured_step("a", texts={name: "<svg xmlns='http://www.w3.org/2000/svg'/>"}))
    ended = await user.site.service.until_ended(run["id"])
    page = await user.open("/ui")
    async with page.expect_download() as download:
        address = f"/api/v1/artifacts/{ended['steps'][0]['result']['paths'][0]}"
        await page.evaluate("address => { location.href = address }", address)
    assert (await download.value).suggested_filename == name
    assert page.url == f"{user.site.url}/ui"


async def test_failed_items_have_a_card_that_leads_to_the_gallery(user: User) -> None:
    words = {"items": ["a", *[None] * 6], "on_item_failure": "collect"}
    step = {"id": "words", "task_type": "PASSTHROUGH", "config": {"text": "word ${item}"}, "for_each": words}
    page = await open_outputs(user, step)
    failed = page.get_by_role("list", name="Failed items").get_by_role("listitem")
    await expect(failed.get_by_role("heading")).to_have_text("words: 6 items failed")
    await expect(failed.get_by_role("term")).to_have_text([f"Item {number}" for number in range(1, 4)])
    await expect(failed.get_by_role("definition").first).to_contain_text("is null")
    assert await accessibility_faults(page) == []
    await keep_screenshots(page, "run-outputs-failed-items")
    await failed.get_by_role("button", name="All items of words").click()
    gallery = page.get_by_role("dialog", name="words").get_by_role("region", name="Items")
    await expect(gallery.get_by_role("listitem")).to_have_count(7)
