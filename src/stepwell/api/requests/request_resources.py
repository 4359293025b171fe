"""The resources of a request: the tenant that it counts for, its memory, and the decoder of big bodies.

What must hold, besides what `basics.tenancy` says:
- A request counts for one tenant or caller at a time, with all that it holds. It may move once, from a caller that acts
  for any tenant to the tenant that owns the data.
- It has moved before it reserves memory for data of a workflow that its path names, and before it waits or streams for
  long. A body that names its tenant counts for the caller until it has been read.
- Nothing is read for a caller that has a tenant.
"""

from contextlib import suppress
from functools import partial
from uuid import UUID

from anyio import CapacityLimiter
from litestar.types import Scope
from msgspec import Struct, field

from stepwell.api.requests.body_decoding import BigBodyDecoder
from stepwell.api.requests.connection_limits import ConnectionLimits
from stepwell.basics.strict_json.normalise import Handling
from stepwell.basics.tenancy import Account, SharedCaller
from stepwell.engine.reads.read_service import ReadService
from stepwell.runtime.memory import MemoryGovernor, MemoryReservation

_KEY, _OUTER_KEY = "resources", "outer_resources"


class ProcessResources(Struct, frozen=True):
    """The resources that all requests share. `body_timeout_s` is how long a body may make no progress, in seconds.

    `handling` is that of unknown members, for requests that prefer none. `inflating` limits the threads that inflate
    bodies.
    """

    governor: MemoryGovernor
    connections: ConnectionLimits
    reads: ReadService
    decoder: BigBodyDecoder
    body_timeout_s: float
    handling: Handling
    inflating: CapacityLimiter = field(default_factory=partial(CapacityLimiter, 1))


class RequestResources(Struct):
    """The resources of one request. `body` is its body once it is read. `decoding` bytes are reserved to decode it.

    `account` is what the request counts for, and `workflow_id` is the workflow that it is about. `outer` is the request
    of the same process that has caused this one. It moves with this one.
    """

    process: ProcessResources
    workflow_id: str | None = None
    outer: "RequestResources | None" = None
    account: Account = SharedCaller.NOBODY
    body: bytes | None = None
    decoding: int | None = None
    _memory: MemoryReservation | None = None

    def count_for(self, account: Account) -> None:
        """Count the request for *account*, unless it counts for a tenant already. Raises `TooManyRequests`."""
        if account == self.account or not isinstance(self.account, SharedCaller):
            return
        self.process.connections.begin_request_of_tenant(account)
        self._end_count()
        self.account = account
        if self._memory is not None:
            self._memory.move_to(account)
        if self.outer is not None and self.outer.account is not SharedCaller.NOBODY:  # else it has ended
            self.outer.count_for(account)

    async def count_for_owner(self) -> None:
        """Count the request for the tenant of its workflow. Raises `TooManyRequests` and `Unavailable`."""
        if self.workflow_id is None or not isinstance(self.account, SharedCaller):
            return
        with suppress(ValueError):  # it is no id, so nothing has it
            owner = await self.process.reads.owner(UUID(self.workflow_id))
            if owner is not None:
                self.count_for(owner.tenant)

    async def memory(self) -> MemoryReservation:
        """Return the request's reservation, which ends with the response. Raises what `count_for_owner` raises."""
        if self._memory is None:
            await self.count_for_owner()
            self._memory = self.process.governor.reservation(self.account)
        return self._memory

    def free(self) -> None:
        self.body = None  # a server may hold the scope until the connection's next request
        if self._memory is not None:
            self._memory.shrink(self._memory.held)
        self._end_count()
        self.account = SharedCaller.NOBODY

    def _end_count(self) -> None:
        if self.account is not SharedCaller.NOBODY:
            self.process.connections.end_request_of_tenant(self.account)


def give_resources(scope: Scope, process: ProcessResources) -> RequestResources:
    """Give a request its resources. The caller frees them when the response has ended."""
    state = scope["state"]
    state[_KEY] = resources = RequestResources(process, scope["path_params"].get("workflow_id"), state.get(_OUTER_KEY))
    return resources


def resources_of(scope: Scope) -> RequestResources:
    resources: RequestResources = scope["state"][_KEY]
    return resources


def set_outer(scope: Scope, outer: RequestResources) -> None:
    """Note that the request with this scope is sent for another one of the same process."""
    scope["state"][_OUTER_KEY] = outer
