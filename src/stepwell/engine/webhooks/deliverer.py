"""The sender of webhooks: it reads due deliveries from the outbox, sends them, and records the result.

What must hold:
- Each committed delivery is sent until the receiver accepts it or no attempt is left, by one process at a time: its
  owner, while the owner's lease holds.
- After a crash between a response and its record, the delivery is sent again with the same id and the same bytes.
  Therefore the body is stored before it is sent.
- No lane and no tenant gets more than its share of the concurrent sends and of the rows that a poll reads. A lane is a
  tenant's deliveries to one host and port.
- No statement is sent while nothing is due.
- No URL, receiver or row can end the process or delay other lanes.
"""

import asyncio
import math
import random
from collections import Counter
from collections.abc import Hashable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar
from uuid import UUID

import structlog
from msgspec import Struct

from stepwell.basics.errors import Unavailable
from stepwell.contract.enums import DeliveryStatus
from stepwell.contract.events import DeliveryAttemptPublic
from stepwell.engine.events.bus import CommittedEvents, EventBus
from stepwell.engine.execution.lease import Lease
from stepwell.engine.execution.timers import wait_until_set
from stepwell.engine.webhooks.backlog import WebhookBacklog
from stepwell.engine.webhooks.delivery_schedule import DeliverySchedule
from stepwell.lifecycle.webhook_deliveries import (
    DELAYS_S,
    DeliveryVerdict,
    DueDelivery,
    SendResult,
    lane_of,
    tenant_of,
    verdict,
)
from stepwell.ports.clock import Clock
from stepwell.ports.webhooks import Outbox, Payload, Sender
from stepwell.rules.webhook_secrets import WebhookSecrets, signatures
from stepwell.runtime.outages import OUTAGE_RETRY_S, until_available
from stepwell.runtime.telemetry import Metrics

T = TypeVar("T")
Key = tuple[UUID, int]
log = structlog.get_logger()

_LANES_PER_POLL = 64
_UNREADABLE_RETRY_S = 60.0
_NO_SECRET = "no secret is configured to sign it with"  # noqa: S105
_PAYLOAD_FAILED = "the service could not make it; its log says why"


class SendLimits(Struct, frozen=True):
    """The limits of deliveries in flight: in a lane, of a tenant, and in total."""

    per_lane: int = 4
    per_tenant: int = 64
    total: int = 1_000

    @property
    def rows_per_lane(self) -> int:
        """The number of rows of a lane that a poll reads.

        The deliveries in flight come first. Behind them there may be as many that can start, and one more shows whether
        the lane has others.
        """
        return 2 * self.per_lane + 1


