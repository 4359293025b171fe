"""The builder writes definitions: the outputs of steps become mappings."""

from collections.abc import Callable
from datetime import UTC, datetime
from inspect import signature
from typing import Any

import pytest
from msgspec import convert
from msgspec.structs import fields

from stepwell.client import Expression, RunIf, Workflow
from stepwell.contract.definition import CreateWorkflow
from stepwell.contract.enums import ProviderType, TaskType, TransformType
from stepwell.contract.files import ArtifactPublic
from stepwell.contract.task_configs import CONFIGS

_TIME = datetime(2026, 1, 1, tzinfo=UTC)
PHOTO = ArtifactPublic(
    path="media/7/photo.png",
    name="photo.png",
    size=1,
    sha256="",
    media_type="image/png",
    width=1,
    height=1,
    duration_s=None,
    created_by="alice",
    created_at=_TIME,
    expires_at=_TIME,
)
PIPELINE: dict[str, Any] = {
    "name": "w",
    "origin_instance": "tests",
    "labels": {"a": "b"},
    "config": {"on_failure": "continue"},
    "steps": [
        {
            "id": "generation",
            "task_type": "GENERATION",
            "config": {"prompt": "a fox", "num_images": 2},
            "provider_config": {"provider_type": "FAL", "fal_app_id": "a/b"},
        },
        {
            "id": "refine",
            "task_type": "REFINE",
            "config": {"upscale_factor": 4},
            "max_retries": 1,
            "optional": True,
            "input_mappings": [
                {"from_step": "generation", "from_field": "result_image_path", "to_field": "base_image_url"}
            ],
        },
        {
            "id": "photo",
            "task_type": "REFINE",
            "config": {"base_image_url": "media/7/photo.png", "fidelity": 1, "timeout_s": 5},
            "depends_on": ["refine"],
        },
        {
            "id": "editing",
            "task_type": "EDITING",
            "config": {"base_image_url": "media/1/a.png"},
            "input_mappings": [
                {
                    "from_step": "generation",
                    "from_field": "result_image_path",
                    "to_field": "reference_image_urls",
                    "transform": "TO_LIST",
                }
            ],
        },
        {
            "id": "passthrough",
            "task_type": "PASSTHROUGH",
            "config": {"in": {}},
            "when": "generation.seed > `0`",
            "run_if": "any_completed",
            "input_mappings": [
                {
                    "from_step": "generation",
                    "from_field": "result_image_paths",
                    "to_field": "all",
                    "transform": "LAST",
                },
                {
                    "from_step": "generation",
                    "from_field": "seed",
                    "to_field": "in.text",
                    "transform": "TO_STRING",
                },
            ],
        },
    ],
}


@pytest.fixture
def wf() -> Workflow:
    return Workflow("w", origin_instance="tests", labels={"a": "b"}, config={"on_failure": "continue"})


def test_a_pipeline_is_written_with_its_mappings(wf: Workflow) -> None:
    draw = wf.generation(prompt="a fox", num_images=2, provider=ProviderType.FAL, provider_config={"fal_app_id": "a/b"})
    large = wf.refine(base_image=draw.image, upscale_factor=4, max_retries=1, optional=True)
    wf.refine(base_image=PHOTO, id="photo", after=[large], config={"fidelity": 1}, timeout_s=5)
    wf.editing(base_image="media/1/a.png", reference_images=[draw.image])
    facts = {"all": draw.images.transformed("LAST"), "in": {"text": draw.output("seed", "TO_STRING")}}
    wf.passthrough(config=facts, run_if=RunIf.ANY_COMPLETED, when="generation.seed > `0`")
    definition = wf.definition()
    assert definition == PIPELINE
    assert convert(definition, CreateWorkflow).name == "w"


@pytest.mark.parametrize("task_type", [each for each in TaskType if each is not TaskType.SUBWORKFLOW])
def test_each_parameter_is_an_input_by_its_name_in_the_api(wf: Workflow, task_type: TaskType) -> None:
    add = getattr(wf, task_type.lower())
    add(**{name: ["a"] if name.endswith("images") else "a" for name in signature(add).parameters if name != "options"})
    (step,) = wf.definition()["steps"]
    assert step.get("config", {}).keys() == {each.name for each in fields(CONFIGS[task_type])} - {"timeout_s"}


def test_expressions_are_inputs_or_parts_of_texts() -> None:
    wf = Workflow("w", origin_instance="t", inputs={"n": 64, "photo": PHOTO}, inputs_schema={"required": ["n"]})
    size = Expression("inputs.n")
    draw = wf.generation(prompt=f"a fox of {size}", width=size)
    wf.refine(base_image=Expression("inputs.photo"), config={"x": [size, {"y": size}]})
    definition = wf.definition()
    assert (definition["inputs"], definition["inputs_schema"]) == (
        {"n": 64, "photo": "media/7/photo.png"},
        {"required": ["n"]},
    )
    assert [step["config"] for step in definition["steps"]] == [
        {"prompt": "a fox of ${inputs.n}", "width": "${inputs.n}"},
        {"base_image_url": "${inputs.photo}", "x": ["${inputs.n}", {"y": "${inputs.n}"}]},
    ]
    assert draw.id == "generation"
    assert convert(definition, CreateWorkflow).inputs["n"] == 64


