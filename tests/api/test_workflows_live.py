"""Create, get and update over the live service: every field, every default, every bound."""

import re
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from stepwell.contract.definition import CreateWorkflow, WorkflowStepDefinition
from support.providers.configured_by_steps import WORKFLOWS, ConfiguredProvider, configured_step, passthrough_step
from support.service.live_service import Service

pytestmark = pytest.mark.asyncio(loop_scope="module")

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
LEAST = {"name": "n", "origin_instance": "o", "steps": [{"id": "a", "task_type": "PASSTHROUGH"}]}
FULL_STEP = {
    "id": "second",
    "task_type": "GENERATION",
    "config": {"prompt": "p", "seed": 2**63 - 1, "nested": {"list": [1, -0.5, None, "é", True]}, "timeout_s": 9.5},
    "depends_on": ["first"],
    "input_mappings": [
        {"from_step": "first", "from_field": "a", "to_field": "prompt"},
        {"from_step": "first", "from_field": "b", "to_field": "deep.field", "transform": "TO_STRING"},
    ],
    "max_retries": 0,
    "provider_config": {"provider_type": "CUSTOM", "other": [1]},
    "active_provider_capabilities": ["scripted"],
    "fallback_provider_type": "LOCAL",
    "fallback_provider_config": {"style": "x"},
    "fallback_provider_capabilities": ["seed"],
}
FULL = {
    "name": "Ünïcode \U0001f600",
    "description": "d",
    "steps": [passthrough_step("first", a="prompt", b=1), FULL_STEP],
    "config": {"mine": {"a": [1.5]}, "retry": {"max_retries": 7}, "on_failure": "cancel", "workflow_timeout_s": 99},
    "origin_instance": "api-prod",
    "origin_zone": "eu",
    "origin_tenant_id": "acme",
    "origin_reference": "order 7",
    "webhook_url": "https://example.com/hook?a=b",
    "suppress_subtask_events": False,
    "labels": {"team": "a", "order/id": "7: b"},
}
ECHOED = [name for name in FULL if name != "steps"]


async def create(live: Service, body: Any, **params: Any) -> httpx.Response:
    return await live.client.post(WORKFLOWS, json=body, params=params)


async def pending(live: Service, **members: Any) -> dict[str, Any]:
    response = await create(live, LEAST | members, start=False)
    assert response.status_code == 201, response.text
    content: dict[str, Any] = response.json()
    return content


