"""`inputs`, `inputs_schema` and expressions in requests and responses."""

import time
from typing import Any

import pytest
from msgspec import structs

from stepwell.engine.attempts import inputs_checker
from support.providers.configured_by_steps import WORKFLOWS
from support.providers.scripted import passthrough_step
from support.service.live_service import Service

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCHEMA = {
    "type": "object",
    "properties": {"size": {"type": "integer", "minimum": 64}, "style": {"enum": ["calm", "wild"]}},
    "required": ["size"],
}


def definition(*steps: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"name": "w", "origin_instance": "tests", "steps": [*steps], **members}


def draw(step_id: str = "draw", **config: Any) -> dict[str, Any]:
    return {"id": step_id, "task_type": "GENERATION", "config": {"prompt": "x"} | config}


async def refused(api: Service, body: dict[str, Any], path: str = WORKFLOWS) -> list[tuple[list[Any], str]]:
    response = await api.client.post(path, json=body)
    assert response.status_code == 422, response.text
    return [(fault["loc"], fault["type"]) for fault in response.json()["detail"]]


@pytest.mark.parametrize("path", [WORKFLOWS, f"{WORKFLOWS}plan"])
async def test_inputs_that_do_not_fit_the_schema_are_refused_beside_all_other_faults(api: Service, path: str) -> None:
    body = definition(draw(prompt="${nope.x}"), inputs={"size": 3, "style": "loud"}, inputs_schema=SCHEMA)
    assert await refused(api, body, path) == [
        (["body", "steps", 0, "config", "prompt"], "unknown_step"),
        (["body", "inputs", "size"], "schema_mismatch"),
        (["body", "inputs", "style"], "schema_mismatch"),
    ]
    assert await refused(api, definition(draw(), inputs_schema=SCHEMA), path) == [
        (["body", "inputs", "size"], "missing")
    ]
    assert await refused(api, definition(draw(), inputs_schema={"type": "intger"}), path) == [
        (["body", "inputs_schema", "type"], "bad_schema")
    ]


