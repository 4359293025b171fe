"""A codec for rows of composite types that `tables.column.RowType` has encoded, on connections that write many rows."""

from functools import partial
from typing import Any

import asyncpg

from stepwell.persistence.connections.database import Connect
from stepwell.persistence.tables.column import RowType
from stepwell.persistence.tables.wire import encode_array

# The object identifiers of composite types and of their arrays.
_TYPES = """
SELECT name, to_regtype(name)::oid AS type, to_regtype(name || '[]')::oid AS array
FROM unnest($1::text[]) AS name WHERE to_regtype(name) IS NOT NULL
"""


async def use_encoded_rows(connection: asyncpg.Connection) -> None:
    """Let statements on *connection* take lists of encoded rows as parameters."""
    # Connections that count their statements don't count this one.
    rows = await asyncpg.Connection.fetch(connection, _TYPES, list(RowType.by_name))
    settings = connection._protocol.get_settings()  # noqa: SLF001 - `set_type_codec` refuses types of arrays
    for row in rows:
        encode = partial(encode_array, row["type"])
        settings.add_python_codec(row["array"], row["name"], "", [], "scalar", encode, bytes, "binary")


def with_row_codec(connect: Connect) -> Connect:
    """Return a *connect* whose connections have this codec."""

    async def connect_with_codec(*args: Any, **options: Any) -> asyncpg.Connection:
        connection = await connect(*args, **options)
        try:
            await use_encoded_rows(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    return connect_with_codec
