"""A dry run changes nothing, and foretells exactly what the verb then does: over workflows of many shapes, in every
state, with every verb.
"""

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import product
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
import pytest_asyncio

from stepwell.contract.enums import ProviderType
from stepwell.contract.scopes import Permission
from support.database.failing_store import scheduler_of
from support.database.postgres import TABLES, connected
from support.providers.configured_by_steps import (
    WORKFLOWS,
    ConfiguredProvider,
    configured_step,
    passthrough_step,
    views_are,
)
from support.providers.emulated import world_of
from support.providers.scripted import eventually
from support.service.explain_requests import wait_for_code
from support.service.live_service import Service, running_service, statuses_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

VERBS = ("start", "pause", "resume", "cancel", "cleanup")
DRY = "application/vnd.stepwell.dry-run+json"
# Which states the verb was tried from, in each way to get there.
SEEN = {
    ("start", "create"): {"PENDING"},
    ("pause", "run"): {"RUNNING"},
    ("pause", "cleanup"): {"RUNNING"},
    ("resume", "run"): {"FAILED"},
    ("resume", "pause"): {"FAILED", "PAUSED"},
    ("resume", "cancel"): {"FAILED"},
    ("cancel", "create"): {"PENDING"},
    ("cancel", "run"): {"RUNNING"},
    ("cancel", "cleanup"): {"RUNNING"},
    ("cleanup", "create"): {"PENDING"},
    ("cleanup", "run"): {"COMPLETED", "FAILED"},
    ("cleanup", "pause"): {"COMPLETED", "FAILED", "PAUSED"},
    ("cleanup", "cancel"): {"CANCELLED", "COMPLETED", "FAILED"},
    ("cleanup", "cleanup"): {"COMPLETED", "FAILED"},  # deleted before
}
ORDERS: dict[str, dict[str, Any]] = {
    "file": {"files": 2},
    "wait": {"wait": True},
    "fail": {"fails": 1, "wait": True},
}
LISTS = ("would_run", "would_run_later", "running", "kept", "reset", "cancelled")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sql(live: Service) -> AsyncIterator[asyncpg.Connection]:
    async with connected(live.dsn) as connection:
        yield connection


async def everything(live: Service, sql: asyncpg.Connection) -> list[Any]:
    """Every row there is, and every file."""
    rows = [await sql.fetch(f"SELECT t::text FROM {table} AS t ORDER BY 1") for table in TABLES.split(", ")]
    return [*rows, sorted(str(path) for path in live.artifacts.rglob("*"))]


async def call(live: Service, workflow_id: str, verb: str, **params: Any) -> httpx.Response:
    headers = params.pop("headers", {})
    path = WORKFLOWS + workflow_id + ("" if verb == "cancel" else f"/{verb}")
    return await live.client.request("DELETE" if verb == "cancel" else "POST", path, params=params, headers=headers)


async def forecast_of(
    live: Service, sql: asyncpg.Connection, workflow_id: str, verb: str, **params: Any
) -> tuple[dict[str, Any], str]:
    """Return the dry run's response and its ETag, and check that it changes nothing."""
    before = await everything(live, sql)
    responses = [await call(live, workflow_id, verb, dry_run="true", **params) for _ in range(2)]
    assert await everything(live, sql) == before
    for response in responses:
        assert (response.status_code, response.headers["content-type"]) == (200, DRY), response.text
        assert (response.json()["verb"], response.json()["allowed"]) == (verb, True)
    assert responses[0].content == responses[1].content
    content: dict[str, Any] = responses[0].json()
    return content, responses[0].headers["etag"]


def steps_of(seed: int) -> list[dict[str, Any]]:
    """A DAG whose steps are done at once, or hang, or fail at their first attempt and hang at the second."""
    choose = random.Random(seed)
    done: set[str] = set()
    steps: list[dict[str, Any]] = []
    for number in range(choose.randint(2, 7)):
        step_id = f"s{number}"
        needed = [f"s{other}" for other in range(number) if choose.random() < 0.4]
        kind = choose.choice(["done", "done", "file", "wait", "fail"] if done.issuperset(needed) else ["wait", "fail"])
        if kind in ("done", "file"):
            done.add(step_id)
        steps.append(
            passthrough_step(step_id, *needed) if kind == "done" else configured_step(step_id, *needed, **ORDERS[kind])
        )
    return steps


