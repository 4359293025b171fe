"""The pytest plugin: the fixtures `stepwell_server`, `stepwell_app` and `stepwell_client`, and the mark
`stepwell_warnings`.

pytest loads it in every project that Stepwell is installed for. So nothing of the service is imported before a test
uses a fixture.

What must hold:
- `stepwell_app` runs in the event loop of its test. The test is run by pytest-asyncio, in a loop of any scope, or by
  anyio. One task enters and leaves the service.
- Each test has its own service, with nothing stored. `stepwell_server` lasts for the session.
- A test fails if a create warns during its setup or its call, unless the mark names the type of the warning.
"""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import pytest

if TYPE_CHECKING:
    from stepwell.client import AsyncStepwell
    from stepwell.contract.problems import DefinitionWarning
    from stepwell.testing.databases import PostgresServer
    from stepwell.testing.listening_server import StepwellServer
    from stepwell.testing.running_service import RunningStepwell

DATABASE = "stepwell_database"
_DATABASES = ("memory", "postgres")
LoopScope: TypeAlias = Literal["function", "class", "module", "package", "session"]
_LOOP_SCOPES: tuple[LoopScope, ...] = ("function", "class", "module", "package", "session")
_ANYIO = "_stepwell_in_anyio"
_WARNINGS = "stepwell_warnings"
_recorded: list[list[DefinitionWarning]] = []  # a list for each service of the fixtures


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(DATABASE, f"The database of Stepwell's fixtures: {' or '.join(_DATABASES)}", default="memory")


