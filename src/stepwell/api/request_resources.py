"""The resources of a request: one reservation of memory, and the decoder of big bodies that all requests share."""

from functools import partial

from anyio import CapacityLimiter
from litestar.types import Scope
from msgspec import Struct, field

from stepwell.api.auth import Principal
from stepwell.api.body_decoding import BigBodyDecoder
from stepwell.domain.strict_json.normalise import Handling
from stepwell.memory import MemoryGovernor, MemoryReservation

_KEY = "resources"


class ProcessResources(Struct, frozen=True):
    """The resources that all requests share. `body_timeout_s` is how long a body may make no progress, in seconds.

    `handling` is that of unknown members, for requests that prefer none. `inflating` limits the threads that inflate
    bodies.
    """

    governor: MemoryGovernor
    decoder: BigBodyDecoder
    body_timeout_s: float
    handling: Handling
    inflating: CapacityLimiter = field(default_factory=partial(CapacityLimiter, 1))


class RequestResources(Struct):
    """The resources of one request. `body` is its body once it has been read, `decoding` the room to decode it."""

    process: ProcessResources
    body: bytes | None = None
    decoding: int | None = None
    _memory: MemoryReservation | None = None

    def memory(self, caller: Principal | None) -> MemoryReservation:
        """Return the request's reservation, which counts for the tenant of *caller*. It ends with the response."""
        if self._memory is None:
            self._memory = self.process.governor.reservation(None if caller is None else caller.scope.tenant)
        return self._memory

    def free(self) -> None:
        self.body = None  # a server may hold the scope until the connection's next request
        if self._memory is not None:
            self._memory.shrink(self._memory.held)


def give_resources(scope: Scope, process: ProcessResources) -> RequestResources:
    """Give a request its resources. The caller frees them when the request has been answered."""
    scope["state"][_KEY] = resources = RequestResources(process)
    return resources


def resources_of(scope: Scope) -> RequestResources:
    resources: RequestResources = scope["state"][_KEY]
    return resources
