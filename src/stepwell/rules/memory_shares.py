"""The rule by which tenants share a fixed number of bytes.

Half of the bytes are the common pool, the other half is the reserve. A share gets its bytes from the common pool, by
the rule of `rules.threshold`: a tenant may hold as many bytes as are then still free.

A share that doesn't get its bytes waits. Each tenant has two queues: shares that hold something and grow, then new
ones. The first share of each tenant has its turn, tenant after tenant. If the common pool has too few bytes for it, it
may take the reserve, which belongs to one share at a time: to one that grows, or to a new one whose tenant holds
nothing. The owner of the reserve never waits, because no share holds more than the reserve. The owner's bytes move to
the common pool as soon as they fit.

The order in which bytes are reserved: an attempt or a request has one share at most, and its bytes are requested before
they are used. A share may grow while it holds something, so holders can wait for each other, but never for ever: the
owner of the reserve always reaches its end, and the next one comes after it.

What must hold:
- All shares together never hold more than `max_bytes`, and one never more than `largest`, but for what is charged.
- If a share waits, a share that doesn't wait holds something. If each holder releases its bytes at some time, each
  share that waits is granted at some time, whatever other tenants request.
- However much other tenants request, a tenant that holds nothing gets a small share of what is free at once.
- A share that gives up waiting leaves nothing behind.

`runtime.fair_turns` has another rule: there a turn takes one of a fixed number of slots. A share takes any number of
bytes, may grow while it holds some, and what a tenant may hold depends on what is free.
"""

from collections import deque

from msgspec import Struct

from stepwell.basics.tenancy import Account
from stepwell.rules.threshold import may_hold


class MemoryShare:
    """The bytes that an attempt or a request holds. `wanted`: the bytes that it waits for; 0 if it doesn't wait."""

    __slots__ = ("held", "in_reserve", "tenant", "wanted")

    def __init__(self, tenant: Account) -> None:
        self.tenant = tenant
        self.held = self.in_reserve = self.wanted = 0


class _Queues(Struct):
    growing: deque[MemoryShare]
    new: deque[MemoryShare]

    def of(self, share: MemoryShare) -> deque[MemoryShare]:
        return self.growing if share.held else self.new

    def first(self) -> MemoryShare | None:
        return next((queue[0] for queue in (self.growing, self.new) if queue), None)


class MemoryShares:
    """The shares of *max_bytes*. `most_held` is the most that was held at any time."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.largest = max_bytes, max_bytes // 2
        self.held = self.most_held = 0
        self._free = max_bytes - self.largest  # of the common pool
        self._owner: MemoryShare | None = None  # of the reserve
        self._held_by: dict[Account, int] = {}
        self._queues: dict[Account, _Queues] = {}  # in the order of turns

    @property
    def waiting(self) -> int:
        return sum(len(queues.growing) + len(queues.new) for queues in self._queues.values())

    def request(self, share: MemoryShare, size: int) -> bool:
        """Grant *size* more bytes to the share, or let it wait. Return whether they were granted.

        The share mustn't wait already, nor hold more than `largest` with them.
        """
        assert 0 < size <= self.largest - share.held
        assert not share.wanted
        share.wanted = size
        if share is self._owner:
            self._grant_from_reserve(share)
            return True
        queues = self._queues.setdefault(share.tenant, _Queues(deque(), deque()))
        queues.of(share).append(share)
        return queues.first() is share and self._try(share)

    def charge(self, share: MemoryShare, size: int) -> None:
        """Give *size* more bytes to the share, which doesn't wait, even if they don't fit. Then others wait longer."""
        assert not share.wanted
        self._free -= size
        self._count(share, size)

    def withdraw(self, share: MemoryShare) -> list[MemoryShare]:
        """End the wait of the share. Return the shares that are granted because of that."""
        self._leave_queue(share)
        share.wanted = 0
        return self._grant_waiting()

    def release(self, share: MemoryShare, size: int) -> list[MemoryShare]:
        """Take *size* bytes back from the share, which doesn't wait. Return the shares that are granted with them."""
        assert 0 <= size <= share.held
        assert not share.wanted
        from_reserve = min(size, share.in_reserve)
        share.in_reserve -= from_reserve
        self._free += size - from_reserve
        self._count(share, -size)
        if share is self._owner and not share.in_reserve:
            self._owner = None
        return self._grant_waiting()

    def move(self, share: MemoryShare, tenant: Account) -> list[MemoryShare]:
        """Count the share, which doesn't wait, for *tenant*. Return the shares that are granted because of that."""
        assert not share.wanted
        held = share.held
        self._count(share, -held)
        share.tenant = tenant
        self._count(share, held)
        return self._grant_waiting()

    def _grant_waiting(self) -> list[MemoryShare]:
        """Grant what can be granted now, tenant after tenant."""
        self._empty_reserve()
        granted: list[MemoryShare] = []
        while True:
            firsts = [queues.first() for queues in self._queues.values()]
            share = next((each for each in firsts if each is not None and self._try(each)), None)
            if share is None:
                return granted
            granted.append(share)

    def _empty_reserve(self) -> None:
        """Move the owner's bytes from the reserve to the common pool, if they fit there."""
        owner = self._owner
        if owner is not None and may_hold(self._held_by[owner.tenant], self._free - owner.in_reserve):
            self._free -= owner.in_reserve
            owner.in_reserve, self._owner = 0, None

    def _try(self, share: MemoryShare) -> bool:
        """Grant what the first share of a tenant's queues wants, if it is free."""
        held = self._held_by.get(share.tenant, 0)
        if may_hold(held + share.wanted, self._free - share.wanted):
            self._leave_queue(share)
            self._free -= share.wanted
            self._count(share, share.wanted)
            share.wanted = 0
        elif self._owner is None and (share.held or not held):
            self._leave_queue(share)
            self._owner = share
            self._grant_from_reserve(share)
        else:
            return False
        return True

    def _grant_from_reserve(self, share: MemoryShare) -> None:
        share.in_reserve += share.wanted
        self._count(share, share.wanted)
        share.wanted = 0

    def _leave_queue(self, share: MemoryShare) -> None:
        """Remove the share from the queues of its tenant, whose next turn comes after those of all others."""
        queues = self._queues.pop(share.tenant)
        queues.of(share).remove(share)
        if queues.first() is not None:
            self._queues[share.tenant] = queues

    def _count(self, share: MemoryShare, size: int) -> None:
        share.held += size
        self.held += size
        self.most_held = max(self.most_held, self.held)
        of_tenant = self._held_by.pop(share.tenant, 0) + size
        if of_tenant:
            self._held_by[share.tenant] = of_tenant
