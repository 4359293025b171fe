"""The example pipelines with a judge and a person: pictures by LOCAL, the judge by an emulator of OpenAI."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stepwell.cli.examples import example
from stepwell.contract.enums import ProviderType
from support.providers.emulated import World, world_of
from support.service.live_service import Service, running_service, step_of

WORKFLOWS = "/api/v1/workflows/"


@pytest.fixture
async def judge(tmp_path: Path) -> AsyncIterator[World]:
    async with world_of(ProviderType.OPENAI, tmp_path / "judge") as world:
        yield world


@pytest.fixture
async def service(dsn: str, tmp_path: Path, judge: World) -> AsyncIterator[Service]:
    async with running_service(dsn, tmp_path, **judge.settings) as service:
        yield service


def scores(judge: World, *values: float) -> None:
    """Let the judge give these scores, one after the other."""
    answers = iter(values)
    judge.emulator.text = lambda _: json.dumps({"score": next(answers), "reason": "it glows"})


async def create(service: Service, name: str, **inputs: Any) -> str:
    definition = json.loads(example(name))
    definition["inputs"] |= inputs
    response = await service.client.post(WORKFLOWS, json=definition)
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


async def decide(service: Service, workflow_id: str, step_id: str, choice: str | None = None) -> dict[str, Any]:
    """Choose, the first choice by default, as soon as the step waits. Return what it has shown."""
    workflow = await service.until(workflow_id, lambda each: step_of(each, step_id)["waiting_for"] is not None)
    waiting: dict[str, Any] = step_of(workflow, step_id)["waiting_for"]
    path = f"{WORKFLOWS}{workflow_id}/steps/{step_id}/decision"
    response = await service.client.post(path, json={"choice": choice or waiting["choices"][0]})
    assert response.status_code == 200, response.text
    return waiting


async def completed(service: Service, workflow_id: str) -> dict[str, Any]:
    workflow = await service.until_ended(workflow_id, within_s=120)
    assert (workflow["status"], workflow["errors"]) == ("COMPLETED", [])
    return workflow


@pytest.mark.extended
async def test_the_best_of_four_variants_is_approved_enlarged_and_filmed(service: Service, judge: World) -> None:
    scores(judge, 0.3, 0.9, 0.5, 0.1)
    workflow_id = await create(service, "judged")
    shown = await decide(service, workflow_id, "approval", "approve")
    assert shown["message"].endswith("The judge says: it glows")
    workflow = await completed(service, workflow_id)
    variants = step_of(workflow, "variants")["result"]["items"]
    assert sorted(each["final"]["result_json"]["score"] for each in variants) == [0.1, 0.3, 0.5, 0.9]
    (best,) = [each for each in variants if each["final"]["result_json"]["score"] == 0.9]
    assert step_of(workflow, "best")["result"]["image"] == best["results"]["draw"]["result_image_path"]
    assert len({each["results"]["draw"]["seed"] for each in variants}) == 4
    assert step_of(workflow, "film")["result"]["result_video_path"]


@pytest.mark.parametrize("remove", [True, pytest.param(False, marks=pytest.mark.extended)])
async def test_a_person_picks_one_of_three_styles(service: Service, *, remove: bool) -> None:
    workflow_id = await create(service, "styles", remove_background=remove)
    shown = await decide(service, workflow_id, "pick")
    workflow = await completed(service, workflow_id)
    assert step_of(workflow, "cutout")["status"] == ("COMPLETED" if remove else "SKIPPED")
    assert len(set(shown["choices"])) == 3
    assert step_of(workflow, "chosen")["result"] == {"image": shown["choices"][0]}


@pytest.mark.extended
async def test_an_uploaded_photo_is_used(service: Service) -> None:
    drawn = json.loads(example("styles"))["steps"][:1]
    response = await service.client.post(
        WORKFLOWS,
        json={
            "name": "a photo",
            "origin_instance": "t",
            "steps": [{**drawn[0], "when": None} | {"config": {"prompt": "x", "width": 64, "height": 64}}],
        },
    )
    photo = step_of(await completed(service, response.json()["id"]), "sample")["result"]["result_image_path"]
    workflow_id = await create(service, "styles", photo=photo)
    await decide(service, workflow_id, "pick")
    assert step_of(await completed(service, workflow_id), "sample")["status"] == "SKIPPED"


@pytest.mark.parametrize(
    ("given", "runs", "score"),
    [((0.2, 0.8), 2, 0.8), pytest.param((0.2, 0.6, 0.5), 3, 0.6, marks=pytest.mark.extended)],
)
async def test_it_is_drawn_again_until_it_is_good(
    service: Service, judge: World, given: tuple[float, ...], runs: int, score: float
) -> None:
    scores(judge, *given)
    workflow = await completed(service, await create(service, "again"))
    assert (step_of(workflow, "attempt")["runs"], workflow["cost"]) == (runs, None)
    result = step_of(workflow, "picture")["result"]
    assert (result["score"], result["image"].split("/")[0]) == (score, "media")


@pytest.mark.parametrize(
    ("minimum", "status"), [(0.7, "COMPLETED"), pytest.param(0.95, "SKIPPED", marks=pytest.mark.extended)]
)
async def test_the_best_variant_is_enlarged_if_it_is_good_enough(
    service: Service, judge: World, minimum: float, status: str
) -> None:
    scores(judge, 0.2, 0.9)
    workflow = await completed(service, await create(service, "quality-gate", variants=2, minimum=minimum))
    assert step_of(workflow, "best")["result"]["score"] == 0.9
    assert step_of(workflow, "enlarge")["status"] == status


async def test_a_picture_is_drawn_from_a_better_prompt(service: Service, judge: World) -> None:
    judge.emulator.text = lambda asked: json.dumps({"prompt": f"better: {asked[-40:]}"})
    workflow = await completed(service, await create(service, "better-prompt", wish="a red cup", width=512))
    assert step_of(workflow, "improve")["result"]["result_json"]["prompt"].startswith("better: ")
    result = step_of(workflow, "draw")["result"]
    assert (result["width"], result["height"]) == (512, 512)
