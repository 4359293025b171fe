"""The list of workflows over the live service: order, pages, filters, and the links between pages."""

import asyncio
import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from stepwell.api.responses import streamed_responses
from support.providers.configured_by_steps import (
    WORKFLOWS,
    ConfiguredProvider,
    configured_step,
    passthrough_step,
    views_are,
)
from support.service.live_service import Service

pytestmark = pytest.mark.asyncio(loop_scope="module")

_LINK = re.compile(r'<([^>]*)>; rel="(\w+)"')
_ids = iter(range(10_000))


def mark() -> str:
    """An instance that no other test uses: what a test lists is its own."""
    return f"instance {next(_ids)} & more"


async def create_many(live: Service, instance: str, count: int, **members: Any) -> list[str]:
    """Ids of new workflows, the newest first."""
    ids = [
        (await live.create(passthrough_step("a"), origin_instance=instance, start=False, **members))["id"]
        for _ in range(count)
    ]
    return ids[::-1]


async def page(live: Service, **params: Any) -> dict[str, Any]:
    response = await live.client.get(WORKFLOWS, params=params)
    assert response.status_code == 200, response.text
    content: dict[str, Any] = response.json()
    return content


def ids_of(found: dict[str, Any]) -> list[str]:
    return [workflow["id"] for workflow in found["workflows"]]


def links_of(response: httpx.Response) -> dict[str, str]:
    return {rel: url for url, rel in _LINK.findall(response.headers["link"])}


async def test_pages_contain_every_workflow_newest_first(live: Service) -> None:
    instance = mark()
    ids = await create_many(live, instance, 7)
    for limit in (1, 2, 3, 7, 200):
        for skip in range(9):
            found = await page(live, origin_instance=instance, skip=skip, limit=limit)
            assert ids_of(found) == ids[skip : skip + limit]
            assert (found["total"], found["skip"], found["limit"]) == (7, skip, limit)
    times = [workflow["created_at"] for workflow in (await page(live, origin_instance=instance))["workflows"]]
    assert times == sorted(times, reverse=True)


async def test_the_default_page_has_50_workflows_with_steps(live: Service) -> None:
    instance = mark()
    ids = await create_many(live, instance, 51)
    found = await page(live)
    assert (found["skip"], found["limit"], len(found["workflows"])) == (0, 50, 50)
    assert ids_of(found) == ids[:50]
    assert found["total"] >= 51
    assert [step["step_id"] for step in found["workflows"][0]["steps"]] == ["a"]


async def test_the_links_lead_through_all_pages(live: Service) -> None:
    instance = mark()
    ids = await create_many(live, instance, 5)
    params = {"origin_instance": instance, "limit": "2", "include_steps": "false", "status": "PENDING"}
    response = await live.client.get(WORKFLOWS, params=params)
    seen = ids_of(response.json())
    last = links_of(response)["last"]
    while "next" in (links := links_of(response)):
        assert dict(parse_qsl(urlsplit(links["next"]).query)).keys() == params.keys() | {"cursor"}
        response = await live.client.get(links["next"])
        assert "steps" not in response.json()["workflows"][0]
        seen += ids_of(response.json())
    assert seen == ids
    assert links.keys() == {"first", "last"}
    assert ids_of((await live.client.get(last)).json()) == ids[4:]
    assert ids_of((await live.client.get(links["first"])).json()) == ids[:2]
    skipped = links_of(await live.client.get(WORKFLOWS, params=params | {"skip": 4}))
    assert ids_of((await live.client.get(skipped["prev"])).json()) == ids[2:4]


async def test_a_cursor_continues_a_list_while_others_are_created(live: Service) -> None:
    instance = mark()
    ids = await create_many(live, instance, 4)
    first = await live.client.get(WORKFLOWS, params={"origin_instance": instance, "limit": 2, "total": "false"})
    assert (ids_of(first.json()), first.json()["total"]) == (ids[:2], None)
    await create_many(live, instance, 2)
    assert ids_of((await live.client.get(links_of(first)["next"])).json()) == ids[2:]
    oldest = await live.client.get(WORKFLOWS, params={"origin_instance": instance, "limit": 3, "order": "created_at"})
    assert ids_of(oldest.json()) == ids[:0:-1]
    behind = links_of(oldest)["next"]
    assert ids_of((await live.client.get(behind)).json())[0] == ids[0]
    for broken in (behind.replace("order=created_at", "order=-created_at"), behind + "A", behind + "&skip=1"):
        assert (await live.client.get(broken)).status_code == 422


