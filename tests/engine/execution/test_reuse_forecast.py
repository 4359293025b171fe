"""The forecast of what a run takes over is what the run takes over, for random definitions and random edits of them."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec import json

from stepwell.contract.enums import ProviderType, TaskType
from stepwell.ports.providers import Attempt, AttemptIO
from stepwell.providers.in_process import InProcess
from stepwell.testing import MemoryDatabase
from support.service.live_service import Service, running_service, step_of
from support.workflows.reused_results import WORKFLOWS, image, rerun, run, sharper

SEEDS = 40


class Echo(InProcess):
    """A provider whose result is a digest of the inputs."""

    type = ProviderType.CUSTOM

    def capabilities(self, task_type: TaskType) -> frozenset[str] | None:  # noqa: ARG002 - the port's
        return frozenset()

    async def run(self, attempt: Attempt, io: AttemptIO) -> dict[str, Any]:  # noqa: ARG002 - the port's
        encoded = json.encode(attempt.inputs, order="deterministic")
        return {"text": hashlib.sha256(encoded).hexdigest()[:8], "good": True}


@pytest.fixture
async def service(memory_in_real_time: MemoryDatabase, tmp_path: Path) -> AsyncIterator[Service]:
    async with running_service(memory_in_real_time, tmp_path, providers=[Echo()]) as service:
        yield service


def random_step(random: Random, number: int) -> dict[str, Any]:
    """A step that reads the result of an earlier one, or waits for one, or neither."""
    step: dict[str, Any] = {"id": f"s{number}", "task_type": "GENERATION", "config": {"prompt": random.choice("xy")}}
    step["provider_config"] = {"provider_type": "CUSTOM"}
    if random.random() < 0.2:
        step = {"id": f"s{number}", "task_type": "PASSTHROUGH", "config": {"text": random.choice("xy")}}
    earlier = [f"s{each}" for each in range(number)]
    if earlier and random.random() < 0.6:
        source = random.choice(earlier)
        step["input_mappings"] = [{"from_step": source, "from_field": "text", "to_field": "style"}]
    elif earlier and random.random() < 0.3:
        step["depends_on"] = [random.choice(earlier)]
    kind = random.random()
    if step["task_type"] == "GENERATION" and kind < 0.15:
        step["repeat"] = {"until": "good", "max": random.choice([2, 3])}
    elif step["task_type"] == "GENERATION" and kind < 0.3:
        step["reuse"] = random.random() < 0.7
    return step


def with_text(steps: list[dict[str, Any]], random: Random) -> list[dict[str, Any]]:
    """Add a step with items at the end, which nothing reads."""
    items = [random.choice("abcd") for _ in range(random.randint(1, 5))]
    each = {"id": "each", "task_type": "GENERATION", "provider_config": {"provider_type": "CUSTOM"}}
    return [*steps, {**each, "config": {}, "for_each": {"items": items, "as": "prompt", "max_concurrency": 2}}]


def edited(steps: list[dict[str, Any]], random: Random) -> list[dict[str, Any]]:
    steps = json.decode(json.encode(steps))
    for _ in range(random.randint(0, 2)):
        step = random.choice(steps[:-1])
        match random.choice(["prompt", "swap", "add", "items", "rename"]):
            case "prompt":
                step["config"]["prompt" if step["task_type"] == "GENERATION" else "text"] = random.choice("xyz")
            case "swap":
                other = random.choice(steps[:-1])
                if step["task_type"] == other["task_type"]:
                    step["config"], other["config"] = other["config"], step["config"]
            case "add":
                new = random_step(random, 0)
                steps.insert(0, {**new, "id": f"n{len(steps)}"})
            case "items":
                steps[-1]["for_each"]["items"].insert(0, random.choice("abcd"))
            case "rename":
                old, new_id = step["id"], f"r{len(steps)}{step['id']}"
                step["id"] = new_id
                for each in steps:
                    each["depends_on"] = [new_id if name == old else name for name in each.get("depends_on", [])]
                    for mapping in each.get("input_mappings", []):
                        mapping["from_step"] = new_id if mapping["from_step"] == old else mapping["from_step"]
    return steps


def ancestors(workflow: dict[str, Any], step_id: str) -> set[str]:
    needed = step_of(workflow, step_id)["dependencies"]
    return set(needed).union(*(ancestors(workflow, name) for name in needed))


async def items_reused(service: Service, workflow: dict[str, Any], step_id: str) -> int:
    response = await service.client.get(f"{WORKFLOWS}{workflow['id']}/steps/{step_id}/items", params={"limit": 100})
    return sum(item["reused_from"] is not None for item in response.json()["items"])


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_a_run_takes_over_what_was_forecast(service: Service, seed: int) -> None:
    random = Random(seed)
    steps = with_text([random_step(random, number) for number in range(random.randint(1, 6))], random)
    first = await run(service, *steps)
    assert first["status"] == "COMPLETED", first["errors"]
    changed = edited(steps, random)
    body = {"name": "n", "origin_instance": "tests", "steps": changed, "reuse": {"from": first["id"]}}
    response = await service.client.post(f"{WORKFLOWS}plan", json=body)
    assert response.status_code == 200, response.text
    second = await run(service, *changed, reuse=body["reuse"])
    assert second["status"] == "COMPLETED", second["errors"]
    providers = {step["step_id"] for step in response.json()["steps"] if step["provider"] is not None}
    for planned in response.json()["steps"]:
        step_id, forecast = planned["step_id"], planned["forecast"]
        if (items := planned["forecast_items"]) is not None:
            assert await items_reused(service, second, step_id) == items["reused"], step_id
        elif forecast != "depends":
            is_reused = step_of(second, step_id)["reused_from"] is not None
            assert is_reused == (forecast == "reused"), (step_id, forecast)
        elif step_id in providers:
            assert any(step_of(second, name)["reused_from"] is None for name in ancestors(second, step_id)), step_id
    # Whatever is taken over is what the run would have made.
    third = await run(service, *changed)
    for step in second["steps"]:
        assert step["result"] == step_of(third, step["step_id"])["result"]
    sources = [step["reused_from"]["task_id"] for step in second["steps"] if step["reused_from"] is not None]
    assert len(sources) == len(set(sources)), "each result is given out once"


async def test_a_dry_run_of_a_rerun_says_what_it_takes_over_what_it_costs_and_what_is_missing(service: Service) -> None:
    first = await run(service, image("make"), sharper("refine", "make"), sharper("again", "refine"))
    path = f"{WORKFLOWS}{first['id']}/rerun?dry_run=true"

    async def forecast(**changes: Any) -> tuple[list[str], list[str]]:
        response = await service.client.post(path, json=changes)
        assert response.status_code == 200, response.text
        plan = response.json()
        return [step["forecast"] for step in plan["steps"]], plan["gone"]

    assert await forecast() == (["reused"] * 3, [])
    assert await forecast(config={"refine": {"upscale_factor": 2}}) == (["reused", "runs", "depends"], [])
    assert await forecast(steps=["again"]) == (["reused", "reused", "runs"], [])
    missing = step_of(first, "make")["result"]["result_image_path"]
    (service.artifacts / missing).unlink()
    assert await forecast() == (["runs", "depends", "depends"], [missing])
    listed = await service.client.get(WORKFLOWS, params={"include_steps": False})
    assert listed.json()["total"] == 1, "nothing was created"
    assert [step["reused_from"] is None for step in (await rerun(service, first))["steps"]] == [True, True, True]
