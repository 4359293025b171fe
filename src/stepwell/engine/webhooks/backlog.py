"""The number of webhooks still to be sent, for `/metrics`. It is counted in the database, because most wait there."""

import asyncio
import time
from collections.abc import Callable
from uuid import UUID

import structlog

from stepwell.basics.errors import Unavailable
from stepwell.ports.clock import Clock
from stepwell.ports.webhooks import Backlog, Outbox
from stepwell.runtime.telemetry import Labels

log = structlog.get_logger()

_DEADLINE_S = 2.0
_CACHE_S = 5.0
_CACHE_FACTOR = 20  # a slow count is cached this many times as long as it took


class WebhookBacklog:
    """A cached count of this process's backlog. *changes* returns a number that grows whenever webhooks may be added.

    While that number stays the same, an empty backlog is not counted again.
    """

    def __init__(self, outbox: Outbox, owner: UUID, clock: Clock, changes: Callable[[], int]) -> None:
        self._outbox, self._owner, self._clock, self._changes = outbox, owner, clock, changes
        self._count: Backlog | None = None  # None while the database doesn't respond
        self._changes_at_count = -1
        self._fresh_until = 0.0
        self._counting = asyncio.Lock()

    async def refresh(self) -> None:
        """Count again if the cached count is too old. Never raises, and ends within 2 seconds."""
        async with self._counting:
            started, changes = time.monotonic(), self._changes()
            unchanged = changes == self._changes_at_count and self._count is not None and not self._count.deliveries
            if started < self._fresh_until or unchanged:
                return
            try:
                async with asyncio.timeout(_DEADLINE_S):
                    self._count = await self._outbox.backlog(self._owner)
            except (Unavailable, TimeoutError):
                self._count = None
            except Exception:  # the other metrics must not fail because of this one
                log.exception("webhook.uncounted", action="metrics")
                self._count = None
            self._changes_at_count, now = changes, time.monotonic()
            self._fresh_until = now + max(_CACHE_S, _CACHE_FACTOR * (now - started))

    def deliveries(self) -> dict[Labels, float]:
        """Return the number of webhooks still to be sent; nothing while the database doesn't respond."""
        return {} if self._count is None else {(): self._count.deliveries}

    def age_s(self) -> dict[Labels, float]:
        """Return the seconds since the event of the oldest webhook; 0 if there is none."""
        if self._count is None:
            return {}
        oldest = self._count.oldest
        return {(): 0.0 if oldest is None else max((self._clock.now() - oldest).total_seconds(), 0.0)}
