"""How many webhooks are still to be sent, as `/metrics` reports it. Only the database knows, as most wait in it."""

import asyncio
import time
from collections.abc import Callable
from uuid import UUID

import structlog

from stepwell.domain.errors import Unavailable
from stepwell.ports import Clock
from stepwell.ports.webhooks import Backlog, Outbox
from stepwell.telemetry import Labels

log = structlog.get_logger()

_DEADLINE_S = 2.0
_KEPT_S = 5.0
_SHARE = 20  # a count that took longer is kept so many times as long


class WebhookBacklog:
    """The backlog of this process. *changes* counts what may have added to it: while it stands still, an empty backlog
    is not counted again.
    """

    def __init__(self, outbox: Outbox, owner: UUID, clock: Clock, changes: Callable[[], int]) -> None:
        self._outbox, self._owner, self._clock, self._changes = outbox, owner, clock, changes
        self._known: Backlog | None = None  # None while the database doesn't answer
        self._seen = -1
        self._fresh_until = 0.0
        self._counting = asyncio.Lock()

    async def refresh(self) -> None:
        """Count once more, if the last count is older than some seconds. Never raises, and ends within 2 seconds."""
        async with self._counting:
            started, changes = time.monotonic(), self._changes()
            unchanged = changes == self._seen and self._known is not None and not self._known.deliveries
            if started < self._fresh_until or unchanged:
                return
            try:
                async with asyncio.timeout(_DEADLINE_S):
                    self._known = await self._outbox.backlog(self._owner)
            except (Unavailable, TimeoutError):
                self._known = None
            except Exception:  # metrics must not fail because of one of them
                log.exception("webhook.uncounted", action="metrics")
                self._known = None
            self._seen, now = changes, time.monotonic()
            self._fresh_until = now + max(_KEPT_S, _SHARE * (now - started))

    def deliveries(self) -> dict[Labels, float]:
        return {} if self._known is None else {(): self._known.deliveries}

    def age_s(self) -> dict[Labels, float]:
        """Seconds since the event of the oldest one; 0 if there is none."""
        if self._known is None:
            return {}
        oldest = self._known.oldest
        return {(): 0.0 if oldest is None else max((self._clock.now() - oldest).total_seconds(), 0.0)}