class WebhookDeliverer:
    """Sends the webhooks that this process owns. *payload* makes bodies; *lease* is the lease of this process.

    `delays_s` are the seconds before each attempt. `outcomes` counts attempts by the status after them; PENDING means
    that the attempt failed and another one follows. `closed`: `stop` has been called.
    """

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
        bus.listeners.append(self._on_committed)
        self.delays_s: Sequence[float] = DELAYS_S
        self.limits = SendLimits()
        self._schedule = DeliverySchedule()
        self._sending_by_lane: Counter[str] = Counter()
        self._sending_by_tenant: Counter[str | None] = Counter()
        self._sending: dict[Key, tuple[DueDelivery, asyncio.Task[None]]] = {}
        self._finished_since_poll: dict[Key, DueDelivery] = {}  # the last poll may have read their rows before that
        self._recheck: dict[Key, set[str]] = {}  # lanes with a newer row of a delivery that is in flight
        self._wake = asyncio.Event()
        self.closed = self._polling = self._waiting = False
        self._group: asyncio.TaskGroup | None = None
        self._changes = 0
        self._backlog = WebhookBacklog(outbox, lease.owner, clock, lambda: self._changes)
        self.outcomes: Counter[DeliveryStatus] = Counter()

    @property
    def sending(self) -> int:
        return len(self._sending)

    @property
    def busy(self) -> bool:
        """True while this process needs its lease for a delivery."""
        return self._polling or bool(self._sending)

    @property
    def waiting(self) -> bool:
        """True if everything that is due has been polled, and `run` waits for time to pass or for a change."""
        return self._waiting and not self._wake.is_set()

    @property
    def next_due(self) -> datetime | None:
        """The time of the next poll; None if nothing is scheduled."""
        return self._schedule.next_due()

    @property
    def state_size(self) -> int:
        """The number of lanes, tenants and due times in memory. It returns to 0 when nothing is left to send."""
        return len(self._sending_by_lane) + len(self._sending_by_tenant) + self._schedule.size + len(self._recheck)

    @property
    def _is_full(self) -> bool:
        return self.closed or self.sending >= self.limits.total

    def measure(self, metrics: Metrics) -> None:
        outcomes = self.outcomes
        metrics.watch("stepwell_webhooks_sending", "Webhooks that are being sent.", lambda: self.sending)
        metrics.count("stepwell_webhooks_sent", "Attempts to send a webhook.", outcomes.total)
        for name, text, status in (
            ("delivered", "Webhooks that were delivered.", DeliveryStatus.DELIVERED),
            ("retried", "Attempts that failed and will be repeated.", DeliveryStatus.PENDING),
            ("failed", "Webhooks that failed, because no attempt is left.", DeliveryStatus.FAILED),
            ("stopped", "Webhooks whose receiver responded with 410.", DeliveryStatus.STOPPED),
        ):
            metrics.count(f"stepwell_webhooks_{name}", text, partial(outcomes.__getitem__, status))
        backlog = self._backlog
        metrics.before_scrape.append(backlog.refresh)
        metrics.gauges("stepwell_webhook_backlog", "Webhooks still to be sent by this process.", (), backlog.deliveries)
        text = "Seconds since the event of the oldest webhook that is still to be sent."
        metrics.gauges("stepwell_webhook_backlog_age_seconds", text, (), backlog.age_s)

    def _on_committed(self, committed: CommittedEvents) -> None:
        for delivery in committed.deliveries:
            self._schedule.put(delivery.lane, delivery.at)
        if committed.deliveries:
            self._on_change()

    def schedule_now(self, lane: str) -> None:
        """Poll *lane* now, because one of its deliveries has become due."""
        self._schedule.put(lane, self._clock.now())
        self._on_change()

    async def take_over(self) -> None:
        """Take over the deliveries of dead processes, and schedule all lanes of this one. Raises `Unavailable`."""
        for lane, at in (await self._outbox.take_over(self._owner)).items():
            self._schedule.put(lane, at)
        self._on_change()

    def _on_change(self) -> None:
        """Wake `run`, because there may be more to send."""
        self._changes += 1
        self._wake.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as self._group:
            while True:
                await self._poll_due()
                await self._wait_for_work()

    async def stop(self, grace_s: float) -> None:
        """Start no more sends, and give those in flight *grace_s* seconds to end.

        The others are cancelled. The next process sends them again.
        """
        self.closed = True
        if sending := {asyncio_task for _, asyncio_task in self._sending.values()}:
            await asyncio.wait(sending, timeout=grace_s)
        for _, asyncio_task in self._sending.values():
            asyncio_task.cancel()

    async def _wait_for_work(self) -> None:
        due = None if self._is_full else self._schedule.next_due()
        pause_s = math.inf if due is None else max((due - self._clock.now()).total_seconds(), 0.0)
        self._waiting = True
        await wait_until_set(self._wake, self._clock, pause_s)
        self._waiting = False
        self._wake.clear()

    async def _poll_due(self) -> None:
        while not self._is_full:
            lanes = self._schedule.take(self._clock.now(), _LANES_PER_POLL, self._blocked_by)
            if not lanes:
                return
            self._polling = True
            try:
                await self._poll(lanes)
            finally:
                self._polling = False

    async def _poll(self, lanes: list[str]) -> None:
        try:
            await self._lease.ensure(busy=True)
            self._finished_since_poll.clear()
            rows = await self._outbox.due(self._owner, lanes, self.limits.rows_per_lane)
        except Unavailable:
            self._postpone(*lanes)
        except Exception:  # an unreadable row must not delay the other lanes
            if len(lanes) == 1:
                log.exception("webhook.unreadable", action="webhook", lane=lanes[0])
                self._postpone(*lanes, after_s=_UNREADABLE_RETRY_S)
                return
            for lane in lanes:
                await self._poll([lane])
        else:
            self._start_due(rows)

    def _blocked_by(self, lane: str) -> Hashable | None:
        """Return the key that blocks *lane*: the lane or its tenant, if that is at its limit; else None."""
        if self._sending_by_lane[lane] >= self.limits.per_lane:
            return lane
        tenant = tenant_of(lane)
        return ("tenant", tenant) if self._sending_by_tenant[tenant] >= self.limits.per_tenant else None

    def _postpone(self, *lanes: str, after_s: float | None = None) -> None:
        seconds = OUTAGE_RETRY_S if after_s is None else after_s
        at = self._clock.now() + timedelta(seconds=seconds * random.uniform(1, 2))  # noqa: S311 - jitter
        for lane in lanes:
            self._schedule.put(lane, at)

    def _start_due(self, rows: Sequence[DueDelivery]) -> None:
        """Start the deliveries in *rows* that may start now, and reschedule the lanes of the others.

        *rows* are the deliveries of each lane in the order of their due times.
        """
        now, rescheduled = self._clock.now(), set[str]()
        for due in rows:
            if due.lane in rescheduled or self._already_handled(due):
                continue
            if due.next_at > now or self._is_full or self._blocked_by(due.lane) is not None:
                rescheduled.add(due.lane)
                self._schedule.put(due.lane, due.next_at)
            else:
                self._start(due)

    def _already_handled(self, due: DueDelivery) -> bool:
        """Return whether this delivery is in flight, or finished after this row was read.

        Its completion reschedules the lane. If the row is newer than the version in flight, remember its lane, so that
        it is read again afterwards.
        """
        if due.key in self._sending:
            if self._sending[due.key][0].version != due.version:
                self._recheck.setdefault(due.key, set()).add(due.lane)
            return True
        finished = self._finished_since_poll.get(due.key)
        return finished is not None and finished.version == due.version

    def _start(self, due: DueDelivery) -> None:
        assert self._group is not None
        self._sending_by_lane[due.lane] += 1
        self._sending_by_tenant[due.tenant] += 1
        asyncio_task = self._group.create_task(self._deliver(due), name=f"webhook {due.id}")
        self._sending[due.key] = due, asyncio_task
        asyncio_task.add_done_callback(lambda _: self._on_finished(due))

    def _on_finished(self, due: DueDelivery) -> None:
        del self._sending[due.key]
        self._finished_since_poll[due.key] = due
        for lane in self._recheck.pop(due.key, ()):
            self._schedule.put(lane, self._clock.now())
        _count_down(self._sending_by_lane, due.lane)
        _count_down(self._sending_by_tenant, due.tenant)
        self._schedule.unblock(due.lane)
        self._schedule.unblock(("tenant", due.tenant))
        self._wake.set()

    async def _deliver(self, due: DueDelivery) -> None:
        try:
            await self._attempt(due)
        except Unavailable:
            self._postpone(due.lane)
        except Exception:  # the delivery stays in the outbox, and the next process sends it
            log.exception("webhook.broke", action="webhook", delivery=due.id)

    async def _attempt(self, due: DueDelivery) -> None:
        """Send the delivery, and record the result.

        If the workflow has no URL any more, the delivery is stopped. If the URL leads to another lane, the delivery
        only moves there.
        """
        if due.url is None:
            await self._record(due, DeliveryVerdict(DeliveryStatus.STOPPED, due.tries), None)
            return
        if (lane := lane_of(due.url, due.tenant)) != due.lane:
            await self._outbox.change_lane(self._owner, due, lane)
            self._schedule.put(lane, due.next_at)
            return
        if not (secrets := self._secrets.of(due.tenant)):
            result: SendResult | None = self._unsent(_NO_SECRET)
        else:
            result = await self._send(due, due.url, secrets)
        if result is None:
            return
        code = result.attempt.code
        jitter = random.random()  # noqa: S311
        decided = verdict(due.tries, code, result.retry_after_s, self._clock.now(), jitter, self.delays_s)
        self.outcomes[decided.status] += 1
        if decided.status is not DeliveryStatus.DELIVERED:
            log.info("webhook.failed", action="webhook", delivery=due.id, code=code, tries=decided.tries)
        await self._record(due, decided, result.attempt)

    async def _send(self, due: DueDelivery, url: str, secrets: Sequence[str]) -> SendResult | None:
        """Send the delivery once. Return None if this process no longer owns it, or its row has changed."""
        try:
            body = await self._outbox.freeze(self._owner, due, None if due.frozen else await self._payload(due))
        except Unavailable:
            raise
        except Exception:  # the workflow's rows can't be read, or the payload can't be built
            log.exception("webhook.unmade", action="webhook", delivery=due.id)
            return self._unsent(_PAYLOAD_FAILED)
        if body is None:
            return None
        at = self._clock.now()
        headers = {
            "webhook-id": due.id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": signatures(secrets, due.id, at, body),
        }
        return await self._sender.send(url, headers, body, secrets)

    def _unsent(self, why: str) -> SendResult:
        """Return the result of an attempt that was not sent. *why*: the reason, in words for the user."""
        return SendResult(DeliveryAttemptPublic(self._clock.now(), error=why))

    async def _record(self, due: DueDelivery, decided: DeliveryVerdict, attempt: DeliveryAttemptPublic | None) -> None:
        """Record the result, and retry for as long as the database is away.

        Until then the delivery counts as in flight, and this process keeps its lease, so that no other one sends it.
        """
        next_at = await until_available(partial(self._outbox.record, self._owner, due, decided, attempt))
        if next_at is not None:
            self._schedule.put(due.lane, next_at)


def _count_down(counter: Counter[T], key: T) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]  # clients choose the keys, so zeros would take memory without limit
