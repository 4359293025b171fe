"""What can be asked about a workflow that changes nothing: why it doesn't move, what it would come to, what a verb
would do.
"""

from typing import Protocol
from uuid import UUID

from stepwell.domain.model import ProviderType
from stepwell.domain.prices import PriceList
from stepwell.engine import planner
from stepwell.engine.admission import Admission
from stepwell.engine.cleanup import Cleaner
from stepwell.engine.explainer import Explainer
from stepwell.engine.health import ModelHealth
from stepwell.engine.rehearsal import Rehearsal
from stepwell.engine.scheduler import Scheduler
from stepwell.engine.write_monitor import WriteMonitor
from stepwell.ports import Clock, Journal, NewId, Store


class Providers(planner.Providers, Protocol):
    def in_process(self) -> frozenset[ProviderType]:
        """Those that work in this process."""


class Insight:
    def __init__(
        self,
        store: Store,
        journal: Journal,
        scheduler: Scheduler,
        admission: Admission,
        health: ModelHealth,
        cleaner: Cleaner,
        clock: Clock,
        owner: UUID,
        new_id: NewId,
        providers: Providers,
        prices: PriceList,
        writes: WriteMonitor,
    ) -> None:
        here = providers.in_process()
        self.explain = Explainer(store, journal, scheduler, admission, health, clock, here, writes).explain
        self.plan = planner.Planner(providers, prices, health).plan
        self.rehearse = Rehearsal(store, journal, scheduler, cleaner, clock, owner, new_id).rehearse
