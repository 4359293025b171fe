"""Checks and evaluates JMESPath expressions: a `from_field` over a step's result, and those in texts of a config,
and the conditions of steps.

A `from_field` may also be the name of a field.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import chain, islice
from typing import Any

from jmespath.exceptions import JMESPathError, JMESPathTypeError, LexerError, ParseError
from jmespath.functions import Functions
from jmespath.parser import Parser
from msgspec import Struct

from stepwell.basics.strict_json.decode import MAX_INT, MIN_INT
from stepwell.contract.definition import MAX_FROM_FIELD
from stepwell.contract.enums import TaskType
from stepwell.definition.mapping import templates
from stepwell.definition.mapping.expression_kinds import infer
from stepwell.definition.mapping.interpreter import evaluate
from stepwell.definition.mapping.work_budget import WorkBudget

MAX_COPIES = 256
MAX_ENCODES = 2
MAX_GLUE = 32
MAX_TOTAL = 300_000
# So many characters of expressions take some two milliseconds to parse.
FEW_CHARACTERS = 1_000

_PLAIN = re.compile(r"[\w.\- ]+")
_MULTI_SELECTS = ("multi_select_list", "multi_select_dict")
_PARSE_UNITS = 4  # for a character
# A syntax tree takes some 200 bytes for each character, so only short expressions are cached.
_LONGEST_CACHED, _MOST_CACHED = 256, 1_024
WRITE_A_FIELD = "; write the name of a field, or correct the expression"  # the end of some faults
_LONGEST_CAUSE = 80  # characters of a message that may contain a part of the expression
_cache: dict[str, "Compiled | str"] = {}
# The nodes that evaluate only their first child over the data. The others are evaluated over what that gives.
_FIRST_CHILD_ONLY = frozenset(
    ["subexpression", "index_expression", "pipe", "projection", "value_projection", "filter_projection", "flatten"]
)


class Compiled(Struct, frozen=True):
    """A compiled expression. `names` are the members of the data that it reads; `reads_all`: it reads all of them."""

    tree: Any
    names: frozenset[str]
    reads_all: bool


class ExpressionCheck(Struct, frozen=True):
    """The fault of an expression, None if it is valid, and the names that it reads, as in `Compiled`.

    `null_part` says which part of a valid expression over the results of all steps is always null. `null_in_result`
    says this of an expression over the result of one step. `reads` is as in `expression_kinds.Inference`.
    """

    fault: str | None
    names: frozenset[str] = frozenset()
    reads_all: bool = False
    null_part: str | None = None
    null_in_result: str | None = None
    reads: tuple[tuple[str, str], ...] = ()


class NothingFound(Exception):
    """The expression gives None, or can't be evaluated over this result."""


def analyse(expression: str) -> ExpressionCheck:
    """Check *expression*, which isn't the name of a field."""
    compiled = compile_expression(expression)
    if isinstance(compiled, str):
        return ExpressionCheck(compiled)
    kinds = infer(compiled.tree)
    in_result = None if kinds.null_part is None else infer(compiled.tree, of_result=True).null_part
    return ExpressionCheck(None, compiled.names, compiled.reads_all, kinds.null_part, in_result, kinds.reads)


class Expressions:
    """Checks the expressions of a definition with those of its sub-workflows, each once.

    The size of all together is limited. `places_left` is the number of places that may still have one.

    *checked* are results of `analyse` that are known already, by expression.
    """

    def __init__(self, checked: Mapping[str, ExpressionCheck] | None = None) -> None:
        self._known, self._seen = dict(checked or {}), set[str]()
        self._left, self.places_left = MAX_TOTAL, templates.MAX_EXPRESSIONS

    def check(self, from_field: str) -> str | None:
        """Return what is wrong with *from_field*, or None. Letters, digits, `_ - .` and space are always accepted."""
        if _PLAIN.fullmatch(from_field):
            return None
        checked = self.analyse(from_field)
        return checked.fault or checked.null_in_result

    def analyse(self, expression: str) -> ExpressionCheck:
        """Check *expression*, which isn't the name of a field."""
        if expression not in self._seen:
            self._left -= len(expression)
            if self._left < 0:
                limit = f"at most {MAX_TOTAL} characters, the same one counted once"
                return ExpressionCheck(f"The expressions of one workflow have {limit}")
            self._seen.add(expression)
        if expression not in self._known:
            self._known[expression] = analyse(expression)
        return self._known[expression]


