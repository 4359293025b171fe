"""Evaluates a parsed JMESPath expression under a work budget.

`jmespath` bounds nothing: each projection of an expression multiplies the work, and each function may copy, sort or
compare everything that the ones before have produced. This interpreter charges each visit of a node and each produced
element. Functions whose cost isn't that of a visit are charged by the sizes of their arguments.

Source: `jmespath.visitor.TreeInterpreter` and `jmespath.functions`, whose results it keeps.
"""

from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any

from jmespath.exceptions import JMESPathTypeError
from jmespath.functions import TYPES_MAP, Functions, signature
from jmespath.visitor import Options, TreeInterpreter

from stepwell.basics.strict_json.decode import MAX_INT, MIN_INT
from stepwell.definition.mapping.work_budget import WorkBudget

_EQUALITY = ("eq", "ne")


def evaluate(parsed: Any, value: Any, budget: WorkBudget) -> Any:
    """Return the value of the expression. Raises `WorkExceeded`, and what `jmespath` raises."""
    return _Interpreter(budget).visit(parsed, value)


class _Interpreter(TreeInterpreter):
    """An interpreter of JMESPath that charges each visit of a node, and what a node produces without visits."""

    def __init__(self, budget: WorkBudget) -> None:
        super().__init__(Options(custom_functions=_Functions(budget)))
        self._budget = budget

    def visit(self, node: Any, value: Any) -> Any:
        # Without a call of the parent's `visit`, which would take one more frame for each level of an expression, and
        # without one of `spend`, because this is what takes the time of an evaluation. Most nodes are fields.
        budget = self._budget
        budget.spent += 1
        if budget.spent > budget.limit:
            budget.spend(0)
        kind = node["type"]
        if kind == "field":
            return value.get(node["value"]) if isinstance(value, dict) else None
        return _VISITS[kind](self, node, value)

    def visit_flatten(self, node: Any, value: Any) -> Any:
        base = self.visit(node["children"][0], value)
        if not isinstance(base, list):
            return None
        merged: list[Any] = []
        for element in base:
            if isinstance(element, list):
                self._budget.spend_elements(len(element))
                merged.extend(element)
            else:
                self._budget.spend(1)
                merged.append(element)
        return merged

    def visit_slice(self, node: Any, value: Any) -> Any:
        if isinstance(value, list):
            self._budget.spend_elements(len(value))
        return super().visit_slice(node, value)

    def visit_comparator(self, node: Any, value: Any) -> Any:
        left, right = (self.visit(child, value) for child in node["children"])
        operator = node["value"]
        if operator not in _EQUALITY and not (_is_ordered(left) and _is_ordered(right)):
            return None
        _charge_comparison(left, right, self._budget)
        return self.COMPARATOR_FUNC[operator](left, right)


_VISITS: dict[str, Callable[[_Interpreter, Any, Any], Any]] = {
    name.removeprefix("visit_"): getattr(_Interpreter, name) for name in dir(_Interpreter) if name.startswith("visit_")
}


