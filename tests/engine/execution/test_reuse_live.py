"""Runs that take over results of earlier ones, in the running service: what is reused, and what runs."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from stepwell.artifacts.store import ObstoreArtifacts
from stepwell.engine.attempts.fingerprints import Fingerprints
from stepwell.testing import MemoryDatabase
from support.providers.scripted import Fail, ScriptedProvider, Succeed, scripted_step
from support.service.live_service import ENDED, Service, running_service, step_of
from support.workflows.reused_results import WORKFLOWS, image, rerun, reused, run, sharper


@pytest.fixture
def provider() -> ScriptedProvider:
    return ScriptedProvider()


@pytest.fixture(
    params=["memory_in_real_time", pytest.param("dsn", marks=pytest.mark.extended)], ids=["memory", "postgres"]
)
def database(request: pytest.FixtureRequest) -> MemoryDatabase | str:
    found: MemoryDatabase | str = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def service(database: MemoryDatabase | str, tmp_path: Path, provider: ScriptedProvider) -> AsyncIterator[Service]:
    async with running_service(database, tmp_path, providers=[provider]) as service:
        yield service


async def test_a_rerun_takes_over_what_has_not_changed(service: Service) -> None:
    first = await run(service, image("make"), sharper("refine", "make", sharpness=1.0))
    same = await rerun(service, first)
    assert reused(same) == ["make", "refine"]
    assert same["derived_from"] == first["id"]
    for step_id in ("make", "refine"):
        old, new = step_of(first, step_id), step_of(same, step_id)
        assert new["result"] == old["result"]
        assert new["reused_from"] == {"workflow_id": first["id"], "task_id": old["task_id"]}
        assert (new["task_id"], new["cost"]) == (None, None)
    assert await service.tasks(same["id"]) == []
    changed = await rerun(service, first, config={"refine": {"sharpness": 2.0}})
    assert reused(changed) == ["make"]
    assert [task["step_id"] for task in await service.tasks(changed["id"])] == ["refine"]
    assert step_of(changed, "refine")["config"]["sharpness"] == 2.0
    assert reused(await rerun(service, first, config={"make": {"prompt": "a jug"}})) == []


async def test_a_named_step_runs_and_those_behind_it_only_if_their_work_changes(service: Service) -> None:
    first = await run(service, image("make", config={"seed": 7}), sharper("refine", "make"))
    again = await rerun(service, first, steps=["make"])
    # The seed makes the same picture, whose bytes count, and not its path.
    assert reused(again) == ["refine"]
    assert step_of(again, "make")["result"] != step_of(first, "make")["result"]


async def test_a_reused_result_is_reused_again(service: Service) -> None:
    first = await run(service, image("make"))
    second = await rerun(service, first)
    third = await rerun(service, second)
    assert step_of(third, "make")["reused_from"] == step_of(second, "make")["reused_from"]


async def test_create_reuses_results_of_the_run_that_it_names(service: Service) -> None:
    first = await run(service, image("a"), image("b"))
    second = await run(service, image("x"), image("b"), image("y"), reuse={"from": first["id"]})
    # Each result is given out once: first to the same step, then in the order of the definition.
    assert reused(second) == ["x", "b"]
    assert step_of(second, "b")["result"] == step_of(first, "b")["result"]
    assert step_of(second, "x")["result"] == step_of(first, "a")["result"]


async def test_a_step_with_reuse_false_always_runs(service: Service) -> None:
    first = await run(service, image("a"))
    second = await run(service, image("a", reuse=False), reuse={"from": first["id"]})
    assert reused(second) == []


async def test_a_step_that_always_runs_leaves_its_old_result_to_others(service: Service) -> None:
    first = await run(service, image("a", "a jug"), image("b"))
    second = await run(service, image("a"), image("b", depends_on=["a"], reuse=False), reuse={"from": first["id"]})
    assert reused(second) == ["a"]
    assert step_of(second, "a")["result"] == step_of(first, "b")["result"]


async def test_events_report_what_is_reused(service: Service) -> None:
    first = await run(service, image("a"))
    second = await rerun(service, first)
    events = [event for event in await service.events(second["id"]) if event["step_id"] == "a"]
    assert [event["type"] for event in events] == ["step.reused", "step.completed"]
    assert events[0]["data"] == {
        "workflow_id": first["id"],
        "from_task_id": step_of(first, "a")["task_id"],
        "saved": None,
    }


async def test_explain_says_that_a_step_waits_for_a_check(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await run(service, image("a"), image("each", "${item}", for_each={"items": ["x", "y"]}))
    reached, released = asyncio.Event(), asyncio.Event()
    size = ObstoreArtifacts.size

    async def held(store: ObstoreArtifacts, path: str) -> int:
        reached.set()
        await released.wait()
        return await size(store, path)

    monkeypatch.setattr(ObstoreArtifacts, "size", held)
    response = await service.client.post(f"{WORKFLOWS}{first['id']}/rerun", json={})
    second = response.json()["id"]
    async with asyncio.timeout(30):
        await reached.wait()
    one, each = (await service.client.get(f"{WORKFLOWS}{second}/explain")).json()["steps"]
    assert (each["reason"]["code"], each["reason"]["reasons"]) == ("waits_for_items", {"checking_reuse": 2})
    assert one["reason"] == {
        "code": "checking_reuse",
        "detail": f"The service looks for a result of the run {first['id']} that this step could take over.",
        "workflow_id": first["id"],
    }
    released.set()
    assert reused(await service.until_ended(second)) == ["a"]
    assert await service.tasks(second) == []


async def test_a_step_whose_file_is_gone_runs(service: Service) -> None:
    first = await run(service, image("a"), image("b"))
    (service.artifacts / step_of(first, "a")["result"]["result_image_path"]).unlink()
    path = service.artifacts / step_of(first, "b")["result"]["result_image_path"]
    path.write_bytes(path.read_bytes() + b"more")
    assert reused(await rerun(service, first)) == []


async def test_only_a_run_of_the_tenant_that_has_ended_or_is_paused_is_reused(service: Service) -> None:
    first = await run(service, image("a"), origin_tenant_id="acme")
    created = await service.create(image("a"), start=False)
    await service.verb(first["id"], "cleanup")
    refusals = {
        str(uuid4()): "There is no such run of this tenant",
        created["id"]: "The run is PENDING. It must have ended, or be PAUSED",
    }
    other = await run(service, image("a"), origin_tenant_id="acme")
    refusals[other["id"]] = "There is no such run of this tenant"
    for earlier, why in refusals.items():
        body = {"name": "n", "origin_instance": "tests", "steps": [image("a")], "reuse": {"from": earlier}}
        response = await service.client.post(WORKFLOWS, json=body)
        assert response.status_code == 422
        assert response.json()["detail"] == [{"loc": ["body", "reuse", "from"], "msg": why, "type": "reuse_invalid"}]
    for workflow, key in ((first, "is_deleted"), (created, "allowed_from")):
        response = await service.client.post(f"{WORKFLOWS}{workflow['id']}/rerun", json={})
        assert (response.status_code, key in response.json()) == (409, True)


async def items_of(service: Service, workflow: dict[str, Any], step_id: str) -> list[dict[str, Any]]:
    response = await service.client.get(f"{WORKFLOWS}{workflow['id']}/steps/{step_id}/items", params={"limit": 1000})
    items: list[dict[str, Any]] = response.json()["items"]
    return items


async def test_the_work_of_a_unit_is_evaluated_twice_at_most_however_many_others_ask_for_its_result(
    service: Service, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, evaluated, fingerprint = 130, list[int](), Fingerprints.of  # more than are checked together
    first = await run(service, *(scripted_step(f"s{number}") for number in range(2 * count)))

    async def counted(fingerprints: Fingerprints, context: Any, position: int, *args: Any, **options: Any) -> str:
        evaluated.append(position)
        return await fingerprint(fingerprints, context, position, *args, **options)

    monkeypatch.setattr(Fingerprints, "of", counted)
    rest = {"id": "rest", "task_type": "DELAY", "config": {"seconds": 0.01}}
    steps = [
        *(scripted_step(f"new{number}") for number in range(count)),
        *(scripted_step(f"s{number}", "rest") for number in range(count)),
    ]
    second = await run(service, *steps, rest, reuse={"from": first["id"]})
    assert len(reused(second)) == 2 * count
    assert len(provider.calls) == 2 * count, "only the first run has called it"
    assert sorted(evaluated) == [*range(count), *sorted([*range(count, 2 * count)] * 2)]


@pytest.mark.extended
async def test_one_of_a_thousand_items_runs_and_so_it_was_forecast(
    service: Service, provider: ScriptedProvider
) -> None:
    items = [f"vase {number}" for number in range(1_000)]
    step = scripted_step("each", config={"prompt": "${item}"})
    first = await run(service, {**step, "for_each": {"items": items, "max_concurrency": 50}})
    items[500] = "a jug"
    steps = [{**step, "for_each": {"items": items, "max_concurrency": 50}}]
    body = {"name": "n", "origin_instance": "tests", "steps": steps, "reuse": {"from": first["id"]}}
    plan = await service.client.post(f"{WORKFLOWS}plan", json=body)
    assert plan.json()["steps"][0]["forecast_items"] == {"reused": 999, "runs": 1}
    second = await run(service, *steps, reuse=body["reuse"])
    assert [item["item"] for item in await items_of(service, second, "each") if item["reused_from"] is None] == [500]
    assert len(provider.calls) == 1_001


async def test_results_near_their_limit_are_taken_over_however_large_they_are_together(
    service: Service, provider: ScriptedProvider
) -> None:
    provider.default = Succeed({"text": "x" * 1_000_000})
    steps = [scripted_step(f"s{number}") for number in range(10)]  # more than the 4 MiB that are read at once
    body = {"name": "n", "origin_instance": "tests", "steps": steps}
    async with service.unchecked_client() as client:
        created = await client.post(WORKFLOWS, json=body)
        first = (await ended(client, created.json()["id"]))["id"]
        plan = await client.post(f"{WORKFLOWS}plan", json={**body, "reuse": {"from": first}})
        assert [step["forecast"] for step in plan.json()["steps"]] == ["reused"] * 10
        created = await client.post(WORKFLOWS, json={**body, "reuse": {"from": first}})
        await ended(client, created.json()["id"])
        second = (await client.get(WORKFLOWS + created.json()["id"])).json()
    assert reused(second) == [f"s{number}" for number in range(10)]
    assert all(len(step["result"]["text"]) == 1_000_000 for step in second["steps"])
    assert len(provider.calls) == 10


async def ended(client: httpx.AsyncClient, workflow_id: str) -> dict[str, Any]:
    workflow: dict[str, Any] = {}
    while workflow.get("status") not in ENDED:
        await asyncio.sleep(0.05)
        workflow = (await client.get(WORKFLOWS + workflow_id, params={"include_steps": False})).json()
    return workflow


async def outputs_of(service: Service, workflow: dict[str, Any]) -> list[tuple[str, str, bool]]:
    response = await service.client.get(f"{WORKFLOWS}{workflow['id']}/outputs")
    return [(each["path"], each["step_path"], each["final"]) for each in response.json()["outputs"]]


async def test_one_changed_item_of_many_runs(service: Service) -> None:
    prompts = [f"vase {number}" for number in range(30)]
    step = {**image("each", "${item}"), "for_each": {"items": prompts, "max_concurrency": 4}}
    first = await run(service, step)
    changed = {**step, "for_each": {"items": [*prompts[:7], "a jug", *prompts[8:]], "max_concurrency": 4}}
    second = await run(service, changed, reuse={"from": first["id"]})
    assert second["status"] == "COMPLETED"
    items, old = await items_of(service, second, "each"), await items_of(service, first, "each")
    assert [item["item"] for item in items if item["reused_from"] is None] == [7]
    assert len(await service.tasks(second["id"])) == 1
    assert [item["result"] for item in items if item["item"] != 7] == [
        item["result"] for item in old if item["item"] != 7
    ]
    assert second["final_step_result"]["count"] == 30
    assert len(await outputs_of(service, second)) == 30


async def test_an_item_takes_over_the_result_of_another_item_with_the_same_work(service: Service) -> None:
    step = {**image("each", "${item}"), "for_each": {"items": ["a", "b", "c"]}}
    first = await run(service, step)
    moved = {**step, "for_each": {"items": ["new", "a", "b", "c", "c"]}}
    second = await run(service, moved, reuse={"from": first["id"]})
    assert [item["reused_from"] is None for item in await items_of(service, second, "each")] == [
        *(True, False, False, False, True)
    ]


async def test_reused_files_are_outputs_of_the_run(service: Service) -> None:
    each = {**image("each", "${item}"), "for_each": {"items": ["a", "b"]}}
    first = await run(service, each, image("b/c"), image("last"))
    second = await rerun(service, first, steps=["last"])
    old, new = await outputs_of(service, first), await outputs_of(service, second)
    assert new[:3] == old[:3]
    assert [path for _, path, _ in new] == ["each/0", "each/1", "b%2Fc", "last"]
    assert [final for *_, final in new] == [False, False, False, True]
    paged: list[str] = []
    url: str | None = f"{WORKFLOWS}{second['id']}/outputs?limit=1"
    while url is not None:
        response = await service.client.get(url)
        paged += [each["path"] for each in response.json()["outputs"]]
        url = response.links.get("next", {}).get("url")
    assert paged == [path for path, *_ in new]


async def test_a_sub_workflow_reuses_the_results_of_the_earlier_one_of_the_same_step_and_item(service: Service) -> None:
    nested = {"name": "nested", "steps": [image("make", "${inputs.prompt}"), sharper("refine", "make")]}
    config = {"workflow": nested, "inputs": {"prompt": "${item}"}}
    step = {"id": "each", "task_type": "SUBWORKFLOW", "config": config, "for_each": {"items": ["a", "b"]}}
    first = await run(service, step)
    second = await run(service, {**step, "for_each": {"items": ["a", "c"]}}, reuse={"from": first["id"]})
    found = []
    for item in await items_of(service, second, "each"):
        child = await service.get(item["result"]["workflow_id"])
        found.append([each["reused_from"] is not None for each in child["steps"]])
    assert found == [[True, True], [False, False]]
    assert [path for path, *_ in await outputs_of(service, second)][:2] == [
        path for path, *_ in await outputs_of(service, first)
    ][:2]


async def test_a_step_that_repeats_is_taken_over_as_a_whole_or_not_at_all(
    service: Service, provider: ScriptedProvider
) -> None:
    provider.default = Succeed({"score": 1})
    step = scripted_step("a", repeat={"until": "score > `5`", "max": 3})
    first = await run(service, step)
    assert len(await service.tasks(first["id"])) == 3
    second = await rerun(service, first)
    assert (reused(second), step_of(second, "a")["runs"]) == (["a"], 0)
    more = {**step, "repeat": {"until": "score > `5`", "max": 4}}
    assert reused(await run(service, more, reuse={"from": first["id"]})) == []


async def test_conditions_that_go_the_other_way_and_optional_steps_decide_anew(
    service: Service, provider: ScriptedProvider
) -> None:
    provider.default = Succeed({"score": 1})
    steps = (
        scripted_step("judge"),
        scripted_step("if", "judge", when="judge.score == inputs.wanted"),
        scripted_step("last", "if", run_if="all_ended", optional=True),
    )
    first = await run(service, *steps, inputs={"wanted": 1})
    assert [step["status"] for step in first["steps"]] == ["COMPLETED"] * 3
    second = await rerun(service, first, inputs={"wanted": 2})
    assert [step["status"] for step in second["steps"]] == ["COMPLETED", "SKIPPED", "COMPLETED"]
    assert reused(second) == ["judge", "last"]
    third = await rerun(service, second, inputs={"wanted": 1})
    assert reused(third) == ["judge", "last"]
    assert step_of(third, "if")["status"] == "COMPLETED"


async def test_the_result_of_a_fallback_is_that_of_the_fallbacks_work(
    service: Service, provider: ScriptedProvider
) -> None:
    provider.default = Fail("no", retryable=False)
    step = {**scripted_step("a", max_retries=0), "fallback_provider_type": "LOCAL"}
    step["config"] = {"prompt": "a vase", "width": 16, "height": 16}
    first = await run(service, step)
    assert step_of(first, "a")["provider"] == "LOCAL"
    calls = len(provider.calls)
    second = await rerun(service, first)
    assert reused(second) == ["a"]
    assert len(provider.calls) == calls + 1, "the first provider is tried, as its work may succeed now"
    direct = {key: value for key, value in step.items() if not key.startswith(("fallback", "provider"))}
    assert reused(await run(service, direct, reuse={"from": first["id"]})) == ["a"]


async def decide(service: Service, workflow_id: str, choice: str = "approve") -> dict[str, Any]:
    await service.until(workflow_id, lambda workflow: workflow["waits_for"] == "decision")
    response = await service.client.post(f"{WORKFLOWS}{workflow_id}/steps/ask/decision", json={"choice": choice})
    assert response.status_code == 200, response.text
    return await service.until_ended(workflow_id)


async def test_a_decision_is_taken_over_if_what_was_shown_is_equal(service: Service) -> None:
    mapping = {"from_step": "make", "from_field": "result_image_path", "to_field": "image"}
    ask = {"id": "ask", "task_type": "APPROVAL", "config": {"message": "Good?"}, "input_mappings": [mapping]}
    first = await decide(service, (await service.create(image("make"), ask))["id"])
    assert first["status"] == "COMPLETED"
    second = await rerun(service, first)
    assert reused(second) == ["make", "ask"]
    assert step_of(second, "ask")["result"] == step_of(first, "ask")["result"]
    assert step_of(second, "ask")["reused_from"] == {"workflow_id": first["id"], "task_id": None}
    assert reused(await rerun(service, second)) == ["make", "ask"]
    for changes in ({"steps": ["make"]}, {"config": {"ask": {"message": "Really?"}}}, {"steps": ["ask"]}):
        response = await service.client.post(f"{WORKFLOWS}{first['id']}/rerun", json=changes)
        again = await decide(service, response.json()["id"])
        assert "ask" not in reused(again)


async def test_signals_and_delays_wait_again(service: Service) -> None:
    steps = ({"id": "go", "task_type": "SIGNAL"}, {"id": "rest", "task_type": "DELAY", "config": {"seconds": 0.01}})
    created = await service.create(*steps)
    await service.client.post(f"{WORKFLOWS}{created['id']}/signals/go", json={"data": 1})
    first = await service.until_ended(created["id"])
    response = await service.client.post(f"{WORKFLOWS}{first['id']}/rerun", json={})
    second = await service.until(response.json()["id"], lambda workflow: workflow["waits_for"] == "signal")
    assert [step["reused_from"] for step in second["steps"]] == [None, None]


async def test_a_result_by_hand_is_not_taken_over(service: Service, provider: ScriptedProvider) -> None:
    provider.default = Fail("no", retryable=False)
    first = await run(service, scripted_step("a", max_retries=0))
    assert first["status"] == "FAILED"
    response = await service.client.post(f"{WORKFLOWS}{first['id']}/steps/a/result", json={"result": {"any": 1}})
    assert response.status_code == 200, response.text
    await service.verb(first["id"], "resume")
    first = await service.until_ended(first["id"])
    provider.default = Succeed()
    assert reused(await rerun(service, first)) == []
