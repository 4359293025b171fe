"""`running`: the whole service in a test, with scripted providers, tenants and a clock that can be moved."""

import asyncio
from typing import Any

import httpx
import pytest
from msgspec import UNSET

from stepwell.client import Invalid, NotFound
from stepwell.contract.workflows import WorkflowPublic
from stepwell.testing import ManualClock, png, running, webhooks
from support.providers.scripted import eventually


def step(step_id: str, provider: str = "FAL", **members: Any) -> dict[str, Any]:
    config = {"fal_app_id": "fal-ai/flux/dev"} if provider == "FAL" else {}
    return {
        "id": step_id,
        "task_type": "GENERATION",
        "config": {"prompt": "a boat"},
        "provider_config": {"provider_type": provider} | config,
    } | members


def results_of(workflow: WorkflowPublic) -> list[Any]:
    assert workflow.steps is not UNSET
    return [each.result for each in workflow.steps]


def definition(*steps: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"name": "a test", "origin_instance": "tests", "steps": list(steps)} | members


async def test_a_scripted_answer_is_the_result_with_its_file_and_its_cost() -> None:
    async with running() as service:
        picture = png(8, 8)
        service.providers.fal.on("GENERATION").returns({"result_image_path": picture, "seed": 7}, cost="0.04")
        workflow = await service.client.create(definition(step("a")), wait=10)
        assert workflow.status == "COMPLETED"
        result = results_of(workflow)[0]
        assert result["seed"] == 7
        assert await service.client.download(result["result_image_path"]) == picture
        assert workflow.cost is not None
        assert [(each.amount, each.currency) for each in workflow.cost.amounts] == [(0.04, "USD")]
        (call,) = service.providers.fal.calls
        assert (call.step_id, call.attempt, call.model, call.outcome) == ("a", 1, "fal-ai/flux/dev", "succeeded")
        assert call.inputs["prompt"] == "a boat"
        assert service.providers.repeated_calls() == []


async def test_retries_and_delays_take_no_time() -> None:
    async with running() as service:
        service.providers.fal.on("GENERATION").fails("busy").times(3).then.returns({"seed": 1}, delay_s=500)
        workflow = await service.client.create(definition(step("a")))
        ended = await service.finish(workflow.id, within_s=60)
        assert ended.status == "COMPLETED"
        assert [call.outcome for call in service.providers.fal.calls] == ["failed"] * 3 + ["succeeded"]


async def test_a_failure_that_is_not_retryable_ends_the_step() -> None:
    async with running() as service:
        service.providers.openai.on("GENERATION").fails("refused", retryable=False)
        workflow = await service.client.create(definition(step("a", "OPENAI")), wait=10)
        assert (workflow.status, workflow.errors) == ("FAILED", ["a: refused"])
        assert len(service.providers.openai.calls) == 1


async def test_a_call_without_a_script_fails_and_says_what_to_write() -> None:
    async with running() as service:
        workflow = await service.client.create(definition(step("a")), wait=10)
        assert workflow.errors == [
            "a: no answer of FAL is scripted for step 'a': providers['FAL'].on(\"GENERATION\").returns(...)"
        ]


async def test_a_later_script_for_a_step_takes_precedence() -> None:
    async with running() as service:
        service.providers.fal.on("GENERATION").returns({"seed": 1})
        service.providers.fal.on("GENERATION", step_id="b").returns({"seed": 2})
        workflow = await service.client.create(definition(step("a"), step("b"), step("c")), wait=10)
        assert [result["seed"] for result in results_of(workflow)] == [1, 2, 1]


@pytest.mark.parametrize("provider", ["FAL", "REPLICATE", "VERTEX", "GEMINI", "OPENAI", "COMFYUI", "CUSTOM", "LOCAL"])
async def test_every_provider_can_be_scripted(provider: str) -> None:
    own = {
        "REPLICATE": {"model": "black-forest-labs/flux-schnell"},
        "COMFYUI": {"graph": {"1": {"class_type": "SaveImage", "inputs": {}}}, "inputs": {"prompt": None}},
    }
    async with running() as service:
        service.providers[provider].on("GENERATION").returns({"seed": 3})
        scripted = step("a", provider)
        scripted["provider_config"] |= own.get(provider, {})
        workflow = await service.client.create(definition(scripted), wait=10)
        assert (workflow.status, results_of(workflow)[0]) == ("COMPLETED", {"seed": 3})


async def test_a_provider_refuses_what_it_refuses_in_production() -> None:
    async with running() as service:
        with pytest.raises(Invalid) as raised:
            await service.client.create(definition(step("a", "COMFYUI")))
        assert "graph" in str(raised.value)
        with pytest.raises(ValueError, match="FAL can't do PASSTHROUGH"):
            service.providers.fal.on("PASSTHROUGH")


async def test_local_works_unless_it_is_scripted() -> None:
    async with running() as service:
        drawn = step("a", "LOCAL", config={"prompt": "a boat", "width": 64, "height": 64})
        workflow = await service.client.create(definition(drawn), wait=30)
        assert results_of(workflow)[0]["width"] == 64
        assert [call.outcome for call in service.providers.local.calls] == ["succeeded"]
        with pytest.raises(ValueError, match="costs nothing"):
            service.providers.local.on("GENERATION").returns(cost=1)


