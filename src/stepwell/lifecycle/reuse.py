"""The checks whether steps and items take over a result of an earlier run, before they take a slot.

    unit     PENDING ─may start─► check: effect `CheckReuse` ─► input `ReuseChecked`
                                                        │ an equal result exists ──► COMPLETED, `flow.reused`
                                                        └─ otherwise ──────────────► wants a slot

What must hold:
- Nothing of a check is stored before the unit is COMPLETED. A check whose result was lost is requested again.
- Which results of the earlier run are taken follows from the stored units alone, so no crash gives one out twice.
- Checks are requested only while new attempts may start. A result that comes when nothing may start is ignored.
- A unit is checked before the first attempt of an execution, and again before the first one at its fallback.
"""

from collections.abc import Iterable, Mapping, Sequence

from stepwell.contract.enums import StepStatus, WaitKind
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.effects import CheckReuse
from stepwell.lifecycle.inputs import ReuseChecked, WaitTerms
from stepwell.lifecycle.model import ReuseRule, UnitKey
from stepwell.lifecycle.units import Units
from stepwell.lifecycle.waits import fingerprint_of


class ReuseChecks:
    """The units of a run that may take over a result of an earlier one, and the checks that are under way.

    `pending` are the positions that need a check, and none is requested. `requested` has the number of the check that
    has no result yet, by position. `never` are the positions of steps that run in any case.
    `decisions` has the terms of the waits that begin unless an earlier decision is taken over.
    """

    def __init__(self, units: Units, rule: ReuseRule, never: Iterable[int]) -> None:
        self._units, self.rule = units, rule
        self.never = frozenset(never) | {
            step.position for step in units.resolved_steps if step.step_id in rule.always_run
        }
        self.pending: set[int] = set()
        self.requested: dict[int, int] = {}
        self.decisions: dict[int, WaitTerms] = {}
        self._count = 0
        self.rebuild()

    def rebuild(self) -> None:
        """Compute everything from the statuses of the units, after all other parts."""
        self.requested.clear()
        self.pending.clear()
        self.decisions.clear()
        self.hold(list(self._units.ready))

    def may_reuse(self, position: int) -> bool:
        """Return whether a unit may take over a result now: it makes attempts at a provider, and has yet to begin."""
        resolved, unit = self._units.resolved_units[position], self._units.units[position]
        if resolved.provider is None or resolved.position in self.never or position in self._units.running:
            return False
        repeats = unit.flow is not None and unit.flow.run > 0
        return not repeats and (unit.status is StepStatus.PENDING or not unit.provider_attempts)

    def hold(self, positions: Sequence[int]) -> Sequence[int]:
        """Let the units among the *positions* that may reuse a result wait for a check. Return the others."""
        held = {position for position in positions if self.may_reuse(position)}
        self._units.ready -= held
        self.pending |= held
        return [position for position in positions if position not in held] if held else positions

    def hold_decision(self, position: int, kind: WaitKind, terms: WaitTerms) -> bool:
        """Return whether the wait, which would begin now, has to wait for a check. It has if people would decide."""
        if kind is not WaitKind.DECISION or position in self.never:
            return False
        self.decisions[position] = terms
        self.pending.add(position)
        return True

    def repeat_requests(self, decision: Decision) -> None:
        """Request all checks again: a new workflow was started before anybody could check."""
        self.pending.update(self.requested)
        self.request_or_forget(decision)

    def request_or_forget(self, decision: Decision) -> None:
        """Request the pending checks. If nothing may start, ignore those that are under way instead.

        Resume requests them again.
        """
        if not self._units.may_start:
            self.requested.clear()
            return
        for position in sorted(self.pending):
            self._count += 1
            self.requested[position] = self._count
            terms = self.decisions.get(position)
            shown = None if terms is None else fingerprint_of(terms)
            decision.effects.append(CheckReuse(position, self._count, shown))
        self.pending.clear()

    def take(self, input_: ReuseChecked) -> bool:
        """Return whether the result is that of the check that is under way. It has ended then."""
        if self.requested.get(input_.position) != input_.number:  # none is requested while nothing may start
            return False
        del self.requested[input_.position]
        return True

    def forget(self, positions: Iterable[int]) -> None:
        """Ignore the results for these positions, because they may not begin any more."""
        for position in positions:
            self.pending.discard(position)
            self.requested.pop(position, None)

    def taken(self) -> set[UnitKey]:
        """Return the results of the earlier run that units have taken over. Costs O(units)."""
        units = self._units.units
        states = units.values() if isinstance(units, Mapping) else units
        reused = (unit.flow.reused for unit in states if unit.flow is not None)
        return {each.source for each in reused if each is not None}

    def behind_attempts(self) -> set[int]:
        """Return the steps that depend, at any distance, on one that runs or has run at a provider. O(edges)."""
        units, found = self._units, set[int]()
        ran = [
            resolved.position
            for resolved, step in zip(units.resolved_steps, units.steps, strict=True)
            if resolved.provider is not None and (step.attempt or units.wants_new_attempt(resolved.position))
        ]
        while ran:
            new = [each for each in units.dependants[ran.pop()] if each not in found]
            found.update(new)
            ran += new
        return found
