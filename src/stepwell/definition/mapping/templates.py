"""Parses texts with JMESPath expressions: `A photo of ${inputs.thing}`. `$${` stands for a literal `${`.

An expression ends at the brace that closes it: braces in its quotes and pairs of braces belong to it. Parsing takes
time in proportion to the text. It doesn't compile the expressions.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import DecodeError, Struct, json

from stepwell.basics.strict_json.schema_faults import Loc
from stepwell.contract.definition import MAX_FROM_FIELD
from stepwell.contract.enums import TaskType

SUB_DEFINITION: Final = "workflow"  # the member of a config that has the definition of a sub-workflow
SUB_REFERENCE: Final = "definition"  # the member that names a stored definition instead
INPUTS: Final = "inputs"
WORKFLOW: Final = "workflow"
WORKFLOW_MEMBERS: Final = frozenset(["id", "name", "labels", "config"])
ITEM: Final = "item"
RESERVED: Final = frozenset([INPUTS, WORKFLOW, ITEM])
"""The names that never mean a step of that id. `item` has a value only in the config of a step with items."""
OPENING: Final = "${"
ESCAPED: Final = "$" + OPENING
MAX_EXPRESSION: Final = MAX_FROM_FIELD  # characters
MAX_STEP_EXPRESSIONS: Final = 1_000  # in the texts of one step, and so in one text
MAX_STEP_CHARACTERS: Final = 20_000  # of the expressions of one step: the event loop searches them for names
MAX_EXPRESSIONS: Final = 50_000  # in one definition: it takes half a second to check them

_MARK = re.compile(r"\$?\$\{")
_UNESCAPED = re.compile(r"(?<!\$)\$\{")
# A quote that nothing closes reaches to the end, so that no text is searched twice.
_QUOTE = r"""'(?:[^'\\]|\\.)*'?|`(?:[^`\\]|\\.)*`?|"(?P<quoted>(?:[^"\\]|\\.)*)"?"""
_BRACE = re.compile(rf"{_QUOTE}|(?P<brace>[{{}}])", re.DOTALL)
# `[*]` reads the elements of one list, and a bare `*` the values of all data.
_NAME = re.compile(rf"{_QUOTE}|(?P<name>[A-Za-z_]\w*)|\[\s*\*\s*\]|(?P<all>[@*])", re.ASCII | re.DOTALL)


class TemplateError(ValueError):
    """A text isn't a template, because of the `${` at *start*."""

    def __init__(self, start: int, message: str) -> None:
        super().__init__(message)
        self.start = start


class TemplateExpression(Struct, frozen=True, gc=False):
    """An expression of a template. It stands between *start* and *end* of its text, with its braces."""

    text: str
    start: int
    end: int

    def names(self) -> frozenset[str] | None:
        """Return names among which are all members of the data that it reads; None if it may read the data as a whole.

        The expression isn't compiled for that.
        """
        names = set[str]()
        for token in _NAME.finditer(self.text):
            if token["all"] is not None:
                return None
            if (name := token["name"]) is not None:
                names.add(name)
            elif (quoted := token["quoted"]) is not None:
                names.add(_unquoted(quoted))
        return frozenset(names)


class Template(Struct, frozen=True, gc=False):
    """A text as the literal texts and the expressions that it consists of, in order."""

    parts: tuple[str | TemplateExpression, ...]

    @property
    def expressions(self) -> list[TemplateExpression]:
        return [part for part in self.parts if isinstance(part, TemplateExpression)]

    @property
    def is_expression(self) -> bool:
        """True if the text is one whole expression, whose value keeps its type."""
        return len(self.parts) == 1 and isinstance(self.parts[0], TemplateExpression)


class ConfigText(Struct, frozen=True, gc=False):
    """A string that may have expressions, and its place in a *member* of its step."""

    place: tuple[str | int, ...]
    text: str
    member: str = "config"


def parse_template(text: str) -> Template:
    """Return the template that *text* is. Raises `TemplateError`."""
    parts, end, left = list[str | TemplateExpression](), 0, MAX_STEP_EXPRESSIONS
    # A search by the pattern takes 50 ms for a million escapes. Text that replaces them can't become a part of one.
    has_expressions = OPENING in text.replace(ESCAPED, "}")
    while has_expressions and (mark := _UNESCAPED.search(text, end)):
        left -= 1
        if left < 0:
            raise TemplateError(mark.start(), f"A text has at most {MAX_STEP_EXPRESSIONS:,} expressions")
        if literal := text[end : mark.start()]:
            parts.append(literal.replace(ESCAPED, OPENING))
        expression = _expression(text, mark.end())
        end = expression.end
        parts.append(expression)
    literal = text[end:].replace(ESCAPED, OPENING)
    return Template((*parts, literal) if literal or not parts else tuple(parts))


