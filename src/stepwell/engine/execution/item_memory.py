"""The bytes of the items of workflows in memory: while a tenant has too many, its workflows evaluate no more items.

What must hold:
- A tenant may have as many bytes as are then left of `_ITEM_BYTES`, as with results that wait to be written.
- Of each tenant, the workflow that has had items for the longest time never waits. So one always goes on.
- No evaluation waits longer than `_LONGEST_WAIT_S`. That workflow may need the slot of one that waits, for its
  sub-workflow. After that time the memory grows as it did without a bound.
"""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from msgspec import Struct, field

from stepwell.basics.strict_json.size import MAX_RESULT_BYTES
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.model import ItemState
from stepwell.rules.threshold import may_hold

_LONGEST_WAIT_S: Final = 30.0
_ITEM_BYTES: Final = 64 * 1024 * 1024  # of all tenants
_EVALUATING_BYTES: Final = MAX_RESULT_BYTES  # of a step: few have more


class _Use(Struct):
    """The bytes of a tenant's workflows: of each, the oldest first, and of all. `freed` wakes those that wait."""

    sizes: dict[ActiveWorkflow, int] = field(default_factory=dict)
    size: int = 0
    freed: asyncio.Event = field(default_factory=asyncio.Event)


class ItemMemory:
    """Counts the items of the workflows in memory. `max_bytes` is for all of them."""

    def __init__(self) -> None:
        self.max_bytes, self.longest_wait_s = _ITEM_BYTES, _LONGEST_WAIT_S
        self._uses: dict[str | None, _Use] = {}
        self._size = 0

    def has_room(self, workflow: ActiveWorkflow) -> bool:
        """Return whether the workflow may evaluate the items of a step now."""
        use = self._uses.get(workflow.tenant)
        if use is None or next(iter(use.sizes)) is workflow:
            return True
        return may_hold(use.size, self.max_bytes - self._size)

    async def until_room(self, workflow: ActiveWorkflow) -> None:
        """Wait until the workflow may evaluate the items of a step, but not for ever."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.longest_wait_s):
                while not self.has_room(workflow):
                    await self._uses[workflow.tenant].freed.wait()

    @contextmanager
    def evaluating(self, workflow: ActiveWorkflow) -> Iterator[None]:
        """Count the items of a step that are evaluated within the context, so that others don't start at once."""
        self._change(workflow, _EVALUATING_BYTES)
        try:
            yield
        finally:
            if self._size_of(workflow):  # else the workflow has left memory
                self._change(workflow, -_EVALUATING_BYTES)

    def add(self, workflow: ActiveWorkflow, items: Iterable[ItemState]) -> None:
        """Count these items until the workflow has left memory."""
        self._change(workflow, sum(len(item.value) for item in items))

    def forget(self, workflow: ActiveWorkflow) -> None:
        """Count no items of the workflow any more, because it has left memory."""
        self._change(workflow, -self._size_of(workflow))

    def _size_of(self, workflow: ActiveWorkflow) -> int:
        use = self._uses.get(workflow.tenant)
        return 0 if use is None else use.sizes.get(workflow, 0)

    def _change(self, workflow: ActiveWorkflow, size: int) -> None:
        if not size:
            return
        use = self._uses.setdefault(workflow.tenant, _Use())
        use.sizes[workflow] = use.sizes.get(workflow, 0) + size
        use.size += size
        self._size += size
        if not use.sizes[workflow]:
            del use.sizes[workflow]
        if not use.sizes:
            del self._uses[workflow.tenant]
        if size < 0:
            use.freed.set()  # wakes all who wait now
            use.freed.clear()
