"""Decisions and signals over the live service: who may send them, what they end, and what comes too late."""

import asyncio
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
from msgspec import json

from stepwell.api.responses.serializers import stored_step_to_public
from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.contract.scopes import Permission
from stepwell.lifecycle.records import WHOLE
from stepwell.rules.large_workflow_records import StepSnapshot
from support.providers.configured_by_steps import WORKFLOWS
from support.service.live_service import Service, step_of
from support.workflows.definitions import join, mapped

pytestmark = pytest.mark.asyncio(loop_scope="module")

APPROVER = (Permission.APPROVE,)


def approval(step_id: str = "ask", *needs: str, **config: Any) -> dict[str, Any]:
    return {"id": step_id, "task_type": "APPROVAL", "depends_on": list(needs), "config": config}


def signal(step_id: str = "paid", *needs: str, **config: Any) -> dict[str, Any]:
    return {"id": step_id, "task_type": "SIGNAL", "depends_on": list(needs), "config": config}


async def waiting(live: Service, *steps: dict[str, Any], step_id: str = "ask", **members: Any) -> dict[str, Any]:
    """Create a workflow, and return it once the step waits."""
    created = await live.create(*steps, **members)
    return await live.until(created["id"], lambda workflow: step_of(workflow, step_id)["waiting_for"] is not None)


def open_waits(workflow: dict[str, Any]) -> set[str]:
    return {step["step_id"] for step in workflow["steps"] if step["waiting_for"] is not None}


def decision_path(workflow: dict[str, Any], step_id: str = "ask") -> str:
    return f"{WORKFLOWS}{workflow['id']}/steps/{step_id}/decision"


async def decide(live: Service, workflow: dict[str, Any], choice: str, step_id: str = "ask", **more: Any) -> Any:
    return await live.client.post(decision_path(workflow, step_id), json={"choice": choice} | more)


async def test_a_decision_completes_its_step_and_the_next_ones_read_it(live: Service) -> None:
    steps = (
        approval(message="Print?", choices=["a", "b"]),
        join("next", input_mappings=[mapped("ask", "choice", "x")]),
    )
    workflow = await waiting(live, *steps)
    shown = step_of(workflow, "ask")
    assert shown["status"] == "RUNNING"
    assert {**shown["waiting_for"], "since": None} == {
        "kind": "decision",
        "since": None,
        "until": None,
        "name": None,
        "message": "Print?",
        "choices": ["a", "b"],
        "decision_url": None,
        "workflow_id": None,
    }
    response = await decide(live, workflow, "b", note="nicer", data={"n": [1.0]})
    assert response.status_code == 200
    decided = response.json()
    assert (decided["status"], decided["waiting_for"]) == ("COMPLETED", None)
    expected = {"choice": "b", "approved": True, "note": "nicer", "data": {"n": [1.0]}, "by": "tester"}
    assert decided["result"] == expected | {"at": decided["result"]["at"]}
    done = await live.until_ended(workflow["id"])
    assert (done["status"], step_of(done, "next")["result"]) == ("COMPLETED", {"x": "b"})
    types = [event["type"] for event in await live.events(workflow["id"]) if event["step_id"] == "ask"]
    assert types == ["step.waiting", "step.completed"]


async def test_a_second_decision_hears_who_has_decided(live: Service) -> None:
    workflow = await waiting(live, approval(), approval("other"))
    at = (await decide(live, workflow, "approve")).json()["result"]["at"]
    for choice in ("approve", "reject"):
        late = await decide(live, workflow, choice)
        assert (late.status_code, late.json()["detail"]) == (409, f"tester decided 'approve' at {at[:19]}Z.")
    await decide(live, workflow, "approve", "other")
    await live.until_ended(workflow["id"])
    late = await decide(live, workflow, "reject")
    assert (late.status_code, late.json()["detail"]) == (409, f"tester decided 'approve' at {at[:19]}Z.")


