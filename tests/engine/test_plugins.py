"""Plug-ins that replace providers: functions that distributions name as entry points of `stepwell.providers`."""

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from stepwell.basics.setting_values import Secrets
from stepwell.cli.errors import Refused
from stepwell.cli.keys import keys_of_folder
from stepwell.cli.service_host import open_service
from stepwell.definition.provider_descriptors import InvalidProviders
from stepwell.persistence.schema.migrations import migrate
from stepwell.settings import Settings
from stepwell.testing import MemoryDatabase
from support.database.postgres import TestServer, create_database
from support.emulators.custom import CustomEmulator
from support.providers.scripted import passthrough_step, scripted_step
from support.service.live_service import Service, running_service

MODULE = "plugin_of_the_tests"
CODE = """
from stepwell.plugin import AttemptError, InProcess, ProviderType, TaskType

CALLS = []


class PluginProvider(InProcess):
    def __init__(self, kind):
        self.type = kind

    def capabilities(self, task_type):
        return frozenset({"seed"}) if task_type is TaskType.GENERATION else None

    async def run(self, attempt, io):
        if attempt.inputs["prompt"] == "fail":
            raise AttemptError("the plug-in's error", retryable=False)
        stored = await io.store("result.txt", attempt.inputs["prompt"].encode())
        return {"by": str(self.type), "file": stored.path}


def one(settings, client):
    CALLS.append((settings, client))
    return [PluginProvider(ProviderType.VERTEX)]


def two(settings, client):
    yield PluginProvider(ProviderType.VERTEX)
    yield PluginProvider(ProviderType.CUSTOM)


def none(settings, client):
    return ()


def broken(settings, client):
    raise RuntimeError("this plugin can't start")
"""
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Make a distribution with these entry points (name -> object) importable for this test."""
    site = tmp_path / "site-packages"

    def install_plugin(**entry_points: str) -> None:
        about = site / "plugin_of_the_tests-1.0.dist-info"
        about.mkdir(parents=True)
        about.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: plugin-of-the-tests\nVersion: 1.0\n")
        lines = [f"{name} = {MODULE}:{found}" for name, found in entry_points.items()]
        about.joinpath("entry_points.txt").write_text("\n".join(["[stepwell.providers]", *lines, ""]))
        site.joinpath(f"{MODULE}.py").write_text(CODE)
        monkeypatch.syspath_prepend(site)

    yield install_plugin
    sys.modules.pop(MODULE, None)


@asynccontextmanager
async def run_service(memory: MemoryDatabase, folder: Path, **settings: Any) -> AsyncIterator[Service]:
    async with running_service(memory, folder / "data", **settings) as service:
        yield service


async def run_workflow(service: Service, *steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Run a workflow to its end, and return it."""
    return await service.until_ended((await service.create(*steps, **fields))["id"])


def step_at(provider: str, step_id: str = "a", prompt: str = "words", **members: Any) -> dict[str, Any]:
    step = scripted_step(step_id, config={"prompt": prompt}, **members)
    return step | {"provider_config": {"provider_type": provider}}


async def test_a_plugin_provider_does_a_step(memory: MemoryDatabase, tmp_path: Path, install: Install) -> None:
    install(vertex="one")
    async with run_service(memory, tmp_path) as service:
        step = step_at("VERTEX", active_provider_capabilities=["seed"])
        workflow = await run_workflow(service, step, passthrough_step("b", "a"))
        assert workflow["status"] == "COMPLETED", workflow["errors"]
        response = await service.client.get(f"/api/v1/workflows/{workflow['id']}/tasks")
        task = next(task for task in response.json()["tasks"] if task["step_id"] == "a")
        path = f"media/{task['id']}/result.txt"
        assert workflow["steps"][0]["result"] == {"by": "VERTEX", "file": path}
        assert (task["provider"], task["cost"], [o["path"] for o in task["outputs"]]) == ("VERTEX", None, [path])
        stored = await service.client.get(f"/api/v1/artifacts/{path}")
        assert (stored.status_code, stored.content) == (200, b"words")


async def test_a_plugin_gets_the_settings_and_the_http_client_of_the_service(
    memory: MemoryDatabase, tmp_path: Path, install: Install
) -> None:
    install(vertex="one")
    async with run_service(memory, tmp_path, credentials=Secrets({"vertex": "a key"})):
        ((settings, client),) = sys.modules[MODULE].CALLS
        assert (settings.credentials, settings.data_dir) == ({"vertex": "a key"}, tmp_path / "data")
        assert not client.is_closed
    assert client.is_closed


