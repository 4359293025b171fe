"""Finds the steps that a condition may skip. Plans and dry runs show them apart from the others."""

from collections.abc import Collection, Sequence
from graphlib import TopologicalSorter

from stepwell.contract.enums import RunIf
from stepwell.lifecycle.steps import ResolvedStep


def uncertain_steps(plans: Sequence[ResolvedStep], decided: Collection[int] = ()) -> set[int]:
    """Return the positions of the steps that a condition may skip: their own one, or one further up.

    *decided* steps run, or have a result already. The answer doesn't consider failures. Costs O(steps + edges).
    """
    if not any(plan.flow is not None and plan.flow.has_condition for plan in plans):
        return set()
    uncertain = set[int]()
    for position in TopologicalSorter({plan.position: plan.depends_on for plan in plans}).static_order():
        if position not in decided and _is_uncertain(plans[position], uncertain):
            uncertain.add(position)
    return uncertain


def _is_uncertain(plan: ResolvedStep, uncertain: Collection[int]) -> bool:
    if plan.flow is not None and plan.flow.has_condition:
        return True
    match plan.run_if:
        case RunIf.ALL_COMPLETED:
            return any(needed in uncertain for needed in plan.depends_on)
        case RunIf.ANY_COMPLETED:
            return bool(plan.depends_on) and all(needed in uncertain for needed in plan.depends_on)
        case RunIf.ALL_ENDED:
            return False
