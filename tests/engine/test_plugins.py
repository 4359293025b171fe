"""Providers of others: distributions that name them as entry points of the group `stepwell.providers`."""

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from stepwell.settings import Secrets
from support.emulators.custom import CustomEmulator
from support.providers.scripted import passthrough, scripted
from support.service.live_service import Service, running_service

MODULE = "providers_of_somebody_else"
CODE = '''
from stepwell.domain.errors import AttemptError, Fault
from stepwell.domain.model import ProviderType, TaskType
from stepwell.ports.providers import CancelAnswer, Finished, Job, JobState, JobStatus, Request
from stepwell.providers.in_process import InProcess

CALLS = []


class Somebodys(InProcess):
    def __init__(self, kind):
        self.type = kind

    def capabilities(self, task_type):
        return frozenset({"seed"}) if task_type is TaskType.GENERATION else None

    async def run(self, attempt, io):
        if attempt.inputs["prompt"] == "fail":
            raise AttemptError("somebody's words", retryable=False)
        stored = await io.store("result.txt", attempt.inputs["prompt"].encode())
        return {"by": str(self.type), "file": stored.path}


def one(settings, client):
    CALLS.append((settings, client))
    return [Somebodys(ProviderType.VERTEX)]


def two(settings, client):
    yield Somebodys(ProviderType.VERTEX)
    yield Somebodys(ProviderType.CUSTOM)


class OfTheUndividedPort:
    """Has the members that the port had before it was divided, and no base class."""

    needs_credential = False
    listing_lag_s = 0.0

    def __init__(self, kind, *, in_process):
        self.type, self.in_process = kind, in_process

    def capabilities(self, task_type):
        return frozenset() if task_type is TaskType.GENERATION else None

    def model(self, task_type, provider_config):
        return "a-model"

    def refusals(self, step):
        if step.inputs.get("prompt") == "refuse":
            yield Fault(("config", "prompt"), "somebody's refusal", "provider_refuses")

    def ends_jobs(self, model):
        return True

    async def prepare(self, attempt, io):
        return Request(model="a-model", body={"prompt": attempt.inputs["prompt"]})

    async def submit(self, attempt, request, io):
        if not self.in_process:
            return Job(id=str(attempt.task_id))
        return Finished({"by": str(self.type), "prompt": request.body["prompt"]})

    async def poll(self, attempt, job):
        return JobState(status=JobStatus.SUCCEEDED)

    async def fetch(self, attempt, job, io):
        return Finished({"by": str(self.type), "job": job.id})

    async def cancel(self, attempt, job):
        return CancelAnswer.REFUSED

    def called_back(self, body):
        return None

    async def reconcile(self, attempt, sent):
        return None


def undivided(settings, client):
    yield OfTheUndividedPort(ProviderType.VERTEX, in_process=True)
    yield OfTheUndividedPort(ProviderType.FAL, in_process=False)


def none(settings, client):
    return ()


def broken(settings, client):
    raise RuntimeError("this plugin can't start")
'''
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Make a distribution with these entry points (name -> object) importable, for this test alone."""
    site = tmp_path / "site-packages"

    def installed(**entry_points: str) -> None:
        about = site / "somebodys_providers-1.0.dist-info"
        about.mkdir(parents=True)
        about.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: somebodys-providers\nVersion: 1.0\n")
        lines = [f"{name} = {MODULE}:{found}" for name, found in entry_points.items()]
        about.joinpath("entry_points.txt").write_text("\n".join(["[stepwell.providers]", *lines, ""]))
        site.joinpath(f"{MODULE}.py").write_text(CODE)
        monkeypatch.syspath_prepend(site)

    yield installed
    sys.modules.pop(MODULE, None)


@asynccontextmanager
async def serving(dsn: str, folder: Path, **settings: Any) -> AsyncIterator[Service]:
    async with running_service(dsn, folder / "data", **settings) as service:
        yield service


async def ended(service: Service, *steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return await service.until_ended((await service.create(*steps, **fields))["id"])


def by(provider: str, step_id: str = "a", prompt: str = "words", **members: Any) -> dict[str, Any]:
    step = scripted(step_id, config={"prompt": prompt}, **members)
    return step | {"provider_config": {"provider_type": provider}}


async def test_a_step_by_somebodys_provider(dsn: str, tmp_path: Path, install: Install) -> None:
    install(vertex="one")
    async with serving(dsn, tmp_path) as service:
        step = by("VERTEX", active_provider_capabilities=["seed"])
        found = await ended(service, step, passthrough("b", "a"))
        assert found["status"] == "COMPLETED", found["errors"]
        answer = await service.client.get(f"/api/v1/workflows/{found['id']}/tasks")
        task = next(task for task in answer.json()["tasks"] if task["step_id"] == "a")
        path = f"media/{task['id']}/result.txt"
        assert found["steps"][0]["result"] == {"by": "VERTEX", "file": path}
        assert (task["provider"], task["cost"], [o["path"] for o in task["outputs"]]) == ("VERTEX", None, [path])
        stored = await service.client.get(f"/api/v1/artifacts/{path}")
        assert (stored.status_code, stored.content) == (200, b"words")


async def test_it_is_given_the_settings_and_the_client_of_the_service(
    dsn: str, tmp_path: Path, install: Install
) -> None:
    install(vertex="one")
    async with serving(dsn, tmp_path, credentials=Secrets({"vertex": "a key"})):
        ((settings, client),) = sys.modules[MODULE].CALLS
        assert (settings.credentials, settings.data_dir) == ({"vertex": "a key"}, tmp_path / "data")
        assert not client.is_closed
    assert client.is_closed


async def test_plug_ins_of_the_undivided_port_work_as_before(dsn: str, tmp_path: Path, install: Install) -> None:
    install(undivided="undivided")
    async with serving(dsn, tmp_path, poll_interval_s=0.02) as service:
        found = await ended(service, by("VERTEX", "here"), by("FAL", "elsewhere"))
        assert found["status"] == "COMPLETED", found["errors"]
        answer = await service.client.get(f"/api/v1/workflows/{found['id']}/tasks")
        tasks = {task["step_id"]: task for task in answer.json()["tasks"]}
        here, elsewhere = (step["result"] for step in found["steps"])
        assert here == {"by": "VERTEX", "prompt": "words"}
        assert elsewhere == {"by": "FAL", "job": tasks["elsewhere"]["id"]}
        assert (tasks["here"]["remote_id"], tasks["here"]["sent_at"]) == (None, None)
        assert tasks["elsewhere"]["remote_id"] == tasks["elsewhere"]["id"]
        body = {"name": "w", "origin_instance": "tests", "steps": [by("VERTEX", prompt="refuse")]}
        refused = await service.client.post("/api/v1/workflows/", json=body)
        assert (refused.status_code, refused.json()["detail"][0]["msg"]) == (422, "somebody's refusal")


async def test_its_failures_are_those_of_any_provider(dsn: str, tmp_path: Path, install: Install) -> None:
    install(vertex="one")
    async with serving(dsn, tmp_path) as service:
        failed = await ended(service, by("VERTEX", prompt="fail"))
        assert (failed["status"], failed["errors"]) == ("FAILED", ["a: somebody's words"])
        saved = await ended(service, by("VERTEX", prompt="fail", fallback_provider_type="LOCAL"))
        assert saved["status"] == "COMPLETED", saved["errors"]


async def test_what_it_cannot_do_is_refused_at_create(dsn: str, tmp_path: Path, install: Install) -> None:
    install(vertex="one")
    async with serving(dsn, tmp_path) as service:
        chat = {"id": "a", "task_type": "LLM_INTERACTION", "config": {"prompt": "x"}}
        unable = chat | {"provider_config": {"provider_type": "VERTEX"}}
        unknown = by("VERTEX", "b", active_provider_capabilities=["magic"])
        body = {"name": "w", "origin_instance": "tests", "steps": [unable, unknown]}
        answer = await service.client.post("/api/v1/workflows/", json=body)
        assert answer.status_code == 422
        types = {fault["type"] for fault in answer.json()["detail"]}
        assert {"provider_unable", "unknown_capability"} <= types


@pytest.mark.parametrize("entry_points", [{}, {"nothing": "none"}])
async def test_without_one_there_is_no_such_provider(
    dsn: str, tmp_path: Path, install: Install, entry_points: dict[str, str]
) -> None:
    install(**entry_points)
    async with serving(dsn, tmp_path) as service:
        body = {"name": "w", "origin_instance": "tests", "steps": [by("VERTEX")]}
        answer = await service.client.post("/api/v1/workflows/", json=body)
        (fault,) = answer.json()["detail"]
        assert (answer.status_code, fault["type"]) == (422, "provider_not_configured")


async def test_it_takes_the_place_of_ours(dsn: str, tmp_path: Path, install: Install) -> None:
    install(several="two")
    tmp_path.joinpath("emulator").mkdir()
    async with (
        CustomEmulator(tmp_path / "emulator") as ours,
        serving(dsn, tmp_path, custom_url=ours.url, poll_interval_s=0.02) as service,
    ):
        found = await ended(service, by("CUSTOM", "a"), by("VERTEX", "b"), passthrough("c", "a", "b"))
        assert found["status"] == "COMPLETED", found["errors"]
        assert [step["result"]["by"] for step in found["steps"][:2]] == ["CUSTOM", "VERTEX"]
        assert ours.calls == []


async def test_several_entry_points_of_one_distribution(dsn: str, tmp_path: Path, install: Install) -> None:
    install(a="none", b="two", c="one")
    async with serving(dsn, tmp_path) as service:
        found = await ended(service, by("CUSTOM", "a"), by("VERTEX", "b"), passthrough("c", "a", "b"))
        assert found["status"] == "COMPLETED", found["errors"]


@pytest.mark.parametrize(
    ("named", "error", "words"),
    [
        ("broken", RuntimeError, "this plugin can't start"),
        ("nowhere", AttributeError, "nowhere"),
    ],
)
async def test_one_that_cannot_be_had_keeps_the_service_from_starting(
    dsn: str, tmp_path: Path, install: Install, named: str, error: type[Exception], words: str
) -> None:
    """Steps that need it would be refused: better no service than one that does only half of its work."""
    install(bad=named)
    with pytest.raises(error, match=words):
        async with serving(dsn, tmp_path):
            pass
