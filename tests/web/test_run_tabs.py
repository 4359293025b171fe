"""The tabs "Events", "Definition" and "Webhooks" of a run in Chromium."""

import asyncio
import json
import re

import pytest
from playwright.async_api import Route, expect

from stepwell.contract.scopes import Permission
from support.browser.accessibility import accessibility_faults
from support.browser.pages import NARROW, User, keep_screenshots, signed_in
from support.emulators.webhook_receiver import response_of, running_sink
from support.providers.configured_by_steps import ConfiguredProvider, configured_step

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.extended]


async def test_events_arrive_without_a_gap_or_a_repeat(user: User, scripted: ConfiguredProvider) -> None:
    run = await user.create(configured_step("held", wait=True), *(configured_step(f"s{i}", "held") for i in range(4)))
    page = await user.open(f"/ui/workflows/{run['id']}?tab=events")
    events = page.get_by_role("list", name="Events").get_by_role("listitem")
    await expect(events.first).to_contain_text("step.started")
    scripted.release(run["id"], "held")
    await expect(events.first).to_contain_text("workflow.completed")
    history = await user.client.get(f"/api/v1/workflows/{run['id']}/events")
    expected = [f"{event['id']} {event['type']}" for event in history.json()["events"]]
    numbers = await page.locator(".event-number").all_text_contents()
    types = await page.locator(".event-type").all_text_contents()
    assert [f"{one} {other}" for one, other in zip(numbers, types, strict=True)] == expected[::-1]
    await page.get_by_role("searchbox", name="Filter events").fill("s2 started")
    await expect(events).to_have_count(1)
    for theme in ("light", "dark"):
        await page.emulate_media(color_scheme=theme)
        assert await accessibility_faults(page) == []
    await page.get_by_role("searchbox", name="Filter events").fill("")
    await keep_screenshots(page, "run-events")
    await page.set_viewport_size({"width": NARROW, "height": 800})
    assert await page.evaluate("document.documentElement.scrollWidth") == NARROW


async def test_events_that_arrive_after_another_tab_was_selected_are_shown(user: User) -> None:
    run = await user.create(configured_step("a"))
    await user.site.service.until_ended(run["id"])
    page = await user.context.new_page()
    released = asyncio.Event()

    async def hold(route: Route) -> None:
        await released.wait()
        await route.continue_()

    await page.route(re.compile(rf"/workflows/{run['id']}/events\?"), hold)
    await page.goto(f"{user.site.url}/ui/workflows/{run['id']}?tab=events")
    await expect(page.get_by_text("The events are loading…")).to_be_visible()
    await page.get_by_role("tab", name="Graph").click()
    released.set()
    events = page.locator("#panel-events").locator(".event")
    await expect(events).not_to_have_count(0)
    await page.get_by_role("tab", name="Events").click()
    await expect(events.first).to_contain_text("workflow.completed")


async def test_a_long_history_is_read_page_by_page_from_its_end(user: User) -> None:
    run = await user.create(*(configured_step(f"s{i}") for i in range(260)))
    ended = await user.site.service.until_ended(run["id"])
    assert ended["status"] == "COMPLETED"
    page = await user.open(f"/ui/workflows/{run['id']}?tab=events")
    await expect(page.get_by_role("heading", name="523 events")).to_be_visible()
    events = page.get_by_role("list", name="Events").get_by_role("listitem")
    await expect(events).to_have_count(200)
    await expect(events.first).to_contain_text("workflow.completed")
    await page.get_by_role("searchbox", name="Filter events").fill("workflow.created")
    await expect(page.get_by_text("No event matches.")).to_be_visible()
    await page.get_by_role("button", name="Show older").click()
    await expect(events).to_have_count(1)
    await expect(page.get_by_role("button", name="Show older")).to_have_count(0)


async def test_a_definition_is_shown_as_sent_and_as_completed(user: User) -> None:
    await user.context.grant_permissions(["clipboard-read", "clipboard-write"])
    mapping = {"from_step": "a", "from_field": "note", "to_field": "title"}
    run = await user.create(
        configured_step("a", result={"note": "x"}, seed=2**53 + 1),
        configured_step("b", members={"input_mappings": [mapping]}),
        config={"step_defaults": {"GENERATION": {"negative_prompt": "blur"}}},
    )
    page = await user.open(f"/ui/workflows/{run['id']}?tab=definition")
    sent = (await user.client.get(f"/api/v1/workflows/{run['id']}/definition")).json()
    shown = page.get_by_role("region", name="Definition as sent")
    await expect(shown).to_contain_text('"seed": 9007199254740993')  # no number of JavaScript
    assert json.loads(await shown.inner_text()) == sent
    await page.get_by_role("button", name="Copy JSON").click()
    await expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert json.loads(await page.evaluate("navigator.clipboard.readText()")) == sent
    await page.get_by_text("As completed").click()
    inputs = page.get_by_role("region", name="Inputs of b").get_by_role("row")
    await expect(inputs.filter(has_text="negative_prompt")).to_contain_text("Defaultblur")
    await expect(inputs.filter(has_text="title")).to_contain_text("Mappinga · note")
    await expect(inputs.filter(has=page.get_by_role("rowheader", name="prompt", exact=True))).to_contain_text("Stepp")
    for theme in ("light", "dark"):
        await page.emulate_media(color_scheme=theme)
        assert await accessibility_faults(page) == []
    await keep_screenshots(page, "run-definition")
    await page.set_viewport_size({"width": NARROW, "height": 800})
    assert await page.evaluate("document.documentElement.scrollWidth") == NARROW


async def test_a_webhook_is_sent_again_by_a_button_that_only_writers_have(user: User) -> None:
    async with running_sink() as sink:
        sink.responses.append(response_of(410, b"gone for good"))
        run = await user.create(configured_step("a"), webhook_url=sink.url())
        await user.site.service.until_ended(run["id"])
        path = f"/ui/workflows/{run['id']}?tab=webhooks"
        page = await user.open(path)
        delivery = page.get_by_role("tabpanel", name="Webhooks").get_by_role("listitem").first
        await expect(delivery).to_contain_text("workflow.completed")
        await expect(delivery.get_by_text("Stopped")).to_be_visible()
        await expect(delivery.get_by_text("gone for good")).to_be_visible()
        await delivery.get_by_role("button", name="Send again").click()
        await expect(delivery.get_by_text("Delivered")).to_be_visible()
        await expect(delivery).to_contain_text("2 attempts")
        assert [request.id for request in sink.received] == [sink.received[0].id] * 2
        for theme in ("light", "dark"):
            await page.emulate_media(color_scheme=theme)
            assert await accessibility_faults(page) == []
        await keep_screenshots(page, "run-webhooks")
        async with signed_in(user.site, tenant=user.tenant, permissions=(Permission.READ,)) as reader:
            page = await reader.open(path, width=NARROW)
            await expect(page.get_by_text("Delivered")).to_be_visible()
            await expect(page.get_by_role("button", name="Send again")).to_have_count(0)
            await expect(page.get_by_role("tab", name="Webhooks")).to_be_in_viewport()
            assert await page.evaluate("document.documentElement.scrollWidth") == NARROW


async def test_a_run_without_webhooks_says_how_to_get_them(user: User) -> None:
    run = await user.create(configured_step("a"), start=False)
    page = await user.open(f"/ui/workflows/{run['id']}?tab=webhooks")
    await expect(page.get_by_text("This run has no webhook_url.")).to_be_visible()
