"""The bounds on active and waiting workflows, per tenant and in total."""

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, Struct

from stepwell.basics.strict_json.size import count_values, most_values

STEPS_A_SLOT, BYTES_A_SLOT = 20, 64 * 1024
# A decoded value takes up to 100 bytes of memory, however short its text is. Usual definitions have 20 characters or
# more for each value.
_BYTES_A_VALUE = 20
_SHORT_TEXT = 6 * 1024  # has at most 3,072 values, which are too few for a second slot


def slots_of(steps: int, definition_bytes: int) -> int:
    """Return how many slots an active workflow takes, because of the memory that it needs.

    It takes one slot for each 20 steps, or one for each 64 KiB of its definition if that is more. The two aren't added,
    because then a workflow of 20 steps would take two slots. *definition_bytes* is the result of `definition_size`; 0
    if that is unknown.
    """
    return max(-(-steps // STEPS_A_SLOT), -(-definition_bytes // BYTES_A_SLOT), 1)


def definition_size(text: bytes) -> int:
    """Return the size of a definition for `slots_of`: the bytes of its JSON, or 20 for each value if that is more."""
    if len(text) <= _SHORT_TEXT or most_values(text) * _BYTES_A_VALUE <= len(text):
        return len(text)
    return max(len(text), count_values(text).values * _BYTES_A_VALUE)  # exact, because strings may be full of commas


class RootLimits(Struct, frozen=True):
    """The bounds of all sub-workflows of one root together: their number, their steps, and the bytes of their
    definitions (`definition_size`).

    Deleted sub-workflows count too. The bounds exist because each item stores the definition again, which may have
    16 MB.
    """

    sub_workflows: int = 10_000
    steps: int = 1_000_000
    definition_bytes: int = 1024**3


class TenantLimit(Struct, frozen=True, forbid_unknown_fields=True):
    """A tenant's own bounds. None: the service's bound for each tenant."""

    active_workflows: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    waiting_workflows: Annotated[int, Meta(ge=0, le=10_000_000)] | None = None


class WorkflowLimits(Struct, frozen=True):
    """The bounds on workflows in one process.

    A tenant may hold as much as is free (`rules.threshold`), and at most its own bound. So one tenant alone gets at
    most half of the total, and tenants that come later get the rest.

    An active workflow takes as many slots as `slots_of` returns. A workflow that needs more slots than are free still
    becomes active if one slot is free and its tenant has no active workflow: otherwise large workflows would wait for
    ever. So the total exceeds the bound by one such workflow at most.

    `active` is the number of slots, and `active_per_tenant` that of one tenant. `waiting` is the number of waiting
    workflows. A tenant whose longest waiting workflow was started more than `waiting_s` ago gets no more waiting ones.
    `tenants` are the bounds of single tenants.
    """

    active: int = 2_000
    active_per_tenant: int = 500
    waiting: int = 20_000
    waiting_s: float = 3_600.0
    tenants: Mapping[str, TenantLimit] = {}

    def active_of(self, tenant: str | None) -> int:
        """Return how many active workflows the tenant may have while enough of the total is free."""
        own = self._own(tenant).active_workflows
        return min(self.active, self.active_per_tenant if own is None else own)

    def waiting_of(self, tenant: str | None) -> int:
        """Return how many waiting workflows the tenant may have while enough of the total is free."""
        own = self._own(tenant).waiting_workflows
        return self.waiting if own is None else min(self.waiting, own)

    def _own(self, tenant: str | None) -> TenantLimit:
        return _NO_LIMIT if tenant is None else self.tenants.get(tenant, _NO_LIMIT)


_NO_LIMIT = TenantLimit()
