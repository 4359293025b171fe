"""The bounds of a process's connections: of one client, of one tenant, and of all together.

What must hold:
- There are never more connections than the server allows. A new one always gets in: if need be, another is closed.
- A connection is closed for another only while it has no request in progress. First come connections that have never
  sent a whole head, then those between two requests; of either, the oldest. A client that has reached its own bound
  loses one of its own connections, and otherwise its own come before those of others.
- If no connection may be closed, the new one is a reserved one. It serves health and metrics only, and may be closed
  for a newer one at any time. So no client can use up what is reserved. The admin port has only reserved connections,
  which are its own.
- A tenant has no more requests in progress than connections are left for others (`rules.threshold`). So one tenant
  alone gets half of them, and a request of another tenant always finds a connection.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

from stepwell.basics.errors import TooManyRequests
from stepwell.basics.tenancy import Account
from stepwell.rules.threshold import may_hold
from stepwell.runtime.telemetry import Labels

RESERVED: Final = 16
_UNBOUNDED = 2**31
_RETRY_S = 1


class CloseReason(StrEnum):
    """The reason why the service closed a connection before its client did."""

    ANOTHER = "another"  # a new connection replaces it
    STALLED = "stalled"  # the client didn't read


class RequestBound(StrEnum):
    """The bound by which a request was refused."""

    CONNECTIONS = "connections"
    CLIENT = "client"
    TENANT = "tenant"


class _Client:
    """The served connections of one client. Those without a request in progress are `quiet`, oldest first."""

    __slots__ = ("count", "quiet")

    def __init__(self) -> None:
        self.count = 0
        self.quiet: dict[ConnectionSlot, None] = {}


class ConnectionSlot:
    """One connection within the bounds. `served`: it may send any request. *drop* closes it at once."""

    __slots__ = ("admin", "client_name", "drop", "queue", "served")

    def __init__(self, client_name: str | None, drop: Callable[[], object], *, admin: bool) -> None:
        self.client_name, self.drop, self.admin = client_name, drop, admin
        self.served = False
        # `_silent` or `_idle` of the limits. None while it has a request in progress, or is a reserved connection.
        self.queue: dict[ConnectionSlot, None] | None = None


class ConnectionLimits:
    """Decides which connections are served, and which requests are refused because there are too many.

    Nothing is bounded until `open` sets the number of connections. One client may have *per_client* of them. The
    default is three quarters of all. One tenant may use fewer, so it can't cut off others behind the same address.

    `is_stopping`: the service stops, and each response closes its connection, so that clients and proxies go elsewhere.
    """

    def __init__(self, per_client: int | None = None) -> None:
        self.closed = Counter[CloseReason]()
        self.refused = Counter[RequestBound]()
        self.is_stopping = False
        self._per_client = per_client
        self._most = _UNBOUNDED
        self._served = 0
        self._silent: dict[ConnectionSlot, None] = {}
        self._idle: dict[ConnectionSlot, None] = {}
        self._reserved: dict[ConnectionSlot, None] = {}
        self._admin: dict[ConnectionSlot, None] = {}
        self._clients: dict[str, _Client] = {}
        self._requests_of_clients: dict[Account, int] = {}
        self._requests_of_tenants: dict[Account, int] = {}

    def open(self, most: int) -> None:
        """Allow *most* connections, with the reserved ones."""
        self._most = max(most - 2 * RESERVED, 1)

    @property
    def connections(self) -> int:
        return self._served + len(self._reserved) + len(self._admin)

    @property
    def free(self) -> int:
        """The number of connections that may be served besides those with a request in progress."""
        return self._most - (self._served - len(self._silent) - len(self._idle))

    @property
    def per_client(self) -> int:
        return self._per_client or max(self._most * 3 // 4, 1)

    def add(self, client_name: str | None, drop: Callable[[], object], *, admin: bool = False) -> ConnectionSlot:
        """Return the slot of a new connection. *client_name* is None if it counts for no client."""
        slot = ConnectionSlot(client_name, drop, admin=admin)
        if admin or not self._take(slot):
            pool = self._pool_of(slot)
            if len(pool) >= RESERVED:
                self._close(next((each for each in pool if each.client_name == client_name), next(iter(pool))))
            pool[slot] = None
        return slot

    def serve(self, slot: ConnectionSlot) -> bool:
        """Serve a reserved connection if that is possible now. Return whether it is served."""
        if not slot.admin and self._take(slot):
            del self._reserved[slot]
        return slot.served

    def remove(self, slot: ConnectionSlot) -> None:
        """Forget a connection that has ended. May be called repeatedly."""
        self._pool_of(slot).pop(slot, None)
        if not slot.served:
            return
        self.begin(slot)
        slot.served = False
        self._served -= 1
        if slot.client_name is not None:
            client = self._clients[slot.client_name]
            client.count -= 1
            if not client.count:
                del self._clients[slot.client_name]

    def begin(self, slot: ConnectionSlot) -> None:
        """Note that a connection has a request in progress."""
        if slot.queue is not None:
            del slot.queue[slot]
            slot.queue = None
            if slot.client_name is not None:
                del self._clients[slot.client_name].quiet[slot]

    def end(self, slot: ConnectionSlot) -> None:
        """Note that a connection has no request in progress any more."""
        if slot.served and slot.queue is None:
            self._rest(slot, self._idle)

    def begin_request_of_client(self, client_name: str) -> None:
        """Count a request of a client whose connections are a proxy's. Raises `TooManyRequests`."""
        self._begin_request(self._requests_of_clients, client_name, RequestBound.CLIENT)

    def end_request_of_client(self, client_name: str) -> None:
        _end_request(self._requests_of_clients, client_name)

    def begin_request_of_tenant(self, tenant: Account) -> None:
        """Count a request of *tenant*. Raises `TooManyRequests` if it would be one too many."""
        self._begin_request(self._requests_of_tenants, tenant, RequestBound.TENANT)

    def end_request_of_tenant(self, tenant: Account) -> None:
        _end_request(self._requests_of_tenants, tenant)

    def count_refused(self) -> Mapping[Labels, float]:
        return {(bound,): self.refused[bound] for bound in RequestBound}

    def count_closed(self) -> Mapping[Labels, float]:
        return {(reason,): self.closed[reason] for reason in CloseReason}

    def _begin_request(self, counts: dict[Account, int], of: Account, bound: RequestBound) -> None:
        count = counts.get(of, 0)
        # The connection of the request itself isn't free any more.
        if not (count < self.per_client if bound is RequestBound.CLIENT else may_hold(count + 1, self.free + 1)):
            self.refused[bound] += 1
            msg = f"This {bound} has {count} requests in progress, and may not have more now."
            raise TooManyRequests(msg, _RETRY_S)
        counts[of] = count + 1

    def _take(self, slot: ConnectionSlot) -> bool:
        """Serve *slot* if a connection is free, or if another connection can be closed. Return whether it is served."""
        client = None if slot.client_name is None else self._clients.get(slot.client_name)
        if (client is not None and client.count >= self.per_client) or self._served >= self._most:
            other = next(iter(client.quiet), None) if client is not None else None
            if other is None and (client is None or client.count < self.per_client):
                other = next(iter(self._silent or self._idle), None)
            if other is None:
                return False
            self._close(other)
        slot.served = True
        self._served += 1
        if slot.client_name is not None:
            self._clients.setdefault(slot.client_name, _Client()).count += 1
        self._rest(slot, self._silent)
        return True

    def _rest(self, slot: ConnectionSlot, queue: "dict[ConnectionSlot, None]") -> None:
        slot.queue = queue
        queue[slot] = None
        if slot.client_name is not None:
            self._clients[slot.client_name].quiet[slot] = None

    def _pool_of(self, slot: ConnectionSlot) -> dict[ConnectionSlot, None]:
        return self._admin if slot.admin else self._reserved

    def _close(self, slot: ConnectionSlot) -> None:
        self.closed[CloseReason.ANOTHER] += 1
        self.remove(slot)
        slot.drop()


def _end_request(counts: dict[Account, int], of: Account) -> None:
    counts[of] -= 1
    if not counts[of]:
        del counts[of]
