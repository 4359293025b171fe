"""A monitor of writes to the database and to the artifact store: a disk may be full, or the database read-only.

What must hold:
- The first write that fails for such a reason marks the place as refusing writes. Only a successful probe ends that, so
  the service recovers even if no client writes any more.
- While writes succeed, the monitor sends no statement and writes no file.
- One log line marks the beginning and one the end, however many writes fail in between.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

import structlog

from stepwell.basics.errors import ArtifactError, DiskFull, ReadOnly, ResourcesExhausted, StepwellError, Unavailable
from stepwell.ports.clock import Clock

log = structlog.get_logger()

_PROBE_S, _LONGEST_PROBE_S, _PROBE_TIMEOUT_S = 2.0, 30.0, 20.0
_RELAPSE_S = 60.0  # a fault that returns within this time had not ended, so the pause between probes doubles
_LOG_AGAIN_S = 60.0
_FILES_FULL = "the disk for output files is full: no output can be stored until space is freed there"


Probe = Callable[[], Awaitable[None]]


class WriteTarget(StrEnum):
    """A place that the service writes to."""

    DATABASE = "database"
    ARTIFACTS = "artifacts"


class WriteRefusal(NamedTuple):
    """The reason why a place refuses writes, and the time of the first refusal."""

    fault: DiskFull | ReadOnly
    since: datetime


class WriteMonitor:
    """A record of the places that refuse writes. A failed write adds a place, and a successful probe removes it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.probes: dict[WriteTarget, Probe] = {}
        self._refusals: dict[WriteTarget, WriteRefusal] = {}
        self._refused = asyncio.Event()
        self._pause_s, self._cleared_at = _PROBE_S, -float("inf")
        self._logged_at: dict[str, float] = {}

    def add_probe(self, place: WriteTarget, probe: Probe) -> None:
        """Register *probe*, which tries to write. It raises `Unavailable` or `ArtifactError` while that fails."""
        self.probes[place] = probe

    @property
    def disk_full(self) -> bool:
        """True if a place accepts no writes because its disk is full."""
        return any(isinstance(refusal.fault, DiskFull) for refusal in self._refusals.values())

    def refusal(self, place: WriteTarget) -> DiskFull | ReadOnly | None:
        """Return the error to raise for a write to *place*; None if no write is known to fail."""
        refusal = self._refusals.get(place)
        return None if refusal is None else type(refusal.fault)(str(refusal.fault))

    def check(self) -> None:
        """Raise `DiskFull` or `ReadOnly`, with the reasons of all places, if a place accepts no writes."""
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
        """Report that a file could not be stored, because there is no room for it."""
        self._add(WriteTarget.ARTIFACTS, DiskFull(_FILES_FULL), str(error))

    async def run(self) -> None:
        """Probe the places that accept no writes, until cancelled."""
        while True:
            await self._refused.wait()
            self._refused.clear()
            while self._refusals:
                await asyncio.sleep(self._pause_s)
                for place in [*self._refusals]:
                    await self._probe(place)

    async def _probe(self, place: WriteTarget) -> None:
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT_S):
                await self.probes[place]()
        except (Unavailable, ArtifactError, TimeoutError):
            return
        except Exception:  # the probe itself is broken, so assume that writes succeed: the next one shows it
            log.exception("write_probe.broken", action="probe", place=place)
        self._remove(place)

    def _add(self, place: WriteTarget, fault: DiskFull | ReadOnly, error: str) -> None:
        current = self._refusals.get(place)
        if current is not None and type(current.fault) is type(fault):
            return
        relapse = asyncio.get_running_loop().time() - self._cleared_at < _RELAPSE_S
        self._pause_s = min(self._pause_s * 2, _LONGEST_PROBE_S) if relapse else _PROBE_S
        self._refusals[place] = WriteRefusal(fault, self._clock.now())
        self._refused.set()
        log.error(_START_EVENTS[type(fault)], action="write", place=place, error=error)

    def _remove(self, place: WriteTarget) -> None:
        refusal = self._refusals.pop(place)
        self._cleared_at = asyncio.get_running_loop().time()
        lasted_s = round((self._clock.now() - refusal.since).total_seconds(), 1)
        log.info(_END_EVENTS[type(refusal.fault)], action="write", place=place, lasted_s=lasted_s)

    def _log_exhausted(self, fault: ResourcesExhausted) -> None:
        now, text = asyncio.get_running_loop().time(), str(fault)
        if now - self._logged_at.get(text, -float("inf")) >= _LOG_AGAIN_S:
            self._logged_at[text] = now
            log.error("database.exhausted", action="statement", error=text)


_START_EVENTS = {DiskFull: "disk.full", ReadOnly: "database.read_only"}
_END_EVENTS = {DiskFull: "disk.has_room", ReadOnly: "database.writable"}
