"""`ports.stored_definitions.Definitions` on asyncpg.

A change first locks the tenant's definitions. Each later statement of its transaction has a snapshot of its own, and so
sees what the change before has committed.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import asyncpg
from msgspec.structs import replace

from stepwell.basics.errors import NotFound, StepwellError
from stepwell.contract.stored_definitions import DefinitionUpdate
from stepwell.persistence.connections.connection_pool import PooledAdapter
from stepwell.persistence.tables.column import names, to_json
from stepwell.persistence.tables.stored_definitions import NAME, VERSION, read_name, read_version
from stepwell.rules.stored_definitions import (
    DefinitionFilter,
    DefinitionUse,
    DeletedDefinition,
    NewContent,
    RevisionConditions,
    StoredDefinition,
    StoredName,
    StoredVersion,
    changed_name,
    existing,
    name_with_version,
)

LOCK: Final = "SELECT pg_advisory_xact_lock(hashtext('stepwell definitions ' || $1))"
USE: Final = """
SELECT count(*) FILTER (WHERE versions > 0) AS names, coalesce(sum(bytes), 0)::bigint AS bytes,
       count(*) AS used
FROM definitions WHERE lane = $1
"""
NAME_OF: Final = f"SELECT {names(NAME)} FROM definitions WHERE lane = $1 AND name = $2"  # noqa: S608 - constants
VERSION_OF: Final = f"""
SELECT {names(VERSION)} FROM definition_versions WHERE lane = $1 AND name = $2 AND version = $3
"""  # noqa: S608 - built from constants

STORE: Final = """
WITH stored AS (
    INSERT INTO definition_versions (lane, name, version, digest, size, created_by, created_at, refers_to, content)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::json)
)
INSERT INTO definitions AS d (lane, name, newest, versions, labels, bytes) VALUES ($1, $2, $3, 1, '{}', $5::integer)
ON CONFLICT (lane, name) DO UPDATE
SET newest = excluded.newest, versions = d.versions + 1, bytes = d.bytes + excluded.bytes
"""

FIND: Final = f"""
SELECT {names(NAME, "d.")}, {names(VERSION, "v.")} FROM definitions AS d JOIN definition_versions AS v
ON v.lane = d.lane AND v.name = d.name AND v.version = coalesce($3, d.newest)
WHERE d.lane = $1 AND d.name = $2
"""  # noqa: S608 - built from constants
CONTENT: Final = "SELECT content FROM definition_versions WHERE lane = $1 AND name = $2 AND version = $3"
PAGE: Final = f"""
SELECT {names(NAME, "d.")}, {names(VERSION, "v.")} FROM definitions AS d JOIN definition_versions AS v
ON v.lane = d.lane AND v.name = d.name AND v.version = d.newest
WHERE d.lane = $1 AND d.archived = $2 AND starts_with(d.name, $3) AND d.name COLLATE "C" > $4
AND d.labels::jsonb @> $5::text::jsonb
ORDER BY d.name COLLATE "C" LIMIT $6
"""  # noqa: S608 - built from constants
VERSIONS: Final = f"""
SELECT {names(VERSION)} FROM definition_versions WHERE lane = $1 AND name = $2 ORDER BY version DESC
"""  # noqa: S608 - built from constants

UPDATE: Final = """
UPDATE definitions SET default_version = $3, archived = $4, labels = $5::text::json, description = $6
WHERE lane = $1 AND name = $2
"""

DELETE: Final = """
WITH gone AS (
    DELETE FROM definition_versions WHERE lane = $1 AND name = $2
), emptied AS (
    UPDATE definitions SET versions = 0, bytes = 0, default_version = NULL, archived = false, labels = '{}',
                           description = NULL
    WHERE lane = $1 AND name = $2
)
SELECT d.name FROM definitions AS d WHERE d.lane = $1 AND d.name <> $2 AND EXISTS (
    SELECT FROM definition_versions AS v WHERE v.lane = d.lane AND v.name = d.name
      AND v.version IN (d.newest, d.default_version) AND $2 = ANY(v.refers_to)
) ORDER BY d.name COLLATE "C"
"""


class PostgresDefinitions(PooledAdapter):
    async def put(self, tenant: str | None, name: str, new: NewContent, *, dry_run: bool = False) -> StoredDefinition:
        lane = tenant or ""
        async with self._changing(lane, name) as (connection, current):
            use = DefinitionUse(*await connection.fetchrow(USE, lane))
            newest = await _version(connection, lane, current) if current.versions else None
            stored = name_with_version(current, newest, use, new)
            if stored is None:
                assert newest is not None
                return StoredDefinition(current, newest)
            version = replace(new.version, version=stored.newest)
            if not dry_run:
                facts = (version.digest, version.size, version.created_by, version.created_at, list(version.refers_to))
                await connection.execute(STORE, lane, name, stored.newest, *facts, new.content.decode())
            return StoredDefinition(stored, version, created=True)

    async def find(self, tenant: str | None, name: str, version: int | None = None) -> StoredDefinition:
        rows = await self._connections.fetch(FIND, tenant or "", name, version)
        if not rows:
            raise NotFound("definition" if version is None else "version of a definition")
        return StoredDefinition(read_name(rows[0]), read_version(rows[0]))

    async def content(self, tenant: str | None, name: str, version: int) -> bytes:
        rows = await self._connections.fetch(CONTENT, tenant or "", name, version)
        if not rows:
            raise NotFound("definition")
        content: str = rows[0]["content"]
        return content.encode()

    async def page(self, tenant: str | None, query: DefinitionFilter) -> Sequence[StoredDefinition]:
        labels = query.wanted_labels()
        if labels is None:
            return []
        wanted = (query.archived, query.prefix, query.after, to_json(labels), query.limit)
        rows = await self._connections.fetch(PAGE, tenant or "", *wanted)
        return [StoredDefinition(read_name(row), read_version(row)) for row in rows]

    async def versions(self, tenant: str | None, name: str) -> Sequence[StoredVersion]:
        rows = await self._connections.fetch(VERSIONS, tenant or "", name)
        if not rows:
            raise NotFound("definition")
        return [read_version(row) for row in rows]

    async def update(
        self, tenant: str | None, name: str, changes: DefinitionUpdate, conditions: RevisionConditions
    ) -> StoredDefinition:
        lane = tenant or ""
        async with self._changing(lane, name) as (connection, current):
            changed = changed_name(current, changes, conditions)
            members = (changed.default_version, changed.archived, to_json(changed.labels), changed.description)
            await connection.execute(UPDATE, lane, name, *members)
            return StoredDefinition(changed, await _version(connection, lane, changed))

    async def delete(self, tenant: str | None, name: str, conditions: RevisionConditions) -> DeletedDefinition:
        async with self._changing(tenant or "", name) as (connection, current):
            existing(current, conditions)
            rows = await connection.fetch(DELETE, tenant or "", name)
            return DeletedDefinition(current, tuple(row["name"] for row in rows))

    async def use(self, tenant: str | None) -> DefinitionUse:
        (row,) = await self._connections.fetch(USE, tenant or "")
        return DefinitionUse(*row)

    @asynccontextmanager
    async def _changing(self, lane: str, name: str) -> AsyncIterator[tuple[asyncpg.Connection, StoredName]]:
        """Lock the tenant's definitions in a transaction, and yield the name, also if it has no versions.

        A refusal ends the transaction, and the connection is used again.
        """
        async with self._connections.borrow() as connection:
            try:
                async with connection.transaction():
                    await connection.execute(LOCK, lane)
                    row = await connection.fetchrow(NAME_OF, lane, name)
                    yield connection, StoredName(name=name) if row is None else read_name(row)
            except StepwellError as error:
                refusal = error
            else:
                return
        raise refusal


async def _version(connection: asyncpg.Connection, lane: str, name: StoredName) -> StoredVersion:
    return read_version(await connection.fetchrow(VERSION_OF, lane, name.name, name.newest))
