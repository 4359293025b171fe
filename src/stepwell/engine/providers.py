"""How the providers do, for those who ask."""

from stepwell.domain.model import ProviderType
from stepwell.domain.provider_status import ProviderStatus
from stepwell.domain.records import TenantScope
from stepwell.domain.validation import Catalog
from stepwell.engine.admission import Admission, ModelPool
from stepwell.engine.health import ModelHealth


class ProviderDesk:
    def __init__(self, catalog: Catalog, admission: Admission, health: ModelHealth) -> None:
        self._catalog, self._admission, self._health = catalog, admission, health

    def statuses(self, scope: TenantScope) -> list[ProviderStatus]:
        """Of all that are configured, in the order of their names."""
        return [self._status(kind, scope) for kind in sorted(self._catalog.offers)]

    def _status(self, kind: ProviderType, scope: TenantScope) -> ProviderStatus:
        limits, waiting = self._admission.limits, self._admission.waiting_by_pool
        models = []
        for key in self._health.known(kind, scope.covers):
            limit = None if kind is ProviderType.LOCAL else limits.of_model(kind, key.model)
            own = 0 if limit is None else waiting[ModelPool(kind, key.model, limit)]
            models.append(self._health.status(key, limit, own))
        offers = self._catalog.offers[kind].items()
        in_pools = sum(
            count
            for pool, count in waiting.items()
            if pool is kind or (isinstance(pool, ModelPool) and pool.provider is kind)
        )
        return ProviderStatus(
            provider_type=kind,
            capabilities={task_type: sorted(offered) for task_type, offered in offers},
            limit=limits.of(kind),
            in_flight=self._admission.used_by(kind),
            waiting=in_pools + self._health.held_back(kind),
            models=models,
        )