async def test_a_plugins_failure_fails_the_step_or_leads_to_its_fallback(
    memory: MemoryDatabase, tmp_path: Path, install: Install
) -> None:
    install(vertex="one")
    async with run_service(memory, tmp_path) as service:
        failed = await run_workflow(service, step_at("VERTEX", prompt="fail"))
        assert (failed["status"], failed["errors"]) == ("FAILED", ["a: the plug-in's error"])
        saved = await run_workflow(service, step_at("VERTEX", prompt="fail", fallback_provider_type="LOCAL"))
        assert saved["status"] == "COMPLETED", saved["errors"]


async def test_a_step_that_the_plugin_cannot_do_is_refused_at_create(
    memory: MemoryDatabase, tmp_path: Path, install: Install
) -> None:
    install(vertex="one")
    async with run_service(memory, tmp_path) as service:
        chat = {"id": "a", "task_type": "LLM_INTERACTION", "config": {"prompt": "x"}}
        unable = chat | {"provider_config": {"provider_type": "VERTEX"}}
        unknown = step_at("VERTEX", "b", active_provider_capabilities=["magic"])
        body = {"name": "w", "origin_instance": "tests", "steps": [unable, unknown]}
        response = await service.client.post("/api/v1/workflows/", json=body)
        assert response.status_code == 422
        types = {fault["type"] for fault in response.json()["detail"]}
        assert {"provider_unable", "unknown_capability"} <= types


@pytest.mark.parametrize("entry_points", [{}, {"nothing": "none"}])
async def test_without_a_plugin_its_provider_is_not_configured(
    memory: MemoryDatabase, tmp_path: Path, install: Install, entry_points: dict[str, str]
) -> None:
    install(**entry_points)
    async with run_service(memory, tmp_path) as service:
        body = {"name": "w", "origin_instance": "tests", "steps": [step_at("VERTEX")]}
        response = await service.client.post("/api/v1/workflows/", json=body)
        (fault,) = response.json()["detail"]
        assert (response.status_code, fault["type"]) == (422, "provider_not_configured")


async def test_a_plugin_replaces_the_built_in_provider_of_its_type(
    memory: MemoryDatabase, tmp_path: Path, install: Install
) -> None:
    install(several="two")
    tmp_path.joinpath("emulator").mkdir()
    async with (
        CustomEmulator(tmp_path / "emulator") as ours,
        run_service(memory, tmp_path, custom_url=ours.url, poll_interval_s=0.02) as service,
    ):
        workflow = await run_workflow(
            service, step_at("CUSTOM", "a"), step_at("VERTEX", "b"), passthrough_step("c", "a", "b")
        )
        assert workflow["status"] == "COMPLETED", workflow["errors"]
        assert [step["result"]["by"] for step in workflow["steps"][:2]] == ["CUSTOM", "VERTEX"]
        assert ours.calls == []


async def test_one_distribution_may_have_several_entry_points(
    memory: MemoryDatabase, tmp_path: Path, install: Install
) -> None:
    install(a="none", b="two")
    async with run_service(memory, tmp_path) as service:
        workflow = await run_workflow(
            service, step_at("CUSTOM", "a"), step_at("VERTEX", "b"), passthrough_step("c", "a", "b")
        )
        assert workflow["status"] == "COMPLETED", workflow["errors"]


async def test_two_plugins_cannot_replace_one_provider(
    memory: MemoryDatabase, tmp_path: Path, install: Install
) -> None:
    install(b="two", c="one")
    with pytest.raises(InvalidProviders, match="two packages replace the provider VERTEX"):
        async with run_service(memory, tmp_path):
            pass


async def test_a_command_says_in_one_line_why_they_cannot_be_used(
    durable: TestServer, tmp_path: Path, install: Install
) -> None:
    install(b="two", c="one")
    await migrate(dsn := durable.dsn(await create_database(durable.dsn())))
    with pytest.raises(Refused) as refused:
        async with open_service(keys_of_folder(Settings(data_dir=tmp_path)), dsn, exclusive=True):
            pass
    assert refused.value.lines == ("two packages replace the provider VERTEX",)


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("broken", "the package plugin-of-the-tests can't be used: RuntimeError: this plugin can't start"),
        (
            "CALLS",
            "plugin_of_the_tests:CALLS of the package plugin-of-the-tests is neither",
        ),
        ("nowhere", "the provider bad of the package plugin-of-the-tests can't be loaded: .*nowhere"),
    ],
)
async def test_a_broken_plugin_keeps_the_service_from_starting(
    memory: MemoryDatabase, tmp_path: Path, install: Install, named: str, words: str
) -> None:
    """Otherwise the service would run without a provider that its steps need."""
    install(bad=named)
    with pytest.raises(InvalidProviders, match=words):
        async with run_service(memory, tmp_path):
            pass
