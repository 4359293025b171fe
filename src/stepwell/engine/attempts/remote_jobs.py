"""The state that all remote attempts share: the pace of polls, prices, and which job belongs to which attempt.

What must hold:
- A job belongs to one attempt at most.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Protocol
from uuid import UUID

from msgspec import Struct

from stepwell.contract.enums import ProviderType
from stepwell.contract.tasks import Cost
from stepwell.lifecycle.model import Sent
from stepwell.ports.clock import Clock
from stepwell.ports.providers import Job, RemoteProvider
from stepwell.ports.storage import WorkflowStore
from stepwell.rules.costs import PriceList
from stepwell.runtime.outages import OUTAGE_RETRY_S, until_available

_REMEMBERED = 10_000  # jobs


class HeldLease(Protocol):
    """The lease of this process."""

    @property
    def holds(self) -> bool:
        """True until it has ended. Then other processes may run this one's workflows."""


class PollPace(Struct, frozen=True):
    """Seconds between two polls of a job: the first pause, and the longest one."""

    first_s: float = 1.0
    last_s: float = 10.0


class PollIntervals(Struct, frozen=True):
    """The pace of each provider: its own, else *usual*."""

    usual: PollPace = PollPace()
    own: Mapping[ProviderType, PollPace] = {}

    def of(self, provider: RemoteProvider) -> PollPace:
        return self.own.get(provider.type, self.usual)


class RemoteJobs:
    """The jobs of this process. *answer_s* is how long a call to a provider takes at most."""

    def __init__(
        self,
        store: WorkflowStore,
        clock: Clock,
        intervals: PollIntervals,
        prices: PriceList,
        answer_s: float,
        lease: HeldLease,
    ) -> None:
        self._lease = lease
        self._store, self._prices = store, prices
        self.clock, self.intervals, self.answer_s = clock, intervals, answer_s
        self._submitting: Counter[str] = Counter()  # requests that are being submitted, by digest
        self._job_owner: dict[tuple[ProviderType, str], UUID] = {}  # task ids; the jobs may not be committed yet

    def may_send(self) -> bool:
        """Return whether a request may be sent now. After a standstill, another process may have sent it."""
        return self._lease.holds

    async def until_may_send(self) -> None:
        """Wait until this process has a lease again."""
        while not self._lease.holds:  # noqa: ASYNC110 - whoever renews the lease doesn't know this
            await asyncio.sleep(OUTAGE_RETRY_S)

    def cost(self, provider: RemoteProvider, sent: Sent, reported: Cost | None = None) -> Cost | None:
        """Return the cost of work that was done: the *reported* cost of the provider, else the price in the list."""
        return reported or self._prices.of(provider.type, sent.model)

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
        """Record that the job belongs to that task."""
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
