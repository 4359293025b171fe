"""The limits and how much of them is used, as this process knows it: of the providers, and of a tenant."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from stepwell.basics.setting_names import credential_setting
from stepwell.basics.tenancy import TenantScope
from stepwell.contract.enums import ProviderType
from stepwell.contract.providers import CredentialStatus, ProviderStatus
from stepwell.contract.system import ActiveWorkflows, Limits, RunningSteps, StorageUse, WaitingWorkflows
from stepwell.definition.validation.provider_rules import ProviderCatalog
from stepwell.engine.dispatch.model_health import ModelHealth
from stepwell.engine.dispatch.pools import ModelPool
from stepwell.engine.dispatch.step_queue import StepQueue
from stepwell.engine.execution.workflow_admission import WorkflowAdmission
from stepwell.engine.explain.budget_use import BudgetReader
from stepwell.ports.stored_definitions import Definitions
from stepwell.ports.uploads import Uploads
from stepwell.rules.stored_definitions import DefinitionLimits
from stepwell.rules.uploads import UploadLimits


class ProviderStatusReader(Struct, eq=False):
    """Reads the status of the providers. *refused_keys* returns the refused credentials, with the times of refusal."""

    _catalog: ProviderCatalog
    _step_queue: StepQueue
    _health: ModelHealth
    _refused_keys: Callable[[], Mapping[str, datetime]]

    def statuses(self, scope: TenantScope) -> list[ProviderStatus]:
        """Return the status of each configured provider, sorted by name."""
        return [self._status(kind, scope) for kind in sorted(self._catalog.offers)]

    def _status(self, kind: ProviderType, scope: TenantScope) -> ProviderStatus:
        limits, waiting = self._step_queue.limits, self._step_queue.waiting_by_pool
        models = []
        for key in self._health.models_of(kind, scope.covers_tenant):
            limit = None if kind is ProviderType.LOCAL else limits.of_model(kind, key.model)
            own = 0 if limit is None else waiting[ModelPool(kind, key.model, limit)]
            models.append(self._health.status(key, limit, own))
        offers = self._catalog.offers[kind].items()
        in_pools = sum(
            count
            for pool, count in waiting.items()
            if pool == kind or (isinstance(pool, ModelPool) and pool.provider == kind)
        )
        credentials = self._credentials(kind, scope)
        return ProviderStatus(
            provider_type=kind,
            capabilities={task_type: sorted(offered) for task_type, offered in offers},
            limit=limits.of(kind),
            in_flight=self._step_queue.used_by(kind),
            waiting=in_pools + self._health.count_blocked(kind),
            models=models,
            credentials=credentials,
            detail="; ".join(_refusal(key) for key in credentials if key.refused_since is not None) or None,
        )

    def _credentials(self, kind: ProviderType, scope: TenantScope) -> Sequence[CredentialStatus]:
        """Return the keys of *kind* that *scope* may see. A step uses a key by its name, so others are hidden."""
        refused = self._refused_keys()
        own = sorted(name for name in self._catalog.credentials if self._catalog.installed.owner(name) == kind)
        return [CredentialStatus(name, refused.get(name)) for name in own if scope.every or name == kind.lower()]


def _refusal(key: CredentialStatus) -> str:
    assert key.refused_since is not None
    at = key.refused_since.isoformat(timespec="seconds").replace("+00:00", "Z")
    return f"key refused since {at}: set {credential_setting(key.name)}"


class TenantLimitsReader(Struct, eq=False):
    _workflows: WorkflowAdmission
    _steps: StepQueue
    _uploads: Uploads
    _upload_limits: UploadLimits
    _definitions: Definitions
    of_definitions: DefinitionLimits
    _budgets: BudgetReader

    async def read(self, tenant: str | None) -> Limits:
        """Return the limits and use of *tenant*. Raises `Unavailable`."""
        use = await self._workflows.use(tenant)
        files, most = await self._uploads.use(tenant), self._upload_limits
        stored, limits = await self._definitions.use(tenant), self.of_definitions
        return Limits(
            tenant_id=tenant,
            remaining_workflows=self._workflows.quota(tenant)[1],
            active_workflows=ActiveWorkflows(use.max_active, use.active),
            waiting_workflows=WaitingWorkflows(use.max_waiting, use.waiting, use.oldest),
            running_steps=RunningSteps(self._steps.limits.per_tenant, self._steps.used_by_tenant(tenant)),
            uploads=StorageUse(most.max_uploads, files.uploads, most.quota_bytes, files.bytes),
            definitions=StorageUse(limits.names, stored.names, limits.bytes, stored.bytes),
            budget=await self._budgets.of_tenant(tenant),
        )
