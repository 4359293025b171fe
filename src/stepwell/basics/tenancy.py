"""The scope of a call: the tenant whose workflows it may see and change; and the tenant that its work counts for.

What must hold: turns, child processes, memory, connections and streams count for the tenant that owns the data,
also for a request with a `tenants:all` token, a signed URL, a ticket, a decision link, or a provider's callback.
They count for the caller only until the tenant is known, and for what concerns many tenants together, like the feed of
all events. Such callers share nothing with the workflows that have no tenant.
"""

from collections.abc import Collection
from enum import Enum
from typing import Final, TypeAlias
from uuid import UUID

from msgspec import Struct


class SharedCaller(Enum):
    """The callers that may act for any tenant. Their work counts for them until its tenant is known."""

    EVERY_TENANT = "tenants:all"
    SIGNED_URL = "signed URL"
    NOBODY = "nobody"


Account: TypeAlias = str | SharedCaller | None
"""The account of some work, which has its own limits: a tenant, all workflows without a tenant (None), or a caller."""


class TenantScope(Struct, frozen=True, omit_defaults=True):
    """The workflows and uploads that a call may see: those of `tenant`, those without a tenant (None), or all
    (`every`). With `subject`, only those that this subject has created.
    """

    tenant: str | None = None
    every: bool = False
    subject: str | None = None

    def covers(self, tenant: str | None, created_by: str | None) -> bool:
        """Return whether the call may see what *created_by* has created for *tenant*. None is no known subject."""
        return self.covers_tenant(tenant) and self.subject in (None, created_by)

    def covers_tenant(self, tenant: str | None) -> bool:
        return self.every or self.tenant == tenant

    @property
    def account(self) -> Account:
        """The account of the call's work until its tenant is known."""
        return SharedCaller.EVERY_TENANT if self.every else self.tenant


class FileScope(Struct, frozen=True):
    """The files that a run may read: those of `tenant`.

    With `named`, these are only the paths in `named`, the uploads that `subject` has created, and the files of the run
    `root_id` and its sub-workflows.
    """

    tenant: str | None = None
    subject: str = ""
    root_id: UUID | None = None
    named: frozenset[str] | None = None

    @classmethod
    def of(cls, tenant: str | None, created_by: str, root_id: UUID, named: Collection[str] | None) -> "FileScope":
        """Return the files of a workflow whose stored definition names the files *named*; None: it is not limited."""
        return cls(tenant) if named is None else cls(tenant, created_by, root_id, frozenset(named))


EVERY_TENANT: Final = TenantScope(every=True)