def is_steady(workflow: dict[str, Any], scripted: ConfiguredProvider) -> bool:
    """Whether nothing moves before somebody does something."""
    status = statuses_of(workflow)
    failed = "FAILED" in status.values() and workflow["config"]["on_failure"] != "continue"
    if failed and workflow["status"] == "RUNNING" and "RUNNING" not in status.values():
        return False
    for step in workflow["steps"]:
        ready = all(status[needed] == "COMPLETED" for needed in step["dependencies"])
        hangs = step["config"].get("wait") and (workflow["id"], step["step_id"]) in scripted.running
        if step["status"] == "RUNNING" and not hangs:
            return False
        if step["status"] == "PENDING" and ready and workflow["status"] == "RUNNING" and not failed:
            return False
    return True


async def reached(live: Service, scripted: ConfiguredProvider, seed: int, how: str) -> dict[str, Any]:
    """A workflow of the shape *seed*, after it has gone as far as it goes, and *how*."""
    on_failure = ("drain", "continue", "cancel")[seed % 3]
    created = await live.create(*steps_of(seed), start=how != "create", config={"on_failure": on_failure})
    found = await live.until(created["id"], lambda found: how == "create" or is_steady(found, scripted))
    if how in ("pause", "cancel") and found["status"] == "RUNNING":
        assert (await live.verb(created["id"], how)).status_code == 200
    elif how == "cleanup" and found["status"] != "RUNNING":
        assert (await live.verb(created["id"], "cleanup", cleanup_tasks=False)).status_code == 200
    found = await live.get(created["id"])
    running = list(statuses_of(found).values()).count("RUNNING")
    lives = scheduler_of(live).leaving.attempts_of
    # What was cancelled may still have files to delete.
    await eventually(lambda: len(lives(UUID(created["id"]))) == running)
    return found


@pytest.mark.parametrize(
    ("verb", "how"),
    [
        *((verb, "run") for verb in VERBS),
        ("start", "create"),
        *(
            pytest.param(verb, how, marks=pytest.mark.extended)
            for verb, how in product(VERBS, ("create", "pause", "cancel", "cleanup"))
            if (verb, how) != ("start", "create")
        ),
    ],
)
async def test_a_dry_run_reports_what_the_verb_then_does(
    live: Service, scripted: ConfiguredProvider, sql: asyncpg.Connection, verb: str, how: str
) -> None:
    seen = set()
    for seed in range(6):
        before = await reached(live, scripted, seed, how)
        dry = await call(live, before["id"], verb, dry_run="true")
        if dry.status_code == 409:
            real = await call(live, before["id"], verb)
            assert (real.status_code, real.content) == (409, dry.content)
            assert await live.get(before["id"]) == before
        else:
            seen.add(before["status"])
            await _compared(live, scripted, sql, before, verb)
        for step in before["steps"]:
            scripted.release(before["id"], step["step_id"])
        await live.app.services.workflows.until_idle(
            UUID(before["id"])
        )  # so that the next one's rows are all that may move
    assert seen == SEEN.get((verb, how), set())


async def _compared(
    live: Service, scripted: ConfiguredProvider, sql: asyncpg.Connection, before: dict[str, Any], verb: str
) -> None:
    forecast, etag = await forecast_of(live, sql, before["id"], verb)
    assert forecast["status_now"] == before["status"]
    response = await call(live, before["id"], verb, headers={"If-Match": etag})
    assert response.status_code == 200, response.text
    body = response.json()
    if verb == "cleanup":
        cleaned, body = body["cleanup"], body["workflow"]
        assert sorted(forecast["files_to_delete"]) == sorted(cleaned["deleted_paths"])
        assert forecast["tasks"] == cleaned["tasks_processed"]
        assert (cleaned["errors"], forecast["files_kept"]) == ([], [])
    moves = verb in ("start", "resume")
    # What fails at once may have ended it before the response is made.
    assert body["status"] in {forecast["status_after"], *(["FAILED", "COMPLETED"] if moves else [])}
    if moves:
        after = await live.until(before["id"], lambda found: is_steady(found, scripted))
        _check_steps_of_running(before, after, forecast, verb)
    elif verb == "pause":
        names = statuses_of(before)
        assert forecast["running"] == [name for name in names if names[name] == "RUNNING"]
        assert forecast["kept"] == [name for name in names if names[name] == "COMPLETED"]
        assert all(forecast[name] == [] for name in LISTS if name not in ("kept", "running"))
        assert statuses_of(body) == names
    else:
        was, now = statuses_of(before), statuses_of(body)
        assert forecast["cancelled"] == [name for name in now if now[name] != was[name]]
        assert all(now[name] == "CANCELLED" for name in forecast["cancelled"])
        done = [name for name in now if now[name] == "COMPLETED"]
        assert forecast["kept"] == (done if verb == "cancel" else [])
        assert all(forecast[name] == [] for name in LISTS if name not in ("kept", "cancelled"))
    assert forecast["remote_jobs_to_cancel"] == []


