"""Steps that wait for a provider or work at one, as a user sees them in Chromium."""

from typing import Any

import pytest
from playwright.async_api import expect

from support.browser.accessibility import accessibility_faults
from support.browser.pages import User, keep_screenshot
from support.emulators.base import Fault
from support.emulators.fal import FalEmulator
from support.providers.scripted import eventually
from support.service.live_service import step_of

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.extended]


def fal_step(step_id: str, model: str, **members: Any) -> dict[str, Any]:
    """A step of FAL at that model."""
    return {
        "id": step_id,
        "task_type": "GENERATION",
        "config": {"prompt": "a lamp"},
        "provider_config": {"provider_type": "FAL", "fal_app_id": model},
    } | members


async def test_the_drawer_shows_the_job_its_receipt_and_the_position_in_the_queue(user: User, fal: FalEmulator) -> None:
    model = "fal-ai/narrow"  # one job at a time
    run = await user.create(fal_step("sent", model), fal_step("queued", model))
    await eventually(lambda: [job.app for job in fal.jobs.values()].count(model) == 1)
    page = await user.open(f"/ui/workflows/{run['id']}?step=queued")
    await expect(page.get_by_role("dialog", name="queued")).to_contain_text("Position 1 in the queue")
    assert await accessibility_faults(page) == []
    await page.keyboard.press("Escape")
    sent = page.get_by_role("list", name="Steps").get_by_role("button", name="sent")
    await sent.click()
    (job,) = (job for job in fal.jobs.values() if job.app == model)
    drawer = page.get_by_role("dialog", name="sent")
    await expect(drawer).to_contain_text(f"Remote id{job.id}")
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Cancel", exact=True).click()
    dialog = page.get_by_role("dialog", name="Cancel this run?")
    await expect(dialog.get_by_role("listitem").filter(has_text="1 job is cancelled at FAL")).to_be_visible()
    assert await accessibility_faults(page) == []
    await dialog.get_by_role("button", name="Cancel the run").click()
    await expect(page.locator(".run-header .badge")).to_have_text("Cancelled")
    await sent.click()
    await expect(drawer).to_contain_text("ReceiptCancelled by the provider")
    await keep_screenshot(page, "run-drawer-receipt")


async def test_an_open_breaker_is_shown_where_a_step_waits_for_it(user: User, fal: FalEmulator) -> None:
    model = "fal-ai/broken"
    fal.always("submit", Fault.BROKEN)
    try:
        failing = [fal_step(f"s{number}", model, max_retries=0) for number in range(3)]
        failed = await user.create(*failing, config={"on_failure": "continue"})
        await user.site.service.until_ended(failed["id"])
    finally:
        fal.always("submit", None)
    run = await user.create(fal_step("waits", model), name="A run that waits")
    page = await user.open(f"/ui/workflows/{run['id']}?step=waits")
    reason = page.get_by_role("dialog", name="waits").get_by_role("region", name="Why it waits")
    await expect(reason.get_by_role("timer")).to_contain_text("Tested again in")
    assert step_of(await user.site.service.get(run["id"]), "waits")["status"] == "PENDING"
    await page.emulate_media(color_scheme="dark")
    await page.goto(f"{user.site.url}/ui/providers")
    provider = page.get_by_role("region", name="FAL", exact=True)
    await expect(provider.get_by_text("1 breaker not closed")).to_be_visible()
    await expect(provider.get_by_role("row").filter(has_text=model)).to_contain_text("Open")
    waiting = page.get_by_role("region", name="What waits", exact=True).get_by_role("row")
    await expect(waiting.filter(has_text="A run that waits")).to_contain_text("Breaker open")
    assert await accessibility_faults(page) == []
    await keep_screenshot(page, "providers-breaker-dark")
