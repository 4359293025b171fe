"""Whether the database and the store of output files take writes: a disk may be full, or the database read-only.

What must hold:
- The first write that fails for such a reason sets the state, whoever wrote. A probe clears it, so that the service
  recovers although no client writes any more.
- While all is well this sends no statement and writes no file.
- One log line marks the beginning and one the end, however many writes fail in between.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

import structlog

from stepwell.domain.errors import ArtifactError, DiskFull, ReadOnly, ResourcesExhausted, StepwellError, Unavailable
from stepwell.ports import Clock

log = structlog.get_logger()

_PROBE_S, _LONGEST_PROBE_S, _PROBE_TIMEOUT_S = 2.0, 30.0, 20.0
_RELAPSE_S = 60.0  # within that time after its end it is the same fault, which the probe doesn't see
_REPEAT_S = 60.0
_FILES_FULL = "the disk for output files is full: no output can be stored until space is freed there"


Probe = Callable[[], Awaitable[None]]


class Place(StrEnum):
    DATABASE = "database"
    ARTIFACTS = "artifacts"


class Refusal(NamedTuple):
    """Why a place takes no writes, and since when."""

    fault: DiskFull | ReadOnly
    since: datetime


class WriteMonitor:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._probes: dict[Place, Probe] = {}
        self._refusals: dict[Place, Refusal] = {}
        self._refused = asyncio.Event()
        self._pause_s, self._cleared_at = _PROBE_S, -float("inf")
        self._logged_at: dict[str, float] = {}

    def add_probe(self, place: Place, probe: Probe) -> None:
        """*probe* tries to write: it raises `Unavailable` or `ArtifactError` for as long as that fails."""
        self._probes[place] = probe

    @property
    def disk_full(self) -> bool:
        return any(isinstance(refusal.fault, DiskFull) for refusal in self._refusals.values())

    def refusal(self, place: Place) -> DiskFull | ReadOnly | None:
        """The fault to raise for what *place* doesn't take now; None if nothing is known against it."""
        refusal = self._refusals.get(place)
        return None if refusal is None else type(refusal.fault)(str(refusal.fault))

    def check(self) -> None:
        """Raises `DiskFull` or `ReadOnly`, with all that is known, if a place takes no writes."""
        if not self._refusals:
            return
        kinds = [type(refusal.fault) for refusal in self._refusals.values()]
        told = [f"{refusal.fault} (since {refusal.since:%Y-%m-%dT%H:%M:%SZ})" for refusal in self._refusals.values()]
        kind = DiskFull if DiskFull in kinds else ReadOnly
        raise kind(f"{'; '.join(told)}. The service then goes on by itself.")

    def database_failed(self, fault: Unavailable) -> None:
        """A statement or a connection met *fault*, which has the driver's error as its cause."""
        if isinstance(fault, DiskFull | ReadOnly):
            self._set(Place.DATABASE, fault, str(fault.__cause__))
        elif isinstance(fault, ResourcesExhausted):
            self._log_exhausted(fault)

    def artifact_failed(self, error: StepwellError) -> None:
        """A file could not be stored, because there is no room for it."""
        self._set(Place.ARTIFACTS, DiskFull(_FILES_FULL), str(error))

    async def run(self) -> None:
        """Probe what takes no writes, until cancelled."""
        while True:
            await self._refused.wait()
            self._refused.clear()
            while self._refusals:
                await asyncio.sleep(self._pause_s)
                for place in [*self._refusals]:
                    await self._probe(place)

    async def _probe(self, place: Place) -> None:
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT_S):
                await self._probes[place]()
        except (Unavailable, ArtifactError, TimeoutError):
            return
        except Exception:  # then requests have to find out
            log.exception("write_probe.broken", action="probe", place=place)
        self._clear(place)

    def _set(self, place: Place, fault: DiskFull | ReadOnly, error: str) -> None:
        known = self._refusals.get(place)
        if known is not None and type(known.fault) is type(fault):
            return
        relapse = asyncio.get_running_loop().time() - self._cleared_at < _RELAPSE_S
        self._pause_s = min(self._pause_s * 2, _LONGEST_PROBE_S) if relapse else _PROBE_S
        self._refusals[place] = Refusal(fault, self._clock.now())
        self._refused.set()
        log.error(_EVENTS[type(fault)], action="write", place=place, error=error)

    def _clear(self, place: Place) -> None:
        refusal = self._refusals.pop(place)
        self._cleared_at = asyncio.get_running_loop().time()
        lasted_s = round((self._clock.now() - refusal.since).total_seconds(), 1)
        log.info(_ENDS[type(refusal.fault)], action="write", place=place, lasted_s=lasted_s)

    def _log_exhausted(self, fault: ResourcesExhausted) -> None:
        now, text = asyncio.get_running_loop().time(), str(fault)
        if now - self._logged_at.get(text, -float("inf")) >= _REPEAT_S:
            self._logged_at[text] = now
            log.error("database.exhausted", action="statement", error=text)


_EVENTS = {DiskFull: "disk.full", ReadOnly: "database.read_only"}
_ENDS = {DiskFull: "disk.has_room", ReadOnly: "database.writable"}
