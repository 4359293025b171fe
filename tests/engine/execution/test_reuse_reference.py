"""Reruns of random edited definitions take over what a small reference says, and what was forecast."""

import hashlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
from msgspec import json

from stepwell.basics.errors import AttemptError
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.ports.providers import Attempt, AttemptIO
from stepwell.providers.in_process import InProcess
from stepwell.testing import MemoryDatabase
from support.service.live_service import Service, running_service, step_of
from support.workflows.random_reruns import edited, random_steps
from support.workflows.reuse_reference import Name, Unit, outcome_of, taken, units_of
from support.workflows.reused_results import WORKFLOWS

SEEDS, MORE_SEEDS = 15, 60


class Echo(InProcess):
    """A provider whose result is a digest of the inputs. `ledger` counts what it has done, by workflow and step."""

    type = ProviderType.CUSTOM

    def __init__(self) -> None:
        self.ledger: Counter[tuple[str, str]] = Counter()

    def capabilities(self, task_type: TaskType) -> frozenset[str] | None:  # noqa: ARG002 - the port's
        return frozenset()

    async def run(self, attempt: Attempt, io: AttemptIO) -> dict[str, Any]:  # noqa: ARG002 - the port's
        self.ledger[str(attempt.workflow_id), attempt.step_id] += 1
        if attempt.inputs.get("prompt") == "fails":
            raise AttemptError("no", retryable=False, provider_fault=False)
        digest = hashlib.sha256(json.encode(attempt.inputs, order="deterministic")).hexdigest()
        return {"text": digest[:8], "score": int(digest[:4], 16) / 0xFFFF}


@pytest.fixture
def provider() -> Echo:
    return Echo()


@pytest.fixture
async def service(memory_in_real_time: MemoryDatabase, tmp_path: Path, provider: Echo) -> AsyncIterator[Service]:
    async with running_service(memory_in_real_time, tmp_path, providers=[provider]) as service:
        yield service


class Ended(NamedTuple):
    """A run that has ended: the units that it has completed, and the attempts that have made their results.

    `reused` are the units that have taken theirs over. `children` are the sub-workflows by the steps that run them.
    """

    workflow: dict[str, Any]
    units: list[Unit]
    makers: dict[Name, str]
    reused: set[Name]
    children: dict[str, "Ended"]


async def ended(service: Service, workflow_id: str, steps: list[dict[str, Any]], inputs: dict[str, Any]) -> Ended:
    workflow = await service.until_ended(workflow_id)
    units = units_of(steps, inputs, outcome_of(workflow))
    rows: dict[Name, dict[str, Any]] = {(step["step_id"], None): step for step in workflow["steps"]}
    children = {}
    for step in steps:
        if "for_each" in step:
            response = await service.client.get(f"{WORKFLOWS}{workflow_id}/steps/{step['id']}/items")
            rows |= {(step["id"], item["item"]): item for item in response.json()["items"]}
        elif step["task_type"] == "SUBWORKFLOW" and (result := step_of(workflow, step["id"])["result"]) is not None:
            below = step["config"]["workflow"]["steps"]
            word = step["config"]["inputs"]["of"].replace("${inputs.word}", inputs["word"])
            children[step["id"]] = await ended(service, result["workflow_id"], below, {"of": word})
    reused = {name for name, row in rows.items() if row["reused_from"] is not None}
    makers = {unit.name: rows[unit.name]["task_id"] for unit in units}
    makers |= {name: rows[name]["reused_from"]["task_id"] for name in reused}
    return Ended(workflow, units, makers, reused, children)