class TestCreate:
    async def test_the_response_to_a_minimal_definition_has_all_fields(self, live: Service) -> None:
        response = await create(live, LEAST, start=False)
        body = response.json()
        assert response.status_code == 201
        assert response.headers["location"] == WORKFLOWS + body["id"]
        assert UUID(body["id"]).version == 7
        assert TIME.fullmatch(body["created_at"])
        del body["steps"]
        assert body == {
            "id": body["id"],
            "name": "n",
            "description": None,
            "status": "PENDING",
            "total_steps": 1,
            "completed_steps": 0,
            "progress": 0.0,
            "current_step": None,
            "waits_for": None,
            "definition": None,
            "final_step_id": "a",
            "final_step_result": None,
            "canvas_task_id": None,
            "config": {},
            "suppress_subtask_events": True,
            "origin_instance": "o",
            "origin_zone": None,
            "origin_tenant_id": None,
            "origin_reference": None,
            "derived_from": None,
            "pause_reason": None,
            "webhook_url": None,
            "labels": {},
            "parent": None,
            "error_message": None,
            "errors": [],
            "cost": None,
            "started_at": None,
            "completed_at": None,
            "created_by": "tester",
            "created_at": body["created_at"],
            "updated_at": body["created_at"],
            "is_deleted": False,
            "deleted_at": None,
        }

    async def test_the_step_of_a_minimal_definition_has_all_fields(self, live: Service) -> None:
        body = (await create(live, LEAST, start=False)).json()
        (step,) = body["steps"]
        assert step == {
            "id": step["id"],
            "step_id": "a",
            "task_type": "PASSTHROUGH",
            "config": {},
            "provider_config": None,
            "active_provider_capabilities": None,
            "fallback_provider_type": None,
            "fallback_provider_config": None,
            "fallback_provider_capabilities": None,
            "dependencies": [],
            "input_mappings": [],
            "when": None,
            "for_each": None,
            "items": None,
            "repeat": None,
            "runs": None,
            "run_if": "all_completed",
            "optional": False,
            "status": "PENDING",
            "given_by": None,
            "reused_from": None,
            "saved": None,
            "skip_reason": None,
            "waiting_for": None,
            "task_id": None,
            "provider": None,
            "model": None,
            "cost": None,
            "result": None,
            "error_message": None,
            "next_attempt_at": None,
            "started_at": None,
            "completed_at": None,
            "retry_count": 0,
            "max_retries": 3,
            "created_at": body["created_at"],
            "updated_at": body["created_at"],
        }
        assert UUID(step["id"]) != UUID(body["id"])

    async def test_every_field_is_returned_as_it_was_sent(self, live: Service) -> None:
        created = (await create(live, FULL, start=False)).json()
        assert {name: created[name] for name in ECHOED} == {name: FULL[name] for name in ECHOED}
        step = created["steps"][1]
        assert {name: step[name] for name in FULL_STEP if name in step and name not in ("id", "input_mappings")} == {
            name: value for name, value in FULL_STEP.items() if name in step and name not in ("id", "input_mappings")
        }
        assert (step["step_id"], step["dependencies"]) == ("second", ["first"])
        assert step["input_mappings"] == [
            {"from_step": "first", "from_field": "a", "to_field": "prompt", "transform": None},
            {"from_step": "first", "from_field": "b", "to_field": "deep.field", "transform": "TO_STRING"},
        ]
        assert created["steps"][0]["max_retries"] == 7
        assert [warning["loc"] for warning in created.pop("warnings")] == [
            ["body", "steps", 1, "config", "nested"],
            ["body", "steps", 1, "input_mappings", 1, "to_field"],
            ["body", "steps", 1, "fallback_provider_config", "style"],
        ]
        assert await live.get(created["id"]) == created

    async def test_null_means_that_an_optional_member_is_not_given(self, live: Service) -> None:
        names = set(CreateWorkflow.__struct_fields__) - {"name", "origin_instance", "steps"}
        step_names = set(WorkflowStepDefinition.__struct_fields__) - {"id", "task_type"}
        nulls = LEAST | dict.fromkeys(names) | {"steps": [passthrough_step("a") | dict.fromkeys(step_names)]}
        created = (await create(live, nulls, start=False)).json()
        absent = (await create(live, LEAST | {"steps": [passthrough_step("a")]}, start=False)).json()
        for workflow in (created, absent):
            for part in (workflow, *workflow["steps"]):
                for name in ("id", "created_at", "updated_at"):
                    del part[name]
        assert created == absent

    @pytest.mark.parametrize("member", ["name", "origin_instance", "steps"])
    async def test_null_is_refused_for_a_required_member(self, live: Service, member: str) -> None:
        response = await create(live, LEAST | {member: None})
        assert response.status_code == 422
        assert [fault["loc"] for fault in response.json()["detail"]] == [["body", member]]

    @pytest.mark.parametrize("member", ["task_type", "id"])
    async def test_null_is_refused_in_a_step_too(self, live: Service, member: str) -> None:
        response = await create(live, LEAST | {"steps": [passthrough_step("a") | {member: None}]})
        assert response.status_code == 422
        assert [fault["loc"] for fault in response.json()["detail"]] == [["body", "steps", 0, member]]

    async def test_create_starts_by_default(self, live: Service, scripted: ConfiguredProvider) -> None:
        for params in ({}, {"start": True}, {"start": "1"}):
            body = LEAST | {"steps": [configured_step("a", wait=True)]}
            created = (await create(live, body, **params)).json()
            assert created["status"] == "RUNNING"
            assert str(UUID(created["canvas_task_id"])) == created["canvas_task_id"]
            assert created["started_at"] == created["created_at"]
            scripted.release(created["id"], "a")
            assert (await live.until_ended(created["id"]))["status"] == "COMPLETED"
        for value in (False, "0", "FALSE"):
            created = (await create(live, LEAST, start=value)).json()
            assert (created["status"], created["canvas_task_id"]) == ("PENDING", None)

    async def test_a_mapping_implies_its_dependency_which_is_shown_after_the_declared_ones(self, live: Service) -> None:
        mappings = [{"from_step": source, "from_field": "n", "to_field": source} for source in "abc"]
        steps = [
            passthrough_step("last", "b") | {"input_mappings": mappings},
            *(passthrough_step(name, n=number) for number, name in enumerate("abc")),
        ]
        done = await live.until_ended((await live.create(*steps))["id"])
        assert done["status"] == "COMPLETED"
        assert done["steps"][0]["dependencies"] == ["b", "a", "c"]
        assert done["steps"][0]["result"] == {"a": 0, "b": 1, "c": 2}
        assert done["final_step_id"] == "last"
        plan = await live.client.post(WORKFLOWS + "plan", json=LEAST | {"steps": steps})
        assert plan.json()["layers"] == [["a", "b", "c"], ["last"]]

    async def test_step_ids_are_returned_as_they_were_sent(self, live: Service) -> None:
        ids = ["é", "e\u0301", "É", " ", "a/b", "../..", "%2e", "\U0001f600" * 255, "A", "a", "null", "0"]
        steps = [passthrough_step(step_id, *ids[max(0, at - 1) : at]) for at, step_id in enumerate(ids)]
        done = await live.until_ended((await live.create(*steps))["id"])
        assert done["status"] == "COMPLETED"
        assert [step["step_id"] for step in done["steps"]] == ids
        assert [step["dependencies"] for step in done["steps"]] == [[], *([step_id] for step_id in ids[:-1])]
        assert done["final_step_id"] == "0"

    @pytest.mark.parametrize(
        ("member", "length"),
        [
            *(("name", 255), ("description", 1000), ("origin_instance", 100)),
            *(("origin_zone", 50), ("origin_tenant_id", 100), ("origin_reference", 512)),
        ],
    )
    async def test_lengths_are_counted_in_characters(self, live: Service, member: str, length: int) -> None:
        longest = "\U0001f600" * length
        assert (await pending(live, **{member: longest}))[member] == longest
        response = await create(live, LEAST | {member: longest + "x"})
        assert response.status_code == 422
        assert response.json()["detail"][0]["loc"] == ["body", member]
        assert response.json()["detail"][0]["type"] == "too_long"

    async def test_a_webhook_url_is_a_short_enough_http_url(self, live: Service) -> None:
        longest = "https://example.com/" + "x" * 492
        assert (await pending(live, webhook_url=longest))["webhook_url"] == longest
        for bad in (longest + "x", "", "ftp://example.com/", "example.com", "http://", "https://u:p@example.com/"):
            response = await create(live, LEAST | {"webhook_url": bad})
            assert response.status_code == 422, bad
            assert {tuple(fault["loc"]) for fault in response.json()["detail"]} == {("body", "webhook_url")}

    @pytest.mark.parametrize("member", ["name", "origin_instance"])
    async def test_an_empty_name_or_instance_is_refused(self, live: Service, member: str) -> None:
        response = await create(live, LEAST | {member: ""})
        assert response.status_code == 422
        (fault,) = response.json()["detail"]
        assert (fault["loc"], fault["type"]) == (["body", member], "too_short")

    async def test_a_slash_at_the_end_is_optional(self, live: Service) -> None:
        bare = WORKFLOWS.rstrip("/")
        made = await live.client.post(bare, json=LEAST, params={"start": False})
        assert made.status_code == 201
        one = f"{bare}/{made.json()['id']}"
        for path in (bare, WORKFLOWS, one, one + "/", one + "/tasks", one + "/tasks/", one + "/events/"):
            assert (await live.client.get(path)).status_code == 200, path
        for verb in ("start/", "cleanup/"):
            response = await live.client.post(f"{one}/{verb}")
            assert response.status_code == 200, verb
            await live.until_ended(made.json()["id"])
        assert (await live.client.patch(one + "/", json={})).status_code == 409


