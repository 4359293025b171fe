"""One PostgreSQL server a session, one migrated database a test, and the whole service over it.

`pytest` runs the core suite. `pytest --everything` also runs the tests that are marked `extended`.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import httpx
import pytest
import structlog
from hypothesis import HealthCheck, settings

from stepwell.persistence.schema.migrations import migrate
from stepwell.runtime.freed_memory import tune_gc
from stepwell.runtime.telemetry import configure_logging
from support.database.postgres import TestServer, connected, create_database, drop_database, running_server
from support.database.prepared_cluster import prepared_cluster, running_copy
from support.processes.node import Node, install_node_packages
from support.service.live_service import Service, running_service
from support.service.logs import restored_logging

# A shell starts a command in the background with SIGINT ignored, and processes inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Else each process that a test starts compiles all of Stepwell.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# As the service's default. Lines of what goes well would take longer than what goes well, and a coloured traceback of
# rich takes longer than most tests.
structlog.configure(
    wrapper_class=structlog.make_filtering_bound_logger("info"),
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ],
)

# As the service does, too. Thousands of tests stay in memory, and each full collection visits all of them.
tune_gc()

# No test asserts a time, and a loaded machine may draw slowly.
settings.register_profile("everything", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=100)
settings.register_profile("core", settings.get_profile("everything"), max_examples=30)

_LONGEST_TESTS = [Path(__file__).parent / name for name in ("test_house.py", "crash", "processes")]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--everything", action="store_true", help="run the core suite, and all tests marked `extended`")


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("everything" if config.getoption("everything") else "core")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what isn't asked for, and put the longest tests first.

    At the end, a worker would be busy with them while the others have nothing to do.
    """
    if not config.getoption("everything"):
        extended = [item for item in items if item.get_closest_marker("extended")]
        config.hook.pytest_deselected(items=extended)
        items[:] = [item for item in items if not item.get_closest_marker("extended")]
    items.sort(key=lambda item: not any(item.path.is_relative_to(path) for path in _LONGEST_TESTS))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name each test that this machine can't run, and say what the machine lacks."""
    if skipped := terminalreporter.getreports("skipped"):
        terminalreporter.section("not run on this machine")
        for report in skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
            terminalreporter.write_line(f"{report.nodeid}: {reason.removeprefix('Skipped: ')}")


@pytest.fixture(name="restored_logging")
def _restored_logging() -> Iterator[None]:
    """Let a test configure the logs as it likes."""
    with restored_logging():
        yield


@pytest.fixture
def debug_logging(restored_logging: None, capfd: pytest.CaptureFixture[str]) -> None:
    """Send all logs of all libraries, down to debug, to the captured stderr in the form of the service."""
    configure_logging("json", "debug")


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """Node.js with the packages of `tests/typescript`. Without Node.js, the test is skipped."""
    own = tmp_path_factory.getbasetemp()
    return install_node_packages(own.parent if "PYTEST_XDIST_WORKER" in os.environ else own)


@pytest.fixture(scope="session")
def server() -> Iterator[TestServer]:
    with running_server() as running:
        yield running


@pytest.fixture(scope="session")
def template(server: TestServer) -> str:
    """A migrated database that others are copied from."""

    async def make() -> str:
        name = await create_database(server.dsn())
        await migrate(server.dsn(name))
        return name

    return asyncio.run(make())


@pytest.fixture(scope="session")
def prepared() -> Iterator[Path]:
    """A cluster with the tables of the service, to be copied."""
    with prepared_cluster() as root:
        yield root


@pytest.fixture(scope="session")
def durable(prepared: Path) -> Iterator[TestServer]:
    """A server whose commits are on disk, as `serve` and `bench` demand. Its first database has all tables."""
    with running_copy(prepared, {"fsync": "on", "full_page_writes": "on"}) as server:
        yield server


@pytest.fixture
async def dsn(server: TestServer, template: str) -> AsyncIterator[str]:
    name = await create_database(server.dsn(), template)
    yield server.dsn(name)
    await drop_database(server.dsn(), name)


@pytest.fixture
async def sql(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the database of `dsn`."""
    async with connected(dsn) as connection:
        yield connection


@pytest.fixture
async def service(dsn: str, tmp_path: Path) -> AsyncIterator[Service]:
    """The whole service on a database of its own, with a client that may do everything."""
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(running_service(dsn, tmp_path))


@pytest.fixture
def client(service: Service) -> httpx.AsyncClient:
    return service.client
