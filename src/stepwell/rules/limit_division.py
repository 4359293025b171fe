"""The division of limits among the processes on one database, as pure rules.

A pool is anything with a limit: a provider, a model, or a tenant. A process either has all limits for itself, because
it is alone (`Division.sole`), or it is a member with a share of each pool that it uses. A step may start while its
process uses fewer slots than `Part.allowed`.

What must hold:
- The shares that are stored for a pool are never more than its limit, apart from attempts that a process has taken over
  from a dead one. While there are too many of those, nothing starts.
- A process that has the limits for itself and a member with a share never exist at the same time.
- A share is never less than what its process uses. So it counts what runs, also while a process gives slots up.
- A process whose shares can't be read here counts as if it had all slots and starts. Nothing starts beside it.
- Only a process that is marked as claiming, or has all limits for itself, claims. The statement of a claim checks that.
- A process whose lease has ended, and which has a new one, may have lost its workflows to a process that still claims.
  Until that claim has ended, it keeps its slots, for the attempts it has lost, and starts nothing.
- The share of a dead process counts until others have taken over its workflows, because its jobs go on at providers.
  After `OVERDUE_S` it counts no more, even if nobody can take them over.
- Processes that need slots share them evenly (max-min fairness). What one doesn't need is for the others. While nobody
  else waits, a process keeps what it has.
- If there are fewer slots than processes that need some, those that wait get them in the order in which they began to
  wait. A process has its turn for `TURN_S`, and gives its slot up at the end of the step that then runs.
- Starts of a model with a rate are reserved in advance, one after the other, whichever process makes them. A reserved
  start that isn't used in time is lost.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from uuid import UUID

from msgspec import Struct

TURN_S = 1.0
OVERDUE_S = 30.0
_BURST_S = 1.0
_AHEAD_S = 2.0  # starts are reserved for this time at once, but at least one


class Share(Struct, frozen=True, array_like=True):
    """A member's share of a pool: its slots, how many of them it uses, and how many steps wait for more.

    `since`: when it began to wait, if it has no slot; otherwise when its turn began. Seconds of the database's clock.
    """

    slots: int
    used: int
    waiting: int
    since: float

    @property
    def need(self) -> int:
        return self.used + self.waiting


class Member(Struct, frozen=True):
    """A process with shares. *claiming*: it takes over workflows whose attempts its shares don't count yet.

    *claimed*: it is dead, owns no workflow any more, and none that was handed over waits for a claim. *overdue*: it has
    been dead for `OVERDUE_S`. *readable*: false if its shares are of a version that this one can't read, or damaged.
    Then `shares` is empty.
    """

    owner: UUID
    alive: bool
    claiming: bool
    claimed: bool
    overdue: bool
    shares: Mapping[str, Share]
    readable: bool = True


class Division(Struct, frozen=True):
    """The division as it is stored. Times are seconds of the database's clock.

    `alive`: the caller has a lease. `others`: the number of other processes with a lease. `sole`: the process that has
    all limits for itself; `sole_member` describes it if it isn't the caller. `starts`: the next start by pool, if it is
    in the future. A pool that isn't there may have had a start at `starts_from`.
    """

    version: int
    now: float
    alive: bool
    others: int
    sole: UUID | None
    sole_member: Member | None
    sole_until: float
    starts: Mapping[str, float]
    starts_from: float
    members: Sequence[Member]


class DivisionChange(Struct, frozen=True):
    """The change that a process makes to the division of version `version`.

    `shares` is None if the process is no member any more. `removed`: the members that count no more. `notify`: others
    may have to change their shares.
    """

    version: int
    sole: UUID | None
    claiming: bool
    shares: Mapping[str, Share] | None
    removed: Collection[UUID]
    starts: Mapping[str, float]
    starts_from: float
    notify: bool


class PoolUse(Struct, frozen=True):
    """The demand of a process for a pool. `used`: slots that it uses. `waiting`: steps that wait for a slot."""

    limit: int
    used: int
    waiting: int


class Part(Struct, frozen=True):
    """The part of a pool that a process gets.

    `allowed`: it may start steps while it uses fewer slots. `others_wait`: another process waits for slots, so the
    caller should give up what it doesn't need. `turn_ends`: when it should ask again, because others wait for its turn
    to end; None if they don't.
    """

    allowed: int
    share: Share
    others_wait: bool
    turn_ends: float | None


def uncounted(division: Division, owner: UUID, *, claiming: bool) -> set[UUID]:
    """Return the dead processes whose shares count no more, among them `Division.sole`.

    Those whose workflows are claimed count until every claimer has counted what it has claimed.
    """
    dead = [each for each in _all_members(division) if not each.alive and each.owner != owner]
    overdue = {each.owner for each in dead if each.overdue}
    if claiming or other_claimers(division, owner):
        return overdue
    return overdue | {each.owner for each in dead if each.claimed}


def other_claimers(division: Division, owner: UUID) -> set[UUID]:
    """Return the processes that may own attempts which their shares don't count yet, apart from *owner*."""
    claimers = [each for each in division.members if each.claiming and each.owner != owner]
    return {each.owner for each in claimers if each.alive or not (each.claimed or each.overdue)}