async def test_a_list_is_filtered_by_labels_names_and_times(live: Service) -> None:
    instance = mark()
    (old,) = await create_many(live, instance, 1, labels={"team": "a:b", "x": ""}, name="Spring One")
    (new,) = await create_many(live, instance, 1, labels={"team": "a:b"}, name="spring two", origin_zone="eu")
    time = (await live.get(old))["created_at"]
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"label": "team:a:b"}, [new, old]),
        ({"label": ["team:a:b", "x:"]}, [old]),
        ({"label": "team:a"}, []),
        ({"name": "SPRING"}, [new, old]),
        ({"name": "SPRING", "label": "x:"}, [old]),
        ({"name": ""}, [new, old]),
        ({"origin_zone": "eu", "origin_reference": ""}, []),
        ({"origin_zone": "eu"}, [new]),
        ({"created_after": time}, [new]),
        ({"created_before": time, "order": "created_at"}, []),
        ({"status": ["PENDING", "FAILED,PAUSED"]}, [new, old]),
    ]
    for params, expected in cases:
        found = await page(live, origin_instance=instance, **params)
        assert (ids_of(found), found["total"]) == (expected, len(expected)), params


async def test_a_page_behind_the_end_is_empty(live: Service) -> None:
    instance = mark()
    await create_many(live, instance, 1)
    found = await page(live, origin_instance=instance, skip=2**63 - 1, limit=200)
    assert found == {"workflows": [], "total": 1, "skip": 2**63 - 1, "limit": 200}


async def test_a_page_may_have_no_workflows_or_a_thousand(live: Service) -> None:
    instance = mark()
    (only,) = await create_many(live, instance, 1)
    assert await page(live, origin_instance=instance, limit=0) == {"workflows": [], "total": 1, "skip": 0, "limit": 0}
    assert ids_of(await page(live, origin_instance=instance, limit=1000)) == [only]


async def test_a_list_is_filtered_by_status(live: Service, scripted: ConfiguredProvider) -> None:
    instance = mark()
    one = {
        "PENDING": await live.create(passthrough_step("a"), origin_instance=instance, start=False),
        "RUNNING": await live.create(configured_step("a", wait=True), origin_instance=instance),
        "PAUSED": await live.create(configured_step("a", wait=True), origin_instance=instance),
        "COMPLETED": await live.create(passthrough_step("a"), origin_instance=instance),
        "FAILED": await live.create(configured_step("a", fails=1), origin_instance=instance),
        "CANCELLED": await live.create(passthrough_step("a"), origin_instance=instance, start=False),
    }
    await live.verb(one["PAUSED"]["id"], "pause")
    await live.verb(one["CANCELLED"]["id"], "cancel")
    for status, workflow in one.items():
        await live.until(workflow["id"], views_are(status=status))
    for status, workflow in one.items():
        found = await page(live, origin_instance=instance, status=status)
        assert (ids_of(found), found["total"]) == ([workflow["id"]], 1)
    assert (await page(live, origin_instance=instance))["total"] == 6
    for workflow in (one["RUNNING"], one["PAUSED"]):
        scripted.release(workflow["id"], "a")


async def test_a_list_is_filtered_by_instance_and_tenant(live: Service) -> None:
    here, there = mark(), mark()
    await create_many(live, there, 1, origin_tenant_id="a")
    of_a = await create_many(live, here, 2, origin_tenant_id="a")
    of_b = await create_many(live, here, 1, origin_tenant_id="b")
    of_none = await create_many(live, here, 1)
    for params, expected in (
        ({}, of_none + of_b + of_a),
        ({"origin_tenant_id": "a"}, of_a),
        ({"origin_tenant_id": "b", "status": "PENDING"}, of_b),
        ({"origin_tenant_id": "b", "status": "RUNNING"}, []),
        ({"origin_tenant_id": "A"}, []),
        ({"origin_tenant_id": ""}, []),
        ({"origin_tenant_id": "null"}, []),
        ({"origin_tenant_id": "%"}, []),
        ({"origin_tenant_id": "a' OR true --"}, []),
    ):
        found = await page(live, origin_instance=here, **params)
        assert (ids_of(found), found["total"]) == (expected, len(expected)), params
    assert (await page(live, origin_instance=here.upper()))["total"] == 0
    assert (await page(live, origin_instance="x" * 10_000))["total"] == 0


