"""The scope of a call: the tenant whose workflows it may see and change."""

from msgspec import Struct


class TenantScope(Struct, frozen=True):
    """The workflows that a call may see: those of `tenant`, those without a tenant (None), or all (`every`)."""

    tenant: str | None = None
    every: bool = False

    def covers(self, tenant: str | None) -> bool:
        """Return whether the call may see workflows of *tenant*."""
        return self.every or self.tenant == tenant


EVERY_TENANT = TenantScope(every=True)