def test_a_workflow_without_an_instance_leaves_it_to_the_service() -> None:
    assert Workflow("w").definition() == {"name": "w", "steps": []}


@pytest.mark.parametrize(
    "misuse",
    [
        lambda: Workflow(description="x"),  # type: ignore[call-arg]
        lambda: Workflow("w", origin="x"),  # type: ignore[call-arg]
        lambda: Workflow("w").step("REFINE"),  # type: ignore[call-arg]
        lambda: Workflow("w").refine(),  # type: ignore[call-arg]
    ],
)
def test_an_error_calls_the_class_by_its_name(misuse: Callable[[], object]) -> None:
    with pytest.raises(TypeError, match=r"^Workflow\.\w+\(\) (missing|got)"):
        misuse()


def test_a_built_definition_is_that_of_a_sub_workflow_without_its_origin(wf: Workflow) -> None:
    below = Workflow("below", origin_instance="tests", origin_reference="r", inputs={"prompt": "a fox"})
    below.generation(prompt=Expression("inputs.prompt"), id="draw")
    wf.subworkflow(workflow=below, inputs={"prompt": "an owl"}, id="sub")
    assert wf.definition()["steps"][-1]["config"] == {
        "workflow": {
            "name": "below",
            "inputs": {"prompt": "a fox"},
            "steps": [{"id": "draw", "task_type": "GENERATION", "config": {"prompt": "${inputs.prompt}"}}],
        },
        "inputs": {"prompt": "an owl"},
    }


def test_items_are_an_output_of_a_step_an_expression_or_values() -> None:
    wf = Workflow("w", origin_instance="tests")
    draw = wf.generation(prompt="a fox", num_images=4, id="draw")
    wf.refine(base_image=Expression("item"), for_each={"items": draw.images, "max_concurrency": 2})
    wf.passthrough(for_each={"items": draw.output("sizes", "JSON_DECODE"), "as": None})
    wf.passthrough(for_each={"count": Expression("inputs.n")})
    wf.passthrough(for_each={"items": [PHOTO, {"file": PHOTO}]})
    assert [step["for_each"] for step in wf.definition()["steps"][1:]] == [
        {"max_concurrency": 2, "from_step": "draw", "from_field": "result_image_paths"},
        {"as": None, "from_step": "draw", "from_field": "sizes", "transform": "JSON_DECODE"},
        {"count": "${inputs.n}"},
        {"items": [PHOTO.path, {"file": PHOTO.path}]},
    ]


def test_an_expression_that_would_stay_literal_is_refused_with_its_place(wf: Workflow) -> None:
    name = Expression("inputs.name")
    with pytest.raises(ValueError, match=r"'\$\{inputs.name\}': write an Expression without"):
        Expression("${inputs.name}")
    with pytest.raises(TypeError, match=r"inputs: Expression\('inputs.name'\) isn't evaluated there"):
        Workflow("w", origin_instance="t", inputs={"n": [name]})
    with pytest.raises(TypeError, match="provider_config: Expression"):
        wf.generation(prompt="x", provider_config={"model": name})
    with pytest.raises(TypeError, match="fallback_config: Expression"):
        wf.generation(prompt="x", fallback_config={"model": name})
    assert wf.definition()["steps"] == []


def test_the_methods_are_typed_by_task_type(wf: Workflow) -> None:
    """mypy finds each of these, and the comments would be unused otherwise."""
    text = wf.llm_interaction(prompt="x")
    with pytest.raises(AttributeError):
        text.image  # type: ignore[attr-defined]  # noqa: B018
    wf.refine(base_image=text.text, upscale_factor="2")  # type: ignore[arg-type]
    wf.video_generation(base_image="a", motion="up")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        wf.generation()  # type: ignore[call-arg]


def test_ids_are_numbered_by_type_and_are_unique(wf: Workflow) -> None:
    steps = [wf.passthrough(), wf.passthrough(), wf.passthrough(id="mine"), wf.passthrough()]
    assert [step.id for step in steps] == ["passthrough", "passthrough_2", "mine", "passthrough_3"]
    with pytest.raises(ValueError, match="'mine' already"):
        wf.passthrough(id="mine")


def test_what_a_mapping_can_not_say_is_refused_with_its_place(wf: Workflow) -> None:
    step = wf.generation(prompt="x")
    with pytest.raises(TypeError, match="REFINE takes no upscale"):
        wf.refine(base_image=step.image, upscale=2)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="can't be part of a text"):
        wf.llm_interaction(prompt=f"Describe {step.image}.")
    with pytest.raises(ValueError, match="reference_image_urls: a list"):
        wf.editing(base_image="a", reference_images=[step.image, "b"])
    with pytest.raises(TypeError, match="messages: an output"):
        wf.llm_interaction(messages=[{"role": "user", "content": step.image}])
    with pytest.raises(ValueError, match="belongs to another workflow"):
        Workflow("other", origin_instance="tests").refine(base_image=step.image)
    with pytest.raises(ValueError, match="not a valid TransformType"):
        step.image.transformed("none")
    assert step.output("a", TransformType.FIRST).transform is TransformType.FIRST
    assert len(wf.definition()["steps"]) == 1
