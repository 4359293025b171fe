"""Validation of a definition over HTTP: all faults in one response, each with its exact place, and nothing stored."""

from typing import Any

import pytest

from stepwell.api.requests import request_bodies
from support.providers.configured_by_steps import WORKFLOWS, passthrough_step
from support.service.live_service import Service
from support.workflows.definitions import draw, mapped

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def faults_of(live: Service, *steps: Any, **members: Any) -> list[tuple[list[str | int], str]]:
    body = {"name": "n", "origin_instance": "o", "steps": list(steps)} | members
    response = await live.client.post(WORKFLOWS, json=body)
    assert response.status_code == 422, response.text
    assert (await live.client.get(WORKFLOWS, params={"include_deleted": True})).json()["total"] == 0
    return [(fault["loc"][1:], fault["type"]) for fault in response.json()["detail"]]


async def test_one_response_reports_every_kind_of_fault(live: Service) -> None:
    faults = await faults_of(
        live,
        passthrough_step("a", "nope", "b", "b", "a"),
        passthrough_step("a"),
        draw("b", input_mappings=[mapped("c", "seed", "y"), mapped("zzz", "x", "p.q"), mapped("c", "[", "p")]),
        draw("c", config={"prompt": 1, "width": 0, "height": 8193, "seed": -1, "style_lora_weight": 1.5}),
        {"id": "d", "task_type": "REFINE", "config": {"upscale_factor": 8.5}},
        draw("e", provider_config={"provider_type": "FAL"}),
        draw("f", provider_config={"provider_type": "LOCAL", "credential": "mine", "api_key": "x"}),
        draw("g", active_provider_capabilities=["seed", "telepathy"], fallback_provider_type="OPENAI"),
        {"id": "h", "task_type": "LLM_INTERACTION", "config": {"prompt": "x"}},
        {"id": "i", "task_type": "EXPERIMENTAL_FAL"},
        webhook_url="javascript:alert(1)",
        config={"on_failure": "explode", "retry": {"max_retries": 21, "mode": 1}, "workflow_timeout_s": 0},
    )
    assert sorted(faults, key=repr) == sorted(
        [
            (["webhook_url"], "url_invalid"),
            (["config", "on_failure"], "enum"),
            (["config", "retry", "max_retries"], "less_than_equal"),
            (["config", "retry", "mode"], "extra_forbidden"),
            (["config", "workflow_timeout_s"], "greater_than"),
            (["steps", 0, "depends_on", 0], "unknown_step"),
            (["steps", 0, "depends_on", 2], "repeated_dependency"),
            (["steps", 0, "depends_on", 3], "self_dependency"),
            (["steps", 1, "id"], "duplicate_step_id"),
            (["steps", 2, "input_mappings", 1, "from_step"], "unknown_step"),
            (["steps", 2, "input_mappings", 2, "from_field"], "bad_expression"),
            (["steps", 2, "input_mappings", 2, "to_field"], "conflicting_mappings"),
            (["steps", 3, "config", "prompt"], "string_type"),
            (["steps", 3, "config", "width"], "greater_than_equal"),
            (["steps", 3, "config", "height"], "less_than_equal"),
            (["steps", 3, "config", "seed"], "greater_than_equal"),
            (["steps", 3, "config", "style_lora_weight"], "less_than_equal"),
            (["steps", 4, "config", "upscale_factor"], "less_than_equal"),
            (["steps", 4, "config", "base_image_url"], "missing"),
            (["steps", 5, "provider_config", "provider_type"], "provider_not_configured"),
            (["steps", 6, "provider_config", "credential"], "unknown_credential"),
            (["steps", 6, "provider_config", "api_key"], "secret_in_request"),
            (["steps", 7, "active_provider_capabilities", 1], "unknown_capability"),
            (["steps", 7, "fallback_provider_type"], "provider_not_configured"),
            (["steps", 8, "provider_config"], "provider_unable"),
            (["steps", 9, "provider_config"], "provider_not_configured"),
        ],
        key=repr,
    )


async def test_faults_of_types_and_of_rules_are_reported_together(live: Service) -> None:
    faults = await faults_of(
        live, passthrough_step("a", "ghost"), {"id": "b", "task_type": "MAGIC", "x": 1}, name="", extra=1
    )
    assert sorted(faults, key=repr) == sorted(
        [
            (["name"], "too_short"),
            (["extra"], "extra_forbidden"),
            (["steps", 0, "depends_on", 0], "unknown_step"),
            (["steps", 1, "task_type"], "enum"),
            (["steps", 1, "x"], "extra_forbidden"),
        ],
        key=repr,
    )


