"""Secrets that providers echo wherever they can, and all places where one might show."""

import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import structlog

from stepwell.contract.enums import ProviderType
from stepwell.settings import Networks, Secrets, Settings
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
# Parts tell as much as the whole; the shortest that is looked for is no word of ours.
CANARIES = ("canary-of-fal-secret", "r8_canary", "canary of the custom", SECRET, "a secret of the tests")
SECRETS = {
    ProviderType.FAL: FAL_CANARY,
    ProviderType.REPLICATE: REPLICATE_CANARY,
    ProviderType.CUSTOM: CUSTOM_CANARY,
}
AT_ONCE = {"retry": {"base_s": 0}}
WRONG = "another secret, which the provider has instead"


def echo(call: Call, secret: str) -> str:
    """What a careless provider says to everything: all that it was sent, and what it knows."""
    heard = call.headers.get("authorization", "no authorization")
    return f"you sent {heard!r} to {call.path}, the key is {secret}."


class LoudFal(FalEmulator):
    def error(self, status: int, message: str) -> Reply:
        return Reply(status, {"detail": f"{message}: {echo(self.calls[-1], FAL_CANARY)}"})


class LoudReplicate(ReplicateEmulator):
    def error(self, status: int, message: str) -> Reply:
        words = f"{message}: {echo(self.calls[-1], REPLICATE_CANARY)}"
        return Reply(status, {"title": words, "detail": words, "status": status})


class LoudCustom(CustomEmulator):
    """`said`: members of its results."""

    said: Mapping[str, Any] = {}

    def _done(self, job: CustomJob) -> dict[str, Any]:
        done = super()._done(job)
        return done | {"result": done["result"] | self.said}

    def error(self, status: int, message: str) -> Reply:
        self.words = f"{message}: {echo(self.calls[-1], CUSTOM_CANARY)}"
        return super().error(status, message)


@dataclass
class Watch:
    """The service with all three, and every answer that its API has given."""

    service: Service
    emulators: dict[ProviderType, Any]
    folder: Path
    answers: list[str] = field(default_factory=list)

    async def note(self, response: httpx.Response) -> None:
        await response.aread()
        self.answers.append(f"{response.request.url} {response.status_code} {response.headers} {response.text}")

    async def run(self, kind: ProviderType, fails: str | None = None, **members: Any) -> dict[str, Any]:
        """A workflow of one step, to its end; *fails* are words of the error with which it must."""
        created = await self.service.create(remote_step(kind, **members), config=AT_ONCE)
        ended = await self.service.until_ended(created["id"])
        assert (ended["status"], fails or "") == ("FAILED" if fails else "COMPLETED", fails or ""), ended
        assert fails is None or fails in ended["error_message"], ended["error_message"]
        return ended

    async def asked(self) -> None:
        """Everything that the API shows."""
        get = self.service.client.get
        listed = (await get("/api/v1/workflows/", params={"limit": 100, "include_steps": True})).json()["workflows"]
        for workflow in listed:
            path = f"/api/v1/workflows/{workflow['id']}"
            for at in (path, f"{path}/tasks", f"{path}/events"):
                assert (await get(at)).status_code == 200
        for path in ("/metrics", "/schema", "/schema/openapi.json", "/health/ready", "/health/live"):
            assert (await get(path)).status_code == 200
        for path in ("/nowhere", "/api/v1/workflows/none", "/api/v1/callbacks/none"):
            await get(path)

    async def rows(self) -> dict[str, str]:
        """Every row of every table, as text; bytes too, so that they hide nothing."""
        connection = await asyncpg.connect(self.service.dsn)
        try:
            await connection.execute("SET bytea_output = 'escape'")
            names = "SELECT table_name, data_type FROM information_schema.columns WHERE table_schema = 'public'"
            columns = await connection.fetch(names)
            tables = sorted({column["table_name"] for column in columns})
            assert {"workflows", "steps", "tasks", "events", "processes"} <= set(tables)
            return {t: "\n".join(r[0] for r in await connection.fetch(f"SELECT t::text FROM {t} AS t")) for t in tables}
        finally:
            await connection.close()