async def test_a_rejection_fails_the_step_unless_it_may_go_on(live: Service) -> None:
    workflow = await waiting(live, approval(), approval("may", on_reject="continue"))
    await decide(live, workflow, "reject", "may", note="no")
    rejected = (await decide(live, workflow, "reject", note="too dark")).json()
    assert (rejected["status"], rejected["error_message"]) == ("FAILED", "rejected by tester: too dark")
    done = await live.until_ended(workflow["id"])
    assert (done["status"], done["errors"]) == ("FAILED", ["ask: rejected by tester: too dark"])
    assert step_of(done, "may")["result"]["approved"] is False
    late = await decide(live, workflow, "approve")
    assert late.status_code == 409
    assert "rejected by tester: too dark" in late.json()["detail"]


async def test_what_isnt_a_decision_is_refused_at_its_place(live: Service) -> None:
    workflow = await waiting(live, approval(), join("later", "ask"))
    for body, loc in (
        ({"choice": "maybe"}, ["body", "choice"]),
        ({}, ["body", "choice"]),
        ({"choice": "approve", "note": "n" * 2_001}, ["body", "note"]),
        ({"choice": "approve", "data": "d" * 65_535}, ["body", "data"]),
        ({"choice": "approve", "why": 1}, ["body", "why"]),
    ):
        response = await live.client.post(decision_path(workflow), json=body)
        assert (response.status_code, [fault["loc"] for fault in response.json()["detail"]]) == (422, [loc])
    assert (await decide(live, workflow, "approve", "nothing")).status_code == 404
    not_yet = await decide(live, workflow, "approve", "later")
    assert (not_yet.status_code, not_yet.json()["title"]) == (409, "Not waiting")
    assert step_of(await live.get(workflow["id"]), "ask")["waiting_for"]
    await decide(live, workflow, "approve", data="d" * 65_534)
    assert (await live.until_ended(workflow["id"]))["status"] == "COMPLETED"


