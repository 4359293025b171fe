"""The scope of a call: the tenant whose workflows it may see and change; and the tenant that its work counts for.

What must hold: turns, worker processes, memory, connections and streams count for the tenant that owns the data,
also for a request with a `tenants:all` token, a signed URL, a ticket, a decision link, or a provider's callback.
They count for the caller only until the tenant is known, and for what concerns many tenants together, like the feed of
all events. Such callers share nothing with the workflows that have no tenant.
"""

from enum import Enum
from typing import Final, TypeAlias

from msgspec import Struct


class SharedCaller(Enum):
    """The callers that may act for any tenant. Their work counts for them until its tenant is known."""

    EVERY_TENANT = "tenants:all"
    SIGNED_URL = "signed URL"
    NOBODY = "nobody"


Account: TypeAlias = str | SharedCaller | None
"""The account of some work, with limits of its own: a tenant, all workflows without a tenant (None), or a caller."""


class TenantScope(Struct, frozen=True):
    """The workflows that a call may see: those of `tenant`, those without a tenant (None), or all (`every`)."""

    tenant: str | None = None
    every: bool = False

    def covers(self, tenant: str | None) -> bool:
        """Return whether the call may see workflows of *tenant*."""
        return self.every or self.tenant == tenant

    @property
    def account(self) -> Account:
        """The account of the call's work until its tenant is known."""
        return SharedCaller.EVERY_TENANT if self.every else self.tenant


EVERY_TENANT: Final = TenantScope(every=True)