@pytest.mark.extended
async def test_a_hostile_pattern_occupies_a_child_process_only(api: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    # On a busy machine, a second of processor time takes long.
    patient = structs.replace(inputs_checker.LIMITS, wall_s=120)
    monkeypatch.setattr(inputs_checker, "_CHECK_S", 120)
    monkeypatch.setattr(api.app.services.inputs_checker._pool, "_limits", patient)
    schema = {"properties": {"text": {"pattern": "^(a+)+$"}}}
    body = definition(draw(), inputs={"text": "a" * 64 + "!"}, inputs_schema=schema)
    response = await api.client.post(WORKFLOWS, json=body)
    assert response.status_code == 422
    (fault,) = response.json()["detail"]
    assert (fault["loc"], fault["type"]) == (["body", "inputs_schema"], "bad_schema")
    assert "longer than 1 s" in fault["msg"]
    body["inputs"] = {"text": "aaa"}
    assert (await api.client.post(WORKFLOWS, json=body)).status_code == 201  # by the next child process


async def test_a_member_of_a_result_that_no_step_has_is_refused(api: Service) -> None:
    read = passthrough_step("a", config={"x": "${draw.result_image_pth}", "y": '${"draw-2".result_image_path[0]}'})
    response = await api.client.post(WORKFLOWS, json=definition(draw(), draw("draw-2"), read))
    (fault,) = response.json()["detail"]
    assert (fault["loc"], fault["type"]) == (["body", "steps", 2, "config", "x"], "unknown_output")
    assert "did you mean result_image_path" in fault["msg"]


async def test_the_definition_keeps_inputs_schema_and_expressions_and_can_be_sent_again(api: Service) -> None:
    steps = [
        draw(width="${inputs.size}"),
        passthrough_step("note", config={"x": "${draw.seed} $${draw.x}", "y": ["${inputs}"]}),
    ]
    body = definition(*steps, inputs={"size": 64, "style": "calm"}, inputs_schema=SCHEMA)
    created = (await api.client.post(f"{WORKFLOWS}?start=false", json=body)).json()
    assert [step["dependencies"] for step in created["steps"]] == [[], ["draw"]]
    patched = await api.client.patch(WORKFLOWS + created["id"], json={"name": "other", "labels": {"a": "b"}})
    assert patched.status_code == 200
    sent = (await api.client.get(f"{WORKFLOWS}{created['id']}/definition")).json()
    assert sent["steps"][1].pop("depends_on") == ["draw"]
    assert sent == body | {"name": "other", "labels": {"a": "b"}, "steps": [steps[0], _without_defaults(steps[1])]}
    again = (await api.client.post(f"{WORKFLOWS}?start=false", json=sent)).json()
    assert (await api.client.get(f"{WORKFLOWS}{again['id']}/definition")).json() == sent | {
        "steps": [sent["steps"][0], sent["steps"][1] | {"depends_on": ["draw"]}]
    }


def _without_defaults(step: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in step.items() if value not in ([], {}, None)}


async def test_inputs_of_another_tenant_are_hidden(api: Service) -> None:
    body = definition(draw(), inputs={"key": "of a"}, origin_tenant_id="a")
    created = (await api.client.post(f"{WORKFLOWS}?start=false", json=body)).json()
    async with api.as_tenant("b") as other:
        assert (await other.get(f"{WORKFLOWS}{created['id']}/definition")).status_code == 404
    async with api.as_tenant("a") as own:
        assert (await own.get(f"{WORKFLOWS}{created['id']}/definition")).json()["inputs"] == {"key": "of a"}


async def test_a_key_of_idempotency_holds_for_one_value_of_the_inputs(api: Service) -> None:
    headers = {"Idempotency-Key": f"inputs-{time.time_ns()}"}
    body = definition(passthrough_step("a"), inputs={"x": 1})
    first = await api.client.post(WORKFLOWS, json=body, headers=headers)
    assert (await api.client.post(WORKFLOWS, json=body, headers=headers)).json()["id"] == first.json()["id"]
    other = await api.client.post(WORKFLOWS, json=body | {"inputs": {"x": 2}}, headers=headers)
    assert other.status_code == 422


async def test_a_plan_shows_expressions_as_what_is_not_known_yet(api: Service) -> None:
    steps = [draw(), passthrough_step("b", config={"x": "${draw.result_image_path}", "n": 1})]
    plan = (await api.client.post(f"{WORKFLOWS}plan", json=definition(*steps))).json()
    assert plan["layers"] == [["draw"], ["b"]]
    assert plan["steps"][1]["config"] == {"x": "${draw.result_image_path}", "n": 1}


async def test_lenient_handling_keeps_faulty_expressions_literal_and_warns(api: Service) -> None:
    body = definition(passthrough_step("a", config={"x": "${nope.x} for ${inputs.n} $"}), inputs={"n": 5})
    response = await api.client.post(WORKFLOWS, json=body, headers={"Prefer": "handling=lenient"})
    assert response.status_code == 201
    (warning,) = response.json()["warnings"]
    assert (warning["loc"], warning["type"]) == (["body", "steps", 0, "config", "x"], "literal_expression")
    assert warning["msg"].startswith("This stays literal. There is no step 'nope'")
    workflow = await api.until_ended(response.json()["id"])
    assert workflow["steps"][0]["result"] == {"x": "${nope.x} for 5 $"}


async def test_many_expressions_are_checked_by_a_child_process_with_the_same_result(api: Service) -> None:
    steps = [passthrough_step(f"s{n}", config={"x": f"${{length('{'y' * 300}{n}')}}"}) for n in range(9)]
    reader = passthrough_step("reader", config={"x": f"${{s1.x || {'z' * 500}.x}}"})
    assert await refused(api, definition(*steps, reader)) == [(["body", "steps", 9, "config", "x"], "unknown_step")]
    reader["config"] = {"x": f"${{s1.x || s2.{'z' * 300}}}"}
    created = (await api.client.post(WORKFLOWS, json=definition(*steps, reader))).json()
    assert created["steps"][9]["dependencies"] == ["s1", "s2"]
    assert (await api.until_ended(created["id"]))["steps"][9]["result"] == {"x": 301}
