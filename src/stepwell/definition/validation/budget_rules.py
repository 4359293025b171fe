"""Checks the budget of a definition, beyond the types of its members."""

from collections.abc import Iterator, Mapping
from typing import Any

from stepwell.basics.errors import Fault
from stepwell.basics.strict_json.schema_faults import Loc, printable_key
from stepwell.contract.problems import DefinitionWarning

_PLACE: Loc = ("body", "config", "budget")


class BudgetRules:
    """The rules for the `budget` in *config*. *depth* is the number of the definition's ancestors.

    *currencies* are those of the service's prices; none if it has no price list.
    """

    def __init__(self, config: Mapping[str, Any], depth: int, currencies: frozenset[str]) -> None:
        budget = config.get("budget")
        self._budget = budget if isinstance(budget, dict) else None
        max_cost = None if self._budget is None else self._budget.get("max_cost")
        self._unpriced = sorted(set(max_cost) - currencies) if isinstance(max_cost, dict) else []
        self._depth, self._currencies = depth, currencies

    def faults(self) -> Iterator[Fault]:
        if self._depth or not self._currencies:
            return
        expected = ", ".join(sorted(self._currencies))
        for currency in self._unpriced:
            message = f"No price of this service (STEPWELL_PRICES) has this currency. Expected one of {expected}"
            yield Fault((*_PLACE, "max_cost", printable_key(currency)), message, "unpriced_currency")

    def warnings(self) -> Iterator[DefinitionWarning]:
        if self._budget is not None and self._depth:
            message = "The budget of a sub-workflow has no effect: that of the workflow at the top covers it"
            yield DefinitionWarning(_PLACE, message, "ignored_member")
        elif self._unpriced and not self._currencies:
            message = "This service has no prices (STEPWELL_PRICES), so only costs that providers report count"
            yield DefinitionWarning((*_PLACE, "max_cost"), message, "unpriced_currency")
