"""Secrets never appear anywhere, although the providers of these tests echo them in every error and result."""

import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from msgspec import structs

from stepwell.basics.setting_values import Networks, Secrets
from stepwell.contract.enums import ProviderType
from stepwell.settings import Settings
from stepwell.testing import MemoryDatabase
from support.emulators.base import Call, Emulator, Fault, Reply
from support.emulators.custom import CustomEmulator, CustomJob
from support.emulators.fal import FalEmulator
from support.emulators.replicate import ReplicateEmulator
from support.providers.emulated import LOOPBACK, remote_step
from support.providers.scripted import eventually
from support.service.live_service import SECRET, Service, running_service

FAL_CANARY = "canary-of-fal-9f3a:canary-of-fal-secret-7be1"
REPLICATE_CANARY = "r8_canary_of_replicate_51d0"
CUSTOM_CANARY = "canary of the custom worker 2c44"
# Parts of the secrets, because a part is a leak as well. None of them occurs in Stepwell's own texts.
CANARIES = ("canary-of-fal-secret", "r8_canary", "canary of the custom", SECRET, "a secret of the tests")
SECRETS = {
    ProviderType.FAL: FAL_CANARY,
    ProviderType.REPLICATE: REPLICATE_CANARY,
    ProviderType.CUSTOM: CUSTOM_CANARY,
}
# The core suite does the same with one of them.
KINDS = [
    ProviderType.CUSTOM,
    *(pytest.param(kind, marks=pytest.mark.extended) for kind in (ProviderType.FAL, ProviderType.REPLICATE)),
]
AT_ONCE = {"retry": {"base_s": 0}}
WRONG = "another secret, which the provider has instead"


def echo(call: Call, secret: str) -> str:
    """Return what a careless provider answers: the request's headers, and the secret."""
    received = call.headers.get("authorization", "no authorization")
    return f"you sent {received!r} to {call.path}, the key is {secret}."


class EchoingFal(FalEmulator):
    """A fal emulator whose errors quote the secret."""

    def error(self, status: int, message: str) -> Reply:
        return Reply(status, {"detail": f"{message}: {echo(self.calls[-1], FAL_CANARY)}"})


class EchoingReplicate(ReplicateEmulator):
    """A Replicate emulator whose errors quote the secret."""

    def error(self, status: int, message: str) -> Reply:
        words = f"{message}: {echo(self.calls[-1], REPLICATE_CANARY)}"
        return Reply(status, {"title": words, "detail": words, "status": status})


class EchoingCustom(CustomEmulator):
    """A custom worker whose errors quote the secret. `extra_result`: further members of its results."""

    extra_result: Mapping[str, Any] = {}

    def _done(self, job: CustomJob) -> dict[str, Any]:
        done = super()._done(job)
        return done | {"result": done["result"] | self.extra_result}

    def error(self, status: int, message: str) -> Reply:
        self.words = f"{message}: {echo(self.calls[-1], CUSTOM_CANARY)}"
        return super().error(status, message)


