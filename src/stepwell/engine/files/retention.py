"""Deletes what is older than the operator wants to keep, in small batches with pauses: workflows, and sums of costs.

What must hold:
- A workflow is deleted only if it has ended, no process runs it, no job of it is followed up, and no webhook of it is
  still to be sent.
- The rows of a batch are deleted in one transaction, which also records what is left to do. `purger` does that. So
  after a crash nothing is left that nobody deletes.
- One batch is in work at a time, however many processes there are.
- While nothing is due, no statement is sent. One is sent when the next workflow, or the next day of costs, is due.
"""

import asyncio
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

import structlog

from stepwell.basics.errors import Unavailable
from stepwell.engine.execution.lease import Lease
from stepwell.engine.execution.timers import wait_until_set
from stepwell.engine.files.cleanup_runner import CleanupRunner
from stepwell.lifecycle.cleanup_records import ExpiredBatch
from stepwell.ports.clock import Clock
from stepwell.ports.deletions import DailyCosts, Purges
from stepwell.runtime.outages import OUTAGE_RETRY_S

log = structlog.get_logger()

BATCH: Final = 200
_BATCH_STEPS = 2_000
COSTS_BATCH: Final = 5_000  # sums
_PAUSE_S, _BUSY_S = 0.05, 0.1
_BLOCKED_S = 3_600.0  # until due workflows that may not be deleted yet are examined again


class Retention:
    """Deletes workflows *days* after their end. None: it deletes none."""

    def __init__(self, purges: Purges, cleanups: CleanupRunner, lease: Lease, clock: Clock, days: int | None) -> None:
        self._purges, self._cleanups, self._lease, self._clock = purges, cleanups, lease, clock
        self._days = days
        self._deleted = 0  # since the last pause without work

    async def run(self) -> None:
        """Delete workflows when they are due, until cancelled."""
        if self._days is None:
            return
        retention_s = timedelta(days=self._days).total_seconds()
        while True:
            try:
                await self._lease.ensure()
                batch = await self._purges.expire(self._lease.owner, retention_s, BATCH, _BATCH_STEPS)
            except Unavailable:
                pause_s = OUTAGE_RETRY_S
            else:
                pause_s = self._handle(batch, retention_s)
            await wait_until_set(asyncio.Event(), self._clock, pause_s)

    def _handle(self, batch: ExpiredBatch, retention_s: float) -> float:
        """Let the files of the batch be deleted. Return the seconds until the next one."""
        self._deleted += batch.count
        if batch.with_files:
            self._cleanups.begin_purges()
        if batch.busy:
            return _BUSY_S
        if batch.count:
            return _PAUSE_S
        if self._deleted:
            log.info("retention.deleted", action="retention", workflows=self._deleted)
            self._deleted = 0
        # If none is left, a workflow that ends from now on is due after the whole retention time.
        next_s = retention_s if batch.next_s is None else batch.next_s
        return min(next_s, _BLOCKED_S) if batch.is_behind else next_s


class CostRetention:
    """Deletes the sums of costs of a day, *days* after that day (UTC) ended. None: it deletes none."""

    def __init__(self, costs: DailyCosts, clock: Clock, days: int | None) -> None:
        self._costs, self._clock, self._days = costs, clock, days

    async def run(self) -> None:
        """Delete sums when they are due, until cancelled."""
        if self._days is None:
            return
        retention, deleted = timedelta(days=self._days), 0
        while True:
            now = self._clock.now()
            try:
                batch = await self._costs.expire((now - retention).date(), COSTS_BATCH)
            except Unavailable:
                pause_s = OUTAGE_RETRY_S
            else:
                deleted += batch.count
                pause_s = _PAUSE_S
                if batch.count < COSTS_BATCH:
                    if deleted:
                        log.info("retention.deleted", action="retention", costs=deleted)
                    deleted = 0
                    pause_s = (_end_of(batch.next_day or now.date()) + retention - now).total_seconds()
            await wait_until_set(asyncio.Event(), self._clock, pause_s)


def _end_of(day: date) -> datetime:
    return datetime.combine(day, time(), UTC) + timedelta(days=1)
