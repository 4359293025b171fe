"""The fixtures of the pytest plugin, in projects as users write them. Each is run by another pytest."""

import subprocess
import sys
from pathlib import Path

import pytest

from support.processes.pytest_process import run_pytest, write_example

INI = "[pytest]\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n"
IN_EVERY_LOOP = """
import asyncio
import pytest

DEFINITION = {"name": "a test", "origin_instance": "x", "steps": [{"id": "a", "task_type": "PASSTHROUGH"}]}


async def check(app, client):
    loops.append(asyncio.get_running_loop())
    workflow = await client.create(DEFINITION, wait=10)
    assert workflow.status == "COMPLETED"
    assert [each.id async for each in client.list()] == [workflow.id]
    assert (await app.client.count()).total == 1


loops = []


@pytest.mark.asyncio
@pytest.mark.parametrize("number", range(2))
async def test_its_own_loop(stepwell_app, stepwell_client, number):
    await check(stepwell_app, stepwell_client)


@pytest.mark.parametrize("number", range(2))
@pytest.mark.asyncio(loop_scope="module")
async def test_the_loop_of_the_module(stepwell_app, stepwell_client, number):
    await check(stepwell_app, stepwell_client)


@pytest.mark.asyncio(loop_scope="session")
async def test_the_loop_of_the_session(stepwell_app, stepwell_client):
    await check(stepwell_app, stepwell_client)


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.mark.anyio
async def test_the_loop_of_anyio(anyio_backend, stepwell_client, stepwell_app):
    await check(stepwell_app, stepwell_client)


def test_the_loops_were_different():
    assert len({id(loop) for loop in loops}) == 5
    assert loops[2] is loops[3]
"""
MARKED_FOR_ANYIO = """
import pytest

@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.mark.anyio
async def test_a(stepwell_client):
    assert [each async for each in stepwell_client.list()] == []
"""
IN_NO_LOOP = """
def test_a(stepwell_client): ...
"""
SETTINGS = """
import pytest

@pytest.fixture(scope="session")
def stepwell_settings():
    return {"default_provider": None}

@pytest.mark.asyncio
async def test_a(stepwell_client):
    steps = [{"id": "a", "task_type": "GENERATION", "config": {"prompt": "x"}}]
    with pytest.raises(Exception, match="provider"):
        await stepwell_client.create({"name": "a test", "origin_instance": "x", "steps": steps})
"""
WARNINGS = """
import pytest

MISTYPED = {"name": "a test", "origin_instance": "x", "steps": [{"id": "a", "task_type": "PASSTHROUGH"}]}
MISTYPED["config"] = {"on_failur": "drain"}


@pytest.fixture
async def created(stepwell_client):
    await stepwell_client.create(MISTYPED)


@pytest.mark.asyncio
async def test_a_create_warns(stepwell_client):
    await stepwell_client.create(MISTYPED)

@pytest.mark.asyncio
async def test_a_fixture_creates(created): ...

@pytest.mark.asyncio
@pytest.mark.stepwell_warnings("no_webhook", "mistyped_member")
async def test_the_mark_names_the_type(stepwell_client):
    await stepwell_client.create(MISTYPED)

@pytest.mark.stepwell_warnings("no_webhook")
def test_the_mark_names_another_type(stepwell_server):
    stepwell_server.tenant_client().create(MISTYPED)

def test_a_later_test_on_the_server_passes(stepwell_server): ...

@pytest.mark.asyncio
async def test_its_own_failure_is_reported(stepwell_client):
    await stepwell_client.create(MISTYPED)
    raise ValueError("its own")
"""
TRIO = """
import pytest

@pytest.fixture
def anyio_backend():
    return "trio"

def test_a(anyio_backend, stepwell_app): ...
"""

_ENDS = ("PASSED", "FAILED")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text(INI)
    return tmp_path


def test_importing_the_plugin_imports_nothing_of_the_service() -> None:
    script = (
        "import sys, stepwell.testing.pytest_plugin\n"
        "print([name for name in sys.modules if name.partition('.')[0] in ('litestar', 'httpx', 'asyncpg', 'msgspec')\n"
        "       or name.startswith('stepwell.') and not name.startswith('stepwell.testing')])"
    )
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert printed == "[]\n"


