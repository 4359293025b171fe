"""GET /api/v1/costs: exact sums, of the token's tenant, by the keys that the query names."""

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from stepwell.testing import MemoryDatabase
from stepwell.testing.memory_tables import CostRow, CostRowKey
from support.service.live_service import Service, running_service

PATH, BIG = "/api/v1/costs", 12345678901234567890.0
ROWS = [
    (CostRowKey("t", date(2026, 1, 1), "FAL", "flux", "USD"), CostRow(Decimal("0.10"), 1)),
    (
        CostRowKey("t", date(2026, 1, 2), "FAL", "flux", "USD"),
        CostRow(Decimal("12345678901234567890.000000001"), 2, Decimal("0.250")),
    ),
    (CostRowKey("t", date(2026, 1, 2), "OPENAI", "gpt", "EUR"), CostRow(Decimal("3.00"), 3)),
    (CostRowKey("", date(2026, 1, 3), "FAL", "flux", "USD"), CostRow(Decimal(0), 1)),
]


@pytest.fixture
def memory() -> MemoryDatabase:
    database = MemoryDatabase()
    database.tables.daily_costs.update(ROWS)
    return database


async def costs(service: Service, query: str) -> list[dict[str, Any]]:
    response = await service.client.get(f"{PATH}?{query}")
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["costs"]
    return found


async def test_sums_are_exact_and_have_the_members_that_by_names(memory: MemoryDatabase, tmp_path: Path) -> None:
    async with running_service(memory, tmp_path) as service:
        response = await service.client.get(PATH)
        assert response.text == (
            '{"costs":[{"currency":"EUR","amount":3,"attempts":3,"saved":0},'
            '{"currency":"USD","amount":12345678901234567890.100000001,"attempts":4,"saved":0.25}]}'
        )
        assert await costs(service, "by=day&by=tenant&from=2026-01-02") == [
            {"day": "2026-01-02", "tenant": "t", "currency": "EUR", "amount": 3, "attempts": 3, "saved": 0},
            {"day": "2026-01-02", "tenant": "t", "currency": "USD", "amount": BIG, "attempts": 2, "saved": 0.25},
            {"day": "2026-01-03", "tenant": None, "currency": "USD", "amount": 0, "attempts": 1, "saved": 0},
        ]
        by_model = [{"model": "gpt", "provider": "OPENAI", "currency": "EUR", "amount": 3, "attempts": 3, "saved": 0}]
        assert await costs(service, "by=model,provider&to=2026-01-03&from=2026-01-02") == [
            {"model": "flux", "provider": "FAL", "currency": "USD", "amount": BIG, "attempts": 2, "saved": 0.25},
            *by_model,
        ]
        again = await service.client.get(PATH, headers={"If-None-Match": response.headers["etag"]})
        assert again.status_code == 304


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("2026-01-02", "2026-01-03"),
        ("2026-01-02T00:00:00Z", "2026-01-03T00:00Z"),
        ("2026-01-02T02:00:00%2B02:00", "2026-01-02T19:00:00.000-05:00"),
    ],
)
async def test_from_is_inclusive_and_to_is_not(memory: MemoryDatabase, tmp_path: Path, begin: str, end: str) -> None:
    async with running_service(memory, tmp_path) as service:
        found = await costs(service, f"from={begin}&to={end}&by=day")
        assert [(each["day"], each["attempts"]) for each in found] == [("2026-01-02", 3), ("2026-01-02", 2)]


async def test_a_token_sees_the_costs_of_its_tenant(memory: MemoryDatabase, tmp_path: Path) -> None:
    async with running_service(memory, tmp_path) as service:
        for tenant, attempts in (("t", [3, 3]), (None, [1]), ("u", [])):
            async with service.as_tenant(tenant) as client:
                response = await client.get(PATH, params={"by": "tenant"})
                found = [(each["tenant"], each["attempts"]) for each in response.json()["costs"]]
                assert found == [(tenant, number) for number in attempts]


@pytest.mark.parametrize(
    ("query", "loc", "kind"),
    [
        ("from=yesterday", ["query", "from"], "time_parsing"),
        ("from=2026-02-30", ["query", "from"], "time_parsing"),
        ("to=2026-01-01T00:00:00", ["query", "to"], "time_parsing"),
        ("to=0001-01-01T00:00:00%2B01:00", ["query", "to"], "time_parsing"),
        ("to=2026-01-01T01:00:00Z", ["query", "to"], "not_a_day"),
        ("from=2026-01-02&to=2026-01-02", ["query", "to"], "not_later"),
        ("from=2026-01-02&from=2026-01-03", ["query", "from"], "repeated"),
        ("by=models", ["query", "by", 0], "enum"),
        ("by=day,", ["query", "by", 1], "enum"),
        ("group=day", ["query", "group"], "unknown"),
    ],
)
async def test_a_query_that_says_something_else_is_refused(
    memory: MemoryDatabase, tmp_path: Path, query: str, loc: list[str | int], kind: str
) -> None:
    async with running_service(memory, tmp_path) as service:
        response = await service.client.get(f"{PATH}?{query}")
        assert (response.status_code, [(fault["loc"], fault["type"]) for fault in response.json()["detail"]]) == (
            422,
            [(loc, kind)],
        )


async def test_a_refusal_lists_every_fault_of_the_query(memory: MemoryDatabase, tmp_path: Path) -> None:
    async with running_service(memory, tmp_path) as service:
        response = await service.client.get(f"{PATH}?by=models&from=yesterday&to=2026-01-01T01:00:00Z")
        assert [fault["loc"] for fault in response.json()["detail"]] == [
            ["query", "by", 0],
            ["query", "from"],
            ["query", "to"],
        ]


async def test_too_many_sums_are_refused(memory: MemoryDatabase, tmp_path: Path) -> None:
    for number in range(10_001):
        key = CostRowKey("t", date(2026, 1, 1), "FAL", f"model {number}", "USD")
        memory.tables.daily_costs[key] = CostRow(Decimal(1), 1)
    async with running_service(memory, tmp_path) as service:
        response = await service.client.get(f"{PATH}?by=model")
        assert (response.status_code, response.json()["detail"][0]["loc"]) == (422, ["query", "by"])
        assert (await service.client.get(PATH)).status_code == 200
