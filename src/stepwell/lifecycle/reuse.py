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
from stepwell.lifecycle.conditions import EngineRequests
from stepwell.lifecycle.effects import CheckReuse
from stepwell.lifecycle.inputs import WaitTerms
from stepwell.lifecycle.model import ReuseRule, UnitKey
from stepwell.lifecycle.units import Units
from stepwell.lifecycle.waits import fingerprint_of


class ReuseChecks(EngineRequests):
    """The units of a run that may take over a result of an earlier one, and the checks that are under way.

    `never` are the positions of steps that run in any case. `decisions` has the terms of the waits that begin unless an
    earlier decision is taken over.
    """

    def __init__(self, units: Units, rule: ReuseRule, never: Iterable[int]) -> None:
        super().__init__(units)
        self.rule = rule
        self.never = frozenset(never) | {
            step.position for step in units.resolved_steps if step.step_id in rule.always_run
        }
        self.decisions: dict[int, WaitTerms] = {}
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
        return self._hold({position for position in positions if self.may_reuse(position)}, positions)

    def hold_decision(self, position: int, kind: WaitKind, terms: WaitTerms) -> bool:
        """Return whether the wait, which would begin now, has to wait for a check. It has if people would decide."""
        if kind is not WaitKind.DECISION or position in self.never:
            return False
        self.decisions[position] = terms
        self.pending.add(position)
        return True

    def _request(self, position: int, number: int) -> CheckReuse:
        terms = self.decisions.get(position)
        return CheckReuse(position, number, None if terms is None else fingerprint_of(terms))

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