def expressions_of(body: Any) -> list[str]:
    """Return the expressions that `Expressions` would parse for a definition, each once.

    *body* is decoded JSON that need not be valid. Expressions that are too long for a mapping are left out.
    """
    distinct: dict[str, None] = {}
    left = MAX_TOTAL
    for expression in _all_expressions(body):
        if expression not in distinct and len(expression) <= left:
            left -= len(expression)
            distinct[expression] = None
    return list(distinct)


def _all_expressions(body: Any) -> Iterator[str]:
    for definition in definitions_in(body):
        for from_field in _from_fields(definition):
            if not _PLAIN.fullmatch(from_field):
                yield from_field
    yield from islice(chain.from_iterable(map(_in_steps, definitions_in(body))), templates.MAX_EXPRESSIONS)


def definitions_in(body: Any) -> Iterator[Any]:
    """Yield *body*, and the definitions of sub-workflows in it. None of them need be valid."""
    stack = [body]
    while stack:
        definition = stack.pop()
        yield definition
        for step in list_of(definition, "steps"):
            config = step.get("config") if isinstance(step, dict) else None
            if isinstance(config, dict) and step.get("task_type") == TaskType.SUBWORKFLOW:
                stack.append(config.get(templates.SUB_DEFINITION))


def _in_steps(body: Any) -> Iterator[str]:
    for step in list_of(body, "steps"):
        if not isinstance(step, dict):
            continue
        config, condition = step.get("config"), step.get("when")
        repeat = step.get("repeat")
        of_result = [repeat.get("until"), repeat.get("best")] if isinstance(repeat, dict) else []
        for text in (condition, *of_result):
            if isinstance(text, str) and len(text) <= MAX_FROM_FIELD:
                yield text
        for_each = step.get("for_each")
        source = {name: for_each.get(name) for name in ("items", "count")} if isinstance(for_each, dict) else {}
        if isinstance(config, dict):
            config = templates.evaluated_config(step.get("task_type"), config)
        for part in (source, config):
            if not isinstance(part, dict) or not templates.has_text(part, templates.OPENING):
                continue
            for each in islice(templates.texts_of(part), templates.MAX_STEP_EXPRESSIONS):
                with suppress(templates.TemplateError):
                    yield from (expression.text for expression in templates.parse_template(each.text).expressions)


def _from_fields(body: Any) -> Iterator[str]:
    for step in list_of(body, "steps"):
        for_each = step.get("for_each") if isinstance(step, dict) else None
        for mapping in (*list_of(step, "input_mappings"), for_each):
            from_field = mapping.get("from_field") if isinstance(mapping, dict) else None
            if isinstance(from_field, str) and len(from_field) <= MAX_FROM_FIELD:
                yield from_field


def list_of(value: Any, name: str) -> list[Any]:
    """Return the list that is the member *name* of *value*; an empty one if there is none."""
    members = value.get(name) if isinstance(value, dict) else None
    return members if isinstance(members, list) else []


def find(result: Any, from_field: str, budget: WorkBudget) -> Any:
    """Return the value at *from_field* in *result*, never None.

    Raises `NothingFound`, whose text says why or is empty, and `WorkExceeded`.
    """
    plain = _PLAIN.fullmatch(from_field)
    if plain and isinstance(result, dict) and from_field in result:
        value = result[from_field]
    else:
        compiled = compile_expression(from_field, budget)
        if isinstance(compiled, str):
            raise NothingFound("" if plain else compiled)
        value = value_of(compiled, result, budget)
    if value is None:
        raise NothingFound
    return value


