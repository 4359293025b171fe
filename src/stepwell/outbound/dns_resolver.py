"""A DNS resolver for names that strangers have chosen. A zone whose servers never respond delays nobody else.

The system's `getaddrinfo` blocks a thread and can't be cancelled: a caller that stops waiting leaves the thread behind
until the system gives up, and strangers can make that take long. These rules always hold:
- Nothing here uses asyncio's default executor, which resolves the names in the operator's settings.
- At most `threads` look-ups run at once, and at most `ZONE_THREADS` of one zone. Further look-ups of a busy zone are
  queued while somebody waits for them. If all threads are busy, a look-up fails at once.
- Only one look-up of a name runs at a time; all its callers wait for it. While it is late, the name fails at once.

`getaddrinfo` in threads, not aiodns: c-ares ignores the modules of nsswitch.conf (mDNS, systemd-resolved, LDAP), which
operators use to name hosts in allowed networks, and it caches results, which pycares can't switch off.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

ZONE_THREADS = 4
_BLOCK_S = 30.0
_MAX_BLOCKED = 1_024  # names
# Second-level domains under which a country's registry sells names, as in example.co.uk.
_SECOND_LEVEL = frozenset({"ac", "co", "com", "edu", "go", "gov", "ne", "net", "or", "org"})


class ResolverBusy(OSError):
    """All threads are busy. A later attempt may succeed."""


class BoundedResolver:
    """Implements `ssrf_guard.Resolver`: returns all addresses of a name, as the operating system resolves it.

    A look-up that takes *late_s* seconds is late. From then on, its name fails at once with `TimeoutError`: until the
    look-up succeeds, or, if it fails, for another *block_s* seconds. Up to *max_blocked* failed names are remembered.
    Callers set their own deadlines. *clock* returns seconds (default: the event loop's time).

    The threads end by themselves and the process doesn't wait for them, so there is nothing to close.
    """

    def __init__(
        self,
        threads: int,
        *,
        late_s: float,
        block_s: float = _BLOCK_S,
        max_blocked: int = _MAX_BLOCKED,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._threads, self._late_s, self._block_s, self._max_blocked = threads, late_s, block_s, max_blocked
        self._clock = clock or (lambda: asyncio.get_running_loop().time())
        self._running = 0
        self._zones: dict[str, _Zone] = {}
        self._look_ups: dict[str, _LookUp] = {}  # by name; running and queued ones
        self._blocked_until: dict[str, float] = {}  # by name, on the clock

    @property
    def is_idle(self) -> bool:
        """True if no look-up is running or queued."""
        return not (self._running or self._zones or self._look_ups)

    async def __call__(self, host: str, _port: int) -> Sequence[str]:
        """Raises `OSError` (`ResolverBusy` is one) or `UnicodeError`."""
        name = host.lower()
        if self.is_late(name):
            raise TimeoutError
        look_up = self._look_ups.get(name) or self._begin(name)
        look_up.waiters += 1
        try:
            await asyncio.wait([look_up.future])
        finally:
            look_up.waiters -= 1
            if not look_up.waiters and look_up.began is None:
                self._forget(look_up)
        result = look_up.future.result()
        if isinstance(result, Exception):
            raise result
        return result

    def is_late(self, name: str) -> bool:
        """Return whether *name*, in lower case, fails at once, because a look-up of it is late or has been."""
        now = self._clock()
        if self._blocked_until.get(name, now) > now:
            return True
        look_up = self._look_ups.get(name)
        return look_up is not None and self._took_too_long(look_up, now)

    def _took_too_long(self, look_up: "_LookUp", now: float) -> bool:
        return look_up.began is not None and now - look_up.began >= self._late_s

    def _begin(self, name: str) -> "_LookUp":
        zone_name = zone_of(name)
        running = self._zones[zone_name].running if zone_name in self._zones else 0
        if running < ZONE_THREADS and self._running >= self._threads:
            raise ResolverBusy("too many look-ups are under way")
        zone = self._zones.setdefault(zone_name, _Zone(zone_name))
        look_up = self._look_ups[name] = _LookUp(name, zone)
        zone.queue[name] = look_up
        self._start_queued(zone)
        return look_up

    def _start_queued(self, zone: "_Zone") -> None:
        while zone.queue and zone.running < ZONE_THREADS:
            look_up = zone.queue.pop(next(iter(zone.queue)))
            look_up.began = self._clock()
            work = partial(_resolve, look_up, self._finish)
            try:
                threading.Thread(target=work, name="stepwell-look-up", daemon=True).start()
            except RuntimeError:  # the system has no more threads
                self._forget(look_up)
                look_up.future.set_result(ResolverBusy("no thread for a look-up"))
            else:
                self._running += 1
                zone.running += 1
        if not zone.queue and not zone.running:
            self._zones.pop(zone.name, None)

    def _finish(self, look_up: "_LookUp", result: Sequence[str] | Exception) -> None:
        now = self._clock()
        self._running -= 1
        look_up.zone.running -= 1
        self._forget(look_up)
        if isinstance(result, Exception) and self._took_too_long(look_up, now):
            self._block(look_up.name, now + self._block_s)
        look_up.future.set_result(result)
        self._start_queued(look_up.zone)

    def _block(self, name: str, until: float) -> None:
        self._blocked_until.pop(name, None)
        self._blocked_until[name] = until
        if len(self._blocked_until) > self._max_blocked:
            del self._blocked_until[next(iter(self._blocked_until))]

    def _forget(self, look_up: "_LookUp") -> None:
        self._look_ups.pop(look_up.name, None)
        look_up.zone.queue.pop(look_up.name, None)


class _Zone:
    """The look-ups of one zone: how many are running, and the queued ones by name, oldest first."""

    def __init__(self, name: str) -> None:
        self.name, self.running = name, 0
        self.queue: dict[str, _LookUp] = {}


class _LookUp:
    """A look-up of one name. `began` is None while it is queued; `waiters` counts the callers that wait for it."""

    def __init__(self, name: str, zone: _Zone) -> None:
        self.name, self.zone = name, zone
        self.future: asyncio.Future[Sequence[str] | Exception] = asyncio.get_running_loop().create_future()
        self.began: float | None = None
        self.waiters = 0


def _resolve(look_up: _LookUp, finish: "Callable[[_LookUp, Sequence[str] | Exception], None]") -> None:
    """Resolve the name in this thread, and report the result to the event loop."""
    result: Sequence[str] | Exception
    try:
        addresses = socket.getaddrinfo(look_up.name, None, type=socket.SOCK_STREAM)
        result = [str(sockaddr[0]) for *_, sockaddr in addresses]
    except Exception as error:  # noqa: BLE001 - every error is raised to the callers
        result = error
    with suppress(RuntimeError):  # the loop is closed, so nobody waits any more
        look_up.future.get_loop().call_soon_threadsafe(finish, look_up, result)


def zone_of(name: str) -> str:
    """Return the registered domain of *name*, as far as it is known without the list of public suffixes."""
    labels = name.rstrip(".").split(".")
    under_country = len(labels[-1]) == 2 and len(labels) > 2 and labels[-2] in _SECOND_LEVEL  # noqa: PLR2004
    return ".".join(labels[-3 if under_country else -2 :])
