"""The rules of parking: a workflow that only waits leaves memory, and comes back when something is due.

What must hold:
- A workflow is parked only if it waits: no attempt runs, nothing may start, and no time comes soon.
- A parked workflow has a cause that wakes it: a time in `wake_at`, or something from outside.
"""

from datetime import datetime, timedelta

from stepwell.contract.enums import WorkflowStatus
from stepwell.lifecycle.model import NEVER
from stepwell.lifecycle.remote_transitions import RemoteTransitions
from stepwell.lifecycle.step_transitions import FlowParts
from stepwell.lifecycle.units import Units

# A workflow whose next time comes sooner stays in memory.
PARKED_FROM = timedelta(seconds=30)


class Parking:
    """The part of a `Run` that says whether the workflow only waits, and for how long. It changes nothing."""

    def __init__(self, units: Units, remote: RemoteTransitions, parts: FlowParts) -> None:
        self._units, self._remote = units, remote
        self._waits, self._children = parts.waits, parts.children
        self._requests = [each for each in (parts.conditions, parts.reuse) if each is not None]

    def next_due(self) -> datetime | None:
        """Return the next time at which the workflow needs a process; None without one."""
        times = [] if self._waits is None else [wait.until for wait in self._waits.open.values()]
        times += [self._units.units[position].next_attempt_at for position in self._units.backoff]
        times.append(self._units.state.deadline_at)
        return min((at for at in times if at is not None), default=None)

    def may_begin(self, now: datetime) -> bool:
        """Return whether the workflow only waits, and for long enough."""
        state, units = self._units.state, self._units
        if state.status is not WorkflowStatus.RUNNING or state.owner is None:
            return False
        attempts = units.running if self._children is None else self._children.need_process
        if attempts or self._remote.followed_up or units.ready & units.backoff:
            return False
        if units.may_start and (units.ready or any(each.is_busy for each in self._requests)):
            return False
        due = self.next_due()
        return due is None or due - now >= PARKED_FROM

    def wake_at(self, *, active: bool) -> datetime | None:
        """Return `wake_at` as it must be after a change of the workflow: a parked one stays parked if it only waits."""
        state, units = self._units.state, self._units
        if state.status is WorkflowStatus.RUNNING:
            starts = units.ready or any(each.pending for each in self._requests)
            waits = self._has_waits or units.backoff
            parked = state.owner is None and state.wake_at is not None and waits and not starts
        else:
            parked = state.status is WorkflowStatus.PAUSED and self._has_waits
        return (self.next_due() or NEVER) if parked and not active else None

    @property
    def _has_waits(self) -> bool:
        """True while the workflow waits for something that needs no process: a wait of a step, or a sub-workflow."""
        waits, children = self._waits, self._children
        return bool((waits is not None and waits.open) or (children is not None and children.open))