@dataclass
class Watch:
    """A service with all three providers, and every response of its API."""

    service: Service
    memory: MemoryDatabase
    emulators: dict[ProviderType, Any]
    folder: Path
    responses: list[str] = field(default_factory=list)

    async def record(self, response: httpx.Response) -> None:
        await response.aread()
        self.responses.append(f"{response.request.url} {response.status_code} {response.headers} {response.text}")

    async def run(self, kind: ProviderType, fails: str | None = None, **members: Any) -> dict[str, Any]:
        """Run a workflow of one step to its end. *fails*: it must fail, with these words in the error."""
        created = await self.service.create(remote_step(kind, **members), config=AT_ONCE)
        ended = await self.service.until_ended(created["id"])
        assert (ended["status"], fails or "") == ("FAILED" if fails else "COMPLETED", fails or ""), ended
        assert fails is None or fails in ended["error_message"], ended["error_message"]
        return ended

    async def request_everything(self) -> None:
        """Request everything that the API returns, so that `responses` has it."""
        get = self.service.client.get
        listed = (await get("/api/v1/workflows/", params={"limit": 100, "include_steps": True})).json()["workflows"]
        for workflow in listed:
            path = f"/api/v1/workflows/{workflow['id']}"
            for at in (path, f"{path}/tasks", f"{path}/events"):
                assert (await get(at)).status_code == 200
        for path in ("/metrics", "/schema/openapi.json", "/health/ready", "/health/live"):
            assert (await get(path)).status_code == 200
        for path in ("/nowhere", "/api/v1/workflows/none", "/api/v1/callbacks/none"):
            await get(path)

    def rows(self) -> dict[str, str]:
        """Return the rows of each table as text, with bytes readable too."""
        tables = self.memory.tables
        rows = list(tables.workflows.values())
        return {
            "workflows": repr([structs.replace(row.record, steps=None) for row in rows]),
            "steps": repr([row.record.steps for row in rows]),
            "tasks": repr([row.tasks for row in rows]),
            "events": repr([row.events for row in rows]),
            "deliveries": repr([row.deliveries for row in rows]),
            "others": repr((tables.processes, tables.keys, tables.unclean_ends, tables.cleanups)),
        }


@pytest.fixture
async def watch(debug_logging: None, memory_in_real_time: MemoryDatabase, tmp_path: Path) -> AsyncIterator[Watch]:
    for name in ("emulators", "data"):
        tmp_path.joinpath(name).mkdir()
    folder = tmp_path / "emulators"
    emulators: dict[ProviderType, Emulator] = {
        ProviderType.FAL: EchoingFal(folder, key=FAL_CANARY),
        ProviderType.REPLICATE: EchoingReplicate(folder, token=REPLICATE_CANARY),
        ProviderType.CUSTOM: EchoingCustom(folder, secret=CUSTOM_CANARY),
    }
    async with AsyncExitStack() as stack:
        for emulator in emulators.values():
            await stack.enter_async_context(emulator)
        running = running_service(memory_in_real_time, tmp_path / "data", **settings_of(emulators))
        watch = Watch(await stack.enter_async_context(running), memory_in_real_time, emulators, tmp_path / "data")
        hooks = watch.service.client.event_hooks
        watch.service.client.event_hooks = {**hooks, "response": [*hooks["response"], watch.record]}
        yield watch


def settings_of(emulators: dict[ProviderType, Emulator]) -> dict[str, Any]:
    return {f"{kind.lower()}_url": emulator.url for kind, emulator in emulators.items()} | {
        "credentials": Secrets({kind.lower(): secret for kind, secret in SECRETS.items()}),
        "allowed_cidrs": Networks.read(LOOPBACK),
        "poll_interval_s": 0.02,
        "reconcile_s": 0.0,
        "log_level": "debug",
    }


def found_in(text: str) -> list[str]:
    """Return the parts of secrets that *text* has."""
    return [canary for canary in CANARIES if canary in text]


async def assert_no_secret(watch: Watch, logs: str, *, in_results: bool = False) -> None:
    """Assert that no secret is in logs, rows, responses and files. *in_results*: the results of steps may have one."""
    await watch.request_everything()
    rows = watch.rows()
    assert all(rows[table] != "[]" for table in ("workflows", "steps", "tasks", "events"))
    assert found_in(logs) == []
    assert {table: found_in(text) for table, text in rows.items() if found_in(text) and table != "steps"} == {}
    if not in_results:
        assert found_in(rows["steps"]) == []
        assert [response for response in watch.responses if found_in(response)] == []
        files = [path for path in watch.folder.rglob("*") if path.is_file()]
        assert [path for path in files if found_in(path.read_bytes().decode("latin-1"))] == []


def was_polled_since(emulator: Any, polls: int) -> bool:
    now: int = emulator.count("poll")
    return now > polls


