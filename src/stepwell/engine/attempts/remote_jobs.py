"""The state that all remote attempts share: the pace of polls, prices, and which job belongs to which attempt.

What must hold:
- A job belongs to one attempt at most.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from uuid import UUID

from msgspec import Struct, field

from stepwell.contract.enums import ProviderType
from stepwell.engine.attempts.budget_keeper import BudgetKeeper
from stepwell.engine.dispatch.limit_shares import LeaseTerm
from stepwell.ports.clock import Clock
from stepwell.ports.providers import Job
from stepwell.ports.storage import WorkflowStore
from stepwell.rules.costs import PriceList
from stepwell.runtime.outages import OUTAGE_RETRY_S, until_available

_REMEMBERED = 10_000  # jobs


class PollPace(Struct, frozen=True):
    """Seconds between two polls of a job: the first pause, and the longest one."""

    first_s: float = 1.0
    last_s: float = 10.0


class PollIntervals(Struct, frozen=True):
    """The pace of each provider: its own, else *usual*."""

    usual: PollPace = PollPace()
    own: Mapping[ProviderType, PollPace] = {}

    def of(self, provider: ProviderType) -> PollPace:
        return self.own.get(provider, self.usual)


class RemoteJobs(Struct, eq=False):
    """The jobs of this process. *answer_s* is how long a call to a provider takes at most."""

    _store: WorkflowStore
    clock: Clock
    intervals: PollIntervals
    prices: PriceList
    answer_s: float
    lease: LeaseTerm
    budgets: BudgetKeeper
    _submitting: Counter[str] = field(default_factory=Counter)  # requests that are being submitted, by digest
    _job_owner: dict[tuple[ProviderType, str], UUID] = {}  # task ids; the jobs may not be committed yet

    async def until_may_send(self) -> None:
        """Wait until this process has a lease again."""
        while not self.lease.holds:  # noqa: ASYNC110 - the lease has no event to wait for
            await asyncio.sleep(OUTAGE_RETRY_S)

    @contextmanager
    def submitting(self, digest: str) -> Iterator[None]:
        """Mark a request with this digest as being submitted, within the context."""
        self._submitting[digest] += 1
        try:
            yield
        finally:
            self._submitting[digest] -= 1
            if not self._submitting[digest]:
                del self._submitting[digest]

    def is_submitting(self, digest: str) -> bool:
        """Return whether a job that the provider lists may belong to a request that has no answer yet."""
        return digest in self._submitting

    def record_owner(self, kind: ProviderType, job: Job, task_id: UUID) -> None:
        self._job_owner[kind, job.id] = task_id
        if len(self._job_owner) > _REMEMBERED:
            del self._job_owner[next(iter(self._job_owner))]

    async def take_unowned(self, kind: ProviderType, jobs: Collection[Job], task_id: UUID) -> Job | None:
        """Return the first of the jobs that no other attempt has, and record that it belongs to *task_id* from now on.

        Waits while the database is away.
        """
        owned = await until_available(partial(self._store.known_jobs, kind, [job.id for job in jobs])) if jobs else ()
        for job in jobs:
            if job.id not in owned and self._job_owner.get((kind, job.id), task_id) == task_id:
                self.record_owner(kind, job, task_id)
                return job
        return None