def _check_steps_of_running(before: dict[str, Any], after: dict[str, Any], dry_run: dict[str, Any], verb: str) -> None:
    was, names = {step["step_id"]: step for step in before["steps"]}, [step["step_id"] for step in before["steps"]]
    now = {step["step_id"]: step for step in after["steps"]}
    assert sorted(dry_run["would_run"] + dry_run["would_run_later"] + dry_run["running"] + dry_run["kept"]) == sorted(
        names
    )
    assert all(dry_run[name] == sorted(dry_run[name], key=names.index) for name in LISTS)
    for name in dry_run["would_run"]:
        assert now[name]["task_id"] not in (None, was[name]["task_id"])
    for name in dry_run["running"]:
        assert now[name]["task_id"] == was[name]["task_id"]
    for name in dry_run["kept"]:
        assert now[name] == was[name]
        assert was[name]["status"] == "COMPLETED"
    for name in dry_run["would_run_later"]:
        assert any(was[needed]["status"] != "COMPLETED" for needed in was[name]["dependencies"])
    reset = {name for name, step in was.items() if step["status"] in ("FAILED", "SKIPPED", "CANCELLED")}
    again = {name for name, step in was.items() if step["status"] == "PENDING" and step["error_message"]}
    assert set(dry_run["reset"]) == (reset | again if verb == "resume" else set())
    assert dry_run["cancelled"] == dry_run["files_to_delete"] == dry_run["files_kept"] == []


async def test_a_dry_run_reports_files_that_another_workflow_keeps(live: Service, sql: asyncpg.Connection) -> None:
    workflow = await live.create(configured_step("a", files=2))
    one, two = (await live.until_ended(workflow["id"]))["steps"][0]["result"]["paths"]
    reader = await live.create(
        passthrough_step("r", picture=one), configured_step("x", base_image_url=one), start=False
    )
    forecast, _ = await forecast_of(live, sql, workflow["id"], "cleanup")
    kept = [{"path": path, "workflow_id": reader["id"]} for path in (one, two)]
    assert (forecast["files_to_delete"], forecast["files_kept"], forecast["tasks"]) == ([], kept, 1)
    forecast, _ = await forecast_of(live, sql, workflow["id"], "cleanup", cleanup_tasks="false")
    assert (forecast["files_to_delete"], forecast["files_kept"], forecast["tasks"]) == ([], [], 0)
    cleaned = (await live.verb(workflow["id"], "cleanup")).json()["cleanup"]
    assert (cleaned["deleted_paths"], len(cleaned["errors"]), cleaned["tasks_processed"]) == ([], 2, 1)
    assert (await live.verb(reader["id"], "cleanup")).status_code == 200
    await eventually(lambda: not (live.artifacts / two).exists(), "the last workflow that needs them has let them go")
    forecast, _ = await forecast_of(live, sql, workflow["id"], "cleanup")
    assert (forecast["files_to_delete"], forecast["files_kept"]) == ([], [])