class TestGet:
    async def test_include_steps_false_leaves_the_steps_out(self, live: Service) -> None:
        whole = await pending(live)
        path = WORKFLOWS + whole["id"]
        assert (await live.client.get(path, params={"include_steps": True})).json() == whole
        without = (await live.client.get(path, params={"include_steps": False})).json()
        assert "steps" not in without
        assert without == {name: value for name, value in whole.items() if name != "steps"}

    async def test_a_deleted_workflow_is_returned_as_deleted(self, live: Service) -> None:
        workflow = await pending(live)
        assert (await live.verb(workflow["id"], "cleanup")).status_code == 200
        found = await live.get(workflow["id"])
        assert (found["is_deleted"], found["status"]) == (True, "CANCELLED")
        at = {event["type"]: event["at"] for event in await live.events(workflow["id"])}
        assert found["deleted_at"] == at["workflow.cleaned"] >= found["completed_at"]
        assert found["updated_at"] == at["workflow.files_deleted"] >= found["deleted_at"]
        for below in ("/tasks", "/events"):
            assert (await live.client.get(WORKFLOWS + workflow["id"] + below)).status_code == 200

    @pytest.mark.parametrize(
        "workflow_id",
        [*("nope", "0", "%00", "%ff", "..%2f..", "x" * 5000, "a b", "null", "é"), *("{%s}", "urn:uuid:%s", "%s%%0a")],
    )
    async def test_a_malformed_id_is_not_found(self, live: Service, workflow_id: str) -> None:
        made = (await pending(live))["id"]
        base = WORKFLOWS + workflow_id.replace("%s", made).replace("%%", "%")
        await self.nowhere(live, base)
        assert (await live.get(made))["status"] == "PENDING"

    async def test_unknown_ids_are_not_found(self, live: Service) -> None:
        await self.nowhere(live, WORKFLOWS + str(uuid4()))
        for path in (f"tasks/{uuid4()}", "tasks/x", f"artifacts/media/{uuid4()}/x.png", "nothing"):
            assert (await live.client.get(f"/api/v1/{path}")).status_code == 404, path

    async def nowhere(self, live: Service, base: str) -> None:
        """Nothing is to be found at *base* by any operation."""
        for method, path in [
            *(("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/tasks"), ("GET", "/events")),
            *(("POST", verb) for verb in ("/start", "/pause", "/resume", "/cleanup")),
        ]:
            response = await live.client.request(method, base + path, json={} if method == "PATCH" else None)
            assert response.status_code == 404, (method, path, response.text)
            assert response.headers["content-type"] == "application/problem+json"
            assert response.json()["title"] == "Not found"

    async def test_an_id_in_capitals_is_the_same_id(self, live: Service) -> None:
        workflow = await pending(live)
        assert (await live.get(workflow["id"].upper())) == workflow


