"""A package that brings new providers by the entry point group: they are everywhere where built-in ones are."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from msgspec import structs

from stepwell.basics.setting_values import Secrets
from stepwell.cli.errors import Refused
from stepwell.cli.output import settings_of
from stepwell.client import Invalid
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.definition.provider_descriptors import InstalledProviders, InvalidProviders, ProviderDescriptor
from stepwell.mcp.tool import schema_of
from stepwell.mcp.tool_results import ProvidersResult
from stepwell.plugin import Attempt, AttemptIO, InProcess, ProviderSetup
from stepwell.providers import installed_providers as installed_module
from stepwell.providers.fal.descriptor import FAL
from stepwell.providers.installed_providers import BUILT_IN, ENTRY_POINTS, ProviderInstallation, installed_providers
from stepwell.settings import InvalidSettings
from stepwell.testing import MemoryDatabase, running
from stepwell.testing.memory_workflow_store import MemoryWorkflowStore
from support.plug_in import installed_package
from support.service.installed_settings import read_settings, unread_settings
from support.service.live_service import Service, running_service


@pytest.fixture
def installed() -> Iterator[None]:
    with installed_package():
        yield


@pytest.fixture
async def service(installed: None, memory: MemoryDatabase, tmp_path: Path) -> AsyncIterator[Service]:
    keys = Secrets({"press": "a key"})
    async with running_service(
        memory, tmp_path, credentials=keys, press_paper="glossy", poll_interval_s=0.01
    ) as running_one:
        yield running_one


def step(provider: str, step_id: str = "a", **members: Any) -> dict[str, Any]:
    config = {"provider_type": provider, **members.pop("provider_config", {})}
    return {
        "id": step_id,
        "task_type": "GENERATION",
        "config": {"prompt": "words"},
        "provider_config": config,
    } | members


def body(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"name": "n", "origin_instance": "o", "steps": list(steps)}


async def test_its_providers_do_steps_in_process_and_elsewhere(service: Service) -> None:
    created = await service.create(step("STAMP", "stamp"), step("PRESS", "press"))
    workflow = await service.until_ended(created["id"])
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    tasks = {task["step_id"]: task for task in await service.tasks(created["id"])}
    assert {name: (task["provider"], task["model"]) for name, task in tasks.items()} == {
        "stamp": ("STAMP", None),
        "press": ("PRESS", "offset"),
    }
    assert tasks["press"]["cost"] == {"amount": 0.5, "currency": "USD", "source": "provider"}
    printed = await service.client.get(f"/api/v1/artifacts/{workflow['steps'][1]['result']['result_image_path']}")
    assert printed.text == f"{tasks['press']['id']} on glossy"


async def test_its_jobs_are_found_by_the_name_of_the_provider(service: Service, memory: MemoryDatabase) -> None:
    created = await service.create(step("PRESS"))
    await service.until_ended(created["id"])
    (job,) = [stored.task.remote_id for row in memory.tables.workflows.values() for stored in row.tasks.values()]
    assert job is not None
    store = MemoryWorkflowStore(memory.tables, UUID(int=1))
    assert await store.known_jobs(ProviderType("PRESS"), [job]) == {job}
    assert await store.known_jobs(ProviderType("STAMP"), [job]) == set()


async def test_a_step_may_name_one_by_a_member_that_it_alone_reads(service: Service) -> None:
    planned = await service.client.post(
        "/api/v1/workflows/plan", json=body(step("STAMP") | {"provider_config": {"machine": "letterpress"}})
    )
    (call,) = planned.json()["steps"]
    assert (call["provider"], call["model"]) == ("PRESS", "letterpress")


async def test_they_are_in_the_status_of_providers_and_in_the_document(service: Service) -> None:
    listed = (await service.client.get("/api/v1/providers")).json()["providers"]
    status = {each["provider_type"]: each for each in listed}
    assert status["STAMP"]["capabilities"] == {"GENERATION": ["seed"]}
    assert status["PRESS"]["credentials"] == [{"name": "press", "refused_since": None}]
    document = (await service.client.get("/openapi.json")).json()
    names = [each.name for each in BUILT_IN]
    assert document["components"]["schemas"]["ProviderType"]["enum"] == sorted([*names, "STAMP", "PRESS"])


async def test_create_checks_their_members_outputs_and_credentials(service: Service) -> None:
    mapping = {"from_step": "a", "from_field": "result_text", "to_field": "prompt"}
    bad = [
        step("STAMP"),
        step("PRESS", "b", depends_on=["a"], input_mappings=[mapping]),
        step("PRESS", "c", provider_config={"credential": "stamp"}),
        step("PRINT", "d"),
    ]
    response = await service.client.post("/api/v1/workflows/", json=body(*bad))
    faults = {(fault["type"], *fault["loc"][2:4]) for fault in response.json()["detail"]}
    assert faults == {
        ("unknown_output", 1, "input_mappings"),
        ("credential_of_another_provider", 2, "provider_config"),
        ("enum", 3, "provider_config"),
    }
    planned = await service.client.post("/api/v1/workflows/plan", json=body(step("STAMP", provider_config={"inc": 1})))
    assert "did you mean ink?" in planned.json()["warnings"][0]["msg"]


async def test_a_dry_run_names_them(service: Service) -> None:
    created = await service.create(step("PRESS", provider_config={"machine": "stuck"}))
    await service.until(created["id"], lambda workflow: workflow["steps"][0]["status"] == "RUNNING")
    task = (await service.tasks(created["id"]))[0]
    response = await service.client.delete(f"/api/v1/workflows/{created['id']}", params={"dry_run": "true"})
    (job,) = response.json()["remote_jobs_to_cancel"]
    assert (job["step_id"], job["provider"]) == ("a", "PRESS")
    assert job["remote_id"] in (None, task["id"])
    await service.verb(created["id"], "cancel")


@pytest.mark.usefixtures("installed")
def test_their_settings_are_read_and_checked() -> None:
    settings = read_settings(
        {
            "STEPWELL_CREDENTIALS__PRESS_TEAM_B": "a key",
            "STEPWELL_PRESS_URL": "http://press.example",
            "STEPWELL_PRESS_PAPER": "glossy",
            "STEPWELL_PRESS_POLL_INTERVAL_S": "5",
            "STEPWELL_DEFAULT_PROVIDER": "STAMP",
            "STEPWELL_PRICES": '{"PRESS": {"*": 2}}',
        }
    )
    own = settings.of(installed_providers()[ProviderType("PRESS")])
    assert own is not None
    assert structs.asdict(own) == {"url": "http://press.example", "paper": "glossy", "poll_interval_s": 5.0}
    assert settings.credentials == {"press_team_b": "a key"}
    assert unread_settings({"STEPWELL_PRES_KEY": "x", "STEPWELL_PRESS_PAPR": "x"}) == {
        "STEPWELL_PRES_KEY": "STEPWELL_CREDENTIALS__PRESS",
        "STEPWELL_PRESS_PAPR": "STEPWELL_PRESS_PAPER",
    }
    with pytest.raises(InvalidSettings) as refusal:
        read_settings({"STEPWELL_PRESS_URL": "ftp://x", "STEPWELL_PRESS_POLL_INTERVAL_S": "0"})
    assert [line.partition(":")[0] for line in refusal.value.lines] == [
        "STEPWELL_PRESS_POLL_INTERVAL_S",
        "STEPWELL_PRESS_URL",
    ]


@pytest.mark.usefixtures("installed")
async def test_the_fixture_scripts_the_remote_one_and_lets_the_other_work() -> None:
    async with running() as service:
        service.providers.press.on("GENERATION").returns({"result_image_path": b"a print"}, cost="0.04")
        workflow = await service.client.create(body(step("STAMP"), step("PRESS", "b")), wait=10)
        assert workflow.status == "COMPLETED"
        assert [call.step_id for call in service.providers["STAMP"].calls] == ["a"]
        assert [call.outcome for call in service.providers.press.calls] == ["succeeded"]
        with pytest.raises(AttributeError, match="no provider PRINT is installed"):
            _ = service.providers.print


async def test_without_the_package_its_rows_are_read_and_its_steps_fail(dsn: str) -> None:
    with installed_package():
        async with running(database=dsn) as service:
            done = await service.client.create(body(step("STAMP")), wait=30)
            waiting = await service.client.create(body(step("STAMP", max_retries=0)), start=False)
    async with running(database=dsn) as service:
        steps = (await service.client.get(done.id)).steps
        assert isinstance(steps, list)
        assert [(each.status, each.provider) for each in steps] == [("COMPLETED", "STAMP")]
        assert [task.provider for task in await service.client.tasks(done.id)] == ["STAMP"]
        failed = await service.client.start(waiting.id, wait=30)
        why = "a: this service has no provider STAMP: its package or its settings are missing"
        assert (failed.status, failed.errors) == ("FAILED", [why])
        with pytest.raises(Invalid, match="Expected one of LOCAL, FAL"):
            await service.client.create(body(step("STAMP")))


async def test_a_name_that_is_installed_twice_is_refused_at_the_start(
    memory: MemoryDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = tmp_path / "stepwell_copies-1.0.dist-info"
    metadata.mkdir()
    metadata.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: stepwell-copies\nVersion: 1.0\n")
    metadata.joinpath("entry_points.txt").write_text(f"[{ENTRY_POINTS}]\ncopy = stepwell_prints:STAMP\n")
    with installed_package():
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(InvalidProviders, match="called STAMP: of the packages stepwell-"):
            async with running_service(memory, tmp_path / "data"):
                pass
        with pytest.raises(Refused, match="called STAMP: of the packages stepwell-"):
            settings_of({})
        monkeypatch.undo()


@pytest.mark.parametrize("name", ["FAL", "FAL_PRO", "Fal", "fal pro", ""])
def test_a_name_that_another_provider_has_or_that_cannot_be_one_is_refused(name: str) -> None:
    with pytest.raises(InvalidProviders):
        InstalledProviders([FAL, structs.replace(FAL, name=ProviderType(name))])


def test_a_name_whose_settings_would_be_others_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """STEPWELL_PUBLIC_URL, for example, is a setting of the service."""
    clashing = structs.replace(FAL, name=ProviderType("PUBLIC"))
    monkeypatch.setattr(installed_module, "BUILT_IN", (clashing,))
    with pytest.raises(InvalidProviders, match="STEPWELL_PUBLIC_URL is another setting"):
        installed_module._read_installation.__wrapped__(())


class Unusable:
    type = ProviderType("STAMP")


class Unable(InProcess):
    type = ProviderType("STAMP")

    def capabilities(self, _task_type: TaskType, /) -> Any:
        return ["seed"]

    async def run(self, _attempt: Attempt, _io: AttemptIO, /) -> dict[str, Any]:
        return {}


def leaking(setup: ProviderSetup[None]) -> Unusable:
    raise ValueError(f"no such key: {setup.settings.credentials['stamp']}")


def leaving(_setup: ProviderSetup[None]) -> Unusable:
    raise SystemExit(1)


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (leaking, "ValueError: no such key: …"),
        (leaving, "ProviderCrashed: SystemExit"),
        (
            lambda _: None,
            "NoneType is no InProcessProvider: it has no capabilities, model, needs_credential, run, type",
        ),
        (
            lambda _: Unusable(),
            "Unusable is no InProcessProvider: it has no capabilities, model, needs_credential, run",
        ),
        (lambda _: Unable(), "its capabilities for GENERATION: expected a frozenset or None, got list"),
        ("stepwell_nowhere:Stamp", "ModuleNotFoundError: No module named 'stepwell_nowhere'"),
    ],
)
async def test_a_provider_that_cannot_be_built_keeps_the_service_from_starting(
    memory: MemoryDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, build: Any, why: str
) -> None:
    broken = ProviderDescriptor(name=ProviderType("STAMP"), build=build, package="stepwell-prints")
    installation = ProviderInstallation(InstalledProviders([*BUILT_IN, broken]), ())
    monkeypatch.setattr("stepwell.providers.factory.read_installation", lambda: installation)
    with pytest.raises(InvalidProviders) as refusal:
        async with running_service(memory, tmp_path, credentials=Secrets({"stamp": "a long secret key"})):
            pass
    assert str(refusal.value) == f"the provider STAMP of the package stepwell-prints can't be used: {why}"


@pytest.mark.parametrize(
    "members", [{"members": ["ink"]}, {"members": "ink"}, {"name": 5}, {"public_hosts": "a.example"}]
)
def test_a_descriptor_with_a_member_of_another_type_cannot_be_made(members: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=f"{next(iter(members))}: expected"):
        ProviderDescriptor(**({"name": ProviderType("STAMP"), "build": "m:f"} | members))


def test_the_tools_of_assistants_may_return_providers_that_a_package_brings() -> None:
    schema = schema_of(ProvidersResult)
    assert "enum" not in schema["$defs"]["ProviderType"]
