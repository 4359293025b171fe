"""Reports the circuit breakers that open or close here to the other processes, and adopts theirs.

What must hold:
- A breaker that opens in one process is open in all, until the same time. Then each process tries the model by itself.
- It closes in all processes when a probe succeeds in one, unless it has opened again since.
- A message has names of providers and models, and times. It is read only if it is valid, because any client of the
  database may send one. It can't open a breaker for noticeably longer than a breaker opens here.
- A process that begins to receive messages requests the open breakers, and the processes that have some reply.
- A message fits into a notification, however long the names are. What couldn't be sent is sent again.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Annotated

import msgspec
import structlog
from msgspec import Meta, Struct

from stepwell.basics.errors import Unavailable
from stepwell.contract.enums import ProviderType
from stepwell.engine.dispatch.model_health import LONGEST_MODEL, ModelHealth, ModelKey
from stepwell.engine.execution.step_dispatcher import StepDispatcher
from stepwell.ports.clock import Clock
from stepwell.ports.processes import MOST_MESSAGE_BYTES, Coordination
from stepwell.runtime.outages import OUTAGE_RETRY_S

log = structlog.get_logger()

BREAKERS = "breakers"  # the kind of the messages
_MOST = 16  # breakers in one message
_MOST_DIFFERENCE = timedelta(seconds=5)  # of the clocks of two processes


class BreakerNotice(Struct, frozen=True):
    """A breaker that has changed at the time `at`. It is open until `until`; None if it is closed."""

    provider: ProviderType
    model: Annotated[str, Meta(max_length=LONGEST_MODEL)]
    at: datetime
    until: datetime | None


_NOTICES = msgspec.json.Decoder(list[BreakerNotice])


class BreakerMessages:
    """Sends and receives messages about breakers. *dispatcher* adopts the changes of other processes."""

    def __init__(
        self, health: ModelHealth, clock: Clock, coordination: Coordination, dispatcher: StepDispatcher
    ) -> None:
        self._health, self._clock, self._coordination, self._dispatcher = health, clock, coordination, dispatcher
        self._changes, self._woken = health.changes, health.changed
        self._requests = False

    async def run(self) -> None:
        """Send what is to be sent. Runs until it is cancelled."""
        presence = (await self._coordination.other_processes()).presence
        while True:
            await self._woken.wait()
            self._woken.clear()
            while self._requests or self._changes:
                notices = [] if self._requests else self._next_notices()
                try:
                    await presence.send(BREAKERS, msgspec.json.encode(notices).decode())
                except Unavailable:
                    log.warning("breakers.unreported", action="report")
                    await asyncio.sleep(OUTAGE_RETRY_S)
                else:
                    self._sent(notices)

    def _next_notices(self) -> list[BreakerNotice]:
        """Return as many changes as a message may have."""
        now, size = self._clock.now(), 2  # the brackets
        notices: list[BreakerNotice] = []
        for key, until in islice(self._changes.items(), _MOST):
            notice = BreakerNotice(*key, at=now, until=until)
            size += len(msgspec.json.encode(notice)) + 1
            if size > MOST_MESSAGE_BYTES:
                break
            notices.append(notice)
        return notices

    def _sent(self, notices: list[BreakerNotice]) -> None:
        """Forget the changes that were sent, unless they have changed again. Without *notices*, the request was."""
        if not notices:
            self._requests = False
        for notice in notices:
            key = ModelKey(notice.provider, notice.model)
            if self._changes.get(key, notice) == notice.until:
                del self._changes[key]

    def request(self) -> None:
        """Request the open breakers of the other processes."""
        self._requests = True
        self._woken.set()

    def received(self, body: str) -> None:
        """Adopt the changes of another process."""
        try:
            notices = _NOTICES.decode(body)
        except (msgspec.DecodeError, ValueError):
            return
        if not notices:  # a request
            for key, open_until in self._health.open_breakers():
                self._health.report_change(key, open_until)
        now = self._clock.now()
        latest = now + timedelta(seconds=self._health.longest_open_s) + _MOST_DIFFERENCE
        for notice in notices[:_MOST]:
            at, until = _aware(notice.at), None if notice.until is None else _aware(notice.until)
            if notice.provider is not ProviderType.LOCAL and (until is None or now < until <= latest):
                self._dispatcher.adopt_breaker(ModelKey(notice.provider, notice.model), min(at, now), until)


def _aware(at: datetime) -> datetime:
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
