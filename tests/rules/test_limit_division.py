"""The rules by which processes divide limits: safe whatever happens, fair, and without slots that nobody uses."""

from collections.abc import Mapping
from itertools import pairwise
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from stepwell.rules.limit_division import (
    OVERDUE_S,
    TURN_S,
    Division,
    Member,
    Membership,
    PoolUse,
    Share,
    fair_parts,
    is_alone,
    other_claimers,
    reserve_starts,
    uncounted,
)
from support.examples import examples

A, B, C = UUID(int=1), UUID(int=2), UUID(int=3)
LEASE_S = 6.0


def member(owner: UUID, shares: Mapping[str, Share] | None = None, *, claiming: bool = False) -> Member:
    return Member(owner, alive=True, claiming=claiming, claimed=False, overdue=False, shares=shares or {})


class Process:
    """A process as the rules see it: what it may start, what it runs, and what waits."""

    def __init__(self, owner: UUID) -> None:
        self.owner, self.whole, self.known = owner, False, False
        self.allowed = self.used = self.waiting = 0
        self.claiming = self.lapsed = False

    def may_start(self, limit: int) -> int:
        free = (limit if self.whole else self.allowed) - self.used
        return max(min(free, self.waiting), 0) if self.known else 0


class World:
    """Processes, and the division as the database has it. Each change is decided on what the database has then."""

    def __init__(self, limit: int) -> None:
        self.limit, self.now = limit, 1_000.0
        self.processes: dict[UUID, Process] = {}
        self.lease_until: dict[UUID, float] = {}
        self.orphans: dict[UUID, int] = {}  # jobs of processes that are gone, until they are claimed
        self.sole: UUID | None = None
        self.members: dict[UUID, Member] = {}
        self.version = self.count = 0

    @property
    def running(self) -> int:
        return sum(each.used for each in self.processes.values()) + sum(self.orphans.values())

    def join(self) -> Process:
        self.count += 1
        process = self.processes[UUID(int=self.count)] = Process(UUID(int=self.count))
        self.renew(process)
        return process

    def is_alive(self, owner: UUID) -> bool:
        return self.lease_until.get(owner, 0.0) > self.now

    def renew(self, process: Process) -> None:
        if not self.is_alive(process.owner):
            process.lapsed = process.lapsed or process.known
            process.known = process.whole = False
        self.lease_until[process.owner] = self.now + LEASE_S

    def read(self, owner: UUID) -> Division:
        members = [self._seen(each) for each in self.members.values()]
        sole = None if self.sole in (None, owner) else self._seen(member(self.sole))
        return Division(
            version=self.version,
            now=self.now,
            alive=self.is_alive(owner),
            others=sum(self.is_alive(each) for each in self.lease_until if each != owner),
            sole=self.sole,
            sole_member=sole,
            sole_until=self.now,
            starts={},
            starts_from=0.0,
            members=members,
        )

    def _seen(self, member: Member) -> Member:
        return replace(
            member,
            alive=self.is_alive(member.owner),
            claimed=not self._jobs_of(member.owner),
            overdue=self.now - self.lease_until.get(member.owner, 0.0) > OVERDUE_S,
        )

    def _jobs_of(self, owner: UUID) -> int:
        return self.processes[owner].used if owner in self.processes else self.orphans.get(owner, 0)

    def divide(self, process: Process) -> None:
        if not self.is_alive(process.owner):
            return
        division = self.read(process.owner)
        gone = uncounted(division, process.owner, claiming=process.claiming)
        if is_alone(division, process.owner, gone):
            self._remove(gone)
            self.members.pop(process.owner, None)
            self.sole, self.version = process.owner, self.version + 1
            process.whole = process.known = True
            process.lapsed = False
            return
        keep_slots = process.lapsed and bool(other_claimers(division, process.owner))
        membership = Membership(division, process.owner, gone, {}, claiming=process.claiming, keep_slots=keep_slots)
        allowed = membership.part("pool", PoolUse(self.limit, process.used, process.waiting))
        if (change := membership.change()) is not None:
            self._remove(gone)
            self.sole, self.version = change.sole, self.version + 1
            self.members.pop(process.owner, None)
            if change.shares is not None:
                self.members[process.owner] = member(process.owner, claiming=change.claiming, shares=change.shares)
        process.whole, process.known, process.allowed, process.lapsed = False, True, allowed, keep_slots

    def _remove(self, gone: set[UUID]) -> None:
        for owner in gone:
            self.members.pop(owner, None)

    def forget_overdue(self) -> None:
        """Forget the jobs of processes that have been dead, or stood still, for so long that these count no more."""
        for owner in [owner for owner in self.orphans if self._seen(member(owner)).overdue]:
            del self.orphans[owner]
        for process in self.processes.values():
            if self._seen(member(process.owner)).overdue:
                process.used = 0

    def start(self, process: Process) -> None:
        if self.is_alive(process.owner) and process.may_start(self.limit):
            process.used += 1
            process.waiting -= 1

    def die(self, process: Process) -> None:
        del self.processes[process.owner]
        self.orphans[process.owner] = process.used

    def begin_claim(self, process: Process) -> None:
        process.claiming = True
        if not (process.whole and self.is_alive(process.owner)):
            self.renew(process)
            self.divide(process)

    def claim(self, process: Process) -> None:
        """Claim as the statement does. The process may have stood still since `begin_claim`."""
        mark = self.members.get(process.owner)
        if self.is_alive(process.owner) and (self.sole == process.owner or (mark is not None and mark.claiming)):
            for owner in [owner for owner in self.orphans if not self.is_alive(owner)]:
                process.used += self.orphans.pop(owner)
            for other in self.processes.values():
                if not self.is_alive(other.owner):  # it stands still, and loses its workflows
                    process.used, other.used = process.used + other.used, 0

    def end_claim(self, process: Process) -> None:
        process.claiming = False
        self.divide(process)


