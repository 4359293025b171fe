"""The snapshot of the statements that the stores send, each with its plan.

The statements are those that the tests of `SENDING` send. Each of these tests fails if it sends another one. A plan is
the generic one, which serves all values, on empty tables.
"""

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile
from textwrap import TextWrapper
from typing import Any, NamedTuple

import asyncpg
import pytest
from msgspec import json

from stepwell.persistence.connections.database import asyncpg_connect, create_api_engine
from support.database.query_plans import explain
from support.processes.source_tree import TOP
from support.snapshots import difference, read_snapshot

ENGINE, API = "statements_engine.sql", "statements_api.sql"
NAMES = (ENGINE, API)
POSTGRES = 18  # another major version may plan otherwise
# Folders and modules whose tests send all statements of the stores, through connections as the service has.
SENDING = (
    "tests/persistence/contract",
    "tests/persistence/stores/test_file_references.py",
    "tests/persistence/stores/test_idempotency_keys.py",
    "tests/persistence/stores/test_installation.py",
    "tests/persistence/stores/test_output_query_plan.py",
    "tests/persistence/stores/test_unreadable_commands.py",
)
RECORDING = "STEPWELL_RECORD_STATEMENTS"
_STATEMENT = re.compile(r"(SELECT|WITH|INSERT|UPDATE|DELETE)\b")  # what the drivers send themselves is in small letters
_CLAUSE = re.compile(
    r"(?<!DELETE)(?<!DISTINCT)(?<!FOR)(?<!DO) (?=(?:WITH|SELECT|INSERT INTO|UPDATE|DELETE FROM|FROM|USING|SET|VALUES|"
    r"WHERE|GROUP BY|ORDER BY|LIMIT|RETURNING|ON CONFLICT|UNION ALL|(?:LEFT OUTER |LEFT |CROSS )?JOIN) )"
)
_WIDTH = 118


class Statement(NamedTuple):
    """A statement with single spaces between its words. *name* is the snapshot that it belongs to."""

    name: str
    text: str


@contextmanager
def sent_statements() -> Iterator[set[Statement]]:
    """Yield the statements that connections as the service has, opened in the block, send."""
    sent: set[Statement] = set()
    inner = asyncpg.connect

    async def connect(*args: Any, **options: Any) -> asyncpg.Connection:
        settings = options.get("server_settings") or {}
        if settings.get("application_name") != "stepwell":
            return await inner(*args, **options)
        name = ENGINE if settings["plan_cache_mode"] == "force_generic_plan" else API
        base = options.get("connection_class", asyncpg.Connection)
        return await inner(*args, **options | {"connection_class": _recording(base, name, sent)})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncpg, "connect", connect)
        yield sent


def _recording(base: Any, name: str, sent: set[Statement]) -> Any:
    """Return a subclass of the connection class *base* that adds what it sends to *sent*."""

    def record(text: str) -> None:
        if _STATEMENT.match(text := " ".join(text.split())):
            sent.add(Statement(name, text))

    def method(called: str) -> Any:
        async def send(self: Any, text: str, *values: Any, **options: Any) -> Any:
            record(text)
            return await getattr(base, called)(self, text, *values, **options)

        return send

    methods = {called: method(called) for called in ("execute", "fetch", "fetchrow", "fetchval", "prepare")}
    return type("RecordingConnection", (base,), {"__slots__": (), **methods})


def sends_all(path: Path) -> bool:
    """Return whether the tests of this module send what is recorded."""
    return any(path.is_relative_to(TOP / each) for each in SENDING)


def complaints(sent: Collection[Statement]) -> str:
    """Return which of these statements aren't in the snapshots, each beside the one that resembles it most."""
    known = recorded_statements()
    texts = []
    for name, text in sorted(set(sent) - known):
        lines = _lines(text)
        others = [_lines(each.text) for each in sorted(known) if each.name == name]
        nearest: list[str] = max(others, key=lambda other: len(set(other) & set(lines)), default=[])
        texts.append(difference(name, "\n".join(nearest), "\n".join(lines)))
    return "\n\n".join(texts)


@cache
def recorded_statements() -> frozenset[Statement]:
    """Return the statements of the snapshots."""
    return frozenset(Statement(name, text) for name in NAMES for text in _statements(read_snapshot(name)))


def _statements(snapshot: str) -> Iterator[str]:
    for entry in snapshot.split("\n\n"):
        lines = [line for line in entry.splitlines() if not line.startswith("--")]
        if lines:
            yield " ".join(" ".join(lines).split()).removesuffix(";")


async def snapshots(dsn: str, statements: Collection[Statement]) -> dict[str, str]:
    """Return the snapshots of these statements, with their plans in the migrated database *dsn*, which has no rows."""
    texts = {}
    for name in NAMES:
        async with _CONNECTIONS[name](dsn) as connection:
            entries = [await _entry(connection, text) for each, text in sorted(statements) if each == name]
        texts[name] = "\n\n".join([f"-- Plans of PostgreSQL {POSTGRES}.", *entries]) + "\n"
    return texts


async def _entry(connection: asyncpg.Connection, text: str) -> str:
    plan = await explain(connection, text, "COSTS OFF")
    return "\n".join(["\n".join(_lines(text)) + ";", *(f"--   {line}" for line in plan)])


def _lines(text: str) -> list[str]:
    """Return a statement in lines that begin with its clauses. Further lines of a clause are indented."""
    wrapper = TextWrapper(_WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    return [line for clause in _CLAUSE.sub("\n", text).split("\n") for line in wrapper.wrap(clause)]


@asynccontextmanager
async def _engine_connection(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg_connect(dsn, timeout_s=60)()
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def _api_connection(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Yield a connection as the API has, but for plans that suit all values, and don't read the empty tables whole."""
    engine = create_api_engine(dsn, pool=1, timeout_s=60)
    async with engine.connect() as outer:
        connection = (await outer.get_raw_connection()).driver_connection
        assert connection is not None
        await connection.execute("SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off")
        yield connection
    await engine.dispose()


_CONNECTIONS = {ENGINE: _engine_connection, API: _api_connection}


def sent_by_tests() -> set[Statement]:
    """Run the tests that send all statements, and return what they send. It takes a minute."""
    with NamedTemporaryFile("r", suffix=".jsonl", encoding="utf-8") as file:
        command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "--everything", *SENDING]
        subprocess.run(command, cwd=TOP, env=os.environ | {RECORDING: file.name}, check=True)
        return {Statement(*json.decode(line, type=tuple[str, str])) for line in file}


def record_or_complain(sent: Collection[Statement]) -> str:
    """Return `complaints`. While the snapshots are renewed, add to the file for `sent_by_tests` instead."""
    if (path := os.environ.get(RECORDING)) is None:
        return complaints(sent)
    with Path(path).open("ab") as file:
        file.writelines(json.encode(each) + b"\n" for each in sent)
    return ""