def _expression(text: str, begin: int) -> TemplateExpression:
    """Return the expression at *begin*, behind its opening brace."""
    start, depth = begin - len(OPENING), 0
    for token in _BRACE.finditer(text, begin, begin + MAX_EXPRESSION + 1):
        brace = token["brace"]
        if brace == "{":
            depth += 1
        elif brace == "}" and depth:
            depth -= 1
        elif brace == "}":
            expression = text[begin : token.start()].strip()
            if not expression:
                raise TemplateError(start, "The expression is empty")
            return TemplateExpression(expression, start, token.end())
    if len(text) - begin > MAX_EXPRESSION:
        raise TemplateError(start, f"No }} ends this expression within {MAX_EXPRESSION:,} characters")
    raise TemplateError(start, "No } ends this expression")


def _unquoted(quoted: str) -> str:
    try:
        return json.decode(f'"{quoted}"', type=str)
    except DecodeError:
        return quoted


def escaped_from(text: str, start: int) -> str:
    """Return *text* with each `${` from *start* on escaped."""
    return text[:start] + _MARK.sub(lambda _: ESCAPED, text[start:])


def with_literal(text: str, expressions: Sequence[TemplateExpression]) -> str:
    """Return *text* with these of its expressions as literal texts, and so with each `${` in them escaped."""
    pieces, end = list[str](), 0
    for each in expressions:
        pieces += [text[end : each.start], text[each.start : each.end].replace(OPENING, ESCAPED)]
        end = each.end
    return "".join([*pieces, text[end:]])


def with_literal_texts(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return *config*, whose texts are literal, with each `${` escaped: then it means the same as a template."""
    return with_values(config, {each.place: each.text.replace(OPENING, ESCAPED) for each in texts_of(config)})


def evaluated_config(task_type: TaskType | None, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the members of a step's *config* whose texts the step evaluates.

    A sub-workflow evaluates the texts of its definition.
    """
    if task_type != TaskType.SUBWORKFLOW:
        return config
    return {name: value for name, value in config.items() if name not in (SUB_DEFINITION, SUB_REFERENCE)}


def has_text(config: Mapping[str, Any], part: str) -> bool:
    """Return whether a string in *config*, at any depth, has *part* in it. It builds no places, so it is fast."""
    stack: list[Any] = []
    item: Any = config
    while True:
        for inner in item.values() if type(item) is dict else item:  # hot path: of each step that is created
            kind = type(inner)
            if kind is str:
                if part in inner:
                    return True
            elif kind is dict or kind is list:
                stack.append(inner)
        if not stack:
            return False
        item = stack.pop()


def texts_of(config: Mapping[str, Any]) -> Iterator[ConfigText]:
    """Yield the strings in *config* that have a `${`, escaped or not, in the order of the config."""
    return (ConfigText(place, text) for place, text in strings_of(config) if OPENING in text)


def strings_of(value: Any) -> Iterator[tuple[Loc, str]]:
    """Yield the strings in *value*, each with its place, in the order of the value."""
    stack: list[tuple[Any, Loc]] = [(value, ())]
    while stack:
        item, place = stack.pop()
        if isinstance(item, str):
            yield place, item
        elif isinstance(item, dict | list):
            members = list(item.items() if isinstance(item, dict) else enumerate(item))
            stack += [(inner, (*place, key)) for key, inner in reversed(members)]


def keys_with_opening(value: Any) -> Iterator[tuple[str | int, ...]]:
    """Yield the places of the keys in *value* that have a `${`. A key is always literal."""
    stack: list[tuple[Any, Loc]] = [(value, ())]
    while stack:
        item, place = stack.pop()
        for key, inner in item.items() if type(item) is dict else enumerate(item):  # hot path: of each step
            if type(key) is str and OPENING in key:
                yield (*place, key)
            if type(inner) is dict or type(inner) is list:
                stack.append((inner, (*place, key)))


def with_values(config: Mapping[str, Any], values: Mapping[tuple[str | int, ...], Any]) -> dict[str, Any]:
    """Return *config* with the *values* at their places. What they change is copied, so *config* stays as it is."""
    result = dict(config)
    copies: dict[tuple[str | int, ...], Any] = {(): result}
    for place, value in values.items():
        holder: Any = result
        for depth, key in enumerate(place[:-1], 1):
            inner = copies.get(place[:depth])
            if inner is None:
                original = holder[key]
                inner = copies[place[:depth]] = dict(original) if isinstance(original, dict) else list(original)
                holder[key] = inner
            holder = inner
        holder[place[-1]] = value
    return result