@pytest.mark.extended
def test_the_example_project_of_the_manual_passes_in_several_processes(tmp_path: Path) -> None:
    write_example(tmp_path)
    environment = {"STEPWELL_MAX_ACTIVE_WORKFLOWS": "0", "STEPWELL_URL": "http://other.test"}
    result = run_pytest(tmp_path, "-n2", env=environment)
    assert "6 passed" in result.stdout, result.stdout + result.stderr


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest prints for a project with all kinds of tests."""
    project = tmp_path_factory.mktemp("project")
    (project / "pytest.ini").write_text(INI)
    for name, text in (("loops", IN_EVERY_LOOP), ("settings", SETTINGS), ("no_loop", IN_NO_LOOP), ("trio", TRIO)):
        (project / f"test_{name}.py").write_text(text)
    result = run_pytest(project, "-rA")
    return result.stdout + result.stderr


@pytest.mark.extended
def test_the_service_runs_in_the_loop_of_its_test(output: str) -> None:
    assert output.count("PASSED test_loops.py") == 7, output


def test_a_project_chooses_settings(output: str) -> None:
    assert output.count("PASSED test_settings.py") == 1, output


def test_a_test_that_the_service_cannot_serve_fails_with_the_reason(output: str) -> None:
    for message in (
        "stepwell_client needs a test that is run by pytest-asyncio or anyio. For sync code",
        "Stepwell runs on asyncio: let the fixture anyio_backend return 'asyncio'",
    ):
        assert message in output
    assert "8 passed, 2 errors" in output


def test_a_warning_of_create_fails_its_test_unless_the_mark_names_the_type(project: Path) -> None:
    (project / "pytest.ini").write_text(INI + "asyncio_mode = auto\naddopts = --strict-markers\n")
    (project / "test_warnings.py").write_text(WARNINGS)
    result = run_pytest(project, "-rA")
    lines = [line.split() for line in result.stdout.splitlines() if line.startswith(_ENDS)]
    ended = {words[1]: words[0] for words in lines}
    assert ended == {
        "test_warnings.py::test_a_create_warns": "FAILED",
        "test_warnings.py::test_a_fixture_creates": "FAILED",
        "test_warnings.py::test_the_mark_names_the_type": "PASSED",
        "test_warnings.py::test_the_mark_names_another_type": "FAILED",
        "test_warnings.py::test_a_later_test_on_the_server_passes": "PASSED",
        "test_warnings.py::test_its_own_failure_is_reported": "FAILED",
    }, result.stdout + result.stderr
    place = "- config.on_failur: Stepwell ignores this; did you mean on_failure? (mistyped_member)"
    assert result.stdout.count(place) == 3, result.stdout
    assert '@pytest.mark.stepwell_warnings("mistyped_member")' in result.stdout
    assert "ValueError: its own" in result.stdout


@pytest.mark.extended
def test_a_test_on_postgresql_has_its_own_database(project: Path) -> None:
    (project / "pytest.ini").write_text(INI + "stepwell_database = postgres\n")
    (project / "test_loops.py").write_text(IN_EVERY_LOOP)
    result = run_pytest(project)
    assert "7 passed" in result.stdout, result.stdout + result.stderr


@pytest.mark.extended
def test_in_auto_mode_a_test_that_is_marked_for_anyio_fails_with_the_reason(project: Path) -> None:
    (project / "pytest.ini").write_text(INI + "asyncio_mode = auto\n")
    (project / "test_marked.py").write_text(MARKED_FOR_ANYIO)
    result = run_pytest(project)
    assert "remove the marker anyio, or set asyncio_mode = strict" in result.stdout, result.stdout + result.stderr
    assert "1 error" in result.stdout


@pytest.mark.extended
def test_an_unknown_database_is_refused(project: Path) -> None:
    (project / "pytest.ini").write_text(INI + "stepwell_database = sqlite\n")
    assert "stepwell_database is memory or postgres, not sqlite" in run_pytest(project).stderr
