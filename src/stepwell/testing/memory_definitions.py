"""`ports.stored_definitions.Definitions` in memory."""

from collections.abc import Sequence

from msgspec.structs import replace

from stepwell.basics.errors import NotFound
from stepwell.contract.stored_definitions import DefinitionUpdate
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
from stepwell.testing.memory_tables import DefinitionRow, MemoryAdapter


class MemoryDefinitions(MemoryAdapter):
    async def put(self, tenant: str | None, name: str, new: NewContent, *, dry_run: bool = False) -> StoredDefinition:
        row = self._row(tenant, name)
        newest = row.versions[row.name.newest][0] if row.versions else None
        stored = name_with_version(row.name, newest, self._use(tenant), new)
        if stored is None:
            return _newest(row)
        version = replace(new.version, version=stored.newest)
        if not dry_run:
            versions = row.versions | {stored.newest: (version, new.content)}
            self._tables.definitions[tenant or "", name] = DefinitionRow(stored, versions)
        return StoredDefinition(stored, version, created=True)

    async def find(self, tenant: str | None, name: str, version: int | None = None) -> StoredDefinition:
        row = self._row(tenant, name)
        wanted = row.name.newest if version is None else version
        if wanted not in row.versions:
            raise NotFound("definition" if version is None else "version of a definition")
        return StoredDefinition(row.name, row.versions[wanted][0])

    async def content(self, tenant: str | None, name: str, version: int) -> bytes:
        versions = self._row(tenant, name).versions
        if version not in versions:
            raise NotFound("definition")
        return versions[version][1]

    async def page(self, tenant: str | None, query: DefinitionFilter) -> Sequence[StoredDefinition]:
        labels = query.wanted_labels()
        rows = [row for (lane, _), row in sorted(self._tables.definitions.items()) if lane == (tenant or "")]
        matches = [
            _newest(row)
            for row in rows
            if row.versions
            and labels is not None
            and row.name.name > query.after
            and row.name.name.startswith(query.prefix)
            and row.name.archived == query.archived
            and labels.items() <= row.name.labels.items()
        ]
        return matches[: query.limit]

    async def versions(self, tenant: str | None, name: str) -> Sequence[StoredVersion]:
        row = self._row(tenant, name)
        if not row.versions:
            raise NotFound("definition")
        return [version for version, _ in reversed(row.versions.values())]

    async def update(
        self, tenant: str | None, name: str, changes: DefinitionUpdate, conditions: RevisionConditions
    ) -> StoredDefinition:
        row = self._row(tenant, name)
        row.name = changed_name(row.name, changes, conditions)
        return _newest(row)

    async def delete(self, tenant: str | None, name: str, conditions: RevisionConditions) -> DeletedDefinition:
        found = existing(self._row(tenant, name).name, conditions)
        self._tables.definitions[tenant or "", name] = DefinitionRow(found.deleted())
        rows = [row for (lane, _), row in sorted(self._tables.definitions.items()) if lane == (tenant or "")]
        return DeletedDefinition(found, tuple(row.name.name for row in rows if _refers_to(row, name)))

    async def use(self, tenant: str | None) -> DefinitionUse:
        return self._use(tenant)

    def _use(self, tenant: str | None) -> DefinitionUse:
        rows = [row.name for (lane, _), row in self._tables.definitions.items() if lane == (tenant or "")]
        return DefinitionUse(sum(row.versions > 0 for row in rows), sum(row.bytes for row in rows), len(rows))

    def _row(self, tenant: str | None, name: str) -> DefinitionRow:
        return self._tables.definitions.get((tenant or "", name)) or DefinitionRow(StoredName(name=name))


def _newest(row: DefinitionRow) -> StoredDefinition:
    return StoredDefinition(row.name, row.versions[row.name.newest][0])


def _refers_to(row: DefinitionRow, name: str) -> bool:
    used = (row.versions.get(version) for version in (row.name.newest, row.name.default_version or 0))
    return any(found is not None and name in found[0].refers_to for found in used)
