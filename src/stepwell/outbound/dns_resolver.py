"""Names that strangers have chosen, resolved apart from all others: a zone whose servers never answer holds up nobody.

The system's `getaddrinfo` blocks a thread and can't be ended: who stops waiting leaves the thread behind for as long as
the system tries, which strangers can draw out. What always holds:
- asyncio's default executor, by which names of the operator's settings are resolved, does nothing of this;
- no more look-ups are under way than there are threads, and of one zone no more than `ZONE_THREADS`. More of a zone
  wait while somebody waits for them; where all threads are taken, a look-up fails at once;
- a name is looked up once at a time, for all who ask; where that takes too long, it fails at once for a while.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

ZONE_THREADS = 4
_QUIET_S = 30.0
_MAX_QUIET = 1_024  # names
# Below a country's own domain they stand where elsewhere a registered name does: example.co.uk.
_SECOND_LEVEL = frozenset({"ac", "co", "com", "edu", "go", "gov", "ne", "net", "or", "org"})


class ResolverBusy(OSError):
    """All threads are taken: another try, later, may go better."""


class BoundedResolver:
    """A `guard.Resolver`: all addresses of a name, as the operating system tells them.

    A look-up that takes *late_s* seconds is late: from then on its name fails at once, with `TimeoutError`, until it is
    answered, or *quiet_s* seconds after it failed. Deadlines of the callers are their own business. Threads end by
    themselves, and the process doesn't wait for them: so there is nothing to close.
    """

    def __init__(self, threads: int, *, late_s: float, quiet_s: float = _QUIET_S) -> None:
        self._threads, self._late_s, self._quiet_s = threads, late_s, quiet_s
        self._running = 0
        self._zones: dict[str, _Zone] = {}
        self._look_ups: dict[str, _LookUp] = {}  # by name, those that wait for their zone included
        self._quiet: dict[str, float] = {}  # until when, on the loop's clock

    async def __call__(self, host: str, _port: int) -> Sequence[str]:
        """Raises `OSError`, of which `ResolverBusy` is one, or `UnicodeError`."""
        name = host.lower()
        self._check_late(name)
        look_up = self._look_ups.get(name) or self._asked(name)
        look_up.waiting += 1
        try:
            await asyncio.wait([look_up.answer])
        finally:
            look_up.waiting -= 1
            if not look_up.waiting and look_up.began is None:
                self._forget(look_up)
        answer = look_up.answer.result()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _check_late(self, name: str) -> None:
        now = asyncio.get_running_loop().time()
        if self._quiet.get(name, now) > now:
            raise TimeoutError
        look_up = self._look_ups.get(name)
        if look_up is not None and look_up.began is not None and now - look_up.began >= self._late_s:
            raise TimeoutError

    def _asked(self, name: str) -> "_LookUp":
        place = _zone_of(name)
        running = self._zones[place].running if place in self._zones else 0
        if running < ZONE_THREADS and self._running >= self._threads:
            raise ResolverBusy("too many look-ups are under way")
        zone = self._zones.setdefault(place, _Zone(place))
        look_up = self._look_ups[name] = _LookUp(name, zone)
        zone.queue[name] = look_up
        self._go_on(zone)
        return look_up

    def _go_on(self, zone: "_Zone") -> None:
        while zone.queue and zone.running < ZONE_THREADS:
            look_up = zone.queue.pop(next(iter(zone.queue)))
            look_up.began = asyncio.get_running_loop().time()
            thread = threading.Thread(
                target=_look_up, args=(look_up, self._ended), name="stepwell-look-up", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:  # the system has no more
                self._forget(look_up)
                look_up.answer.set_result(ResolverBusy("no thread for a look-up"))
            else:
                self._running += 1
                zone.running += 1
        if not zone.queue and not zone.running:
            self._zones.pop(zone.name, None)

    def _ended(self, look_up: "_LookUp", answer: Sequence[str] | Exception) -> None:
        now = asyncio.get_running_loop().time()
        self._running -= 1
        look_up.zone.running -= 1
        self._forget(look_up)
        if isinstance(answer, Exception) and look_up.began is not None and now - look_up.began >= self._late_s:
            self._quiet.pop(look_up.name, None)
            self._quiet[look_up.name] = now + self._quiet_s
            if len(self._quiet) > _MAX_QUIET:
                del self._quiet[next(iter(self._quiet))]
        look_up.answer.set_result(answer)
        self._go_on(look_up.zone)

    def _forget(self, look_up: "_LookUp") -> None:
        self._look_ups.pop(look_up.name, None)
        look_up.zone.queue.pop(look_up.name, None)


class _Zone:
    def __init__(self, name: str) -> None:
        self.name, self.running = name, 0
        self.queue: dict[str, _LookUp] = {}  # by name, in the order of asking


class _LookUp:
    """`began` is null while it waits for its zone; `waiting`: how many want to know."""

    def __init__(self, name: str, zone: _Zone) -> None:
        self.name, self.zone = name, zone
        self.answer: asyncio.Future[Sequence[str] | Exception] = asyncio.get_running_loop().create_future()
        self.began: float | None = None
        self.waiting = 0


def _look_up(look_up: _LookUp, ended: "Callable[[_LookUp, Sequence[str] | Exception], None]") -> None:
    answer: Sequence[str] | Exception
    try:
        found = socket.getaddrinfo(look_up.name, None, type=socket.SOCK_STREAM)
        answer = [str(sockaddr[0]) for *_, sockaddr in found]
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told to those who wait
        answer = error
    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        look_up.answer.get_loop().call_soon_threadsafe(ended, look_up, answer)


def _zone_of(name: str) -> str:
    """What its owner has registered, as far as that can be told without the list of public suffixes."""
    labels = name.rstrip(".").split(".")
    of_country = len(labels[-1]) == 2 and len(labels) > 2 and labels[-2] in _SECOND_LEVEL  # noqa: PLR2004
    return ".".join(labels[-3 if of_country else -2 :])
