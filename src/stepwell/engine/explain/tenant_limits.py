"""The limits of a tenant and how much of them it uses, as this process knows them."""

from stepwell.contract.system import ActiveWorkflows, Limits, RunningSteps, UploadedFiles, WaitingWorkflows
from stepwell.engine.admission.controller import AdmissionController
from stepwell.engine.execution.workflow_admission import WorkflowAdmission
from stepwell.ports.uploads import Uploads
from stepwell.rules.uploads import UploadLimits


class TenantLimitsReader:
    """Reads limits and use of workflows, steps and uploads."""

    def __init__(
        self, workflows: WorkflowAdmission, steps: AdmissionController, uploads: Uploads, upload_limits: UploadLimits
    ) -> None:
        self._workflows, self._steps = workflows, steps
        self._uploads, self._upload_limits = uploads, upload_limits

    async def read(self, tenant: str | None) -> Limits:
        """Return the limits and use of *tenant*. Raises `Unavailable`."""
        use = await self._workflows.use(tenant)
        files, most = await self._uploads.use(tenant), self._upload_limits
        return Limits(
            tenant_id=tenant,
            remaining_workflows=self._workflows.quota(tenant)[1],
            active_workflows=ActiveWorkflows(use.max_active, use.active),
            waiting_workflows=WaitingWorkflows(use.max_waiting, use.waiting, use.oldest),
            running_steps=RunningSteps(self._steps.limits.per_tenant, self._steps.used_by_tenant(tenant)),
            uploads=UploadedFiles(most.max_uploads, files.uploads, most.quota_bytes, files.bytes),
        )
