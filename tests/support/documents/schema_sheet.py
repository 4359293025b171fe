"""`migrations/schema.sql`, a sheet of the whole database: all tables with their indexes, and all types.

`PYTHONPATH=tests python -m support.documents.schema_sheet` renews it. A test compares it with a migrated database. It
is read from the catalog and not from pg_dump, whose text differs from version to version of PostgreSQL.
"""

import asyncio
from pathlib import Path
from typing import Final

import asyncpg

from stepwell.persistence.schema.migrations import migrate
from support.database.postgres import connected, create_database, running_server
from support.processes.source_tree import TOP

SHEET: Final = Path(TOP / "migrations/schema.sql")
COMMAND: Final = "PYTHONPATH=tests python -m support.documents.schema_sheet"
_HEAD: Final = f"""-- The database as all migrations leave it: its tables and types, in the order of their creation.
-- `versions/0001_initial.py` says what the columns are for. This file is generated. Renew it with
--     {COMMAND}
"""
# Tables and types, each with its lines. `pg_attribute` has the columns of both.
_RELATIONS: Final = """
SELECT c.relname::text AS name, c.relkind = 'r' AS is_table, array_to_string(c.reloptions, ', ') AS options,
    ARRAY(
        SELECT concat_ws(' ', quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
            CASE WHEN a.attstorage <> t.typstorage THEN 'STORAGE ' || CASE a.attstorage
                WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' WHEN 'p' THEN 'PLAIN' ELSE 'EXTENDED' END END,
            CASE WHEN a.attnotnull THEN 'NOT NULL' END, 'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid, true))
        FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
        LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
    ) AS columns,
    ARRAY(
        SELECT format('CONSTRAINT %I %s', conname, pg_get_constraintdef(oid, true))
        FROM pg_constraint WHERE conrelid = c.oid AND contype <> 'n' ORDER BY contype = 'c', conname
    ) AS constraints,
    ARRAY(
        SELECT pg_get_indexdef(indexrelid) FROM pg_index AS i
        WHERE indrelid = c.oid AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid)
        ORDER BY indexrelid::regclass::text
    ) AS indexes
FROM pg_class AS c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'c') ORDER BY c.oid
"""
_SHORTER: Final = {
    "timestamp with time zone": "timestamptz",
    " ON public.": " ON ",
    " USING btree": "",
    '"position"': "position",
}
_OTHERS: Final = """
SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind NOT IN ('r', 'c', 'i')
UNION ALL SELECT proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT tgname::text FROM pg_trigger WHERE NOT tgisinternal
"""


async def schema_sheet(connection: asyncpg.Connection) -> str:
    """Return the sheet of the database of *connection*. Raises ValueError if it has what the sheet can't show."""
    if others := [row[0] for row in await connection.fetch(_OTHERS)]:
        raise ValueError(f"the sheet shows tables, indexes and types only, not {', '.join(others)}")
    sheet = "\n".join([_HEAD, *[_statements(row) for row in await connection.fetch(_RELATIONS)]])
    for long, short in _SHORTER.items():
        sheet = sheet.replace(long, short)
    return sheet


def _statements(row: asyncpg.Record) -> str:
    lines = ",\n".join(f"    {line}" for line in (*row["columns"], *row["constraints"]))
    start = f"CREATE TABLE {row['name']} (" if row["is_table"] else f"CREATE TYPE {row['name']} AS ("
    options = f" WITH ({row['options']})" if row["options"] else ""
    return f"{start}\n{lines}\n){options};\n" + "".join(f"{index};\n" for index in row["indexes"])


async def _write(dsn: str) -> None:
    await migrate(dsn)
    async with connected(dsn) as connection:
        SHEET.write_text(await schema_sheet(connection))


def main() -> None:
    """Write the sheet of a database that the migrations have just made."""
    with running_server() as server:
        asyncio.run(_write(server.dsn(asyncio.run(create_database(server.dsn())))))


if __name__ == "__main__":
    main()
