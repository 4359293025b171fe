"""Infers the kind of value that each part of a JMESPath expression gives, before it is evaluated.

So a part that is always null is found, and so is each field of a step's result that the expression reads.
"""

import re
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Any, Final, NamedTuple

from msgspec import Struct, json

from stepwell.definition.mapping.templates import ITEM, WORKFLOW

_LONGEST_NAME: Final = 80
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_NO_MEMBERS: Final = "A text, a number or a boolean has no members, so this is always null"
_NOT_OF_MEMBER: Final = "! binds tighter than the dot, so this is always null; write !(a.b)"
_OF_LIST: Final = "A list has no members by name, so this is always null; [*] reads its elements"
_SCALARS = frozenset(["abs", "avg", "ceil", "contains", "ends_with", "floor", "join", "length", "starts_with", "sum"])
_SCALARS |= {"to_number", "to_string", "type"}
_LISTS = frozenset(["keys", "map", "sort", "sort_by", "to_array", "values"])


class _Type(Enum):
    ANY = auto()
    OBJECT = auto()
    LIST = auto()
    SCALAR = auto()


_ANY, _OBJECT, _LIST, _SCALAR = _Type.ANY, _Type.OBJECT, _Type.LIST, _Type.SCALAR


class _Kind(NamedTuple):
    """The kind of a value. `path` leads from the data to it; None if it is no part of the data.

    `negated`: it comes from `!`.
    """

    type: _Type
    path: tuple[str, ...] | None = None
    negated: bool = False


_UNKNOWN = _Kind(_ANY)
_OF_WORKFLOW: Mapping[str, _Type] = {"id": _SCALAR, "name": _SCALAR, "labels": _OBJECT, "config": _OBJECT}


class Inference(Struct, frozen=True):
    """The findings about one expression.

    `null_part` says which part of it is always null. `reads` are the fields of members of its data that it reads
    without a default, each as the name of the member and a path in it.
    """

    null_part: str | None = None
    reads: tuple[tuple[str, str], ...] = ()


def infer(tree: Any, *, of_result: bool = False) -> Inference:
    """Infer the kinds in a parsed expression.

    Its data is an object of objects: the results of steps, `inputs` and others. With *of_result*, its data is the
    result of one step, which may be anything.
    """
    visitor = _Visitor(of_result=of_result)
    try:
        visitor.visit(tree, _Kind(_ANY if of_result else _OBJECT, ()))
    except RecursionError:  # so many levels can't be evaluated, either
        return Inference()
    return Inference(visitor.null_part, tuple((path[0], _text(path[1:])) for path in visitor.reads))


