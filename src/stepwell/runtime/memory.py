"""The memory governor: bounds the bytes that attempts, responses, bodies and uploads of a process hold together.

A task that holds bytes in proportion to what a tenant sends takes a reservation, and lets it grow before it takes the
bytes. What doesn't fit now waits. `stepwell.rules.memory_shares` has the rule, and the order in which bytes are
reserved.

What must hold:
- A task has one reservation at most, and gives it back when it ends, however it ends.
- A task that was cancelled while it waited has got nothing.
- Up to 64 KiB are free: the number of connections and of attempts bounds those. So small tasks never wait.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final, Self

from stepwell.basics.errors import NeverFits
from stepwell.basics.tenancy import Account
from stepwell.rules.memory_shares import MemoryShare, MemoryShares

FREE_BYTES: Final = 64 * 1024  # that a reservation may hold without the governor
LARGE_RELEASE: Final = 16 * 1024 * 1024
WhileWaiting = Callable[[], Awaitable[object]]
"""A function that is called if a request for bytes must wait. The request waits at least until it returns."""
_DEFAULT_MAX_BYTES = 512 * 1024 * 1024
_LEAST_LOCAL_BYTES = 512 * 1024 * 1024
_DEFAULT_SHARE = 4  # the governor's part of all memory: Python needs several times what it is given


class MemoryGovernor:
    """The reservations of a process, which together hold at most *max_bytes*.

    `largest` is the most that one reservation may hold. `large_release` is set once `LARGE_RELEASE` bytes were given
    back since it was cleared last. Belongs to one event loop.
    """

    def __init__(self, max_bytes: int) -> None:
        self._shares = MemoryShares(max_bytes)
        self.max_bytes, self.largest = max_bytes, self._shares.largest
        self.large_release = asyncio.Event()
        self._released = 0
        self._grants: dict[MemoryShare, asyncio.Future[None]] = {}

    @property
    def held(self) -> int:
        """The bytes that all reservations hold."""
        return self._shares.held

    @property
    def most_held(self) -> int:
        """The most that `held` has been."""
        return self._shares.most_held

    @property
    def waiting(self) -> int:
        """The number of reservations that wait for bytes."""
        return self._shares.waiting

    def reservation(self, tenant: Account) -> "MemoryReservation":
        """Return a reservation that holds nothing yet. It is used as a context, which ends with giving all back."""
        return MemoryReservation(self, tenant)

    async def request(self, share: MemoryShare, size: int, while_waiting: WhileWaiting | None = None) -> bool:
        """Wait until the share has *size* more bytes. Return whether that took a wait.

        If the caller is cancelled, or *while_waiting* raises, the share has got nothing.
        """
        if self._shares.request(share, size):
            return False
        self._grants[share] = granted = asyncio.get_running_loop().create_future()
        try:
            if while_waiting is not None:
                await while_waiting()
            await granted
        except BaseException:
            if share.wanted:
                self._wake(self._shares.withdraw(share))
            else:  # granted in the same moment
                self.release(share, size)
            raise
        finally:
            del self._grants[share]
        return True

    def charge(self, share: MemoryShare, size: int) -> None:
        """Give the share *size* more bytes without a wait, whatever is free."""
        self._shares.charge(share, size)

    def release(self, share: MemoryShare, size: int) -> None:
        self._released += size
        if self._released >= LARGE_RELEASE:
            self._released = 0
            self.large_release.set()
        self._wake(self._shares.release(share, size))

    def move(self, share: MemoryShare, tenant: Account) -> None:
        self._wake(self._shares.move(share, tenant))

    def _wake(self, granted: list[MemoryShare]) -> None:
        for share in granted:
            future = self._grants[share]
            if not future.done():
                future.set_result(None)


class MemoryReservation:
    """The bytes that one task holds. `held` counts them, also those that are free of charge."""

    __slots__ = ("_governor", "_share", "held")

    def __init__(self, governor: MemoryGovernor, tenant: Account) -> None:
        self._governor, self._share = governor, MemoryShare(tenant)
        self.held = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.shrink(self.held)

    async def grow(self, size: int, while_waiting: WhileWaiting | None = None) -> bool:
        """Wait until *size* more bytes may be held. Return whether that took a wait.

        The caller sets a deadline if it can't wait for ever.

        Raises `NeverFits` if one reservation may not hold so much.
        """
        total = self.held + size
        if total > self._governor.largest:
            raise NeverFits(total, self._governor.largest)
        waited = False
        if total > FREE_BYTES and size:
            waited = await self._governor.request(self._share, total - self._share.held, while_waiting)
        self.held = total
        return waited

    async def grow_up_to(self, size: int, while_waiting: WhileWaiting | None = None) -> int:
        """Grow by *size*, or by as much as one reservation may hold. Return the bytes that it has grown by."""
        granted = min(size, self._governor.largest - self.held)
        await self.grow(granted, while_waiting)
        return granted

    def charge(self, size: int) -> None:
        """Grow by *size* without a wait, whatever is free: for bytes that are in memory already and can't wait."""
        self.held += size
        if self.held > FREE_BYTES and size:
            self._governor.charge(self._share, self.held - self._share.held)

    def move_to(self, tenant: Account) -> None:
        """Count what is held for *tenant*. Must not be called while the reservation waits to grow."""
        self._governor.move(self._share, tenant)

    def shrink(self, size: int) -> None:
        """Give *size* bytes back."""
        assert 0 <= size <= self.held
        self.held -= size
        kept = self.held if self.held > FREE_BYTES else 0
        if kept < self._share.held:
            self._governor.release(self._share, self._share.held - kept)


def default_max_bytes() -> int:
    """Return the bytes of a governor whose limit isn't configured: a quarter of the memory, at most 512 MiB."""
    return min(provided_bytes() // _DEFAULT_SHARE, _DEFAULT_MAX_BYTES)


def default_local_max_bytes(governed: int) -> int:
    """Return the bytes for LOCAL's child processes if that isn't configured. The governor has *governed* bytes."""
    return max(_LEAST_LOCAL_BYTES, (provided_bytes() - governed) * 3 // 5)


def provided_bytes(root: Path = Path("/")) -> int:
    """Return the memory that this process may use: the machine's, or the limit of its cgroup (v2 or v1) if lower."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([machine, *_cgroup_limits(root)])


def _cgroup_limits(root: Path) -> Iterator[int]:
    """Yield the memory limits of this process's cgroup and of those around it.

    A line of /proc/self/cgroup is `0::/path` in version 2, and `7:memory:/path` in version 1 (man 7 cgroups). In a
    container the path may be the host's, so the mount's own limit counts too.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":
            mount, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            mount, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        inner = mount / path.lstrip("/")
        for folder in {inner, *inner.parents}:
            if folder == mount or mount in folder.parents:
                try:
                    text = (folder / name).read_text().strip()
                except OSError:
                    continue
                if text.isdecimal():  # "max" means that there is no limit
                    yield int(text)