def value_of(compiled: Compiled, data: Any, budget: WorkBudget) -> Any:
    """Return the value of the expression over *data*. Raises `NothingFound` if it has none, and `WorkExceeded`."""
    try:
        return evaluate(compiled.tree, data, budget)
    except JMESPathTypeError as error:
        # Its own text quotes the value, which may be many times as long as the result.
        types = " or ".join(error.expected_types)
        raise NothingFound(f"{error.function_name}() takes {types}, got {error.actual_type}") from None
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        # JMESPath's own errors are ValueErrors. Its functions raise the others for values that they don't expect.
        raise NothingFound(str(error).partition("\n")[0][:200]) from None


def compile_expression(expression: str, budget: WorkBudget | None = None) -> Compiled | str:
    """Return the compiled expression, or what is wrong with it."""
    if (cached := _cache.get(expression)) is not None:
        return cached
    if budget is not None:
        budget.spend(len(expression) * _PARSE_UNITS)
    compiled = _compile(expression)
    if len(expression) <= _LONGEST_CACHED:
        if len(_cache) >= _MOST_CACHED:
            _cache.clear()
        _cache[expression] = compiled
    return compiled


def _syntax_error(error: JMESPathError, expression: str) -> str:
    if isinstance(error, LexerError):
        message = error.message.partition("\n")[0][:_LONGEST_CAUSE]
        return f"{message} at character {error.lexer_position + 1}"
    if isinstance(error, ParseError) and error.lex_position < len(expression):
        return f"unexpected text at character {error.lex_position + 1}"
    return "it ends too early"


def _compile(expression: str) -> Compiled | str:
    try:
        compiled = Parser().parse(expression)
    except JMESPathError as error:
        cause = _syntax_error(error, expression)
        return f"Not a JMESPath expression: {cause}{WRITE_A_FIELD}"
    except RecursionError:
        return "Not a JMESPath expression: nested too deeply"
    finally:
        Parser.purge()  # the parser's own cache bounds the number of trees, and not their size
    return _misuse(compiled.parsed) or Compiled(compiled.parsed, *_reads(compiled.parsed))


def _reads(root: Any) -> tuple[frozenset[str], bool]:
    """Return the names of the data's members that the expression reads, and whether it reads the data as a whole."""
    names, reads_all, rest = set[str](), False, [root]
    while rest:
        node = rest.pop()
        kind = node["type"]
        if kind == "field":
            names.add(node["value"])
        elif kind in ("current", "identity"):
            reads_all = True
        elif kind in _FIRST_CHILD_ONLY:
            rest.append(node["children"][0])
        elif kind != "expref":  # it is applied to elements of an argument
            rest += (child for child in node["children"] if isinstance(child, dict))
    return frozenset(names), reads_all


def _misuse(root: Any) -> str | None:
    """Return why the expression would fail at run time or could make a result too large; None if it can't.

    An expression of 1,000 characters can double a value a hundred times.
    """
    copies, encodes = 1, 0
    for node in _nodes(root):
        if node["type"] in _MULTI_SELECTS:
            copies *= max(1, len(node["children"]))
        elif node["type"] == "literal" and _has_large_integer(node["value"]):
            return "An integer in a literal has at most 64 bits"
        elif node["type"] == "function_expression":
            encodes += node["value"] == "to_string"
            fault = _function_fault(node["value"], node["children"])
            if fault:
                return fault
    if copies > MAX_COPIES:
        return f"Builds too much: at most {MAX_COPIES} combinations of the members of all [a, b] and {{a: b}}"
    return f"At most {MAX_ENCODES} to_string()" if encodes > MAX_ENCODES else None


def _has_large_integer(literal: Any) -> bool:
    """Return whether the literal has an integer that no body and no result may have."""
    stack = [literal]
    while stack:
        match stack.pop():
            case int() as number if not MIN_INT <= number <= MAX_INT:
                return True
            case dict() as members:
                stack += members.values()
            case list() as items:
                stack += items
    return False


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
