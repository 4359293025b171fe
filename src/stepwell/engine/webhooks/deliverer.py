"""Sends what is in the outbox.

What must hold:
- Whatever was committed to be told is sent until it is answered, or there is no try left, by one process at a time:
  this one sends what it owns, while its lease holds. A crash between an answer and its mark sends it again, the same
  byte by byte, under the same id: so a body is stored before anything of it is sent.
- No lane and no tenant takes more than its share, of what is sent at once and of what is looked at, however much there
  is for it. A lane is what a tenant sends to one host and port.
- Nothing is asked of the database while nothing is due.
- Nothing that an address, a receiver or a row may do ends the process, or holds up others.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Hashable, Sequence
from datetime import timedelta
from functools import partial
from typing import TypeVar
from uuid import UUID

import structlog

from stepwell.contract.enums import DeliveryStatus
from stepwell.domain.errors import Unavailable
from stepwell.domain.webhooks.delivery import (
    DELAYS_S,
    Answered,
    DeliveryAttempt,
    DeliveryVerdict,
    DueDelivery,
    lane_of,
    tenant_of,
    verdict,
)
from stepwell.domain.webhooks.secrets import WebhookSecrets, signatures
from stepwell.engine.events.bus import CommittedEvents, EventBus
from stepwell.engine.execution.lease import Lease
from stepwell.engine.execution.timers import wait_until_set
from stepwell.engine.webhooks.backlog import WebhookBacklog
from stepwell.engine.webhooks.delivery_schedule import DeliverySchedule
from stepwell.ports.clock import Clock
from stepwell.ports.webhooks import Outbox, Payload, Sender
from stepwell.telemetry import Metrics

T = TypeVar("T")
Key = tuple[UUID, int]
log = structlog.get_logger()

PER_LANE, PER_TENANT, IN_ALL = 4, 64, 1_000
_LANES_A_LOOK = 64
# Those of a lane that are under way come first: enough to see as many others behind them, and whether there are more.
_ROWS_A_LANE = 2 * PER_LANE + 1
_RETRY_S, _PUT_OFF_S = 0.5, 60.0
_NO_SECRET = "no secret is configured to sign it with"  # noqa: S105
_OUR_FAULT = "the service could not make it; its log says why"


class WebhookDeliverer:
    """*payload* makes bodies; *lease* keeps this process from being taken for dead."""

    def __init__(
        self,
        outbox: Outbox,
        sender: Sender,
        payload: Payload,
        secrets: WebhookSecrets,
        clock: Clock,
        lease: Lease,
        bus: EventBus,
    ) -> None:
        self._outbox, self._sender, self._payload, self._secrets = outbox, sender, payload, secrets
        self._clock, self._owner, self._lease = clock, lease.owner, lease
        bus.subscribe(self._committed)
        self.delays_s: Sequence[float] = DELAYS_S
        self._agenda = DeliverySchedule()
        self._lanes: Counter[str] = Counter()
        self._tenants: Counter[str | None] = Counter()
        self._sending: dict[Key, tuple[DueDelivery, asyncio.Task[None]]] = {}
        self._tried: dict[Key, DueDelivery] = {}  # since the last look began: it may have read of them what was before
        self._passed: dict[Key, set[str]] = {}  # lanes in which something newer of what is under way was seen
        self._stirred = asyncio.Event()
        self._closed = self._looking = False
        self._group: asyncio.TaskGroup | None = None
        self._changes = 0
        self._backlog = WebhookBacklog(outbox, lease.owner, clock, lambda: self._changes)
        self.outcomes: Counter[DeliveryStatus] = Counter()  # of tries; PENDING: one that failed, with more to come

    @property
    def sending(self) -> int:
        return len(self._sending)

    @property
    def busy(self) -> bool:
        return self._looking or bool(self._sending)

    def measure(self, metrics: Metrics) -> None:
        tries = self.outcomes
        metrics.watch("stepwell_webhooks_sending", "Webhooks on their way.", lambda: self.sending)
        metrics.count("stepwell_webhooks_sent", "Tries to send a webhook.", tries.total)
        for name, text, status in (
            ("delivered", "Webhooks that came.", DeliveryStatus.DELIVERED),
            ("retried", "Tries that failed, with more to come.", DeliveryStatus.PENDING),
            ("failed", "Webhooks that no try is left of.", DeliveryStatus.FAILED),
            ("stopped", "Webhooks answered with 410.", DeliveryStatus.STOPPED),
        ):
            metrics.count(f"stepwell_webhooks_{name}", text, partial(tries.__getitem__, status))
        backlog = self._backlog
        metrics.before_scrape.append(backlog.refresh)
        metrics.gauges("stepwell_webhook_backlog", "Webhooks still to be sent by this process.", (), backlog.deliveries)
        text = "Seconds since the event of the oldest webhook that is still to be sent."
        metrics.gauges("stepwell_webhook_backlog_age_seconds", text, (), backlog.age_s)

    def _committed(self, committed: CommittedEvents) -> None:
        for told in committed.deliveries:
            self._agenda.put(told.lane, told.at)
        if committed.deliveries:
            self._changed()

    def renewed(self, lane: str) -> None:
        """A delivery in *lane* is due now that may not have been."""
        self._agenda.put(lane, self._clock.now())
        self._changed()

    async def take_over(self) -> None:
        """What dead processes have left, and what this one may have forgotten. Raises `Unavailable`."""
        for lane, at in (await self._outbox.take_over(self._owner)).items():
            self._agenda.put(lane, at)
        self._changed()

    def _changed(self) -> None:
        """Wake the sender, because there may be more to send."""
        self._changes += 1
        self._stirred.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as self._group:
            while True:
                await self._look()
                await self._rest()

    async def stop(self, grace_s: float) -> None:
        """Start nothing more; what is being sent may end, and what isn't answered in time is sent again by the next."""
        self._closed = True
        if sending := {task for _, task in self._sending.values()}:
            await asyncio.wait(sending, timeout=grace_s)
        for _, task in self._sending.values():
            task.cancel()

    async def _rest(self) -> None:
        due = None if self._closed or self.sending >= IN_ALL else self._agenda.next()
        pause = None if due is None else max((due - self._clock.now()).total_seconds(), 0.0)
        await wait_until_set(self._stirred, self._clock, pause)
        self._stirred.clear()

    async def _look(self) -> None:
        """Begin all that is due and has room."""
        while not self._closed and self.sending < IN_ALL:
            lanes = self._agenda.take(self._clock.now(), _LANES_A_LOOK, self._waits_for)
            if not lanes:
                return
            self._looking = True
            try:
                await self._look_at(lanes)
            finally:
                self._looking = False

    async def _look_at(self, lanes: list[str]) -> None:
        try:
            await self._lease.ensure(busy=True)
            self._tried.clear()
            found = await self._outbox.due(self._owner, lanes, _ROWS_A_LANE)
        except Unavailable:
            self._later(*lanes)
        except Exception:  # whatever it is in one lane, others must not wait for it
            if len(lanes) == 1:
                log.exception("webhook.unreadable", action="webhook", lane=lanes[0])
                self._later(*lanes, after_s=_PUT_OFF_S)
                return
            for lane in lanes:
                await self._look_at([lane])
        else:
            self._begin(found)

    def _waits_for(self, lane: str) -> Hashable | None:
        """What must end before anything more is sent in it."""
        if self._lanes[lane] >= PER_LANE:
            return lane
        tenant = tenant_of(lane)
        return ("tenant", tenant) if self._tenants[tenant] >= PER_TENANT else None

    def _later(self, *lanes: str, after_s: float | None = None) -> None:
        after_s = _RETRY_S if after_s is None else after_s
        at = self._clock.now() + timedelta(seconds=after_s * random.uniform(1, 2))  # noqa: S311 - jitter
        for lane in lanes:
            self._agenda.put(lane, at)

    def _begin(self, found: Sequence[DueDelivery]) -> None:
        """*found* has each lane's in the order of their times."""
        now, passed = self._clock.now(), set[str]()
        for due in found:
            if due.lane in passed or self._is_behind(due):
                continue
            if due.next_at > now or self._waits_for(due.lane) is not None or self.sending >= IN_ALL or self._closed:
                passed.add(due.lane)
                self._agenda.put(due.lane, due.next_at)
            else:
                self._start(due)

    def _is_behind(self, due: DueDelivery) -> bool:
        """Whether it is being tried, or has been since that was read: whoever tries it puts on the agenda what is next.
        But what isn't the version that is tried must be looked at again, after that.
        """
        if due.key in self._sending:
            if self._sending[due.key][0].version != due.version:
                self._passed.setdefault(due.key, set()).add(due.lane)
            return True
        tried = self._tried.get(due.key)
        return tried is not None and tried.version == due.version

    def _start(self, due: DueDelivery) -> None:
        assert self._group is not None
        self._lanes[due.lane] += 1
        self._tenants[due.tenant] += 1
        task = self._group.create_task(self._deliver(due), name=f"webhook {due.id}")
        self._sending[due.key] = due, task
        task.add_done_callback(lambda _: self._ended(due))

    def _ended(self, due: DueDelivery) -> None:
        del self._sending[due.key]
        self._tried[due.key] = due
        for lane in self._passed.pop(due.key, ()):
            self._agenda.put(lane, self._clock.now())
        _count_down(self._lanes, due.lane)
        _count_down(self._tenants, due.tenant)
        self._agenda.free(due.lane)
        self._agenda.free(("tenant", due.tenant))
        self._stirred.set()

    async def _deliver(self, due: DueDelivery) -> None:
        try:
            await self._try(due)
        except Unavailable:
            self._later(due.lane)
        except Exception:  # it stays in the outbox, for the next process to try
            log.exception("webhook.broke", action="webhook", delivery=due.id)

    async def _try(self, due: DueDelivery) -> None:
        if due.url is None:
            await self._mark(due, DeliveryVerdict(DeliveryStatus.STOPPED, due.tries), None)
            return
        if (lane := lane_of(due.url, due.tenant)) != due.lane:
            await self._outbox.change_lane(self._owner, due, lane)
            self._agenda.put(lane, due.next_at)
            return
        if not (secrets := self._secrets.of(due.tenant)):
            answered: Answered | None = self._not_sent(_NO_SECRET)
        else:
            answered = await self._sent(due, due.url, secrets)
        if answered is None:
            return
        code = answered.attempt.code
        jitter = random.random()  # noqa: S311
        decided = verdict(due.tries, code, answered.retry_after_s, self._clock.now(), jitter, self.delays_s)
        self.outcomes[decided.status] += 1
        if decided.status is not DeliveryStatus.DELIVERED:
            log.info("webhook.failed", action="webhook", delivery=due.id, code=code, tries=decided.tries)
        await self._mark(due, decided, answered.attempt)

    async def _sent(self, due: DueDelivery, url: str, secrets: Sequence[str]) -> Answered | None:
        """None: it isn't ours to send any more."""
        try:
            body = await self._outbox.freeze(self._owner, due, None if due.frozen else await self._payload(due))
        except Unavailable:
            raise
        except Exception:  # of the workflow's rows, or of what is made of them
            log.exception("webhook.unmade", action="webhook", delivery=due.id)
            return self._not_sent(_OUR_FAULT)
        if body is None:
            return None
        at = self._clock.now()
        headers = {
            "webhook-id": due.id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": signatures(secrets, due.id, at, body),
        }
        return await self._sender.send(url, headers, body, secrets)

    def _not_sent(self, why: str) -> Answered:
        return Answered(DeliveryAttempt(self._clock.now(), error=why))

    async def _mark(self, due: DueDelivery, decided: DeliveryVerdict, attempt: DeliveryAttempt | None) -> None:
        """However long the database is away: until it is marked nobody else may send it, and it counts as under way."""
        while True:
            try:
                again = await self._outbox.record(self._owner, due, decided, attempt)
            except Unavailable:
                await asyncio.sleep(_RETRY_S)
            else:
                if again is not None:
                    self._agenda.put(due.lane, again)
                return


def _count_down(counter: Counter[T], key: T) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]  # else all that ever were would be kept