async def test_the_etag_of_a_dry_run_is_accepted_as_if_match_of_the_verb(
    live: Service, sql: asyncpg.Connection
) -> None:
    workflow = await live.create(passthrough_step("a"), start=False)
    _, etag = await forecast_of(live, sql, workflow["id"], "start")
    assert (await live.client.patch(WORKFLOWS + workflow["id"], json={"name": "other"})).status_code == 200
    for params in ({}, {"dry_run": "true"}):
        response = await call(live, workflow["id"], "start", headers={"If-Match": etag}, **params)
        assert response.status_code == 412, response.text
    _, etag = await forecast_of(live, sql, workflow["id"], "start")
    assert (await call(live, workflow["id"], "start", headers={"If-Match": etag})).status_code == 200


async def test_a_dry_run_stores_no_idempotency_key(live: Service, sql: asyncpg.Connection) -> None:
    workflow = await live.create(passthrough_step("a"), start=False)
    before = await everything(live, sql)
    key = {"Idempotency-Key": str(uuid4())}
    assert (await call(live, workflow["id"], "start", dry_run="true", headers=key)).json()["would_run"] == ["a"]
    assert await everything(live, sql) == before
    response = await call(live, workflow["id"], "start", headers=key)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    assert (await live.until_ended(workflow["id"]))["status"] == "COMPLETED"


@pytest.mark.parametrize("verb", VERBS)
async def test_a_dry_run_is_refused_as_the_verb_is(live: Service, verb: str) -> None:
    workflow = await live.create(passthrough_step("a"), start=False, origin_tenant_id="acme")
    method, tail = ("DELETE", "") if verb == "cancel" else ("POST", f"/{verb}")
    async with live.as_tenant("other") as stranger, live.as_tenant("acme", permissions=(Permission.READ,)) as reader:
        for workflow_id in (workflow["id"], str(uuid4()), "no-uuid"):
            response = await stranger.request(method, f"{WORKFLOWS}{workflow_id}{tail}?dry_run=true")
            assert response.status_code == 404
        assert (await reader.request(method, f"{WORKFLOWS}{workflow['id']}{tail}?dry_run=true")).status_code == 403
    response = await live.client.request(method, f"{WORKFLOWS}{workflow['id']}{tail}?dry_run=perhaps")
    assert response.status_code == 422
    response = await live.client.request(method, f"{WORKFLOWS}{workflow['id']}{tail}?dry_run=true", json={"x": 1})
    assert response.status_code == 422
    assert (await live.get(workflow["id"])) == workflow


@pytest.mark.parametrize("asked", ["pause?dryrun=true", "cleanup?dry-run=true", "resume?dryrun=1"])
async def test_an_unknown_parameter_is_refused_and_changes_nothing(
    live: Service, scripted: ConfiguredProvider, asked: str
) -> None:
    workflow = await live.create(configured_step("a", wait=True))
    running = await live.until(workflow["id"], views_are(current_step="a"))
    response = await live.client.post(f"{WORKFLOWS}{workflow['id']}/{asked}")
    name = asked.partition("?")[2].partition("=")[0]
    assert (response.status_code, response.json()["detail"][0]["loc"]) == (422, ["query", name])
    assert await live.get(workflow["id"]) == running
    scripted.release(workflow["id"], "a")
    await live.until_ended(workflow["id"])


async def test_a_dry_run_of_cancel_lists_the_jobs_at_providers(live: Service, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(world_of(ProviderType.CUSTOM, tmp_path / "emulator"))
        running = running_service(live.dsn, tmp_path / "data", exclusive=False, **world.settings)
        service = await stack.enter_async_context(running)
        world.hold()
        workflow = await service.create(world.step("a"), world.step("b", depends_on=["a"]))
        job = await wait_for_code(service, workflow["id"], "a", "remote_job")
        sql = await asyncpg.connect(live.dsn)
        stack.push_async_callback(sql.close)
        forecast, _ = await forecast_of(service, sql, workflow["id"], "cancel")
        named = [{"step_id": "a", "provider": "CUSTOM", "remote_id": job["remote_id"], "item": None}]
        assert (forecast["remote_jobs_to_cancel"], forecast["cancelled"]) == (named, ["a", "b"])
        assert world.emulator.count("cancel") == 0
        assert (await service.verb(workflow["id"], "cancel")).json()["status"] == "CANCELLED"
        await service.app.services.workflows.until_idle(UUID(workflow["id"]))
        cancels = [each.path for each in world.emulator.calls if each.kind == "cancel"]
        assert cancels == [f"/jobs/{job['remote_id']}/cancel"]