async def test_a_cycle_is_named(live: Service) -> None:
    steps = [
        passthrough_step("first"),
        passthrough_step("x", "z"),
        passthrough_step("y", "x"),
        passthrough_step("z", "y", "first"),
    ]
    response = await live.client.post(WORKFLOWS, json={"name": "n", "origin_instance": "o", "steps": steps})
    (fault,) = response.json()["detail"]
    assert fault["type"] == "dependency_cycle"
    assert fault["loc"][:2] == ["body", "steps"]
    assert all(f'"{name}"' in fault["msg"] or f"'{name}'" in fault["msg"] for name in "xyz")
    assert "first" not in fault["msg"]


@pytest.mark.parametrize(
    ("step", "loc", "word"),
    [
        (draw("a", input_mappings=[mapped("a", "seed", "y")]), ["input_mappings", 0, "from_step"], "self_dependency"),
        (draw("a", fallback_provider_type="NOBODY"), ["fallback_provider_type"], "enum"),
        (draw("a", max_retries=21), ["max_retries"], "less_than_equal"),
        (draw("a", max_retries=-1), ["max_retries"], "greater_than_equal"),
        (draw("a", config={}), ["config", "prompt"], "missing"),
        (draw("a", config={"prompt": None}), ["config", "prompt"], "missing"),
        (draw("a", config={"prompt": ""}), ["config", "prompt"], "too_short"),
        (draw("a", config={"prompt": "x", "timeout_s": 0}), ["config", "timeout_s"], "greater_than"),
        (draw("a", config={"prompt": "x", "width": 1.5}), ["config", "width"], "int_type"),
        (draw("a", config={"prompt": "x", "width": 8192, "height": 8192}), ["config", "width"], "too_many_pixels"),
        (
            draw("a", provider_config={"nested": {"Authorization": "x"}}),
            ["provider_config", "nested", "Authorization"],
            "",
        ),
        (draw("a", provider_config={"provider_type": None, "fal_app_id": "x"}), ["provider_config", "fal_app_id"], ""),
        (
            draw("a", fallback_provider_type="LOCAL", fallback_provider_config={"token": "x"}),
            ["fallback_provider_config", "token"],
            "",
        ),
        (draw("a", fallback_provider_config={"x": 1}), ["fallback_provider_config"], "missing_provider_type"),
    ],
)
async def test_each_fault_of_a_step_is_reported_at_its_place(
    live: Service, step: dict[str, Any], loc: list[str | int], word: str
) -> None:
    ((place, kind),) = await faults_of(live, step)
    assert place == ["steps", 0, *loc]
    assert kind == (word or kind)


@pytest.mark.parametrize(
    "field", ["a.b", "a..b", ".a", "a.", ".", "timeout_s", "timeout_s.x", ".".join("abcdefghijklmnopq")]
)
async def test_an_invalid_target_of_a_mapping_is_refused(live: Service, field: str) -> None:
    target = passthrough_step("b", "a") | {"input_mappings": [mapped("a", "x", "a"), mapped("a", "y", field)]}
    ((place, _),) = await faults_of(live, passthrough_step("a"), target)
    assert place == ["steps", 1, "input_mappings", 1, "to_field"]


@pytest.mark.parametrize("transform", ["UPPER", "first", "", 1])
async def test_an_unknown_transform_is_refused(live: Service, transform: Any) -> None:
    target = passthrough_step("b", "a") | {"input_mappings": [mapped("a", "x", "y", transform=transform)]}
    ((place, _),) = await faults_of(live, passthrough_step("a"), target)
    assert place == ["steps", 1, "input_mappings", 0, "transform"]


async def test_secrets_are_never_repeated(live: Service) -> None:
    steps = [
        draw("a", provider_config={"api_key": "sk-hunter2", "credential": "sk-hunter2", "provider_type": "sk-hunter2"})
    ]
    body = {"name": "n", "origin_instance": "o", "steps": steps, "webhook_url": "https://u:hunter2@example.com/"}
    response = await live.client.post(WORKFLOWS, json=body)
    assert response.status_code == 422
    assert "hunter2" not in response.text


async def test_a_response_lists_a_bounded_number_of_faults(live: Service) -> None:
    faults = await faults_of(live, *(passthrough_step(str(number), "ghost") for number in range(5_000)))
    assert len(faults) == 201
    assert faults[-1] == ([], "too_many_faults")


async def test_a_million_dependencies_are_refused_before_the_body_is_decoded(
    live: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoding them would hold up every other request for as long as 0.3 s."""
    sources = [f"s{number}" for number in range(900)]
    steps = [*map(passthrough_step, sources), *(passthrough_step(f"r{number}", *sources) for number in range(1_000))]
    decoded: list[object] = []
    monkeypatch.setattr(request_bodies, "decode_body", decoded.append)
    found = await faults_of(live, *steps)
    assert found == [(["steps", 900 + 111, "depends_on"], "too_many_dependencies")]
    assert decoded == []