@pytest.fixture
async def watch(debug_logging: None, dsn: str, tmp_path: Path) -> AsyncIterator[Watch]:
    for name in ("emulators", "data"):
        tmp_path.joinpath(name).mkdir()
    folder = tmp_path / "emulators"
    emulators: dict[ProviderType, Emulator] = {
        ProviderType.FAL: LoudFal(folder, key=FAL_CANARY),
        ProviderType.REPLICATE: LoudReplicate(folder, token=REPLICATE_CANARY),
        ProviderType.CUSTOM: LoudCustom(folder, secret=CUSTOM_CANARY),
    }
    async with AsyncExitStack() as stack:
        for emulator in emulators.values():
            await stack.enter_async_context(emulator)
        running = running_service(dsn, tmp_path / "data", **settings_of(emulators))
        watch = Watch(await stack.enter_async_context(running), emulators, tmp_path / "data")
        hooks = watch.service.client.event_hooks
        watch.service.client.event_hooks = {**hooks, "response": [*hooks["response"], watch.note]}
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
    return [canary for canary in CANARIES if canary in text]


async def nothing_shows(watch: Watch, logs: str, *, results: bool = False) -> None:
    """*results*: they may hold one, wherever they are shown; errors and history never."""
    await watch.asked()
    rows = await watch.rows()
    assert all(rows[table] for table in ("workflows", "steps", "tasks", "events"))
    assert found_in(logs) == []
    assert {table: found_in(text) for table, text in rows.items() if found_in(text) and table != "steps"} == {}
    if not results:
        assert found_in(rows["steps"]) == []
        assert [answer for answer in watch.answers if found_in(answer)] == []
        files = [path for path in watch.folder.rglob("*") if path.is_file()]
        assert [path for path in files if found_in(path.read_bytes().decode("latin-1"))] == []


def asked_since(emulator: Any, polls: int) -> bool:
    asked: int = emulator.count("poll")
    return asked > polls


def end_badly(emulator: Any, *, badly: bool = True) -> None:
    """From now on jobs fail, and say why in the words of somebody who doesn't care."""
    match emulator:
        case LoudFal():
            words = f"the model failed with {FAL_CANARY} and Key {FAL_CANARY}"
            emulator.outcome = "error" if badly else "completed"
            emulator.failure = (422, {"detail": [{"loc": ["body", FAL_CANARY], "msg": words, "type": "x"}]})
        case LoudReplicate():
            emulator.outcome = "failed" if badly else "succeeded"
            emulator.error_message = f"invalid: Bearer {REPLICATE_CANARY} is no good"
        case _:
            emulator.outcome, emulator.retryable = ("failed", False) if badly else ("succeeded", None)
            emulator.words = f"failed with {CUSTOM_CANARY}"


@pytest.mark.parametrize("kind", SECRETS)
async def test_no_failure_shows_a_secret(watch: Watch, kind: ProviderType, capfd: pytest.CaptureFixture[str]) -> None:
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
    for called in ("poll", "file", "fetch"):
        emulator.plan(called, Fault.UNAVAILABLE, Fault.BUSY)
    await watch.run(kind)
    emulator.hide_from_listing = True
    emulator.plan("submit", Fault.LOSE_BEFORE)
    emulator.plan("list", Fault.REFUSED, Fault.UNAVAILABLE, Fault.BROKEN)
    await watch.run(kind, fails="there may be one")
    end_badly(emulator)
    await watch.run(kind, fails="fail" if kind is not ProviderType.REPLICATE else "invalid")
    end_badly(emulator, badly=False)
    await nothing_shows(watch, capfd.readouterr().err)


@pytest.mark.parametrize("kind", SECRETS)
async def test_no_job_that_goes_wrong_shows_a_secret(
    watch: Watch, kind: ProviderType, capfd: pytest.CaptureFixture[str]
) -> None:
    emulator, service = watch.emulators[kind], watch.service
    emulator.held = True
    gone = await service.create(remote_step(kind, max_retries=0))
    await eventually(lambda: emulator.count("poll") > 0, "it is asked about")
    emulator.forget(emulator.ledger.jobs()[0][0])
    assert "gone" in (await service.until_ended(gone["id"]))["error_message"]
    for faults in ([], [Fault.BROKEN, Fault.UNAVAILABLE, Fault.REFUSED]):
        emulator.plan("cancel", *faults)
        polls = emulator.count("poll")
        given_up = await service.create(remote_step(kind))
        await eventually(partial(asked_since, emulator, polls), "it is asked about")
        emulator.plan("poll", Fault.UNAVAILABLE, Fault.BROKEN)
        await service.verb(given_up["id"], "cancel")
    late = remote_step(kind, config={"timeout_s": 0.2}, max_retries=0)
    await service.until_ended((await service.create(late))["id"])
    emulator.held = False
    await eventually(lambda: not service.app.components.engine.scheduler.workflows, "all is followed up")
    await nothing_shows(watch, capfd.readouterr().err)