def let_jobs_fail(emulator: Any, *, fail: bool = True) -> None:
    """Let further jobs fail with errors that quote the secret; with *fail* false, let them succeed again."""
    match emulator:
        case EchoingFal():
            words = f"the model failed with {FAL_CANARY} and Key {FAL_CANARY}"
            emulator.outcome = "error" if fail else "completed"
            emulator.failure = (422, {"detail": [{"loc": ["body", FAL_CANARY], "msg": words, "type": "x"}]})
        case EchoingReplicate():
            emulator.outcome = "failed" if fail else "succeeded"
            emulator.error_message = f"invalid: Bearer {REPLICATE_CANARY} is no good"
        case _:
            emulator.outcome, emulator.retryable = ("failed", False) if fail else ("succeeded", None)
            emulator.words = f"failed with {CUSTOM_CANARY}"


@pytest.mark.parametrize("kind", SECRETS)
async def test_no_failed_call_leaks_a_secret(
    watch: Watch, kind: ProviderType, capfd: pytest.CaptureFixture[str]
) -> None:
    emulator = watch.emulators[kind]
    await watch.run(kind)
    for fault in (Fault.BUSY, Fault.UNAVAILABLE, Fault.BROKEN, Fault.LOSE_AFTER, Fault.GATEWAY_AFTER):
        emulator.plan("submit", fault)
        await watch.run(kind)
    emulator.plan("submit", Fault.REFUSED)
    await watch.run(kind, fails="this can't be done")
    emulator.always("submit", Fault.BROKEN)
    await watch.run(kind, fails="something broke", max_retries=1)
    emulator.always("submit", None)
    for call in ("poll", "file", "fetch"):
        emulator.plan(call, Fault.UNAVAILABLE, Fault.BUSY)
    await watch.run(kind)
    emulator.hide_from_listing = True
    emulator.plan("submit", Fault.LOSE_BEFORE)
    emulator.plan("list", Fault.REFUSED, Fault.UNAVAILABLE, Fault.BROKEN)
    await watch.run(kind, fails="there may be one")
    let_jobs_fail(emulator)
    await watch.run(kind, fails="fail" if kind is not ProviderType.REPLICATE else "invalid")
    let_jobs_fail(emulator, fail=False)
    await assert_no_secret(watch, capfd.readouterr().err)


@pytest.mark.parametrize("kind", KINDS)
async def test_no_failed_or_abandoned_job_leaks_a_secret(
    watch: Watch, kind: ProviderType, capfd: pytest.CaptureFixture[str]
) -> None:
    emulator, service = watch.emulators[kind], watch.service
    emulator.held = True
    gone = await service.create(remote_step(kind, max_retries=0))
    await eventually(lambda: emulator.count("poll") > 0, "it is polled")
    emulator.forget(emulator.ledger.jobs()[0][0])
    assert "no longer exists" in (await service.until_ended(gone["id"]))["error_message"]
    for faults in ([], [Fault.BROKEN, Fault.UNAVAILABLE, Fault.REFUSED]):
        emulator.plan("cancel", *faults)
        polls = emulator.count("poll")
        given_up = await service.create(remote_step(kind))
        await eventually(partial(was_polled_since, emulator, polls), "it is polled")
        emulator.plan("poll", Fault.UNAVAILABLE, Fault.BROKEN)
        await service.verb(given_up["id"], "cancel")
    late = remote_step(kind, config={"timeout_s": 0.2}, max_retries=0)
    await service.until_ended((await service.create(late))["id"])
    emulator.held = False
    await eventually(lambda: not service.app.engine.scheduler.workflows, "all jobs are followed up")
    await assert_no_secret(watch, capfd.readouterr().err)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_refused_secret_does_not_leak(
    watch: Watch, kind: ProviderType, capfd: pytest.CaptureFixture[str]
) -> None:
    emulator = watch.emulators[kind]
    match emulator:
        case EchoingFal():
            emulator.key = WRONG
        case EchoingReplicate():
            emulator.token = WRONG
        case _:
            emulator.secret = WRONG
    if kind is ProviderType.CUSTOM:  # an answer with a wrong signature counts as none, so the call is repeated
        await watch.run(kind, fails="timed out after 0.5 s", config={"timeout_s": 0.5})
    else:
        await watch.run(kind, fails="401")
    await assert_no_secret(watch, capfd.readouterr().err)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("before", [270, 285, 470, 485, 970, 985])
