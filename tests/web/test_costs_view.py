"""The view "Costs" in Chromium: sums by day, provider, model and tenant, of the period in the URL."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from playwright.async_api import Page, expect

from support.browser.accessibility import accessibility_faults
from support.browser.pages import CUT_TABLES, NARROW, User, keep_screenshots, signed_in

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.extended]

TODAY = date(2026, 6, 15)
MODELS = (("FAL", "fal-ai/flux/dev", "0.025"), ("OPENAI", "gpt-image-1", "0.04"), ("VERTEX", "<i>veo</i>", "0.4"))


async def store_costs(user: User, *, days: int, saved: str = "0") -> None:
    """Store costs of the last *days* days: the more, the later the day. Each day has *saved* so much at each model."""
    rows = [
        (
            *(user.tenant, TODAY - timedelta(days=day), provider, model),
            *(
                "photo-set@2" if provider == "FAL" else "",
                "USD",
                Decimal(price) * (days - day),
                days - day,
                Decimal(saved),
            ),
        )
        for day in range(days)
        for provider, model, price in MODELS
    ]
    connection = await asyncpg.connect(user.site.service.dsn)
    try:
        await connection.executemany("INSERT INTO daily_costs VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)", rows)
    finally:
        await connection.close()


async def open_costs(user: User, **options: Any) -> Page:
    """Open the view at noon of `TODAY`, so that no midnight passes after the costs were stored."""
    await user.context.clock.set_fixed_time(datetime.combine(TODAY, time(12), UTC))
    return await user.open("/ui/costs", **options)


async def test_costs_are_summed_by_day_provider_model_and_tenant(user: User) -> None:
    await store_costs(user, days=30, saved="0.5")
    page = await open_costs(user)
    # 30 + 29 + … + 1 is 465 attempts at each model.
    await expect(page.get_by_role("region", name="Total in USD")).to_contain_text("$216.23")
    await expect(page.get_by_role("region", name="Total in USD")).to_contain_text("1,395 attempts")
    await expect(page.get_by_role("region", name="Total in USD")).to_contain_text("$45.00 saved by reuse")
    await expect(page.locator(".bar")).to_have_count(30)
    models = page.get_by_role("region", name="Models").get_by_role("row")
    await expect(models.nth(1)).to_contain_text("<i>veo</i> (VERTEX)")
    await expect(models.nth(1)).to_contain_text("86%")
    await expect(models.nth(1).get_by_role("cell").last).to_have_text("$15.00")
    await expect(page.get_by_role("region", name="Providers").get_by_role("row").nth(3)).to_contain_text("FAL")
    definitions = page.get_by_role("region", name="Definitions").get_by_role("row")
    await expect(definitions.nth(1)).to_contain_text("without a stored definition")
    await expect(definitions.nth(2)).to_contain_text("photo-set")
    await expect(page.get_by_role("region", name="Tenants")).to_have_count(0)
    assert await accessibility_faults(page) == []
    await keep_screenshots(page, "costs")
    await page.emulate_media(color_scheme="dark")
    assert await accessibility_faults(page) == []
    async with signed_in(user.site, tenant=user.tenant, every=True) as operator:
        page = await open_costs(operator)
        tenants = page.get_by_role("region", name="Tenants").get_by_role("row")
        await expect(tenants.filter(has_text=user.tenant)).to_contain_text("$216.23")


async def test_the_period_is_part_of_the_url(user: User) -> None:
    await store_costs(user, days=10)
    page = await open_costs(user, width=NARROW)
    total = page.get_by_role("region", name="Total in USD")
    await expect(total).to_contain_text("165 attempts")
    await expect(page.get_by_text("Saved")).to_have_count(0)
    await page.get_by_role("button", name="7 days").click()
    await expect(total).to_contain_text("147 attempts")
    await expect(page).to_have_url(f"{user.site.url}/ui/costs?from={TODAY - timedelta(days=6)}&through={TODAY}")
    await page.get_by_label("to", exact=True).fill(str(TODAY - timedelta(days=1)))
    await expect(total).to_contain_text("117 attempts")
    await page.reload()
    await expect(total).to_contain_text("117 attempts")
    assert await page.evaluate("document.documentElement.scrollWidth") == NARROW
    assert await page.evaluate(CUT_TABLES) == []
    await page.go_back()
    await expect(total).to_contain_text("147 attempts")


async def test_a_time_without_costs_is_empty(user: User) -> None:
    page = await user.open(f"/ui/costs?from={date(2025, 1, 1)}&through={date(2025, 1, 31)}")
    await expect(page.get_by_text("Nothing has cost anything in this time.")).to_be_visible()


async def test_costs_are_filtered_by_definition(user: User) -> None:
    await store_costs(user, days=10)
    page = await open_costs(user, width=NARROW)
    total = page.get_by_role("region", name="Total in USD")
    await page.get_by_label("Definition", exact=True).fill("photo-set")
    await page.get_by_label("Definition", exact=True).press("Enter")
    await expect(total).to_contain_text("55 attempts")
    await page.get_by_role("button", name="7 days").click()
    await expect(total).to_contain_text("49 attempts")
    await page.reload()
    await expect(page.get_by_label("Definition", exact=True)).to_have_value("photo-set")
    await expect(total).to_contain_text("49 attempts")
    await page.goto(f"{user.site.url}/ui/costs?definition=photo-set@3")
    await expect(page.get_by_text("Nothing has cost anything in this time.")).to_be_visible()
    await page.go_back()
    await expect(total).to_contain_text("49 attempts")