async def test_deleted_workflows_are_listed_only_on_request(live: Service) -> None:
    instance = mark()
    kept, gone = await create_many(live, instance, 2)
    assert (await live.verb(gone, "cleanup")).status_code == 200
    for params, expected in (
        ({}, [kept]),
        ({"include_deleted": False}, [kept]),
        ({"include_deleted": True}, [kept, gone]),
        ({"include_deleted": True, "status": "CANCELLED"}, [gone]),
        ({"status": "CANCELLED"}, []),
    ):
        found = await page(live, origin_instance=instance, **params)
        assert (ids_of(found), found["total"]) == (expected, len(expected)), params
    found = await page(live, origin_instance=instance, include_deleted=True)
    assert [workflow["is_deleted"] for workflow in found["workflows"]] == [False, True]


async def test_a_listed_workflow_equals_the_one_that_get_returns(live: Service) -> None:
    instance = mark()
    steps = [passthrough_step("a", x=1), configured_step("b", "a", fails=9), passthrough_step("c", "b")]
    workflow = await live.until_ended((await live.create(*steps, origin_instance=instance))["id"])
    assert workflow["status"] == "FAILED"
    assert (await page(live, origin_instance=instance))["workflows"] == [workflow]
    del workflow["steps"]
    assert (await page(live, origin_instance=instance, include_steps=False))["workflows"] == [workflow]


@pytest.mark.parametrize(
    ("query", "faults"),
    [
        ("limit=-1", [("limit", "greater_than_equal")]),
        ("limit=1001", [("limit", "less_than_equal")]),
        ("limit=-1&skip=-1", [("limit", "greater_than_equal"), ("skip", "greater_than_equal")]),
        ("skip=9223372036854775808", [("skip", "int_parsing")]),
        ("skip=1e3&limit=5.0", [("skip", "int_parsing"), ("limit", "int_parsing")]),
        ("limit=1&limit=2", [("limit", "repeated")]),
        ("include_deleted=yes", [("include_deleted", "bool_parsing")]),
        ("include_steps=", [("include_steps", "bool_parsing")]),
        ("status=running", [("status", "enum")]),
        ("status=DELETED&limit=%00", [("limit", "nul_character"), ("status", "enum")]),
        ("origin_instance=%ff", [("origin_instance", "unicode")]),
        ("origin_tenant_id=%00", [("origin_tenant_id", "nul_character")]),
        ("origin_instance=%ed%a0%80", [("origin_instance", "unicode")]),
    ],
)
async def test_a_malformed_list_query_is_refused(live: Service, query: str, faults: list[tuple[str, str]]) -> None:
    response = await live.client.get(f"{WORKFLOWS}?{query}")
    assert response.status_code == 422
    told_of = [(*fault["loc"], fault["type"]) for fault in response.json()["detail"]]
    assert sorted(told_of) == sorted(("query", *fault) for fault in faults)


async def test_pages_miss_no_workflow_while_others_are_created(live: Service) -> None:
    """Ties in time are broken by id, so that pages neither repeat nor leave out one."""
    instance = mark()
    await create_many(live, instance, 12)
    seen = [ids_of(await page(live, origin_instance=instance, skip=skip, limit=1))[0] for skip in range(12)]
    assert len(set(seen)) == 12


@pytest.mark.extended
@pytest.mark.parametrize("path", ["", "/{id}"], ids=["list", "get"])
async def test_a_long_workflow_does_not_block_other_requests(
    live: Service, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = mark()
    steps = [passthrough_step(f"s{i}") for i in range(2_500)]
    body = {"name": "n", "origin_instance": instance, "steps": steps}
    calls = _counted(monkeypatch, streamed_responses, "stored_step_to_public")
    between: list[int] = []

    async def watch() -> None:
        while True:
            between.append(len(calls))
            calls.clear()
            await asyncio.sleep(0)

    async with live.unchecked_client() as client:
        workflow = (await client.post(WORKFLOWS, json=body, params={"start": False})).json()
        calls.clear()
        others = asyncio.get_running_loop().create_task(watch())
        url = WORKFLOWS.removesuffix("/") + path.format(id=workflow["id"])
        response = await client.get(url, params=None if path else {"origin_instance": instance})
        await asyncio.sleep(0)
        others.cancel()
    assert (response.json() if path else response.json()["workflows"][0]) == workflow
    assert sum(between) == len(steps)
    assert max(between) <= 500


def _counted(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[None]:
    """Return a list that gets an item at each call of the function."""
    calls: list[None] = []
    original = getattr(owner, name)

    def call(*args: Any, **options: Any) -> Any:
        calls.append(None)
        return original(*args, **options)

    monkeypatch.setattr(owner, name, call)
    return calls