@pytest.mark.parametrize("kind", SECRETS)
async def test_a_provider_that_knows_another_secret_gets_ours_and_tells_nobody(
    watch: Watch, kind: ProviderType, capfd: pytest.CaptureFixture[str]
) -> None:
    emulator = watch.emulators[kind]
    match emulator:
        case LoudFal():
            emulator.key = WRONG
        case LoudReplicate():
            emulator.token = WRONG
        case _:
            emulator.secret = WRONG
    if kind is ProviderType.CUSTOM:  # an answer with a wrong signature is none, so it is asked again and again
        await watch.run(kind, fails="timed out after 0.5 s", config={"timeout_s": 0.5})
    else:
        await watch.run(kind, fails="401")
    await nothing_shows(watch, capfd.readouterr().err)


@pytest.mark.parametrize("kind", SECRETS)
@pytest.mark.parametrize("before", [270, 285, 470, 485, 970, 985])
async def test_no_part_of_a_secret_is_left_where_words_are_cut(
    watch: Watch, kind: ProviderType, before: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """A cut through the middle of a secret would keep it from being known, and half of it show."""
    emulator, secret = watch.emulators[kind], SECRETS[kind]
    words = "x" * before + secret
    match emulator:
        case LoudFal():
            emulator.outcome = "error"
            emulator.failure = (422, {"detail": [{"loc": [], "msg": words, "type": "x"}]})
        case LoudReplicate():
            emulator.outcome, emulator.error_message = "failed", f"invalid {words}"
        case _:
            emulator.outcome, emulator.words, emulator.retryable = "failed", words, False
    ended = await watch.run(kind, fails="xxx")
    rest = ended["error_message"].rpartition("x")[2].strip("*…")
    assert rest == "", ended["error_message"]
    await nothing_shows(watch, capfd.readouterr().err)


# A result is the provider's own data: it is stored and shown as it is. Nothing else holds what is in it.


@pytest.mark.parametrize("kind", SECRETS)
async def test_a_secret_in_a_result_is_in_nothing_else(
    watch: Watch, kind: ProviderType, capfd: pytest.CaptureFixture[str]
) -> None:
    emulator, step = watch.emulators[kind], remote_step(kind)
    echoed = f"the key is {SECRETS[kind]}"
    match emulator:
        case LoudFal() | LoudReplicate():
            emulator.output = {"output": echoed} if kind is ProviderType.FAL else echoed
            step = {"id": "draw", "task_type": "LLM_INTERACTION", "config": {"prompt": "x"}} | {
                "provider_config": step["provider_config"]
            }
        case _:
            emulator.said = {"text": echoed}
    # The next step reads it, and fails for what it reads: its error must not quote it.
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
    ended = await watch.service.until_ended(created["id"])
    assert [one["status"] for one in ended["steps"]] == ["COMPLETED", "FAILED"], ended["errors"]
    assert echoed in json.dumps(ended["steps"][0]["result"])
    assert found_in(str(ended["errors"])) == []
    for shown in (await watch.service.events(created["id"]), await tasks_of(watch, created["id"])):
        assert found_in(json.dumps(shown)) == []
    await nothing_shows(watch, capfd.readouterr().err, results=True)


async def tasks_of(watch: Watch, workflow_id: str) -> Any:
    return (await watch.service.client.get(f"/api/v1/workflows/{workflow_id}/tasks")).json()


async def test_a_canary_is_found_where_one_is(watch: Watch, capfd: pytest.CaptureFixture[str]) -> None:
    """Else all of the above would say nothing."""
    structlog.get_logger("stepwell.x").debug("told", words=f"Key {FAL_CANARY}")
    logging.getLogger("some.library").debug(REPLICATE_CANARY)
    assert found_in(capfd.readouterr().err) == list(CANARIES[:2])
    created = await watch.service.create(remote_step(ProviderType.CUSTOM, config={"prompt": CUSTOM_CANARY}))
    await watch.service.until_ended(created["id"])
    assert found_in((await watch.rows())["steps"]) == [CANARIES[2]]
    await watch.asked()
    assert any(found_in(answer) for answer in watch.answers)


def test_settings_show_no_secret() -> None:
    settings = Settings(
        credentials=Secrets({"fal": FAL_CANARY, "replicate": REPLICATE_CANARY, "custom": CUSTOM_CANARY}),
        jwt_secret=SECRET,
        url_secret=SECRET,
        database_url=f"postgresql://me:{SECRET}@localhost/x",
    )
    assert found_in(f"{settings!r} {settings} {[settings]}") == []
