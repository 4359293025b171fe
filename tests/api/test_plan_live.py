"""The plan of a definition: the order, the calls and the prices. Nothing is stored."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from stepwell.basics.setting_values import Prices
from stepwell.contract.enums import ProviderType
from stepwell.contract.scopes import Permission
from support.database.postgres import TABLES, TestServer, database
from support.providers.configured_by_steps import WORKFLOWS, passthrough_step
from support.providers.emulated import World, world_of
from support.providers.scripted import ScriptedProvider, scripted_step
from support.service.live_service import Service, running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

PLAN = WORKFLOWS + "plan"
CONTRACT = json.loads(Path(__file__).with_name("contract.openapi.json").read_text())
PIPELINE: dict[str, Any] = CONTRACT["components"]["schemas"]["CreateWorkflow"]["example"]
PRICES = Prices({ProviderType.CUSTOM: {"paint": 0.05, "*": 0.01}, ProviderType.FAL: {"fal-ai/dear": 2.0}})
FREE = {"amount": 0.0, "currency": "EUR"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(world_of(ProviderType.CUSTOM, tmp_path_factory.mktemp("emulator")))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def priced(
    server: TestServer, template: str, world: World, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """A service with CUSTOM and FAL."""
    settings = world.settings | {"prices": PRICES, "currency": "EUR", "fal_url": world.emulator.url}
    settings["credentials"]["fal"] = "a key"
    async with AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(database(server, template))
        folder = tmp_path_factory.mktemp("priced")
        replicate = ScriptedProvider(ProviderType.REPLICATE)
        yield await stack.enter_async_context(running_service(dsn, folder, providers=[replicate], **settings))


def body(*steps: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"name": "n", "origin_instance": "o", "steps": list(steps), **members}


async def plan_of(service: Service, definition: dict[str, Any], client: httpx.AsyncClient | None = None) -> Any:
    response = await (client or service.client).post(PLAN, json=definition)
    assert response.status_code == 200, response.text
    return response.json()


async def rows(service: Service) -> list[Any]:
    connection = await asyncpg.connect(service.dsn)
    found = [await connection.fetch(f"SELECT t::text FROM {table} AS t ORDER BY 1") for table in TABLES.split(", ")]
    await connection.close()
    return found


async def test_the_example_of_the_contract_is_planned_without_storing_it(priced: Service) -> None:
    before = await rows(priced)
    async with priced.as_tenant("acme", permissions=(Permission.READ,)) as reader:
        forecast = await plan_of(priced, PIPELINE, reader)
    assert await rows(priced) == before
    local = {"provider": "LOCAL", "attempts": 4, "fallback": None, "timeout_s": 600.0, "price": FREE}
    local |= {"when": None, "items": None, "repeat": None, "workflow_price": None}
    local |= {"run_if": "all_completed", "optional": False, "uncertain": False}
    local |= {"forecast": None, "forecast_items": None}
    assert forecast == {
        "layers": [["generate"], ["refine"]],
        "critical_path": ["generate", "refine"],
        "critical_path_by": "steps",
        "critical_path_s": None,
        "steps": [
            {
                "step_id": "generate",
                "layer": 0,
                "task_type": "GENERATION",
                "model": "GENERATION",
                "config": {"prompt": "fashion model wearing elegant dress", "width": 1024, "height": 1024},
                "expected_s": None,
                **local,
            },
            {
                "step_id": "refine",
                "layer": 1,
                "task_type": "REFINE",
                "model": "REFINE",
                "config": {
                    "upscale_factor": 2.0,
                    "base_image_url": {"from_step": "generate", "from_field": "result_image_path"},
                },
                "expected_s": None,
                **local,
            },
        ],
        "runs": {"least": 2, "most": 2},
        "price": {
            "known_least": [FREE],
            "known": [FREE],
            "unknown_steps": 0,
            "worst_case": FREE,
            "worst": [FREE],
            "attempts": 0,
        },
        "budget": None,
        "warnings": [],
        "gone": [],
    }


def mixture(world: World) -> dict[str, Any]:
    """Listed in no order of its own, with defaults, mappings, prices known and not, and a fallback."""
    deep = {"from_step": "paint", "from_field": "seed", "to_field": "arguments.seed", "transform": "TO_STRING"}
    own = {"prompt": "own", "timeout_s": 30}
    return body(
        passthrough_step("join", "paint", "dear"),
        world.step("paint", provider_config={"model": "paint"}, max_retries=1, config=own),
        world.step("other", depends_on=["paint"], max_retries=0, fallback_provider_type="LOCAL"),
        {
            "id": "dear",
            "task_type": "EXPERIMENTAL_FAL",
            "config": {"arguments": {"a": 1}},
            "depends_on": ["paint"],
            "input_mappings": [deep],
            "provider_config": {"fal_app_id": "fal-ai/dear"},
            "max_retries": 0,
        },
        scripted_step("free", "join", "other", provider=ProviderType.REPLICATE),
        config={
            "step_defaults": {"*": {"strength": 1, "style": "all"}, "GENERATION": {"style": "oil", "prompt": "all"}}
        },
    )


async def test_a_plan_shows_the_provider_that_the_members_of_its_config_select(priced: Service) -> None:
    app, config = {"fal_app_id": "fal-ai/dear"}, {"prompt": "x"}
    selected = {"id": "a", "task_type": "GENERATION", "config": config, "provider_config": app}
    named = selected | {"id": "b", "provider_config": app | {"provider_type": "LOCAL"}}
    steps = (await plan_of(priced, body(selected, named)))["steps"]
    assert [(step["provider"], step["model"]) for step in steps] == [("FAL", "fal-ai/dear"), ("LOCAL", "GENERATION")]


async def test_a_plan_has_layers_critical_path_attempts_and_prices(priced: Service, world: World) -> None:
    forecast = await plan_of(priced, mixture(world))
    assert forecast["layers"] == [["paint"], ["other", "dear"], ["join"], ["free"]]
    assert forecast["critical_path"] == ["paint", "dear", "join", "free"]
    by_id = {step["step_id"]: step for step in forecast["steps"]}
    assert list(by_id) == ["join", "paint", "other", "dear", "free"]
    assert {name: (step["layer"], step["attempts"]) for name, step in by_id.items()} == {
        "join": (2, 4),
        "paint": (0, 2),
        "other": (1, 1),
        "dear": (1, 1),
        "free": (3, 4),
    }
    assert {name: (step["provider"], step["model"], step["price"]) for name, step in by_id.items()} == {
        "join": (None, None, FREE),
        "paint": ("CUSTOM", "paint", {"amount": 0.05, "currency": "EUR"}),
        "other": ("CUSTOM", "GENERATION", {"amount": 0.01, "currency": "EUR"}),
        "dear": ("FAL", "fal-ai/dear", {"amount": 2.0, "currency": "EUR"}),
        "free": ("REPLICATE", "GENERATION", FREE),
    }
    assert by_id["other"]["fallback"] == {"provider": "LOCAL", "model": "GENERATION", "attempts": 1, "price": FREE}
    assert by_id["paint"]["config"] == {"strength": 1, "style": "oil", "prompt": "own", "width": 32, "height": 32}
    mapped = {"from_step": "paint", "from_field": "seed", "transform": "TO_STRING"}
    assert by_id["dear"]["config"] == {"strength": 1, "style": "all", "arguments": {"a": 1, "seed": mapped}}
    assert (by_id["paint"]["timeout_s"], by_id["dear"]["timeout_s"]) == (30.0, 600.0)
    known, worst = {"amount": 2.06, "currency": "EUR"}, {"amount": 2.11, "currency": "EUR"}
    least = {"known_least": [known], "known": [known], "unknown_steps": 0}
    assert forecast["price"] == least | {"worst_case": worst, "worst": [worst], "attempts": 4}


async def test_a_step_without_a_price_makes_the_total_unknown(priced: Service, world: World) -> None:
    cheap = {"id": "x", "task_type": "EXPERIMENTAL_FAL", "provider_config": {"fal_app_id": "fal-ai/cheap"}}
    beside = world.step("y", fallback_provider_type="FAL")
    forecast = await plan_of(priced, body(cheap, beside, passthrough_step("p")))
    assert [step["price"] and step["price"]["amount"] for step in forecast["steps"]] == [None, 0.01, 0.0]
    known = {"amount": 0.01, "currency": "EUR"}
    least = {"known_least": [known], "known": [known], "unknown_steps": 2}
    worst = {"amount": 0.04, "currency": "EUR"}
    assert forecast["price"] == least | {"worst_case": None, "worst": [worst], "attempts": 12}


async def test_seconds_are_reported_if_known_with_their_source(priced: Service, world: World) -> None:
    quick, slow = ({"model": name} for name in ("quick", "slow"))
    definition = body(
        world.step("q1", provider_config=quick),
        world.step("q2", provider_config=quick, depends_on=["q1"]),
        passthrough_step("end", "q2", "s"),
        world.step("s", provider_config=slow),
        origin_tenant_id="acme",
    )
    forecast = await plan_of(priced, definition)
    assert (forecast["critical_path_by"], forecast["critical_path"]) == ("steps", ["q1", "q2", "end"])
    assert [step["expected_s"] for step in forecast["steps"]] == [None, None, 0.0, None]
    response = await priced.client.post(WORKFLOWS, json=definition)
    assert (await priced.until_ended(response.json()["id"]))["status"] == "COMPLETED"
    health = priced.app.engine.health  # made as slow as it wasn't
    for key, record in health._records.items():
        taken = {"quick": 1.5, "slow": 40.0}[key.model]
        record.results.extend([record.results[0]._replace(took_s=taken)] * 9)
    forecast = await plan_of(priced, definition)
    assert [step["expected_s"] for step in forecast["steps"]] == [1.5, 1.5, 0.0, 40.0]
    assert (forecast["critical_path_by"], forecast["critical_path_s"]) == ("expected_s", 40.0)
    assert forecast["critical_path"] == ["s", "end"]
    async with priced.as_tenant("other") as stranger:
        foreign = await plan_of(priced, definition | {"origin_tenant_id": "other"}, stranger)
    assert [step["expected_s"] for step in foreign["steps"]] == [None, None, 0.0, None]


FAULTY: list[Any] = [
    body(),
    {},
    [],
    body(passthrough_step("a", "b"), passthrough_step("b", "a")),
    body(passthrough_step("a"), passthrough_step("a"), {"id": "x", "task_type": "NONE"}),
    body(scripted_step("a", provider=ProviderType.OPENAI, config={"width": 0}), surprise=1),
    body(passthrough_step("a", "nobody"), webhook_url="ftp://x"),
    body({"id": "a", "task_type": "GENERATION"}),
    body(passthrough_step("a"), config={"on_failure": "never", "step_defaults": {"X": {}}}),
]


@pytest.mark.parametrize("definition", FAULTY)
async def test_plan_refuses_what_create_refuses_in_the_same_words(priced: Service, definition: Any) -> None:
    before = await rows(priced)
    responses = [await priced.client.post(path, json=definition) for path in (WORKFLOWS, PLAN)]
    assert responses[0].status_code == responses[1].status_code == 422
    assert responses[0].content == responses[1].content
    assert await rows(priced) == before


async def test_plan_refuses_another_tenant_and_malformed_bodies(priced: Service) -> None:
    async with priced.as_tenant("acme") as client:
        response = await client.post(PLAN, json=body(passthrough_step("a"), origin_tenant_id="other"))
        assert response.status_code == 403
    assert (
        await priced.client.post(PLAN, content=b"{", headers={"Content-Type": "application/json"})
    ).status_code == 422
    assert (await priced.client.post(PLAN, content=b"{}")).status_code == 415


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_plan_is_not_taken_for_the_id_of_a_workflow(priced: Service, method: str) -> None:
    for path in (PLAN, PLAN + "/"):
        response = await priced.client.request(method, path)
        assert (response.status_code, "POST" in response.headers["allow"]) == (405, True)
    assert (await priced.client.get(PLAN + "/explain")).status_code == 404


@pytest.mark.extended
async def test_a_chain_of_a_thousand_steps_is_planned(priced: Service) -> None:
    steps = [passthrough_step(f"s{number}", *([f"s{number - 1}"] if number else [])) for number in range(1_000)]
    forecast = await plan_of(priced, body(*reversed(steps)))
    assert forecast["critical_path"] == [step["id"] for step in steps]
    assert forecast["layers"] == [[step["id"]] for step in steps]


async def test_steps_that_take_no_time_belong_to_the_critical_path(live: Service) -> None:
    chain = [passthrough_step(f"s{number}", *([f"s{number - 1}"] if number else [])) for number in range(4)]
    body = {"name": "n", "origin_instance": "o", "steps": [*chain, passthrough_step("alone")]}
    plan = (await live.client.post(PLAN, json=body)).json()
    assert plan["critical_path"] == ["s0", "s1", "s2", "s3"]


async def test_defaults_that_would_make_the_plan_too_large_are_refused(priced: Service) -> None:
    steps = [passthrough_step(f"s{number}") for number in range(40)]
    definition = body(*steps, config={"step_defaults": {"*": {"text": "x" * 1_000_000}}})
    response = await priced.client.post(PLAN, json=definition)
    assert response.status_code == 422
    (fault,) = response.json()["detail"]
    assert (fault["loc"], fault["type"]) == (["body", "config", "step_defaults"], "too_large")
    many = body(*steps, config={"step_defaults": {"PASSTHROUGH": {f"m{number}": 1 for number in range(25_001)}}})
    (fault,) = (await priced.client.post(PLAN, json=many)).json()["detail"]
    assert fault["msg"] == "The steps of the plan would have more than 1,000,000 members from the defaults"
    assert len((await plan_of(priced, body(*steps[:30], config=definition["config"])))["steps"]) == 30


async def test_the_length_of_a_wait_is_known_only_of_a_delay(priced: Service) -> None:
    steps: list[dict[str, Any]] = [
        {"id": "ask", "task_type": "APPROVAL", "config": {"timeout_s": 60}},
        {"id": "paid", "task_type": "SIGNAL"},
        {"id": "pause", "task_type": "DELAY", "config": {"seconds": 90}},
        {"id": "later", "task_type": "DELAY", "config": {"seconds": "${ask.data}"}},
    ]
    forecast = await plan_of(priced, body(*steps))
    assert [step["expected_s"] for step in forecast["steps"]] == [None, None, 90.0, None]
    assert (await plan_of(priced, body(steps[2])))["critical_path_s"] == 90.0


async def test_the_steps_of_sub_workflows_count_in_the_price_for_each_item_and_run(priced: Service) -> None:
    paint = {"id": "paint", "task_type": "GENERATION", "config": {"prompt": "x"}, "max_retries": 1}
    paint["provider_config"] = {"provider_type": "CUSTOM", "model": "paint"}
    inner = {"id": "inner", "task_type": "SUBWORKFLOW", "config": {"workflow": {"name": "deep", "steps": [paint]}}}
    outer = {
        "id": "outer",
        "task_type": "SUBWORKFLOW",
        "config": {"workflow": {"name": "below", "steps": [inner, {**paint, "id": "more"}]}},
        "for_each": {"count": 4},
        "repeat": {"until": "`false`", "max": 3},
    }
    response = await plan_of(priced, body(outer))
    assert response["steps"][0]["workflow_price"]["known"] == [{"amount": 0.1, "currency": "EUR"}]
    assert response["steps"][0]["timeout_s"] is None
    price = response["price"]
    assert (price["known_least"][0]["amount"], price["known"][0]["amount"]) == (0.4, 1.2)
    assert (price["worst_case"]["amount"], price["unknown_steps"]) == (2.4, 0)
