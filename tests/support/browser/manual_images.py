"""The images of the manual's page about the web page: three views with runs of LOCAL, as a browser shows them.

`poe generate images` renews them. It needs Chromium, and takes a minute.
"""

import asyncio
import io
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import structlog
from msgspec import json
from PIL import Image
from playwright.async_api import Page, expect

from stepwell.examples import read_examples
from stepwell.persistence.schema.migrations import migrate
from support.browser.chromium import chromium_path
from support.browser.pages import IMAGES_SHOWN, User, running_site, signed_in
from support.database.postgres import database, running_server
from support.documents.manual import FOLDER
from support.providers.configured_by_steps import ConfiguredProvider, configured_step, passthrough_step
from support.providers.scripted import eventually

# The page is rendered at this size and scale, so that the image is 800 pixels wide and its text can be read.
WIDTH, HEIGHT, RUN_HEIGHT, SCALE = 1120, 700, 900, 800 / 1120
DEADLINE_S = 600  # a loaded machine draws slowly
IMAGES = FOLDER / "images"
THUMBNAILS = 4  # in the graph
_DRAWN_MS = 500  # the graph draws what it has loaded a few frames later
_EXAMPLES = {"retouch": {"team": "portraits"}, "variants": {"campaign": "autumn"}, "video": {"campaign": "spring"}}
_SIZE: dict[str, Any] = {"width": 512, "height": 512}


def _image_step(step_id: str, task_type: str, source: str | None = None, **config: Any) -> dict[str, Any]:
    """A step of LOCAL, which changes the image of the step *source* or draws one."""
    step = {"id": step_id, "task_type": task_type, "config": config}
    if source is None:
        return step
    mapping = {"from_step": source, "from_field": "result_image_path", "to_field": "base_image_url"}
    return step | {"depends_on": [source], "input_mappings": [mapping]}


async def _create_runs(user: User) -> dict[str, Any]:
    """Create the runs of the list, and return the one whose graph is shown. It is still running."""
    draft = await user.create(
        _image_step("sketch", "GENERATION", prompt="lamp, sketch"), start=False, name="Desk lamp, draft"
    )
    assert draft["status"] == "PENDING"
    ended = []
    for name, labels in _EXAMPLES.items():
        definition = json.decode(read_examples()[name].text)
        ended.append(await user.create(*definition.pop("steps"), **definition, labels=labels))
    ended.append(
        await user.create(
            _image_step("scene", "GENERATION", prompt="harbour at dawn", **_SIZE),
            configured_step("upscale", "scene", breaks="The provider refused the image: it is larger than 4096 px"),
            name="Harbour at dawn",
            labels={"campaign": "summer"},
        )
    )
    for each in ended:
        await user.site.service.until_ended(each["id"], within_s=DEADLINE_S)
    run = await user.create(
        _image_step("terrace", "GENERATION", prompt="stone terrace in the evening", **_SIZE),
        _image_step("warm", "IMAGE_ADJUSTER", "terrace", temperature=30, contrast=1.1),
        _image_step("large", "REFINE", "warm", upscale_factor=2),
        _image_step("details", "DETAIL_ENHANCER", "terrace", strength=0.6),
        configured_step("film", "details", wait=True),
        passthrough_step("collect", "large", "film"),
        name="Terrace in the evening",
        labels={"campaign": "summer", "format": "square"},
    )
    return await user.site.service.until(run["id"], lambda now: now["completed_steps"] == 4, within_s=DEADLINE_S)


async def _store(page: Page, name: str) -> None:
    await page.evaluate(IMAGES_SHOWN)
    await page.wait_for_timeout(_DRAWN_MS)
    image = Image.open(io.BytesIO(await page.screenshot(animations="disabled")))
    image.convert("RGB").save(IMAGES / f"{name}.webp", quality=82, method=6)


async def renew(dsn: str, folder: Path) -> None:
    """Write the images, with a service on the database *dsn* and its files in *folder*."""
    await migrate(dsn)
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(
            running_site(dsn, folder, provider := ConfiguredProvider(), chromium_path())
        )
        user = await stack.enter_async_context(signed_in(site, tenant="studio", device_scale_factor=SCALE))
        run = await _create_runs(user)
        page = await user.open(width=WIDTH, height=HEIGHT)
        await expect(page.locator(".run-link")).to_have_count(6)
        await _store(page, "runs")
        page = await user.open("/ui/new?example=variants", width=WIDTH, height=HEIGHT)
        await expect(page.locator(".graph-canvas canvas").first).to_be_visible()
        await _store(page, "new")
        thumbnails: list[str] = []
        user.context.on("requestfinished", lambda sent: thumbnails.append(sent.url) if "w=64" in sent.url else None)
        page = await user.open(f"/ui/workflows/{run['id']}", width=WIDTH, height=RUN_HEIGHT)
        await expect(page.get_by_role("region", name="Why isn't it moving?")).to_be_visible()
        await eventually(lambda: len(thumbnails) >= THUMBNAILS, "the thumbnails of the graph")
        await _store(page, "run")
        provider.release(run["id"], "film")
        await user.site.service.until_ended(run["id"])


async def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    with running_server() as server, TemporaryDirectory() as folder:
        async with database(server) as dsn:
            await renew(dsn, Path(folder))


if __name__ == "__main__":
    asyncio.run(main())
