"""The storage of definitions by name, as a protocol."""

from collections.abc import Sequence
from typing import Protocol

from stepwell.contract.stored_definitions import DefinitionUpdate
from stepwell.rules.stored_definitions import (
    DefinitionFilter,
    DefinitionUse,
    DeletedDefinition,
    NewContent,
    RevisionConditions,
    StoredDefinition,
    StoredVersion,
)


class Definitions(Protocol):
    """The stored definitions of all tenants. None is the tenant of those without one.

    Each change is one transaction, and changes of one tenant's definitions are made one after the other. All methods
    raise `Unavailable`.
    """

    async def put(self, tenant: str | None, name: str, new: NewContent, *, dry_run: bool = False) -> StoredDefinition:
        """Store the next version of *name*, unless the newest one has the same content. Return that, or the next one.

        *dry_run*: store nothing. Raises `PreconditionFailed` and `QuotaExceeded`.
        """

    async def find(self, tenant: str | None, name: str, version: int | None = None) -> StoredDefinition:
        """Return the definition in this version, or in its newest one. Raises `NotFound`."""

    async def content(self, tenant: str | None, name: str, version: int) -> bytes:
        """Return the content of a version as JSON text. Raises `NotFound`."""

    async def page(self, tenant: str | None, query: DefinitionFilter) -> Sequence[StoredDefinition]:
        """Return a page of the tenant's definitions, each in its newest version, ordered by the bytes of the name."""

    async def versions(self, tenant: str | None, name: str) -> Sequence[StoredVersion]:
        """Return all versions of *name*, the newest first. Raises `NotFound`."""

    async def update(
        self, tenant: str | None, name: str, changes: DefinitionUpdate, conditions: RevisionConditions
    ) -> StoredDefinition:
        """Change what belongs to *name*. Return it with its newest version.

        Raises `NotFound`, `PreconditionFailed`, and `InvalidRequest` for a default version that doesn't exist.
        """

    async def delete(self, tenant: str | None, name: str, conditions: RevisionConditions) -> DeletedDefinition:
        """Delete *name* with all its versions. Return it as it was. Raises `NotFound` and `PreconditionFailed`."""

    async def use(self, tenant: str | None) -> DefinitionUse:
        """Return what the tenant's definitions take of its limits."""