async def test_a_cancelled_job_ends_at_its_provider() -> None:
    async with running() as service:
        service.providers.fal.on("GENERATION").never_ends()
        workflow = await service.client.create(definition(step("a")))
        calls = service.providers.fal.calls
        await eventually(lambda: len(calls) == 1, "FAL is called")
        await service.client.cancel(workflow.id)
        await eventually(lambda: calls[0].outcome == "cancelled", "the job is cancelled")


async def test_a_tenant_sees_nothing_of_another() -> None:
    async with running() as service:
        one, other = await service.tenant_client(), await service.tenant_client()
        workflow = await one.create(definition({"id": "a", "task_type": "PASSTHROUGH"}), wait=10)
        assert [each.id async for each in one.list()] == [workflow.id]
        assert [each.id async for each in other.list()] == []
        with pytest.raises(NotFound):
            await other.get(workflow.id)


async def test_events_come_while_the_workflow_runs() -> None:
    async with running() as service:
        service.providers.fal.on("GENERATION").returns({}, delay_s=300)
        workflow = await service.client.create(definition(step("a")))
        types = []
        async for event in service.client.events(workflow.id):
            types.append(event.type)
            if event.type == "step.started":
                await eventually(lambda: len(service.providers.fal.calls) == 1, "FAL is called")
                service.clock.advance(300)
        assert types[-1] == "workflow.completed"


async def test_a_webhook_is_sent_again_when_the_clock_is_moved() -> None:
    async with running() as service, webhooks() as receiver:
        receiver.respond_with(503)
        steps = definition({"id": "a", "task_type": "PASSTHROUGH"}, webhook_url=receiver.url)
        workflow = await service.client.create(steps, wait=10)
        refused = await receiver.wait("workflow.completed", workflow_id=workflow.id)
        async with asyncio.timeout(60):
            while [len(each.attempts) async for each in service.client.deliveries(workflow.id)] != [1]:
                await asyncio.sleep(0.005)
        service.clock.advance(300)
        again = await receiver.wait("workflow.completed", workflow_id=workflow.id)
        assert (refused.status, again.status, refused.id == again.id) == (503, 204, True)
        assert receiver.refused == []


async def test_the_time_of_a_step_passes_with_the_clock() -> None:
    async with running() as service:
        service.providers.fal.on("GENERATION").never_ends()
        late = step("a", config={"prompt": "a boat", "timeout_s": 600}, max_retries=0)
        workflow = await service.client.create(definition(late))
        await eventually(lambda: len(service.providers.fal.calls) == 1, "FAL is called")
        service.clock.advance(601)
        ended = await service.client.wait(workflow.id, timeout_s=20)
        assert ended.status == "FAILED"
        assert ended.errors == ["a: timed out after 600 s"]


async def test_finish_skips_the_time_of_steps_whose_answer_comes_too_late() -> None:
    async with running() as service:
        script = service.providers.fal.on("GENERATION")
        script.never_ends().then.returns({"n": 1}, delay_s=700).then.returns({"n": 2}, delay_s=500)
        timed = step("a", config={"prompt": "a boat", "timeout_s": 600}, max_retries=2)
        workflow = await service.finish((await service.client.create(definition(timed))).id)
        assert workflow.status == "COMPLETED"
        assert results_of(workflow) == [{"n": 2}]
        assert [call.outcome for call in service.providers.fal.calls] == ["cancelled", "cancelled", "succeeded"]


async def test_a_clock_that_stands_still_can_be_used() -> None:
    clock = ManualClock()
    async with running(clock=clock) as service:
        assert service.clock is clock
        workflow = await service.client.create(definition({"id": "a", "task_type": "PASSTHROUGH"}), wait=10)
        assert workflow.created_at.year == 2026
        assert workflow.created_at.month == 1


async def test_an_unfinished_workflow_is_reported_with_its_steps() -> None:
    async with running() as service:
        workflow = await service.client.create(definition(step("a")), start=False)
        with pytest.raises(TimeoutError, match=r"the workflow is PENDING after 0\.2 s: a PENDING"):
            await service.finish(workflow.id, within_s=0.2)


async def test_settings_of_the_environment_have_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPWELL_MAX_ACTIVE_WORKFLOWS", "1")
    monkeypatch.setenv("STEPWELL_URL", "http://production.test")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.test")
    async with running() as service:
        workflow = await service.client.create(definition({"id": "a", "task_type": "PASSTHROUGH"}), wait=10)
        assert workflow.status == "COMPLETED"


async def test_it_is_an_asgi_app_for_other_clients() -> None:
    async with running() as service:
        transport = httpx.ASGITransport(app=service)
        async with httpx.AsyncClient(transport=transport, base_url=service.url) as client:
            assert (await client.get("/health/ready")).status_code == 200
            headers = {"Authorization": f"Bearer {service.token_for('acme', read_only=True)}"}
            response = await client.post("/api/v1/workflows/", json={}, headers=headers)
            assert response.status_code == 403


async def test_nothing_is_left_after_the_service() -> None:
    before = asyncio.all_tasks()
    async with running() as service:
        service.providers.fal.on("GENERATION").never_ends()
        await service.client.create(definition(step("a")))
        events = service.client.feed()
        await anext(aiter(events))
    assert asyncio.all_tasks() == before


async def test_an_error_within_the_context_is_raised_as_it_is() -> None:
    with pytest.raises(KeyError):
        async with running():
            raise KeyError("a test's")