def _all_members(division: Division) -> Iterable[Member]:
    return division.members if division.sole_member is None else (*division.members, division.sole_member)


def is_alone(division: Division, owner: UUID, removed: Collection[UUID]) -> bool:
    """Return whether *owner* may have all limits for itself."""
    has_sole = division.sole is not None and division.sole != owner and division.sole not in removed
    return not division.others and not has_sole and all(each.owner in (owner, *removed) for each in division.members)


def part_of(
    pool: str, use: PoolUse, own: Share | None, others: Collection[Member], *, has_sole: bool, me: UUID, now: float
) -> Part:
    """Return the part of *pool* for the process *me*, which has *own* now.

    *others* are the members that count. *has_sole*: a process has all limits for itself, or may have.
    """
    shares = {each.owner: share for each in others if (share := each.shares.get(pool)) is not None}
    alive = {each.owner for each in others if each.alive}
    own = own or Share(0, 0, 0, now)
    if not own.slots and not own.waiting:
        own = Share(0, 0, 0, now)
    wanted = Share(own.slots, use.used, use.waiting, own.since)
    needs = {owner: share for owner, share in shares.items() if owner in alive and share.need} | {me: wanted}
    parts = fair_parts(use.limit, needs, now)
    free = use.limit if not has_sole else 0
    free = max(free - sum(share.slots for share in shares.values()), 0)
    others_wait = any(share.need > share.slots for owner, share in needs.items() if owner != me)
    if others_wait:
        allowed = min(parts[me], free)
    else:
        allowed = min(free, max(wanted.need, own.slots, use.limit // (len(alive) + 1)))
    slots = max(allowed, use.used)
    since = now if bool(slots) != bool(own.slots) else own.since
    ends = since + TURN_S if others_wait and allowed and now < since + TURN_S else None
    return Part(allowed, Share(slots, use.used, use.waiting, since), others_wait, ends)


def fair_parts(limit: int, needs: Mapping[UUID, Share], now: float) -> dict[UUID, int]:
    """Divide *limit* slots evenly among processes that need some, but give none more than it needs.

    If there are fewer slots than processes, those whose turn isn't over come first. Then come those that wait, the
    longest wait first.
    """
    parts = dict.fromkeys(needs, 0)
    active, left = [owner for owner in needs if needs[owner].need], limit
    while active and left >= len(active):
        base = left // len(active)
        grants = {owner: min(base, needs[owner].need - parts[owner]) for owner in active}
        for owner, number in grants.items():
            parts[owner] += number
        left -= sum(grants.values())
        active = [owner for owner in active if parts[owner] < needs[owner].need]

    def turn(owner: UUID) -> tuple[int, float, UUID]:
        share = needs[owner]
        if parts[owner]:  # each has some, so there is no need for turns
            return 0, 0.0, owner
        if share.slots:
            return (0 if now < share.since + TURN_S else 2), share.since, owner
        return 1, share.since, owner

    for owner in sorted(active, key=turn)[:left]:
        parts[owner] += 1
    return parts


class Starts(Struct, frozen=True):
    """Reserved starts: `number` of them, `interval_s` apart, the first at the time `first`."""

    first: float
    interval_s: float
    number: int


def most_starts(per_minute: float) -> int:
    """Return how many starts of a model are reserved at once."""
    return max(int(_AHEAD_S * per_minute / 60), 1)


def reserve_starts(
    per_minute: float, waiting: int, next_start: float | None, starts_from: float, now: float
) -> tuple[Starts, float]:
    """Reserve starts for up to *waiting* steps. Return them, and when the next start after them may be.

    *next_start* is that time before; None if no start is known after *starts_from*.
    """
    interval_s = 60 / per_minute
    if next_start is None:
        next_start = starts_from + max(interval_s, _BURST_S)
    first = max(next_start, now)
    number = max(min(waiting, most_starts(per_minute)), 1)
    return Starts(first, interval_s, number), first + number * interval_s


def first_unknown_start(division: Division, removed: Collection[UUID]) -> float:
    """Return the time from which all starts are known that aren't in `starts`.

    The dead process that had all limits for itself hasn't stored its starts.
    """
    return max(division.starts_from, division.sole_until if division.sole in removed else 0.0)


class Membership:
    """The decision of the process *me* on its shares, beside other processes.

    *removed*: the processes that count no more. *own_starts*: the next start of each model, which only this process
    knows. *claiming*: it claims now. *keep_slots*: it gives up no slot and starts nothing, because others claim and its
    lease had ended. First call `part` and `reserve` for each pool, or `keep`; then `change`.
    """

    def __init__(
        self,
        division: Division,
        me: UUID,
        removed: Collection[UUID],
        own_starts: Mapping[str, float],
        *,
        claiming: bool,
        keep_slots: bool = False,
    ) -> None:
        self._division, self._me, self._removed, self._claiming = division, me, removed, claiming
        self._keep_slots = keep_slots
        self._own = next((each for each in division.members if each.owner == me), None)
        self._others = [each for each in division.members if each.owner != me and each.owner not in removed]
        self._was_sole = division.sole == me
        has_sole = division.sole is not None and not self._was_sole and division.sole not in removed
        self._has_sole = has_sole or any(not each.readable for each in self._others)
        self._starts = {pool: at for pool, at in division.starts.items() if at > division.now}
        self._starts_from = first_unknown_start(division, removed)
        for pool, at in own_starts.items() if self._was_sole else ():
            self._starts[pool] = max(self._starts.get(pool, at), at)
        self.parts: dict[str, Part] = {}
        self.reserved: dict[str, Starts] = {}
        self.unreserved: set[str] = set()  # another process has all limits for itself, or may have

    def part(self, pool: str, use: PoolUse) -> int:
        """Decide on the share of *pool*. Return how many slots this process may use."""
        own, now = self._own_shares.get(pool), self._division.now
        if self._keep_slots:
            slots, since = (0, now) if own is None else (own.slots, own.since)
            share = Share(max(slots, use.used), use.used, use.waiting, since)
            part = Part(0, share, others_wait=False, turn_ends=None)
        else:
            part = part_of(pool, use, own, self._others, has_sole=self._has_sole, me=self._me, now=now)
        self.parts[pool] = part
        return part.allowed

    def reserve(self, pool: str, per_minute: float, number: int) -> None:
        """Reserve starts for up to *number* steps."""
        if self._has_sole or self._keep_slots:
            self.unreserved.add(pool)
            return
        known = self._starts.get(pool)
        starts, next_start = reserve_starts(per_minute, number, known, self._starts_from, self._division.now)
        self.reserved[pool], self._starts[pool] = starts, next_start

    def keep(self, shares: Mapping[str, Share]) -> None:
        """Keep exactly these shares, for jobs that go on when this process has ended."""
        self.parts = {pool: Part(0, share, others_wait=False, turn_ends=None) for pool, share in shares.items()}

    @property
    def is_member(self) -> bool:
        """True if this process has shares, or wants some, or claims."""
        return self._claiming or bool(self._shares)

    @property
    def lacking(self) -> set[str]:
        """The pools in which more steps wait here than the share allows."""
        return {pool for pool, part in self.parts.items() if part.share.need > part.share.slots}

    def change(self) -> DivisionChange | None:
        """Return the change to write; None if nothing changes."""
        if self._keep_slots and self._was_sole:
            return None  # it keeps all limits
        shares = self._shares
        is_same = (
            not self._was_sole
            and not self._removed
            and not self.reserved
            and (self._own is not None) == self.is_member
            and (self._own is None or (self._own.claiming == self._claiming and self._own.shares == shares))
        )
        if is_same:
            return None
        division = self._division
        return DivisionChange(
            version=division.version,
            sole=None if self._was_sole or division.sole in self._removed else division.sole,
            claiming=self._claiming,
            shares=shares if self.is_member else None,
            removed=self._removed,
            starts=self._starts,
            starts_from=self._starts_from,
            notify=self._concerns_others(shares),
        )

    @property
    def _shares(self) -> dict[str, Share]:
        before = self._own_shares if self._keep_slots else {}
        decided = {pool: part.share for pool, part in self.parts.items()}
        return {pool: share for pool, share in {**before, **decided}.items() if _matters(share)}

    @property
    def _own_shares(self) -> Mapping[str, Share]:
        return {} if self._own is None else self._own.shares

    def _concerns_others(self, shares: Mapping[str, Share]) -> bool:
        """Return whether others may get slots now, or should give some up."""
        if self._was_sole or self._removed or (self._own is not None and self._own.claiming and not self._claiming):
            return True
        waited_for = {pool for each in self._others for pool, share in each.shares.items() if share.need > share.slots}
        for pool, before in self._own_shares.items():
            if pool in waited_for and (pool not in shares or shares[pool].slots < before.slots):
                return True
        have_some = {pool for each in self._others for pool, share in each.shares.items() if share.slots}
        return any(
            share.need > share.slots
            and (self._has_sole or pool in have_some)
            and ((own := self._own_shares.get(pool)) is None or own.need <= own.slots)
            for pool, share in shares.items()
        )


def _matters(share: Share) -> bool:
    return bool(share.slots or share.need)
