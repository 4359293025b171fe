"""The requests for a claim and for a renewal of the lease.

The lease, the scheduler and the verbs make them, and `Ownership` serves them. So none of the former knows `Ownership`.
"""

import asyncio
import math
from uuid import UUID

from stepwell.ports.clock import Clock

RENEWED_AFTER = 0.28  # the part of a lease after which a busy process renews it; `Lease` renews after a quarter


class ClaimRequests:
    """The requests that `Ownership.run` serves.

    *lease_s* is how long a lease lasts. *statement_s* is how long a statement whose result was lost may still run in
    the database.
    """

    def __init__(self, clock: Clock, lease_s: float, statement_s: float = 10.0) -> None:
        self._clock, self._lease_s, self._statement_s = clock, lease_s, statement_s
        self.wanted = False  # a claim is wanted, and not only a renewal
        self.woken = asyncio.Event()
        self.refusals: dict[UUID, int] = {}  # of lost workflows, until they are claimed again
        self.idle = False  # true while `Ownership.run` waits and has no work to renew the lease for
        self.pause_s = math.inf  # the longest that it waits before its next round; infinite: until it is woken

    def request(self, *, unsure: bool = False) -> None:
        """Claim again soon, because the database may have workflows of this process that this process doesn't know.

        *unsure*: claim once more when every statement that may still create one must have ended.
        """
        self.wanted = True
        self.woken.set()
        if unsure:
            self._clock.call_later(self._statement_s + 1, self.request)

    def request_lost(self, workflow_id: UUID, refusals: int) -> None:
        """Claim a workflow again that this process has lost, and that has nothing left here.

        *refusals*: how often in a row the database has refused its rows.
        """
        if refusals:
            self.refusals[workflow_id] = refusals
        self.request()

    def wake_if_idle(self) -> None:
        """Renew the lease because this process has work, unless it is renewed in time anyway."""
        if self.idle and self.pause_s > self._lease_s * RENEWED_AFTER:
            self.woken.set()
