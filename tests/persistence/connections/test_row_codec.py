"""Rows of composite types reach PostgreSQL with the values that they were encoded from."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from sqlalchemy import MetaData, Table, TypedColumns

from stepwell.persistence.connections.row_codec import use_encoded_rows
from stepwell.persistence.tables import column
from stepwell.persistence.tables.column import RowType
from support.database.stored_workflows import Bench


class _Columns(TypedColumns):
    owner = column.uuid()
    parent = column.uuid(nullable=True)
    number = column.integer(nullable=True)
    size = column.bigint(nullable=True)
    flag = column.flag()
    share = column.seconds(nullable=True)
    name = column.text(nullable=True)
    value = column.json(nullable=True)
    at = column.time()
    below = column.positions()


_TYPE = """
CREATE TYPE pg_temp.sample AS (owner uuid, parent uuid, number int, size bigint, flag bool, share float8, name text,
                               value json, at timestamptz, below int[])
"""
_EARLY = datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
FULL = (uuid4(), -(1 << 31), 1 << 62, True, -0.1, "ä€" * 200, b'{"a": 1.0}', _EARLY, (1, -2, 3))
EMPTY = (None, None, None, False, None, None, None, None, ())
ZEROS = (None, 0, 0, False, 0.0, "", b"[]", _EARLY + timedelta(days=40_000), (0,))


@pytest.fixture
def sample() -> Iterator[RowType]:
    yield RowType("sample", Table("sample", MetaData(), _Columns).c, "owner, row")
    del RowType.by_name["sample"]


def _fields(values: tuple[Any, ...]) -> SimpleNamespace:
    names = ("parent", "number", "size", "flag", "share", "name", "value", "at", "below")
    return SimpleNamespace(**dict(zip(names, values, strict=True)))


async def test_rows_arrive_as_they_were_encoded(bench: Bench, sample: RowType) -> None:
    await bench.sql.execute(_TYPE)
    await use_encoded_rows(bench.sql)
    owner = UUID(int=7)
    for rows in ([], [FULL], [FULL, EMPTY, ZEROS, FULL]):
        encoded = [sample.encode(owner.bytes, _fields(row)) for row in rows]
        stored = await bench.sql.fetch("SELECT r.* FROM unnest($1::sample[]) AS r", encoded)
        assert [tuple(row) for row in stored] == [
            (owner, *row[:6], row[6] and row[6].decode(), row[7], list(row[8])) for row in rows
        ]


async def test_what_postgresql_refuses_is_refused(bench: Bench, sample: RowType) -> None:
    await bench.sql.execute(_TYPE)
    await use_encoded_rows(bench.sql)
    row = sample.encode(bytes(16), _fields((*FULL[:5], "\x00", *FULL[6:])))
    with pytest.raises(asyncpg.PostgresError):
        await bench.sql.fetch("SELECT r.* FROM unnest($1::sample[]) AS r", [row])