class TestUpdate:
    async def patch(self, live: Service, workflow_id: str, changes: Any) -> httpx.Response:
        return await live.client.patch(WORKFLOWS + workflow_id, json=changes)

    async def test_in_an_update_absent_keeps_null_clears_and_a_value_sets(self, live: Service) -> None:
        made = await pending(live, description="d", webhook_url="https://example.com/")
        for changes in (
            {"name": "new"},
            {"description": None},
            {},
            {"webhook_url": None, "description": ""},
            {"name": "x", "description": "y", "webhook_url": "http://127.0.0.1:1/"},
        ):
            response = await self.patch(live, made["id"], changes)
            assert response.status_code == 200, response.text
            changed = response.json()
            assert changed["updated_at"] > made["updated_at"]
            assert changed == made | changes | {"updated_at": changed["updated_at"]}
            assert await live.get(made["id"]) == changed
            told_last = (await live.events(made["id"]))[-1]
            assert (told_last["type"], told_last["actor"]) == ("workflow.updated", "tester")
            assert set(told_last["data"]["changed"]) == set(changes)
            made = changed

    @pytest.mark.parametrize(
        ("changes", "places"),
        [
            ({"name": ""}, [["body", "name"]]),
            ({"name": "x" * 256, "description": "x" * 1001}, [["body", "name"], ["body", "description"]]),
            ({"webhook_url": "nope"}, [["body", "webhook_url"]]),
            ({"webhook_url": "https://example.com/" + "x" * 493}, [["body", "webhook_url"]]),
            ({"status": "COMPLETED", "id": str(uuid4())}, [["body", "status"], ["body", "id"]]),
            ({"is_deleted": False, "deleted_at": None}, [["body", "is_deleted"], ["body", "deleted_at"]]),
            ({"name": 1, "description": False}, [["body", "name"], ["body", "description"]]),
            ([], [["body"]]),
        ],
    )
    async def test_a_malformed_update_is_refused(self, live: Service, changes: Any, places: list[list[str]]) -> None:
        workflow = await pending(live)
        response = await self.patch(live, workflow["id"], changes)
        assert response.status_code == 422
        assert [fault["loc"] for fault in response.json()["detail"]] == places
        assert await live.get(workflow["id"]) == workflow
        assert len(await live.events(workflow["id"])) == 1

    async def test_a_null_name_keeps_the_name(self, live: Service) -> None:
        workflow = await pending(live)
        response = await self.patch(live, workflow["id"], {"name": None, "description": "new"})
        assert response.status_code == 200
        assert (response.json()["name"], response.json()["description"]) == (workflow["name"], "new")
        assert (await live.events(workflow["id"]))[-1]["data"]["changed"] == ["description"]

    async def test_a_running_workflow_can_be_updated(self, live: Service, scripted: ConfiguredProvider) -> None:
        workflow = await live.create(configured_step("a", wait=True))
        assert (await self.patch(live, workflow["id"], {"name": "meanwhile"})).json()["status"] == "RUNNING"
        scripted.release(workflow["id"], "a")
        done = await live.until_ended(workflow["id"])
        assert (done["name"], done["status"]) == ("meanwhile", "COMPLETED")

    async def test_a_deleted_workflow_cannot_be_updated(self, live: Service) -> None:
        workflow = await pending(live)
        await live.verb(workflow["id"], "cleanup")
        before = await live.get(workflow["id"])
        response = await self.patch(live, workflow["id"], {"name": "new"})
        assert response.status_code == 409
        assert response.json()["current_status"] == "CANCELLED"
        assert await live.get(workflow["id"]) == before