async def test_a_step_named_decision_can_be_read_and_decided(live: Service) -> None:
    workflow = await waiting(live, approval("a"), approval("a/decision"), step_id="a/decision")
    steps = f"{WORKFLOWS}{workflow['id']}/steps/"
    read = (await live.client.get(f"{steps}a/decision")).json()
    assert (read["step_id"], read["status"]) == ("a/decision", "RUNNING")
    assert (await decide(live, workflow, "approve", "a")).json()["step_id"] == "a"
    assert (await live.client.get(f"{steps}a/decision")).json()["status"] == "RUNNING"
    decided = await live.client.post(f"{steps}a%2Fdecision/decision/", json={"choice": "approve"})
    assert (decided.json()["step_id"], decided.json()["status"]) == ("a/decision", "COMPLETED")
    wrong = await live.client.post(f"{steps}a", json={"choice": "approve"})
    assert (wrong.status_code, wrong.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    wrong = await live.client.delete(f"{steps}a/decision")
    assert (wrong.status_code, wrong.headers["Allow"]) == (405, "GET, HEAD, OPTIONS, POST")


async def test_a_decision_is_idempotent_by_its_key(live: Service) -> None:
    workflow = await waiting(live, approval())
    sent = [
        await live.client.post(decision_path(workflow), json={"choice": "approve"}, headers={"Idempotency-Key": "d-1"})
        for _ in range(2)
    ]
    assert [response.status_code for response in sent] == [200, 200]
    assert sent[0].content == sent[1].content
    assert sent[1].headers["Idempotency-Replayed"] == "true"


async def test_decisions_at_once_are_taken_once(live: Service) -> None:
    workflow = await waiting(live, approval(choices=[str(number) for number in range(8)]))
    responses = await asyncio.gather(*(decide(live, workflow, str(number)) for number in range(8)))
    taken = [response for response in responses if response.status_code == 200]
    assert len(taken) == 1
    assert {response.status_code for response in responses} == {200, 409}
    done = await live.until_ended(workflow["id"])
    assert step_of(done, "ask")["result"]["choice"] == taken[0].json()["result"]["choice"]


async def test_a_decision_is_recorded_while_the_workflow_is_paused(live: Service) -> None:
    workflow = await waiting(live, approval(), join("next", "ask"))
    forecast = (await live.verb(workflow["id"], "pause", dry_run="true")).json()
    await live.verb(workflow["id"], "pause")
    dry = (await live.verb(workflow["id"], "resume", dry_run="true")).json()
    assert (forecast["running"], dry["running"], dry["would_run_later"]) == (["ask"], ["ask"], ["next"])
    assert (await decide(live, workflow, "approve")).status_code == 200
    paused = await live.get(workflow["id"])
    assert (paused["status"], step_of(paused, "next")["status"]) == ("PAUSED", "PENDING")
    await live.verb(workflow["id"], "resume")
    assert (await live.until_ended(workflow["id"]))["status"] == "COMPLETED"


async def test_a_signal_ends_the_wait_of_its_step(live: Service) -> None:
    workflow = await waiting(live, signal(), step_id="paid")
    path = f"{WORKFLOWS}{workflow['id']}/signals/"
    assert step_of(workflow, "paid")["waiting_for"]["kind"] == "signal"
    unknown = await live.client.post(f"{path}nobody", json={})
    assert (unknown.status_code, unknown.json()["detail"]) == (404, "step that waits for the signal 'nobody' not found")
    taken = (await live.client.post(f"{path}paid", json={"data": {"euros": 5}})).json()
    assert (taken["status"], taken["result"]["data"], taken["result"]["by"]) == ("COMPLETED", {"euros": 5}, "tester")
    late = await live.client.post(f"{path}paid")
    assert late.status_code == 409
    assert late.json()["detail"].startswith("tester sent the signal at ")


async def test_an_early_signal_is_kept_for_its_step(live: Service) -> None:
    created = await live.create(approval(), signal("late/paid", "ask", name="bill/paid"), start=False)
    path = f"{WORKFLOWS}{created['id']}/signals/bill%2Fpaid"
    early = await live.client.post(path, json={"data": 1})
    assert (early.status_code, early.json()["status"]) == (200, "PENDING")
    second = await live.client.post(path, json={"data": 2})
    assert second.status_code == 409
    assert "has arrived already" in second.json()["detail"]
    await live.verb(created["id"], "start")
    await live.until(created["id"], lambda workflow: step_of(workflow, "ask")["waiting_for"] is not None)
    await decide(live, created, "approve")
    done = await live.until_ended(created["id"])
    assert step_of(done, "late/paid")["result"]["data"] == 1


async def test_a_wait_whose_time_is_up_ends_as_its_config_says(live: Service) -> None:
    done = await live.until_ended(
        (
            await live.create(
                approval("take", timeout_s=0.05, on_timeout="approve"),
                signal("go", timeout_s=0.05, on_timeout="continue"),
                approval("fail", timeout_s=0.05) | {"optional": True},
            )
        )["id"]
    )
    assert done["status"] == "COMPLETED"
    assert step_of(done, "take")["result"]["by"] == "stepwell"
    assert step_of(done, "go")["result"]["data"] is None
    assert step_of(done, "fail")["error_message"] == "no decision within 0.05 s"
    late = await decide(live, done, "reject", "take")
    assert (late.status_code, late.json()["detail"][:27]) == (409, "stepwell decided 'approve' ")


async def test_only_tokens_that_may_decide_can_decide_and_see_the_link(live: Service) -> None:
    workflow = await waiting(live, approval())
    step = f"{WORKFLOWS}{workflow['id']}/steps/ask"
    async with live.as_tenant(every=True, permissions=(Permission.READ,)) as reader:
        assert (await reader.get(step)).json()["waiting_for"]["decision_url"] is None
        assert (await reader.post(f"{step}/decision", json={"choice": "approve"})).status_code == 403
        assert (await reader.get("/api/v1/decisions")).status_code == 403
    async with live.as_tenant("other") as other:
        assert (await other.post(f"{step}/decision", json={"choice": "approve"})).status_code == 404
    async with live.as_tenant(every=True, permissions=(Permission.READ, *APPROVER)) as approver:
        shown = await approver.get(step)
        assert "/decide?signature=" in shown.json()["waiting_for"]["decision_url"]
        assert shown.headers["Cache-Control"] == "no-store"
        assert (await approver.post(f"{WORKFLOWS}{workflow['id']}/signals/x")).status_code == 403
        assert (await approver.post(f"{step}/decision", json={"choice": "approve"})).status_code == 200


async def test_the_inbox_lists_the_open_decisions_of_the_callers_tenant(live: Service) -> None:
    async with live.as_tenant("acme") as acme, live.as_tenant("other") as other:

        async def create(client: httpx.AsyncClient, name: str, *steps: dict[str, Any]) -> str:
            body = {"name": name, "origin_instance": "tests", "steps": list(steps)}
            created = (await client.post(WORKFLOWS, json=body)).json()
            asking = {step["id"] for step in steps if step["task_type"] == "APPROVAL"}
            await live.until(created["id"], lambda workflow: asking <= open_waits(workflow))
            return str(created["id"])

        asking = approval("a", message="A?", size="${workflow.name}")
        first = await create(acme, "first", asking, approval("b", "x"), join("x"))
        second = await create(acme, "second", signal("s"), approval("c", timeout_s=3_600))
        foreign = await create(other, "foreign", approval("d"))
        listed = (await acme.get("/api/v1/decisions")).json()["decisions"]
        waits = [(each["workflow_id"], each["step_id"]) for each in listed]
        assert waits == [(first, "a"), (first, "b"), (second, "c")]
        head = listed[0]
        assert (head["workflow_name"], head["message"], head["inputs"]) == ("first", "A?", {"size": "first"})
        assert (head["choices"], head["until"], head["files"]) == (["approve", "reject"], None, [])
        mine = (await other.get("/api/v1/decisions", params={"workflow_id": first})).json()
        assert mine == {"decisions": [], "total": None}
        assert [each["workflow_id"] for each in (await other.get("/api/v1/decisions")).json()["decisions"]] == [foreign]
        page = await acme.get("/api/v1/decisions", params={"limit": 2})
        more = await acme.get(page.links["next"]["url"])
        assert [each["step_id"] for each in page.json()["decisions"] + more.json()["decisions"]] == ["a", "b", "c"]
        assert "next" not in more.links
        counted = (await acme.get("/api/v1/decisions", params={"limit": 0, "total": True})).json()
        assert counted == {"decisions": [], "total": 3}
        await acme.post(f"{WORKFLOWS}{first}/steps/a/decision", json={"choice": "approve"})
        of_first = (await acme.get("/api/v1/decisions", params={"workflow_id": first})).json()["decisions"]
        assert [each["step_id"] for each in of_first] == ["b"]
        await acme.delete(f"{WORKFLOWS}{first}")
        left = (await acme.get("/api/v1/decisions")).json()["decisions"]
        assert [each["step_id"] for each in left] == ["c"]


async def test_decisions_are_filtered_by_step_and_label_and_name_what_is_above_them(live: Service) -> None:
    async with live.as_tenant("labels") as caller:
        below = {"name": "one product", "steps": [approval("pick", choices=["yes", "no"])]}
        for_each = {"items": ["red shoe", {"sku": 7}]}
        each = {"id": "each", "task_type": "SUBWORKFLOW", "for_each": for_each, "config": {"workflow": below}}
        for colour in ("red", "blue"):
            body = {"name": colour, "origin_instance": "tests", "steps": [each], "labels": {"team": colour, "k": "v"}}
            assert (await caller.post(WORKFLOWS, json=body)).status_code == 201

        async def listed(**params: Any) -> dict[str, Any]:
            found: dict[str, Any] = (await caller.get("/api/v1/decisions", params={"total": True, **params})).json()
            return found

        while (await listed())["total"] < 4:
            await asyncio.sleep(0)
        red = (await listed(label=["team:red", "k:v"], step_id="pick"))["decisions"]
        assert {decision["labels"]["team"] for decision in red} == {"red"}
        above = sorted((decision["ancestors"][0] for decision in red), key=lambda step: step["item"])
        names = [(step["workflow_name"], step["step_id"], step["item"], step["value"]) for step in above]
        assert names == [("red", "each", 0, "red shoe"), ("red", "each", 1, '{"sku":7}')]
        assert (await listed(label="team:green"))["total"] == 0
        assert (await listed(step_id="each"))["decisions"] == []
        first = await caller.get("/api/v1/decisions", params={"label": "k:v", "step_id": "pick", "limit": 3})
        assert len((await caller.get(first.links["next"]["url"])).json()["decisions"]) == 1
        assert (await caller.get("/api/v1/decisions", params={"label": "team"})).status_code == 422


async def test_explain_and_plan_know_waits(live: Service) -> None:
    workflow = await waiting(live, approval(timeout_s=60), signal(name="go"))
    explained = (await live.client.get(f"{WORKFLOWS}{workflow['id']}/explain")).json()
    reasons = {step["step_id"]: step["reason"] for step in explained["steps"]}
    assert (explained["reason"], reasons["ask"]["code"], reasons["paid"]["code"]) == (
        None,
        "waits_for_decision",
        "waits_for_signal",
    )
    assert (reasons["ask"]["choices"], reasons["paid"]["name"]) == (["approve", "reject"], "go")
    body = {"name": "n", "origin_instance": "o", "steps": [approval(timeout_s=60), signal()]}
    plan = (await live.client.post(f"{WORKFLOWS}plan", json=body)).json()
    shown = [(step["attempts"], step["timeout_s"], step["price"]["amount"]) for step in plan["steps"]]
    assert shown == [(0, 60.0, 0.0), (0, None, 0.0)]


async def test_a_large_workflow_shows_its_waits_as_a_small_one(live: Service) -> None:
    steps = [approval(message="Print?", timeout_s=60), join("next", "ask"), signal("s"), signal("t", name="go")]
    workflow = await waiting(live, *steps, step_id="t")
    workflow = await live.until(workflow["id"], lambda found: len(open_waits(found)) == 3)
    assert [(step["waiting_for"] or {}).get("name") for step in workflow["steps"]] == [None, None, "s", "go"]
    reads, workflow_id = live.app.services.reads, UUID(workflow["id"])
    (snapshot,) = await reads.store.snapshot(EVERY_TENANT, [workflow_id], WHOLE)
    states = [state for block in snapshot.states for state in json.decode(block, type=list[StepSnapshot])]
    stored = await reads.store.step_slice(EVERY_TENANT, workflow_id, WHOLE, 0, 9, 100_000)
    created_at = datetime.fromisoformat(workflow["created_at"])
    shown = [
        json.decode(json.encode(stored_step_to_public(step, state, created_at, results=True)))["waiting_for"]
        for step, state in zip(stored, states, strict=True)
    ]
    assert shown == [step["waiting_for"] for step in workflow["steps"]]


@pytest.mark.parametrize("sent", ["decision", "signal", "early signal"])
async def test_a_file_that_a_decision_or_a_signal_names_is_kept(live: Service, sent: str) -> None:
    uploaded = await live.client.post(
        "/api/v1/artifacts", content=sent.encode(), headers={"Content-Type": "text/plain"}
    )
    path = uploaded.json()["artifacts"][0]["path"]
    if sent == "early signal":
        workflow = await live.create(signal(), start=False)
    else:
        workflow = await waiting(live, approval(), signal())
    one = f"{WORKFLOWS}{workflow['id']}"
    if sent == "decision":
        response = await decide(live, workflow, "approve", data={"chosen": path})
    else:
        response = await live.client.post(f"{one}/signals/paid", json={"data": {"chosen": [path]}})
    assert response.status_code == 200
    assert (await live.client.delete(f"/api/v1/artifacts/{path}")).status_code == 409
    await live.client.delete(one)
    await live.client.post(f"{one}/cleanup")
    assert (await live.client.delete(f"/api/v1/artifacts/{path}")).status_code == 200