class _Visitor:
    """Visits the nodes of a tree as they are evaluated, each over *data*. Each method returns the kind of a node."""

    def __init__(self, *, of_result: bool) -> None:
        self._of_result = of_result
        self._defaults = 0  # the number of parts around the present one that have a default
        self.null_part: str | None = None
        self.reads: dict[tuple[str, ...], None] = {}

    def visit(self, node: Any, data: _Kind) -> _Kind:
        return _VISITS[node["type"]](self, node, data)

    def _visit_all(self, nodes: Any, data: _Kind) -> None:
        for node in nodes:
            self.visit(node, data)

    def visit_field(self, node: Any, data: _Kind) -> _Kind:
        name = node["value"]
        if data.type in (_SCALAR, _LIST):
            self._report(_OF_LIST if data.type is _LIST else _NOT_OF_MEMBER if data.negated else _NO_MEMBERS)
        if data.path is None or data.type in (_SCALAR, _LIST):
            return _UNKNOWN
        path = (*data.path, name)
        if self._of_result:
            return _Kind(_ANY, path)
        if not data.path:
            return _UNKNOWN if name == ITEM else _Kind(_OBJECT, path)
        if not self._defaults:
            self.reads.pop(data.path, None)
            self.reads[path] = None
        return _Kind(_OF_WORKFLOW.get(name, _ANY) if data.path == (WORKFLOW,) else _ANY, path)

    def visit_identity(self, _node: Any, data: _Kind) -> _Kind:
        return data

    visit_current = visit_identity

    def visit_literal(self, node: Any, _data: _Kind) -> _Kind:
        value = node["value"]
        return _Kind(_OBJECT if isinstance(value, dict) else _LIST if isinstance(value, list) else _SCALAR)

    def visit_subexpression(self, node: Any, data: _Kind) -> _Kind:
        for child in node["children"]:
            data = self.visit(child, data)
        return data

    visit_pipe = visit_index_expression = visit_key_val_pair = visit_subexpression

    def visit_index(self, node: Any, data: _Kind) -> _Kind:
        self._expect_list(data)
        return _element(data, f"[{node['value']}]")

    def visit_slice(self, _node: Any, data: _Kind) -> _Kind:
        self._expect_list(data)
        return _Kind(_LIST, data.path)

    def visit_flatten(self, node: Any, data: _Kind) -> _Kind:
        of = self.visit(node["children"][0], data)
        self._expect_list(of)
        return _Kind(_LIST, of.path)

    def visit_projection(self, node: Any, data: _Kind) -> _Kind:
        source, *of_elements = node["children"]
        of = self.visit(source, data)
        self._expect_list(of)
        self._visit_all(of_elements, _element(of, "[*]"))
        return _Kind(_LIST)

    visit_filter_projection = visit_projection

    def visit_value_projection(self, node: Any, data: _Kind) -> _Kind:
        source, of_values = node["children"]
        of = self.visit(source, data)
        if of.type in (_SCALAR, _LIST):
            self._report(_OF_LIST if of.type is _LIST else _NO_MEMBERS)
        self.visit(of_values, _UNKNOWN)
        return _Kind(_LIST)

    def visit_multi_select_list(self, node: Any, data: _Kind) -> _Kind:
        self._visit_all(node["children"], data)
        return _Kind(_LIST)

    def visit_multi_select_dict(self, node: Any, data: _Kind) -> _Kind:
        self._visit_all(node["children"], data)
        return _Kind(_OBJECT)

    def visit_comparator(self, node: Any, data: _Kind) -> _Kind:
        self._visit_all(node["children"], data)
        return _Kind(_SCALAR)

    def visit_not_expression(self, node: Any, data: _Kind) -> _Kind:
        self._visit_all(node["children"], data)
        return _Kind(_SCALAR, negated=True)

    def visit_or_expression(self, node: Any, data: _Kind) -> _Kind:
        first, second = node["children"]
        self._defaults += 1
        left = self.visit(first, data)
        self._defaults -= 1
        return _either(left, self.visit(second, data))

    def visit_and_expression(self, node: Any, data: _Kind) -> _Kind:
        left, right = (self.visit(child, data) for child in node["children"])
        return _either(left, right)

    def visit_function_expression(self, node: Any, data: _Kind) -> _Kind:
        name = node["value"]
        self._defaults += name == "not_null"
        self._visit_all(node["children"], data)
        self._defaults -= name == "not_null"
        return _Kind(_SCALAR if name in _SCALARS else _LIST if name in _LISTS else _OBJECT if name == "merge" else _ANY)

    def visit_expref(self, node: Any, _data: _Kind) -> _Kind:
        return self.visit(node["children"][0], _UNKNOWN)  # it is applied to elements of an argument

    def _expect_list(self, value: _Kind) -> None:
        if value.type is _SCALAR:
            self._report(_NO_MEMBERS)
        elif value.type is _OBJECT:
            what = f"'{value.path[0][:_LONGEST_NAME]}'" if value.path and len(value.path) == 1 else "This"
            self._report(f"{what} is an object and no list, so this is always null")

    def _report(self, part: str) -> None:
        self.null_part = self.null_part or part


_VISITS: dict[str, Callable[[_Visitor, Any, _Kind], _Kind]] = {
    name.removeprefix("visit_"): getattr(_Visitor, name) for name in dir(_Visitor) if name.startswith("visit_")
}


def _element(of: _Kind, brackets: str) -> _Kind:
    """Return the kind of an element of *of*."""
    return _Kind(_ANY, None if not of.path else (*of.path, brackets))


def _either(left: _Kind, right: _Kind) -> _Kind:
    return _Kind(left.type if left.type is right.type else _ANY)


def _text(path: tuple[str, ...]) -> str:
    """Return *path* as a mapping writes it."""
    text = ""
    for part in path:
        if part.startswith("["):
            text += part
            continue
        name = part if _IDENTIFIER.fullmatch(part) else json.encode(part).decode()
        text += f".{name}" if text else name
    return text
