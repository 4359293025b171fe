"""Pools: what steps wait for. Each has its own queue, and a number of slots."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from stepwell.contract.enums import ProviderType
from stepwell.contract.providers import ModelLimit
from stepwell.rules.costs import ANY_MODEL

LOCAL: Final = ProviderType.LOCAL  # hot path: an attribute of an enum costs 0.1 µs in Python 3.11


class ModelPool(Struct, frozen=True):
    """A model with its own limit."""

    provider: ProviderType
    model: str
    limit: ModelLimit

    @property
    def key(self) -> str:
        """The name of the pool in the division of limits."""
        return f"model {self.provider} {self.model}"


DividedPool = ProviderType | ModelPool  # limits of LOCAL aren't divided
Pool = DividedPool | None


class SlotLimits(Struct, frozen=True):
    """Numbers of slots: in total, for LOCAL, for each other provider, and for each tenant (None: no limit).

    `models`: limits by provider and model. The model `*` stands for each one that isn't named. `local_memory`: bytes
    for all child processes of LOCAL; None if LOCAL's work isn't weighed. `local_on_workers`: other machines do LOCAL's
    work, so its slots are those of a remote provider.
    """

    total: int = 1_000
    local: int = 1
    per_provider: int = 100
    per_tenant: int | None = None
    models: Mapping[ProviderType, Mapping[str, ModelLimit]] = {}
    local_memory: int | None = None
    local_on_workers: bool = False

    def of_model(self, provider: ProviderType, model: str) -> ModelLimit | None:
        """Return the limit of a model; None if it has no own limit."""
        models = self.models.get(provider, {})
        return models.get(model) or models.get(ANY_MODEL)

    def pool(self, provider: ProviderType, model: str) -> Pool:
        limit = self.of_model(provider, model)
        return provider if limit is None else ModelPool(provider, model, limit)

    def of(self, pool: Pool) -> int:
        if pool is None:
            return self.total
        if isinstance(pool, ModelPool):
            return pool.limit.concurrency or self.per_provider
        return self.local if pool is LOCAL and not self.local_on_workers else self.per_provider


def provider_key(provider: ProviderType) -> str:
    return f"provider {provider}"


def rate_key(pool: str) -> str:
    """Return the name of the rate of a model, beside *pool*, that of its slots."""
    return f"rate of {pool}"


def tenant_key(tenant: str | None) -> str:
    return "tenant" if tenant is None else f"tenant {tenant}"
