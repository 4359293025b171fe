"""What can be asked about a workflow that changes nothing: why it doesn't move, what it would come to, what a verb
would do.
"""

from uuid import UUID

from stepwell.domain.model_terms import PriceList
from stepwell.engine.admission.controller import AdmissionController
from stepwell.engine.admission.model_health import ModelHealth
from stepwell.engine.artifact_cleanup import ArtifactCleaner
from stepwell.engine.diagnostics import planner
from stepwell.engine.diagnostics.dry_run import DryRunner
from stepwell.engine.diagnostics.explainer import Explainer
from stepwell.engine.execution.scheduler import Scheduler
from stepwell.engine.monitoring.write_monitor import WriteMonitor
from stepwell.ports.clock import Clock, NewId
from stepwell.ports.providers import Providers
from stepwell.ports.storage import WorkflowReader, WorkflowStore


class Diagnostics:
    def __init__(
        self,
        store: WorkflowReader,
        journal: WorkflowStore,
        scheduler: Scheduler,
        admission: AdmissionController,
        health: ModelHealth,
        cleaner: ArtifactCleaner,
        clock: Clock,
        owner: UUID,
        new_id: NewId,
        providers: Providers,
        prices: PriceList,
        writes: WriteMonitor,
    ) -> None:
        here = providers.in_process_types()
        self.explain = Explainer(store, journal, scheduler, admission, health, clock, here, writes).explain
        self.plan = planner.Planner(providers, prices, health).plan
        self.rehearse = DryRunner(store, journal, scheduler, cleaner, clock, owner, new_id).rehearse
