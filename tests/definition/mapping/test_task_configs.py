from typing import Any

import pytest

from stepwell.contract.enums import TaskType as T
from stepwell.contract.task_configs import CONFIGS, TASK_TYPES, GenerationConfig
from stepwell.definition.mapping.task_configs import config_faults, known_config


def faults(task_type: T, config: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(*fault.loc, fault.type) for fault in config_faults(task_type, config, ())]


def test_every_type_has_its_config_and_what_it_requires() -> None:
    assert CONFIGS.keys() == set(T)
    for task_type in T:
        assert all(name in CONFIGS[task_type].__struct_fields__ for name in TASK_TYPES[task_type].inputs)
    assert TASK_TYPES[T.GENERATION].inputs == ("prompt",)
    assert TASK_TYPES[T.LLM_INTERACTION].inputs == ("prompt", "messages")
    assert TASK_TYPES[T.EXPERIMENTAL_FAL].inputs == TASK_TYPES[T.PASSTHROUGH].inputs == ()
    assert all(
        TASK_TYPES[task_type].inputs == ("base_image_url",) for task_type in (T.EDITING, T.REFINE, T.BACKGROUND_FIX)
    )


@pytest.mark.parametrize(
    ("task_type", "field", "good", "bad"),
    [
        (T.GENERATION, "prompt", ["x", "x" * 20_000], ["", "x" * 20_001, 5, ["x"]]),
        (T.GENERATION, "width", [1, 7_000, 1.0], [0, 8193, 1.5, True, "1"]),
        (T.GENERATION, "seed", [0, 2**63 - 1], [-1, 2**63, 1.5]),
        (T.GENERATION, "style_lora_weight", [0, 1, 0.5], [-0.1, 1.1, "1"]),
        (T.GENERATION, "reference_image_url", ["media/x/y.png"], ["", 1]),
        (T.EDITING, "x", [-5, 0, 5], [1.5, 2_000_000]),
        (T.EDITING, "scale", [0.1, 16], [0, 16.1]),
        (T.EDITING, "opacity", [0, 1], [2]),
        (T.EDITING, "rotate", [-360, 360, 12.5], [361]),
        (T.EDITING, "crop", [[0, 0, 1, 1]], [[], [0, 0, 1], [0, 0, 0, 1], [5, 0, 1, 1], [0, -1, 1, 1], {"left": 0}]),
        (T.EDITING, "reference_image_urls", [[], ["a"]], ["a", [""], [1]]),
        (T.REFINE, "upscale_factor", [1, 2.0, 8], [0.5, 9]),
        (T.VIDEO_GENERATION, "duration_s", [0.1, 60], [0, 61]),
        (T.VIDEO_GENERATION, "fps", [1, 60], [0, 61, 12.5]),
        (T.VIDEO_GENERATION, "motion", ["zoom_in", "pan_down"], ["spin", 1]),
        (
            T.BACKGROUND_FIX,
            "background_color",
            ["#fff", "#A0b1C2", "#00000080", "white"],
            ["", "#ff", "#ggg", "red\n", "url(x)", "1"],
        ),
        (T.BACKGROUND_REMOVE, "tolerance", [0, 255, 12.5], [-1, 256]),
        (T.BACKGROUND_REMOVE, "feather", [0, 100], [101]),
        (T.DETAIL_ENHANCER, "strength", [0, 1], [1.5]),
        (T.FACE_ENHANCER, "radius", [0, 100], [-1]),
        (T.IMAGE_ADJUSTER, "exposure", [-10, 0.5, 10], [11]),
        (T.IMAGE_ADJUSTER, "temperature", [-100, 100], [101]),
        (T.IMAGE_ADJUSTER, "gamma", [0.1, 10], [0]),
        (T.LLM_INTERACTION, "temperature", [0, 2], [2.1]),
        (T.LLM_INTERACTION, "messages", [[{"role": "user"}]], [[], ["x"], {}]),
        (T.LLM_INTERACTION, "json_schema", [{}], ["x"]),
        (T.EXPERIMENTAL_FAL, "arguments", [{"a": 1}], [[], "x"]),
        (T.PASSTHROUGH, "timeout_s", [0.5, 86_400], [0, -1, 86_401, "1"]),
        (T.PASSTHROUGH, "anything", [None, 1, "x", {"y": []}], []),
    ],
)
def test_values_out_of_range_are_refused(task_type: T, field: str, good: list[Any], bad: list[Any]) -> None:
    for value in [None, *good]:
        assert faults(task_type, {field: value}) == []
    for value in bad:
        found = faults(task_type, {field: value})
        assert found
        assert all(fault[0] == field for fault in found)


def test_all_faults_of_a_config_are_reported() -> None:
    config = {"width": 0, "height": "x", "seed": -1, "other": object()}
    assert faults(T.GENERATION, config) == [
        ("width", "greater_than_equal"),
        ("height", "int_type"),
        ("seed", "greater_than_equal"),
    ]


def test_pixels_are_limited_with_defaults_counted_in() -> None:
    assert faults(T.GENERATION, {"width": 8000, "height": 8000}) == []
    assert faults(T.GENERATION, {"width": 8192, "height": 8192}) == [("width", "too_many_pixels")]
    assert faults(T.GENERATION, {"width": 8192}) == []


def test_defaults_are_filled_in_and_nulls_are_not_given() -> None:
    known = known_config(T.GENERATION, {"prompt": "x", "width": None, "unknown": 1})
    assert known == GenerationConfig(prompt="x", width=1024, height=1024)