class _Functions(Functions):
    """Charges each call by the sizes of its arguments. What an expression reference visits is charged as visits."""

    def __init__(self, budget: WorkBudget) -> None:
        self._budget = budget

    def call_function(self, function_name: str, resolved_args: Iterable[Any]) -> Any:
        arguments = list(resolved_args)
        for argument in arguments:
            if isinstance(argument, (list, dict)):
                self._budget.spend_elements(len(argument))
            elif isinstance(argument, str):
                self._budget.spend_read_text(len(argument))
        if (charge := _CHARGES.get(function_name)) is not None:
            charge(self._budget, *arguments)
        result = super().call_function(function_name, arguments)
        if type(result) is int and not MIN_INT <= result <= MAX_INT:
            return float(result)  # our JSON has 64 bits at most, and longer integers cost far more work than a unit
        return result

    @signature({"types": ["array"]}, {"types": ["expref"]})
    def _func_sort_by(self, array: list[Any], expref: Any) -> list[Any]:
        if not array:
            return array
        keys = self._keys("sort_by", array, expref)
        _charge_sort(self._budget, keys)
        # Only keys are compared, and the sort is stable, as in `jmespath`.
        return [element for _, element in sorted(zip(keys, array, strict=True), key=itemgetter(0))]

    @signature({"types": ["array"]}, {"types": ["expref"]})
    def _func_min_by(self, array: list[Any], expref: Any) -> Any:
        return self._extreme("min_by", min, array, expref)

    @signature({"types": ["array"]}, {"types": ["expref"]})
    def _func_max_by(self, array: list[Any], expref: Any) -> Any:
        return self._extreme("max_by", max, array, expref)

    def _extreme(self, name: str, choose: Callable[..., Any], array: list[Any], expref: Any) -> Any:
        if not array:
            return None
        keys = self._keys(name, array, expref)
        self._budget.spend_read_text(_text_length(keys))
        return array[choose(range(len(array)), key=keys.__getitem__)]

    def _keys(self, name: str, array: list[Any], expref: Any) -> list[Any]:
        """Return the key of each element. Raises `JMESPathTypeError` for a key that is neither a number nor a text."""
        keys, allowed = list[Any](), ["number", "string"]
        for element in array:
            key = expref.visit(expref.expression, element)
            kind = TYPES_MAP.get(type(key).__name__, "unknown")
            if kind not in allowed:
                raise JMESPathTypeError(name, key, kind, allowed)
            if name == "sort_by":
                allowed = [kind]  # all keys have the type of the first one
            keys.append(key)
        return keys


def _is_ordered(value: Any) -> bool:
    return isinstance(value, (int, float, str)) and not isinstance(value, bool)


def _charge_comparison(left: Any, right: Any, budget: WorkBudget) -> None:
    """Charge for `left == right`. It ends at once for two values of different type or length."""
    if type(left) is not type(right) or not isinstance(left, (str, list, dict)):
        return
    if isinstance(left, str):
        budget.spend_read_text(min(len(left), len(right)))
    elif len(left) == len(right):
        budget.spend_value(left)


def _charge_sort(budget: WorkBudget, keys: list[Any]) -> None:
    """Charge for n log n comparisons of keys that may have a long prefix in common."""
    texts = [len(key) for key in keys if isinstance(key, str)]
    depth = len(keys).bit_length()
    budget.spend_elements(len(keys) * depth)
    budget.spend_read_text(len(texts) * depth * max(texts, default=0))


def _text_length(values: list[Any]) -> int:
    return sum(len(value) for value in values if isinstance(value, str))


def _sort(budget: WorkBudget, array: Any) -> None:
    if isinstance(array, list):
        _charge_sort(budget, array)


def _extremes(budget: WorkBudget, array: Any) -> None:
    if isinstance(array, list):
        budget.spend_read_text(_text_length(array))


def _join(budget: WorkBudget, separator: Any, array: Any) -> None:
    if isinstance(separator, str) and isinstance(array, list):
        budget.spend_new_text(_text_length(array) + len(separator) * len(array))


def _contains(budget: WorkBudget, subject: Any, search: Any) -> None:
    if isinstance(subject, list):
        for element in subject:
            _charge_comparison(search, element, budget)
    elif isinstance(subject, str) and isinstance(search, str):
        # The search is quadratic at worst, as long as the needle is short.
        budget.spend_read_text(len(subject) * min(len(search), 100))


def _merge(budget: WorkBudget, *arguments: Any) -> None:
    for argument in arguments:
        if isinstance(argument, dict):
            budget.spend_read_text(sum(map(len, argument)))  # equal keys are compared


def _new_text(budget: WorkBudget, value: Any) -> None:
    if isinstance(value, str):
        budget.spend_new_text(len(value))


def _to_string(budget: WorkBudget, value: Any) -> None:
    if not isinstance(value, str):
        budget.spend_new_text(budget.spend_value(value))


_CHARGES: dict[str, Callable[..., None]] = {
    "contains": _contains,
    "join": _join,
    "max": _extremes,
    "merge": _merge,
    "min": _extremes,
    "reverse": _new_text,
    "sort": _sort,
    "to_number": _new_text,
    "to_string": _to_string,
}
