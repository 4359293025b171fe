"""Idempotency keys: a request with a key takes effect once, however often it is sent.

A request claims its key in the database. Its effect is committed together with the token of that claim.

What must hold:
- Of all requests with the same key at the same time, in any process, one is handled. The others get `StillRunning`.
- A response is stored before it is sent. A repeated request gets the same bytes.
- A response over 1 MiB isn't stored. A repeated request gets one that is made from the current state of the workflow.
- If a request took effect but has no response, because its process died or lost the database, a repeated request gets a
  response made from the current state of the workflow. The repetition itself has no effect.
- If a request had no effect, because it was refused or its process died, a repeated request counts as the first one.
- A key is released when its request ends without a response, however it ends, as soon as the database is available.
  Otherwise other processes would take the request for one that is still running.
- While it isn't decided whether an effect will be committed, because the database is away, the key stays claimed.
- A request without a key costs no statement.
"""

from asyncio import Event, Future, shield, sleep
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from typing import Any
from uuid import UUID

import structlog
from msgspec import Struct

from stepwell.basics.errors import Fault, InvalidRequest, StepwellError, StillRunning, Unavailable
from stepwell.basics.idempotency import KeyClaim, KeyState, StoredResponse, key_scope
from stepwell.basics.tenancy import TenantScope
from stepwell.engine.execution.lease import Lease
from stepwell.ports.clock import Clock, NewId
from stepwell.ports.storage import IdempotencyKeys
from stepwell.runtime.outages import OUTAGE_RETRY_S

log = structlog.get_logger()

# Beyond this number the oldest are dropped: other processes may take their keys over after some minutes.
_MOST_UNRELEASED = 10_000
_RELEASED_PER_STATEMENT = 500

Perform = Callable[[KeyClaim], Awaitable[StoredResponse | None]]
"""Performs a request, whose effect carries the claim. Returns the response; None if it is too large to store."""
RespondToRepeat = Callable[[UUID], Awaitable[StoredResponse | None]]
"""Makes the response of a repeated request from the workflow that the first one had its effect on. None as above."""


class _Running(Struct):
    """A request that this process handles.

    `holders` counts what keeps the key claimed: the request, and each of its effects that isn't decided yet.
    `to_release` is the claim to release when the last holder leaves. `may_come_late`: the statement that makes
    the claim has no result yet, so it may still take effect after the release.
    """

    fingerprint: bytes
    holders: int = 0
    to_release: KeyClaim | None = None
    may_come_late: bool = False