async def test_no_part_of_a_secret_is_left_where_a_text_is_cut(
    watch: Watch, kind: ProviderType, before: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """A text that is cut in the middle of a secret must not show the first half, which is not recognised any more."""
    emulator, secret = watch.emulators[kind], SECRETS[kind]
    words = "x" * before + secret
    match emulator:
        case EchoingFal():
            emulator.outcome = "error"
            emulator.failure = (422, {"detail": [{"loc": [], "msg": words, "type": "x"}]})
        case EchoingReplicate():
            emulator.outcome, emulator.error_message = "failed", f"invalid {words}"
        case _:
            emulator.outcome, emulator.words, emulator.retryable = "failed", words, False
    workflow = await watch.run(kind, fails="xxx")
    rest = workflow["error_message"].rpartition("x")[2].strip("*…")
    assert rest == "", workflow["error_message"]
    await assert_no_secret(watch, capfd.readouterr().err)


# A result is the provider's own data, so it is stored and returned unchanged. Nothing else may contain its secret.


@pytest.mark.parametrize("kind", KINDS)
async def test_a_secret_in_a_result_is_nowhere_else(
    watch: Watch, kind: ProviderType, capfd: pytest.CaptureFixture[str]
) -> None:
    emulator, step = watch.emulators[kind], remote_step(kind)
    echoed = f"the key is {SECRETS[kind]}"
    match emulator:
        case EchoingFal() | EchoingReplicate():
            emulator.output = {"output": echoed} if kind is ProviderType.FAL else echoed
            step = {"id": "draw", "task_type": "LLM_INTERACTION", "config": {"prompt": "x"}} | {
                "provider_config": step["provider_config"]
            }
        case _:
            emulator.extra_result = {"text": echoed}
    # The next step fails because of what it reads. Its error must not quote that.
    reads = {
        "id": "next",
        "task_type": "PASSTHROUGH",
        "depends_on": ["draw"],
        "input_mappings": [
            {"from_step": "draw", "from_field": "text" if kind is ProviderType.CUSTOM else "result_text"}
            | {"to_field": "number", "transform": "TO_INT"}
        ],
    }
    created = await watch.service.create(step, reads)
    workflow = await watch.service.until_ended(created["id"])
    assert [one["status"] for one in workflow["steps"]] == ["COMPLETED", "FAILED"], workflow["errors"]
    assert echoed in json.dumps(workflow["steps"][0]["result"])
    assert found_in(str(workflow["errors"])) == []
    for listed in (await watch.service.events(created["id"]), await tasks_of(watch, created["id"])):
        assert found_in(json.dumps(listed)) == []
    await assert_no_secret(watch, capfd.readouterr().err, in_results=True)


async def tasks_of(watch: Watch, workflow_id: str) -> Any:
    return (await watch.service.client.get(f"/api/v1/workflows/{workflow_id}/tasks")).json()


async def test_these_tests_find_a_secret_where_there_is_one(watch: Watch, capfd: pytest.CaptureFixture[str]) -> None:
    structlog.get_logger("stepwell.x").debug("a log line", words=f"Key {FAL_CANARY}")
    logging.getLogger("some.library").debug(REPLICATE_CANARY)
    assert found_in(capfd.readouterr().err) == list(CANARIES[:2])
    created = await watch.service.create(remote_step(ProviderType.CUSTOM, config={"prompt": CUSTOM_CANARY}))
    await watch.service.until_ended(created["id"])
    assert found_in(watch.rows()["steps"]) == [CANARIES[2]]
    await watch.request_everything()
    assert any(map(found_in, watch.responses))


def test_settings_do_not_print_a_secret() -> None:
    settings = Settings(
        credentials=Secrets({"fal": FAL_CANARY, "replicate": REPLICATE_CANARY, "custom": CUSTOM_CANARY}),
        jwt_secret=SECRET,
        url_secret=SECRET,
        database_url=f"postgresql://me:{SECRET}@localhost/x",
    )
    assert found_in(f"{settings!r} {settings} {[settings]}") == []