class Limits(RuleBasedStateMachine):
    """Any order of joins, deaths, claims, standstills and changes of demand."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(3)

    def chosen(self, number: int) -> Process:
        processes = list(self.world.processes.values())
        return processes[number % len(processes)]

    @precondition(lambda self: len(self.world.processes) < 4)
    @rule()
    def join(self) -> None:
        self.world.join()

    @precondition(lambda self: self.world.processes)
    @rule(number=st.integers(0, 9), waiting=st.integers(1, 3))
    def use_all(self, number: int, waiting: int) -> None:
        process = self.chosen(number)
        process.waiting = waiting
        self.world.renew(process)
        self.world.divide(process)
        for _ in range(waiting):
            self.world.start(process)

    @precondition(lambda self: self.world.processes)
    @rule(number=st.integers(0, 9), waiting=st.integers(0, 5))
    def want(self, number: int, waiting: int) -> None:
        self.chosen(number).waiting = waiting

    @precondition(lambda self: self.world.processes)
    @rule(number=st.integers(0, 9), times=st.integers(1, 3))
    def start(self, number: int, times: int) -> None:
        for _ in range(times):
            self.world.start(self.chosen(number))

    @precondition(lambda self: self.world.processes)
    @rule(number=st.integers(0, 9))
    def end(self, number: int) -> None:
        process = self.chosen(number)
        process.used = max(process.used - 1, 0)

    @precondition(lambda self: self.world.processes)
    @rule(number=st.integers(0, 9))
    def divide(self, number: int) -> None:
        self.world.divide(self.chosen(number))

    @precondition(lambda self: self.world.processes)
    @rule(number=st.integers(0, 9))
    def renew(self, number: int) -> None:
        self.world.renew(self.chosen(number))

    @rule(seconds=st.sampled_from([0.1, 1.1, 3.0, 7.0]))
    def pass_time(self, seconds: float) -> None:
        # A process whose lease ends is stopped, or the database was away. Its jobs go on.
        self.world.now += seconds
        self.world.forget_overdue()

    @precondition(lambda self: self.world.processes)
    @rule(number=st.integers(0, 9))
    def die(self, number: int) -> None:
        self.world.die(self.chosen(number))

    @precondition(lambda self: self.world.processes)
    @rule(number=st.integers(0, 9))
    def begin_claim(self, number: int) -> None:
        self.world.begin_claim(self.chosen(number))

    @precondition(lambda self: self.world.processes)
    @rule(number=st.integers(0, 9))
    def claim(self, number: int) -> None:
        process = self.chosen(number)
        if process.claiming:
            self.world.claim(process)

    @precondition(lambda self: self.world.processes)
    @rule(number=st.integers(0, 9))
    def end_claim(self, number: int) -> None:
        self.world.end_claim(self.chosen(number))

    @invariant()
    def no_more_than_the_limit_runs(self) -> None:
        assert self.world.running <= self.world.limit


def test_a_claim_takes_nothing_after_its_process_was_found_dead() -> None:
    world = World(1)
    claimer, dead, other = world.join(), world.join(), world.join()
    use(world, dead, 1)
    world.begin_claim(claimer)
    world.now += LEASE_S + 1
    use(world, other, 1)
    world.claim(claimer)
    use(world, other, 1)
    assert (claimer.used, dead.used, other.used) == (0, 1, 0)


def test_a_process_that_wakes_up_while_another_claims_its_attempts_starts_nothing() -> None:
    world = World(1)
    frozen, claimer = world.join(), world.join()
    use(world, frozen, 1)
    world.now += LEASE_S + 1
    world.begin_claim(claimer)
    world.claim(claimer)
    use(world, frozen, 1)
    assert (frozen.used, claimer.used) == (0, 1)
    claimer.used = 0
    world.end_claim(claimer)
    use(world, frozen, 1)
    assert frozen.used == 1


def use(world: World, process: Process, waiting: int) -> None:
    process.waiting = waiting
    world.renew(process)
    world.divide(process)
    world.start(process)


Limits.TestCase.settings = settings(max_examples=examples(200), stateful_step_count=50)
TestLimits = Limits.TestCase


@given(st.integers(0, 20), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=5))
def test_parts_are_even_and_leave_nothing_over(limit: int, needs: list[tuple[int, int]]) -> None:
    shares = {UUID(int=number): Share(used, used, waiting, 0.0) for number, (used, waiting) in enumerate(needs)}
    parts = fair_parts(limit, shares, now=0.0)
    assert sum(parts.values()) == min(limit, sum(share.need for share in shares.values()))
    unsatisfied = [parts[owner] for owner in shares if parts[owner] < shares[owner].need]
    assert all(part <= least + 1 for part in parts.values() for least in unsatisfied)


@given(st.integers(1, 8), st.lists(st.integers(0, 12), min_size=2, max_size=5))
def test_no_slot_stays_unused_while_a_step_waits(limit: int, waiting: list[int]) -> None:
    world = World(limit)
    processes = [world.join() for _ in waiting]
    for process, number in zip(processes, waiting, strict=True):
        process.waiting = number
    for _ in range(3):
        for process in processes:
            world.divide(process)
            while process.may_start(limit):
                world.start(process)
    assert world.running == min(limit, sum(waiting))


@given(st.integers(1, 3), st.integers(2, 5))
def test_every_process_gets_a_turn_when_there_are_fewer_slots_than_processes(limit: int, number: int) -> None:
    world = World(limit)
    processes = [world.join() for _ in range(number)]
    starts = dict.fromkeys(world.processes, 0)
    for _ in range(number * 3):
        for process in processes:
            process.waiting = 5
            world.renew(process)
            world.divide(process)
            while process.may_start(limit):
                world.start(process)
                starts[process.owner] += 1
        world.now += TURN_S * 1.5
        for process in processes:
            process.used = 0
    assert min(starts.values()) > 0


def test_shares_of_the_dead_count_until_every_claimer_has_counted_what_it_claimed() -> None:
    share = {"pool": Share(2, 2, 0, 0.0)}
    dead = Member(A, alive=False, claiming=False, claimed=True, overdue=False, shares=share)
    claimer = Member(B, alive=True, claiming=True, claimed=False, overdue=False, shares={})
    division = Division(1, 0.0, True, 1, None, None, 0.0, {}, 0.0, [dead, claimer])  # noqa: FBT003
    assert uncounted(division, C, claiming=False) == set()
    assert uncounted(division, B, claiming=True) == set()
    assert uncounted(division, B, claiming=False) == {A}
    died_too = replace(division, members=[dead, replace(claimer, alive=False, claimed=True)])
    assert uncounted(died_too, C, claiming=False) == {A, B}
    overdue = replace(division, members=[replace(dead, claimed=False, overdue=True), claimer])
    assert uncounted(overdue, C, claiming=False) == {A}


@given(st.floats(0.5, 3_000), st.lists(st.tuples(st.integers(1, 50), st.floats(0, 90)), min_size=1, max_size=20))
def test_reserved_starts_are_never_closer_than_the_rate_allows(rate: float, asks: list[tuple[int, float]]) -> None:
    now, next_start, times = 0.0, None, list[float]()
    for waiting, pause in asks:
        now += pause
        starts, next_start = reserve_starts(rate, waiting, next_start, -100.0, now)
        times += [starts.first + number * starts.interval_s for number in range(starts.number)]
    assert all(later - earlier >= 60 / rate * 0.999 for earlier, later in pairwise(times))


def test_nothing_starts_beside_a_process_whose_shares_cannot_be_read() -> None:
    unreadable = replace(member(B), readable=False)
    own = {"pool": Share(3, 1, 0, 0.0)}
    division = Division(
        version=1, now=10.0, alive=True, others=1, sole=None, sole_member=None, sole_until=0.0, starts={},
        starts_from=0.0, members=[member(A, own), unreadable],
    )  # fmt: skip
    membership = Membership(division, A, set(), {}, claiming=False)
    assert membership.part("pool", PoolUse(limit=10, used=1, waiting=5)) == 0
    membership.reserve("model", 60, 1)
    assert (membership.reserved, membership.unreserved) == ({}, {"model"})
    dead = replace(division, members=[member(A, own), replace(unreadable, alive=False, claimed=True)])
    gone = uncounted(dead, A, claiming=False)
    assert Membership(dead, A, gone, {}, claiming=False).part("pool", PoolUse(limit=10, used=1, waiting=5)) > 1
