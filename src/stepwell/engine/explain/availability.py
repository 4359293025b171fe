"""The check whether the service can serve requests and accept changes now, and the monitor of writes that it asks.

A disk may be full, or the database read-only.

What must hold:
- A service that starts or shuts down isn't ready, so that a load balancer sends it no requests. It starts until it has
  claimed workflows for the first time: before that, it leaves new workflows to other processes.
- A change is refused at once while the service shuts down or the database is away.
- The first write that fails for such a reason marks its target. Only a successful probe ends that, so
  the service recovers even if no client writes any more.
- While writes succeed, the monitor sends no statement and writes no file.
- One log line marks the beginning and one the end, however many writes fail in between.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

import structlog

from stepwell.basics.errors import ArtifactError, DiskFull, ReadOnly, ResourcesExhausted, StepwellError, Unavailable
from stepwell.engine.execution.checkpointer import Checkpointer
from stepwell.engine.execution.ownership import Ownership
from stepwell.ports.clock import Clock
from stepwell.ports.storage import WorkflowReader

log = structlog.get_logger()

_PROBE_S, _LONGEST_PROBE_S, _PROBE_TIMEOUT_S = 2.0, 30.0, 20.0
_RELAPSE_S = 60.0  # a fault that returns within this time had not ended, so the pause between probes doubles
_LOG_AGAIN_S = 60.0
_FIRST_CLAIM_S = 1.0
_FILES_FULL = "the disk for output files is full: no output can be stored until space is freed there"
_START_EVENTS = {DiskFull: "disk.full", ReadOnly: "database.read_only"}
_END_EVENTS = {DiskFull: "disk.has_room", ReadOnly: "database.writable"}


Probe = Callable[[], Awaitable[None]]


class WriteTarget(StrEnum):
    """A database or store that the service writes to."""

    DATABASE = "database"
    ARTIFACTS = "artifacts"


class WriteRefusal(NamedTuple):
    """The reason why a target refuses writes, and the time of the first refusal."""

    fault: DiskFull | ReadOnly
    since: datetime


class WriteMonitor:
    """A record of the targets that refuse writes. A failed write adds a target, and a successful probe removes it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._refusals: dict[WriteTarget, WriteRefusal] = {}
        self._refused = asyncio.Event()
        self._pause_s, self._cleared_at = _PROBE_S, -float("inf")
        self._logged_at: dict[str, float] = {}

    @property
    def disk_full(self) -> bool:
        return any(isinstance(refusal.fault, DiskFull) for refusal in self._refusals.values())

    def refusal(self, target: WriteTarget) -> DiskFull | ReadOnly | None:
        """Return the error to raise for a write to *target*; None if no write is known to fail."""
        refusal = self._refusals.get(target)
        return None if refusal is None else type(refusal.fault)(str(refusal.fault))

    def check(self) -> None:
        """Raise `DiskFull` or `ReadOnly`, with the reasons of all targets, if a target accepts no writes."""
        if not self._refusals:
            return
        kinds = [type(refusal.fault) for refusal in self._refusals.values()]
        reasons = [f"{refusal.fault} (since {refusal.since:%Y-%m-%dT%H:%M:%SZ})" for refusal in self._refusals.values()]
        kind = DiskFull if DiskFull in kinds else ReadOnly
        raise kind(f"{'; '.join(reasons)}. Then the service continues by itself.")

    def database_failed(self, fault: Unavailable) -> None:
        """Report that a statement or a connection failed with *fault*, whose cause is the driver's error."""
        if isinstance(fault, DiskFull | ReadOnly):
            self._add(WriteTarget.DATABASE, fault, str(fault.__cause__))
        elif isinstance(fault, ResourcesExhausted):
            self._log_exhausted(fault)

    def artifact_failed(self, error: StepwellError) -> None:
        self._add(WriteTarget.ARTIFACTS, DiskFull(_FILES_FULL), str(error))

    async def run(self, probes: Mapping[WriteTarget, Probe]) -> None:
        """Probe the targets that accept no writes, until cancelled.

        *probes* raise `Unavailable` or `ArtifactError` while writes fail.
        """
        while True:
            await self._refused.wait()
            self._refused.clear()
            while self._refusals:
                await asyncio.sleep(self._pause_s)
                for target in [*self._refusals]:
                    await self._probe(target, probes)

    async def _probe(self, target: WriteTarget, probes: Mapping[WriteTarget, Probe]) -> None:
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT_S):
                await probes[target]()
        except (Unavailable, ArtifactError, TimeoutError):
            return
        except Exception:  # the probe itself is broken, so assume that writes succeed: the next one shows it
            log.exception("write_probe.broken", action="probe", target=target)
        self._remove(target)

    def _add(self, target: WriteTarget, fault: DiskFull | ReadOnly, error: str) -> None:
        current = self._refusals.get(target)
        if current is not None and type(current.fault) is type(fault):
            return
        relapse = asyncio.get_running_loop().time() - self._cleared_at < _RELAPSE_S
        self._pause_s = min(self._pause_s * 2, _LONGEST_PROBE_S) if relapse else _PROBE_S
        self._refusals[target] = WriteRefusal(fault, self._clock.now())
        self._refused.set()
        log.error(_START_EVENTS[type(fault)], action="write", target=target, error=error)

    def _remove(self, target: WriteTarget) -> None:
        refusal = self._refusals.pop(target)
        self._cleared_at = asyncio.get_running_loop().time()
        lasted_s = round((self._clock.now() - refusal.since).total_seconds(), 1)
        log.info(_END_EVENTS[type(refusal.fault)], action="write", target=target, lasted_s=lasted_s)

    def _log_exhausted(self, fault: ResourcesExhausted) -> None:
        now, text = asyncio.get_running_loop().time(), str(fault)
        if now - self._logged_at.get(text, -float("inf")) >= _LOG_AGAIN_S:
            self._logged_at[text] = now
            log.error("database.exhausted", action="statement", error=text)


class Availability:
    """Checks whether the service is available.

    `booted`: this process has its first lease. `draining`: the service shuts down and accepts no changes any more.
    """

    def __init__(
        self, checkpointer: Checkpointer, writes: WriteMonitor, store: WorkflowReader, ownership: Ownership
    ) -> None:
        self._checkpointer, self._writes, self._store, self._ownership = checkpointer, writes, store, ownership
        self.booted = self.draining = False

    async def check_ready(self) -> None:
        """Raise `Unavailable` unless requests can be served now."""
        if self.draining:
            raise Unavailable("the service is shutting down")
        if not self.booted:
            raise Unavailable("the service is starting")
        self._writes.check()
        if self._checkpointer.outage:
            raise Unavailable("the database is away")
        await self._store.ping()
        try:
            async with asyncio.timeout(_FIRST_CLAIM_S):
                await self._ownership.claimed.wait()
        except TimeoutError:
            raise Unavailable("the service is starting") from None

    def check_open(self) -> None:
        """Raise `Unavailable` unless changes are accepted now."""
        if self.draining:
            raise Unavailable("the service is shutting down")
        if self._checkpointer.outage:
            raise self.outage()

    def outage(self) -> Unavailable:
        """Return the error that says why nothing can be written."""
        return self._writes.refusal(WriteTarget.DATABASE) or Unavailable("the database is away")
