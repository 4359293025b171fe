"""Requests with a key, each of which has its effect once however often it is sent.

What must hold:
- Of all that come with one key at a time, here or in other processes, one is worked on; the others are told so.
- An answer is stored before it is sent; a repeat is answered with it to the byte.
- A repeat of a request that had its effect but no answer (its process died, or lost the database) is answered by what
  has become of the workflow, and has no effect of its own.
- A repeat of a request that had no effect, whether it was refused or its process died, is a first request.
- A key whose try has ended without an answer is let go of, however that ended, and as soon as the database is there:
  other processes must not take the try for one that goes on.
- A try whose effect may still come, when the database is back, keeps its key until that is decided.
- Without a key nothing of this costs a statement.
"""

from asyncio import Event, Future, shield, sleep
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from uuid import UUID

import structlog
from msgspec import Struct

from stepwell.domain.errors import Fault, InvalidRequest, StepwellError, StillRunning, Unavailable
from stepwell.domain.idempotency import Reservation, ReservedKey, StoredAnswer, key_scope
from stepwell.domain.tenancy import TenantScope
from stepwell.ports.clock import Clock, NewId
from stepwell.ports.storage import IdempotencyKeys

log = structlog.get_logger()

# Beyond so many the oldest are forgotten: others may take their keys over after some minutes.
_MOST_LEFT = 10_000
_AT_ONCE = 500
_RETRY_S = 0.5

Work = Callable[[Reservation], Awaitable[StoredAnswer]]
Again = Callable[[UUID], Awaitable[StoredAnswer]]


class _Running(Struct):
    """A request that is being worked on, by `holders`: itself, and its effect while that isn't decided. `left` is what
    is to be let go of once nobody holds it; `unsure`: it may come about only then.
    """

    fingerprint: bytes
    holders: int = 0
    left: Reservation | None = None
    unsure: bool = False


class IdempotentRequests:
    """*hold_lease* makes sure that other processes take this one for alive; *statement_s* is how long a statement whose
    answer was lost may still be at work in the database.
    """

    def __init__(
        self,
        keys: IdempotencyKeys,
        hold_lease: Callable[[], Awaitable[None]],
        clock: Clock,
        new_id: NewId,
        *,
        statement_s: float = 10.0,
    ) -> None:
        self._keys, self._hold_lease, self._clock, self._new_id = keys, hold_lease, clock, new_id
        self._statement_s = statement_s
        self._running: dict[tuple[str, str], _Running] = {}
        self._left: dict[Reservation, None] = {}
        self._any_left = Event()

    async def run(self) -> None:
        """Let go of what requests have left, until it is cancelled. No statement while there is nothing."""
        while True:
            await self._any_left.wait()
            await sleep(_RETRY_S)  # the database has just been away
            some = list(islice(self._left, _AT_ONCE))
            for each in some:  # before they are freed: one may be left once more meanwhile
                del self._left[each]
            if not self._left:
                self._any_left.clear()
            try:
                await self._keys.release(some)
            except Unavailable:
                for each in some:
                    self._let_go_of(each)
            except Exception:
                log.exception("keys.not_freed", action="free")

    async def once(
        self, scope: TenantScope, key: str, fingerprint: bytes, work: Work, again: Again
    ) -> tuple[StoredAnswer, bool]:
        """The answer to the request of that *fingerprint*, and whether it is a repeat. *work* is the request, its
        effect marked with the reservation that it is given; *again* answers a repeat by the workflow that *work* had
        its effect on. Raises what they raise, `StillRunning`, or `InvalidRequest` for a key of another request.
        """
        with self._held(key_scope(scope), key, fingerprint) as running:
            await self._hold_lease()
            wanted = Reservation(key_scope(scope), key, self._new_id(self._clock.now()))
            running.left, running.unsure = wanted, True
            reserved = await self._keys.reserve(scope, key, wanted.token, fingerprint)
            running.unsure = False
            if reserved.mine:
                return await self._first(wanted, running, work), False
            running.left = None
            return await self._repeated(reserved, fingerprint, again), True

    async def settled(self, reservation: Reservation | None, effect: Future[None]) -> None:
        """Until *effect* is committed. One who stops waiting leaves the key held until that is decided."""
        if reservation is None:
            await effect
            return
        name = (reservation.scope, reservation.key)
        self._running[name].holders += 1
        effect.add_done_callback(lambda done: self._decided(name, done))
        await shield(effect)

    async def _first(self, reservation: Reservation, running: _Running, work: Work) -> StoredAnswer:
        try:
            answer = await work(reservation)
        except Exception:
            if running.holders == 1:
                # What still comes of it after this has no row to mark; what has come of it keeps its row.
                with suppress(StepwellError):
                    await self._keys.release([reservation])
                    running.left = None
            raise
        stored = await self._keys.store_answer(reservation, answer)
        running.left = None
        return stored

    async def _repeated(self, reserved: ReservedKey, fingerprint: bytes, again: Again) -> StoredAnswer:
        _check_same(reserved.fingerprint, fingerprint)
        if reserved.answer is not None:
            return reserved.answer
        if reserved.applied_to is None or reserved.elsewhere:
            raise StillRunning
        return await self._keys.store_answer(reserved.reservation, await again(reserved.applied_to))

    @contextmanager
    def _held(self, scope: str, key: str, fingerprint: bytes) -> Iterator[_Running]:
        name = (scope, key)
        if (other := self._running.get(name)) is not None:
            _check_same(other.fingerprint, fingerprint)
            raise StillRunning
        running = self._running[name] = _Running(fingerprint, 1)
        try:
            yield running
        finally:
            self._let_go(name)

    def _decided(self, name: tuple[str, str], effect: Future[None]) -> None:
        if not effect.cancelled():
            effect.exception()  # there may be nobody any more who asks for it
        self._let_go(name)

    def _let_go(self, name: tuple[str, str]) -> None:
        running = self._running[name]
        running.holders -= 1
        if not running.holders:
            del self._running[name]
            if running.left is not None:
                self._let_go_of(running.left)
                if running.unsure:
                    self._clock.call_later(self._statement_s + 1, partial(self._let_go_of, running.left))

    def _let_go_of(self, left: Reservation) -> None:
        self._left[left] = None
        if len(self._left) > _MOST_LEFT:
            del self._left[next(iter(self._left))]
        self._any_left.set()


def _check_same(known: bytes, fingerprint: bytes) -> None:
    if known != fingerprint:
        said = "The key was given to another request within 48 hours: another method, path, query or body"
        raise InvalidRequest([Fault(("header", "Idempotency-Key"), said, "idempotency_key_reused")])