def check(provider: Echo, earlier: Ended, new: Ended) -> None:
    """Check that the *new* run has taken over what the reference says, and that it has run nothing else."""
    expected, works = taken(earlier.units, new.units), {unit.name: unit.work for unit in new.units}
    found, wanted = Counter(works[name] for name in new.reused), Counter(works[name] for name in expected)
    held = held_results(earlier, new)
    assert found <= wanted
    assert {work: found[work] for work in wanted if work not in held} == {
        work: wanted[work] for work in wanted if work not in held
    }
    made = {earlier.makers[unit.name]: unit for unit in earlier.units}
    sources = {name: made[new.makers[name]] for name in new.reused}
    assert len(set(sources.values())) == len(sources), "each result is given out once"
    assert all(source.work == works[name] for name, source in sources.items())
    late = behind_attempts(new)
    for name in [name for name, old in expected.items() if name == old and name[0] not in late]:
        assert sources[name].name == name, "the same step and item comes first"
    ran = Counter(step_id for workflow_id, step_id in provider.ledger if workflow_id == new.workflow["id"])
    completed = {unit.name[0] for unit in new.units if unit.name not in new.reused}
    failed = {step["step_id"] for step in new.workflow["steps"] if step["status"] == "FAILED"}
    assert ran.keys() == completed | failed
    for unit in new.units:
        left = [each for each in new.units if each.name[0] == unit.name[0] and each.name not in new.reused]
        calls = provider.ledger[new.workflow["id"], unit.name[0]]
        assert calls == len(left) or (calls > len(left) > 0 and "until" in unit.work)
    for step_id, child in new.children.items():
        if step_id in earlier.children:
            check(provider, earlier.children[step_id], child)
        else:
            assert child.reused == set()


def held_results(earlier: Ended, new: Ended) -> set[str]:
    """Return the work of results that wait for their own steps, which don't run in the end."""
    statuses = outcome_of(new.workflow).statuses
    return {unit.work for unit in earlier.units if statuses.get(unit.name[0]) == "SKIPPED"}


def behind_attempts(new: Ended) -> set[str]:
    """Return the steps behind others that have run at a provider. What they need is known late."""
    ran = {unit.name[0] for unit in new.units if unit.name not in new.reused} | new.children.keys()
    late = set[str]()
    for step in new.workflow["steps"]:
        if ran.union(late).intersection(step["dependencies"]) or step["status"] == "FAILED":
            late.add(step["step_id"])
    return late


def disputed(new: Ended) -> set[str]:
    """Return the steps with units that want a result which another one has got. Which one gets it depends on time."""
    works = {unit.work for unit in new.units if unit.name in new.reused}
    works &= {unit.work for unit in new.units if unit.name not in new.reused and not unit.always}
    return {unit.name[0] for unit in new.units if unit.work in works}


def check_forecast(plan: dict[str, Any], new: Ended) -> None:
    statuses, unsure = outcome_of(new.workflow).statuses, disputed(new)
    for step in [step for step in plan["steps"] if step["step_id"] not in unsure]:
        step_id, forecast, items = step["step_id"], step["forecast"], step["forecast_items"]
        is_reused = (step_id, None) in new.reused
        if items is not None:
            assert items["reused"] == sum(name[0] == step_id and name[1] is not None for name in new.reused)
        elif forecast in ("reused", "runs"):
            assert is_reused == (forecast == "reused"), step_id
        if forecast == "skipped":
            assert statuses[step_id] == "SKIPPED", step_id


@pytest.mark.parametrize(
    "seed", [*range(SEEDS), *(pytest.param(seed, marks=pytest.mark.extended) for seed in range(SEEDS, MORE_SEEDS))]
)
async def test_a_rerun_of_an_edited_definition_takes_over_what_the_reference_says(
    service: Service, provider: Echo, seed: int
) -> None:
    random = Random(seed)
    inputs, config = {"word": random.choice("xyz")}, {"on_failure": "continue"}
    steps = random_steps(random)

    async def run(**members: Any) -> Ended:
        created = await service.create(*steps, inputs=inputs, config=config, **members)
        return await ended(service, created["id"], steps, inputs)

    earlier = await run()
    for _ in range(2):  # the second one also reuses what the first one has taken over
        steps = edited(steps, random)
        inputs = {"word": random.choice("xyz")} if random.random() < 0.3 else inputs
        reuse = {"from": earlier.workflow["id"]}
        body = {"name": "n", "origin_instance": "tests", "steps": steps, "inputs": inputs, "config": config}
        plan = await service.client.post(f"{WORKFLOWS}plan", json={**body, "reuse": reuse})
        assert plan.status_code == 200, plan.text
        new, alone = await run(reuse=reuse), await run()
        assert outcome_of(new.workflow).statuses == outcome_of(alone.workflow).statuses
        for step in [step for step in new.workflow["steps"] if step["task_type"] != "SUBWORKFLOW"]:
            assert step["result"] == step_of(alone.workflow, step["step_id"])["result"]
        check(provider, earlier, new)
        check_forecast(plan.json(), new)
        earlier = new
