"""Expressions in the configs of steps, in the running service: what they read, what they give and how they fail."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stepwell.testing import MemoryDatabase
from support.providers.scripted import Fail, ScriptedProvider, Succeed, passthrough_step, scripted_step
from support.service.live_service import Service, running_service, step_of

NUMBERS = list(range(3_000))
ENDLESS = "[*]" + "|[].[@,@][]" * 8


@pytest.fixture
def provider() -> ScriptedProvider:
    return ScriptedProvider()


@pytest.fixture
async def service(
    memory_in_real_time: MemoryDatabase, tmp_path: Path, provider: ScriptedProvider
) -> AsyncIterator[Service]:
    async with running_service(memory_in_real_time, tmp_path, providers=[provider]) as service:
        yield service


async def ended(service: Service, *steps: dict[str, Any], **members: Any) -> dict[str, Any]:
    created = await service.create(*steps, **members)
    return await service.until_ended(created["id"])


async def result_of(service: Service, *steps: dict[str, Any], **members: Any) -> Any:
    """Return the result of the last step."""
    workflow = await ended(service, *steps, **members)
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    return workflow["steps"][-1]["result"]


async def test_expressions_read_results_inputs_and_the_workflow(service: Service) -> None:
    created = await service.create(
        passthrough_step("source", config={"n": 3, "words": ["a", "b"]}),
        passthrough_step("step-1", config={"score": 0.5}),
        passthrough_step(
            "reader",
            config={
                "whole": "${source.words}",
                "number": "${inputs.size}",
                "text": "n=${source.n}, ${inputs.thing}, ${source.words}",
                "nested": {"list": ['${"step-1".score}', "plain"], "deep": [{"x": "${source.n}"}]},
                "absent": "${inputs.absent}",
                "literal": "$${source.n} costs $5",
                "workflow": "${workflow}",
            },
        ),
        name="a name",
        inputs={"size": 512, "thing": "a shoe"},
        labels={"team": "shoes"},
        config={"mine": [1]},
    )
    assert step_of(created, "reader")["dependencies"] == ["source", "step-1"]
    workflow = await service.until_ended(created["id"])
    assert step_of(workflow, "reader")["result"] == {
        "whole": ["a", "b"],
        "number": 512,
        "text": 'n=3, a shoe, ["a","b"]',
        "nested": {"list": [0.5, "plain"], "deep": [{"x": 3}]},
        "absent": None,
        "literal": "${source.n} costs $5",
        "workflow": {"id": created["id"], "name": "a name", "labels": {"team": "shoes"}, "config": {"mine": [1]}},
    }


async def test_an_expression_sees_the_dependencies_only(service: Service) -> None:
    secret = passthrough_step("secret", config={"x": 1})
    read = passthrough_step("reader", "a", config={"keys": "${sort(keys(@))}", "all": "${length(values(@))}"})
    result = await result_of(service, secret, passthrough_step("a", "secret"), passthrough_step("b"), read)
    assert result == {"keys": ["a", "inputs", "workflow"], "all": 3}


async def test_reserved_names_never_mean_a_step(service: Service) -> None:
    steps = [passthrough_step(step_id, config={"x": "of a step"}) for step_id in ("inputs", "workflow", "item")]
    reader = passthrough_step(
        "reader", "inputs", "workflow", "item", config={"x": "${inputs.x}", "w": "${workflow.x}", "k": "${keys(@)}"}
    )
    result = await result_of(service, *steps, reader, inputs={"x": "of the inputs"})
    assert result == {"x": "of the inputs", "w": None, "k": ["inputs", "workflow"]}


async def test_text_that_an_expression_or_a_mapping_gives_is_never_parsed(service: Service) -> None:
    hostile = "${workflow.id} $${x} ${keys(@)}"
    mapping = {"from_step": "a", "from_field": "text", "to_field": "mapped"}
    result = await result_of(
        service,
        passthrough_step("a", config={"text": "${inputs.hostile}"}),
        passthrough_step(
            "b", config={"whole": "${a.text}", "part": "<${a.text}>", "in": "${inputs}"}, input_mappings=[mapping]
        ),
        passthrough_step("c", config={"again": "${b.part}"}),
        inputs={"hostile": hostile},
    )
    assert result == {"again": f"<{hostile}>"}
    workflow = (await service.client.get("/api/v1/workflows/")).json()["workflows"][0]
    assert step_of(workflow, "b")["result"] == {
        "whole": hostile,
        "part": f"<{hostile}>",
        "in": {"hostile": hostile},
        "mapped": hostile,
    }


async def test_mapped_values_override_what_expressions_give(service: Service) -> None:
    mapping = {"from_step": "a", "from_field": "x", "to_field": "x"}
    both = passthrough_step("b", config={"x": "${inputs.x}", "y": "${inputs.x}"}, input_mappings=[mapping])
    assert await result_of(service, passthrough_step("a", config={"x": 1}), both, inputs={"x": 2}) == {"x": 1, "y": 2}


async def test_null_of_an_expression_hides_no_default(service: Service, provider: ScriptedProvider) -> None:
    config = {"step_defaults": {"GENERATION": {"width": 64, "negative_prompt": "${inputs.x}"}}}
    step = scripted_step("a", config={"prompt": "x", "width": "${inputs.width}"})
    await ended(service, step, config=config)
    assert provider.calls[0].inputs == {
        "prompt": "x",
        "width": 64,
        "negative_prompt": "${inputs.x}",  # only the configs of steps are evaluated
    }


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ({"prompt": "a ${inputs.thng}"}, "Expression in config.prompt: inputs.thng is null, which a text can't hold"),
        (
            {"prompt": "x", "tags": ["${length(inputs.n)}"]},
            "config.tags.0: length(inputs.n) can't be evaluated: length() takes string or array or object, got number",
        ),
        ({"prompt": "x", "width": "${inputs.text}"}, "Refused inputs: width: Expected an integer, got a string"),
        ({"prompt": "${inputs.text}", "width": "${inputs.n}"}, "Refused inputs: width: Expected an integer >= 1"),
        ({"prompt": "${inputs.absent}"}, "Refused inputs: prompt: required"),
        pytest.param(
            {"prompt": "x", "y": f"${{inputs.numbers{ENDLESS}}}"},
            "takes more work than the limit of 2,000,000",
            marks=pytest.mark.extended,
        ),
    ],
)
async def test_an_expression_that_fails_fails_the_step_for_good(
    service: Service, provider: ScriptedProvider, config: dict[str, Any], error: str
) -> None:
    inputs = {"text": "a secret text", "n": 0, "numbers": NUMBERS}
    workflow = await ended(service, scripted_step("a", config=config, max_retries=3), inputs=inputs)
    (step,) = workflow["steps"]
    assert (step["status"], step["retry_count"]) == ("FAILED", 0)
    assert error in step["error_message"]
    assert "secret text" not in step["error_message"]
    assert provider.calls == []
    assert service.app.engine.expressions.allowance.total <= 6_000  # some 3 ms of the event loop


@pytest.mark.parametrize(
    "count", [10, 3_000, pytest.param(60_000, marks=pytest.mark.extended)], ids=["small", "light", "heavy"]
)
async def test_an_expression_has_the_same_value_wherever_it_is_evaluated(
    service: Service, provider: ScriptedProvider, count: int
) -> None:
    config = {"x": "${source.v[-1]}", "y": ["<${source.v[0]}>", "${source.none}"], "z": "${inputs.k}", "prompt": "p"}
    mapping = {"from_step": "source", "from_field": "v[1]", "to_field": "m"}
    both: dict[str, Any] = {"config": config, "input_mappings": [mapping]}
    workflow = await ended(
        service,
        passthrough_step("source", config={"v": list(range(count))}),
        passthrough_step("here", "source", **both),
        scripted_step("there", "source", **both),
        inputs={"k": True},
    )
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    expected = {"prompt": "p", "x": count - 1, "y": ["<0>", None], "z": True, "m": 1}
    assert workflow["steps"][1]["result"] == expected
    assert provider.calls[0].inputs == expected
    assert service.app.engine.expressions.allowance.total <= 3 * 4_000


async def test_a_retry_evaluates_again_from_what_is_stored_now(
    memory_in_real_time: MemoryDatabase, tmp_path: Path
) -> None:
    provider = ScriptedProvider(script={"a": [Fail(retry_after_s=60), Succeed()]})
    step = scripted_step("a", config={"prompt": "${workflow.name} ${workflow.labels.k} ${inputs.x}"})
    async with running_service(memory_in_real_time, tmp_path, providers=[provider]) as service:
        created = await service.create(step, name="first", labels={"k": "one"}, inputs={"x": 1})
        path = f"/api/v1/workflows/{created['id']}"
        await service.until(created["id"], lambda workflow: workflow["steps"][0]["next_attempt_at"] is not None)
        response = await service.client.patch(path, json={"name": "second", "labels": {"k": "two"}})
        assert response.status_code == 200
        await service.verb(created["id"], "pause")
        await service.verb(created["id"], "resume")
        await service.until_ended(created["id"])
    assert [call.inputs["prompt"] for call in provider.calls] == ["first one 1", "second two 1"]


async def test_a_workflow_that_is_loaded_again_evaluates_as_before(
    memory_in_real_time: MemoryDatabase, tmp_path: Path
) -> None:
    steps = [
        passthrough_step("a", config={"x": "${inputs.x}"}),
        scripted_step("b", config={"prompt": "${a.x} ${workflow.labels.k} ${workflow.config.mine}"}),
    ]
    provider = ScriptedProvider()
    async with running_service(memory_in_real_time, tmp_path, providers=[provider]) as service:
        members: dict[str, Any] = {"inputs": {"x": "kept"}, "labels": {"k": "l"}, "config": {"mine": 7}}
        created = await service.create(*steps, start=False, **members)
    async with running_service(memory_in_real_time, tmp_path, providers=[provider]) as service:
        await service.verb(created["id"], "start")
        assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
        definition = (await service.client.get(f"/api/v1/workflows/{created['id']}/definition")).json()
    assert provider.calls[0].inputs["prompt"] == "kept l 7"
    assert definition["inputs"] == {"x": "kept"}
    assert definition["steps"][1]["config"] == steps[1]["config"]
    assert definition["steps"][1]["depends_on"] == ["a"]


async def test_a_dependency_without_a_result_is_null(service: Service, provider: ScriptedProvider) -> None:
    workflow = await ended(
        service,
        passthrough_step("a", config={"x": 1}),
        scripted_step("b", config={"prompt": "${length(inputs.none)}"}, optional=True),
        passthrough_step("reader", config={"a": "${a.x}", "b": "${b}", "c": "${b.x || 'none'}"}, run_if="all_ended"),
    )
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    assert step_of(workflow, "reader")["result"] == {"a": 1, "b": None, "c": "none"}
    assert provider.calls == []
