"""Checks and evaluates `from_field`: a name, or a JMESPath expression over a step's result."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from jmespath.parser import ParsedResult

MAX_COPIES = 256
MAX_ENCODES = 2
MAX_GLUE = 32
MAX_TOTAL = 300_000

_PLAIN = re.compile(r"[\w.\- ]+")
_MULTI_SELECTS = ("multi_select_list", "multi_select_dict")


class NothingFound(Exception):
    """The expression gives None, or can't be evaluated over this result."""


def check_expression(from_field: str) -> str | None:
    """Return what is wrong with *from_field*, or None. Letters, digits, `_ - .` and space are always accepted."""
    if _PLAIN.fullmatch(from_field):
        return None
    compiled = _compiled(from_field)
    return compiled if isinstance(compiled, str) else None


class Expressions:
    """Checks the expressions of a definition, each once.

    Compiling takes a second per megabyte, so their size is limited.
    """

    def __init__(self) -> None:
        self._checked: dict[str, str | None] = {}
        self._left = MAX_TOTAL

    def check(self, from_field: str) -> str | None:
        """Return what is wrong with *from_field*, or None."""
        if from_field not in self._checked and not _PLAIN.fullmatch(from_field):
            self._left -= len(from_field)
            if self._left < 0:
                return f"The expressions of one workflow have at most {MAX_TOTAL} characters, the same one counted once"
            self._checked[from_field] = check_expression(from_field)
        return self._checked.get(from_field)


def find(result: Any, from_field: str) -> Any:
    """Return the value at *from_field* in *result*, never None.

    Raises `NothingFound`, whose text says why or is empty.
    """
    plain = _PLAIN.fullmatch(from_field)
    if plain and isinstance(result, dict) and from_field in result:
        value = result[from_field]
    else:
        compiled = _compiled(from_field)
        if isinstance(compiled, str):
            raise NothingFound("" if plain else compiled)
        try:
            value = compiled.search(result)
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
            # JMESPath's own errors are ValueErrors. Its functions raise the others for values that they don't expect.
            # The messages quote the value, which may be long. Their first line names the function.
            raise NothingFound(str(error).partition("\n")[0][:200]) from error
    if value is None:
        raise NothingFound
    return value


@lru_cache(maxsize=1024)
def _compiled(expression: str) -> ParsedResult | str:
    """Return the compiled expression, or what is wrong with it."""
    try:
        compiled = jmespath.compile(expression)
    except JMESPathError as error:
        return f"Not a JMESPath expression: {str(error).partition(chr(10))[0]}"
    except RecursionError:
        return "Not a JMESPath expression: nested too deeply"
    return _misuse(compiled.parsed) or compiled


def _misuse(root: Any) -> str | None:
    """Return why the expression would fail at run time or could make a result too large; None if it can't.

    An expression of 1,000 characters can double a value a hundred times.
    """
    copies, encodes = 1, 0
    for node in _nodes(root):
        if node["type"] in _MULTI_SELECTS:
            copies *= max(1, len(node["children"]))
        elif node["type"] == "function_expression":
            encodes += node["value"] == "to_string"
            fault = _function_fault(node["value"], node["children"])
            if fault:
                return fault
    if copies > MAX_COPIES:
        return f"Builds too much: at most {MAX_COPIES} combinations of the members of all [a, b] and {{a: b}}"
    return f"At most {MAX_ENCODES} to_string()" if encodes > MAX_ENCODES else None


def _nodes(root: Any) -> Iterator[Any]:
    rest = [root]
    while rest:
        node = rest.pop()
        if isinstance(node, dict):
            yield node
            rest.extend(node["children"])


def _function_fault(name: str, arguments: list[Any]) -> str | None:
    function = Functions.FUNCTION_TABLE.get(name)
    if function is None:
        return f"There is no function {name}()"
    signature = function["signature"]
    variadic = bool(signature) and bool(signature[-1].get("variadic"))
    if len(arguments) < len(signature) or (len(arguments) > len(signature) and not variadic):
        return f"{name}() takes {len(signature)}{' or more' if variadic else ''} arguments, got {len(arguments)}"
    if name == "join" and not (arguments[0]["type"] == "literal" and len(str(arguments[0]["value"])) <= MAX_GLUE):
        return f"join() takes a literal of at most {MAX_GLUE} characters to join with"
    return None