def pytest_configure(config: pytest.Config) -> None:
    """Register the fixtures that run the service in the event loop of a test."""
    if config.getini(DATABASE) not in _DATABASES:
        raise pytest.UsageError(f"{DATABASE} is {' or '.join(_DATABASES)}, not {config.getini(DATABASE)}")
    config.addinivalue_line("markers", f"{_WARNINGS}(type, ...): a create of the test may warn so")
    fixtures = ModuleType("stepwell_fixtures")
    setattr(fixtures, _ANYIO, pytest.fixture(_run_service))
    if config.pluginmanager.hasplugin("asyncio"):
        import pytest_asyncio  # noqa: PLC0415 - it is another plugin, which pytest has to import first

        for scope in _LOOP_SCOPES:
            fixture = pytest_asyncio.fixture(_copy_of_run_service(), loop_scope=scope)
            setattr(fixtures, _fixture_name(scope), fixture)
    config.pluginmanager.register(fixtures, "stepwell-fixtures")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    for warnings in _recorded:
        warnings.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail the test if a create has warned of what no mark names."""
    yield
    allowed = {each for mark in item.iter_markers(_WARNINGS) for each in mark.args}
    unexpected = [each for warnings in _recorded for each in warnings if each.type not in allowed]
    if unexpected:
        from stepwell.contract.problems import place_text  # noqa: PLC0415 - see the module's docstring

        lines = [f"- {place_text(each.loc)}: {each.msg} ({each.type})" for each in unexpected]
        types = ", ".join(f'"{each}"' for each in dict.fromkeys(each.type for each in unexpected))
        advice = f"If that is intended, mark the test: @pytest.mark.{_WARNINGS}({types})"
        pytest.fail("\n".join(["Stepwell warns about a definition:", *lines, advice]), pytrace=False)


@pytest.fixture(scope="session")
def stepwell_settings() -> dict[str, Any]:
    """Settings of the service in all tests. Override this fixture to choose some: `{"breaker_failures": 0}`."""
    return {}


@pytest.fixture(scope="session")
def stepwell_server(
    stepwell_settings: dict[str, Any], _stepwell_postgres: PostgresServer | None
) -> Iterator[StepwellServer]:
    """The service on a port of this machine, for the whole session, for sync and async code: `url`, `token`."""
    from stepwell.testing.listening_server import running_server  # noqa: PLC0415 - see the module's docstring

    with running_server(_stepwell_postgres, stepwell_settings) as server, _recording(server.warnings):
        yield server


@pytest.fixture
def stepwell_app(request: pytest.FixtureRequest) -> RunningStepwell:
    """The service in the event loop of this test: an ASGI app, with `client`, `providers` and `clock`."""
    service: RunningStepwell = _run_in_loop_of(request)[0]
    return service


@pytest.fixture
def stepwell_client(request: pytest.FixtureRequest) -> AsyncStepwell:
    """An `AsyncStepwell` of `stepwell_app`, with a new tenant."""
    client: AsyncStepwell = _run_in_loop_of(request)[1]
    return client


@pytest.fixture(scope="session")
def _stepwell_postgres(pytestconfig: pytest.Config) -> Iterator[PostgresServer | None]:
    if pytestconfig.getini(DATABASE) != "postgres":
        yield None
        return
    from stepwell.testing.databases import postgres_server  # noqa: PLC0415 - see the module's docstring

    with postgres_server() as server:
        yield server


def _run_in_loop_of(request: pytest.FixtureRequest) -> Any:
    """Return the value of the fixture that runs the service in the event loop of the test."""
    if "anyio_backend" in request.fixturenames:
        backend = request.getfixturevalue("anyio_backend")
        if (backend if isinstance(backend, str) else backend[0]) != "asyncio":
            pytest.fail("Stepwell runs on asyncio: let the fixture anyio_backend return 'asyncio'", pytrace=False)
        if _is_auto_mode(request.config):
            message = (
                "with asyncio_mode = auto, pytest-asyncio runs the fixtures of this test in another loop than "
                "anyio runs the test: remove the marker anyio, or set asyncio_mode = strict"
            )
            pytest.fail(message, pytrace=False)
        return request.getfixturevalue(_ANYIO)
    marker = request.node.get_closest_marker("asyncio")
    if marker is None or not request.config.pluginmanager.hasplugin("asyncio"):
        message = (
            f"{request.fixturename} needs a test that is run by pytest-asyncio or anyio. "
            "For sync code, use stepwell_server."
        )
        pytest.fail(message, pytrace=False)
    scope = marker.kwargs.get("loop_scope") or request.config.getini("asyncio_default_test_loop_scope") or "function"
    return request.getfixturevalue(_fixture_name(scope))


def _is_auto_mode(config: pytest.Config) -> bool:
    if not config.pluginmanager.hasplugin("asyncio"):
        return False
    return str(config.getoption("asyncio_mode") or config.getini("asyncio_mode")) == "auto"


def _fixture_name(loop_scope: str) -> str:
    return f"_stepwell_in_{loop_scope}_loop"


def _copy_of_run_service() -> Callable[..., AsyncIterator[Any]]:
    """Return `_run_service` as a new function, because a fixture's decorator marks the function."""

    async def run_service(
        stepwell_settings: dict[str, Any], _stepwell_postgres: PostgresServer | None
    ) -> AsyncIterator[Any]:
        async for value in _run_service(stepwell_settings, _stepwell_postgres):
            yield value

    return run_service


async def _run_service(
    stepwell_settings: dict[str, Any], _stepwell_postgres: PostgresServer | None
) -> AsyncIterator[tuple[RunningStepwell, AsyncStepwell]]:
    in_one_task, running_on = _import_service()
    async with in_one_task(running_on(_stepwell_postgres, stepwell_settings)) as service:
        with _recording(service.warnings):
            yield service, await service.tenant_client()


@contextmanager
def _recording(warnings: list[DefinitionWarning]) -> Iterator[None]:
    _recorded.append(warnings)
    try:
        yield
    finally:
        _recorded[:] = [each for each in _recorded if each is not warnings]


@cache
def _import_service() -> tuple[Any, Any]:
    """Import the service, and let the garbage collector ignore what is imported.

    A new service has so many objects that each test causes a full collection. That would visit all imported modules,
    and take a quarter of the test's time.
    """
    from stepwell.testing.running_service import in_one_task, running_on  # noqa: PLC0415 - see the module's docstring

    gc.collect()
    gc.freeze()
    return in_one_task, running_on
