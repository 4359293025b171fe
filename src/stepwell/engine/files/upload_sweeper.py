"""Deletes uploads that have expired, and those that were interrupted.

What must hold:
- No file is deleted that an undeleted workflow of the tenant names, see `ports.uploads.Uploads.begin_expiry`.
- A deletion that was interrupted or has failed is continued, by this process or by another one.
- No statement is sent while nothing is due.
"""

import asyncio
import math
from datetime import datetime, timedelta

from stepwell.basics.errors import Unavailable
from stepwell.engine.execution.timers import wait_until_set
from stepwell.engine.files.uploads import UploadService
from stepwell.ports.clock import Clock
from stepwell.ports.uploads import Uploads
from stepwell.runtime.outages import OUTAGE_RETRY_S

_PAGE = 100


class UploadSweeper:
    """The task that deletes uploads when they are due."""

    busy = False  # it needs no lease, because a row's lock decides who deletes an upload

    def __init__(self, store: Uploads, service: UploadService, clock: Clock) -> None:
        self._store, self._service, self._clock = store, service, clock
        service.on_due = self.sweep_at
        self._next: datetime | None = None
        self._wake = asyncio.Event()

    async def take_over(self) -> None:
        """Take over the uploads that dead processes would have deleted. Raises `Unavailable`."""
        seconds = await self._store.next_due_s()
        if seconds is not None:
            self.sweep_at(self._clock.now() + timedelta(seconds=seconds))

    def sweep_at(self, at: datetime) -> None:
        """Look for expired uploads at that time, or earlier."""
        if self._next is None or at < self._next:
            self._next = at
            self._wake.set()

    async def run(self) -> None:
        """Delete uploads that are due, until cancelled."""
        while True:
            pause_s = math.inf
            if self._next is not None:
                pause_s = max((self._next - self._clock.now()).total_seconds(), 0.0)
            if pause_s > 0:
                await wait_until_set(self._wake, self._clock, pause_s)
            self._wake.clear()
            if self._next is not None and self._next <= self._clock.now():
                self._next = None
                await self._sweep()

    async def _sweep(self) -> None:
        try:
            while due := await self._store.due(_PAGE):
                for upload_id in due:
                    if await self._store.begin_expiry(upload_id):
                        await self._service.discard(upload_id)
            await self.take_over()
        except Unavailable:
            self.sweep_at(self._clock.now() + timedelta(seconds=OUTAGE_RETRY_S))