class IdempotentRequests:
    """Handles requests with idempotency keys.

    *statement_s*: for how many seconds a statement whose result was lost may still run in the database.
    """

    def __init__(
        self, keys: IdempotencyKeys, lease: Lease, clock: Clock, new_id: NewId, *, statement_s: float = 10.0
    ) -> None:
        self._keys, self._lease, self._clock, self._new_id = keys, lease, clock, new_id
        self.statement_s = statement_s
        self._running: dict[tuple[str, str], _Running] = {}
        self._unreleased: dict[KeyClaim, None] = {}
        self._any_unreleased = Event()

    @property
    def keys_held(self) -> int:
        """The number of keys whose request or effect isn't decided in this process."""
        return len(self._running)

    @property
    def unreleased(self) -> Collection[KeyClaim]:
        """The claims that `run` has yet to release."""
        return self._unreleased.keys()

    async def run(self) -> None:
        """Release the keys of requests that ended without a response, until cancelled. Idle while there are none."""
        while True:
            await self._any_unreleased.wait()
            await sleep(OUTAGE_RETRY_S)  # the database has just been away
            batch = list(islice(self._unreleased, _RELEASED_PER_STATEMENT))
            for claim in batch:  # before the statement, because one may be added again during it
                del self._unreleased[claim]
            if not self._unreleased:
                self._any_unreleased.clear()
            try:
                await self._keys.release(batch)
            except Unavailable:
                for claim in batch:
                    self._release_later(claim)
            except Exception:
                log.exception("keys.not_freed", action="free")

    async def handle(
        self,
        scope: TenantScope,
        key: str,
        fingerprint: bytes,
        perform: Perform,
        respond_to_repeat: RespondToRepeat,
        workflow_id: UUID | None = None,
    ) -> tuple[StoredResponse | None, bool]:
        """Return the response to a request, and whether the request is a repeated one.

        The response is None if it is too large to be stored. Then the caller sends what *perform* or
        *respond_to_repeat* has made.

        *fingerprint* identifies the request's content, and *workflow_id* the workflow that it is about. Raises
        `StillRunning`, `InvalidRequest` if the key belongs to another request, and what both functions raise.
        """
        with self._holding(key_scope(scope), key, fingerprint) as running:
            await self._lease.ensure()
            claim = KeyClaim(key_scope(scope), key, self._new_id(self._clock.now()))
            running.to_release, running.may_come_late = claim, True
            state = await self._keys.claim(scope, key, claim.token, fingerprint, workflow_id)
            running.may_come_late = False
            if state.mine:
                return await self._handle_first(claim, running, perform), False
            running.to_release = None
            return await self._handle_repeated(state, fingerprint, respond_to_repeat), True

    async def wait_committed(self, claim: KeyClaim | None, effect: Future[Any]) -> None:
        """Wait until *effect* is committed. If the caller is cancelled, the key stays held until that is decided."""
        if claim is None:
            await effect
            return
        name = (claim.scope, claim.key)
        self._running[name].holders += 1
        effect.add_done_callback(lambda done: self._on_decided(name, done))
        await shield(effect)

    async def _handle_first(self, claim: KeyClaim, running: _Running, perform: Perform) -> StoredResponse | None:
        try:
            response = await perform(claim)
        except Exception:
            if running.holders == 1:
                # If the effect is written later, it finds no row of the key to mark. If it is written already,
                # `release` leaves the row alone.
                with suppress(StepwellError):
                    await self._keys.release([claim])
                    running.to_release = None
            raise
        if response is None:
            return None  # the key is released, so any process may respond to a repeat
        sent = await self._keys.store_response(claim, response)
        running.to_release = None
        return sent

    async def _handle_repeated(
        self, state: KeyState, fingerprint: bytes, respond_to_repeat: RespondToRepeat
    ) -> StoredResponse | None:
        _check_same(state.fingerprint, fingerprint)
        if state.response is not None:
            return state.response
        if state.applied_to is None or state.elsewhere:
            raise StillRunning
        response = await respond_to_repeat(state.applied_to)
        return None if response is None else await self._keys.store_response(state.claim, response)

    @contextmanager
    def _holding(self, scope: str, key: str, fingerprint: bytes) -> Iterator[_Running]:
        name = (scope, key)
        if (other := self._running.get(name)) is not None:
            _check_same(other.fingerprint, fingerprint)
            raise StillRunning
        running = self._running[name] = _Running(fingerprint, 1)
        try:
            yield running
        finally:
            self._leave(name)

    def _on_decided(self, name: tuple[str, str], effect: Future[Any]) -> None:
        if not effect.cancelled():
            effect.exception()  # marks it as retrieved, because the request may have stopped waiting
        self._leave(name)

    def _leave(self, name: tuple[str, str]) -> None:
        """Remove one holder of a key. The last one releases the key, if it has no response."""
        running = self._running[name]
        running.holders -= 1
        if not running.holders:
            del self._running[name]
            if running.to_release is not None:
                self._release_later(running.to_release)
                if running.may_come_late:
                    self._clock.call_later(self.statement_s + 1, partial(self._release_later, running.to_release))

    def _release_later(self, claim: KeyClaim) -> None:
        self._unreleased[claim] = None
        if len(self._unreleased) > _MOST_UNRELEASED:
            del self._unreleased[next(iter(self._unreleased))]
        self._any_unreleased.set()


def _check_same(claimed: bytes, fingerprint: bytes) -> None:
    """Raise `InvalidRequest` if a key was claimed by a request with another fingerprint."""
    if claimed != fingerprint:
        message = "The key was used for another request within 48 hours: another method, path, query or body"
        raise InvalidRequest([Fault(("header", "Idempotency-Key"), message, "idempotency_key_reused")])
