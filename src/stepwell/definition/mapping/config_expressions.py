"""Evaluates the condition of a step, its repetition, the source of its items, and the expressions in its config.

They read the results of its dependencies, `inputs` and `workflow`; those in its config also read its `item`, and those
of `repeat` the step's own result.

What must hold:
- An expression sees the results of the step's dependencies, and of no other step.
- Only the texts of the config are parsed: no text that an expression has produced, and none of the data.
- A text is built within the work budget, and after its size was checked.
"""

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from math import isfinite
from typing import Any, Final

from msgspec import Struct, json

from stepwell.basics.errors import AttemptError
from stepwell.basics.strict_json.schema_faults import printable_key
from stepwell.basics.strict_json.size import MAX_LEVELS, is_deeper
from stepwell.contract.definition import Repeat
from stepwell.definition.mapping.expressions import NothingFound, compile_expression, value_of
from stepwell.definition.mapping.input_mapping import MAX_MAPPED_BYTES, step_error
from stepwell.definition.mapping.templates import OPENING, RESERVED, ConfigText, TemplateExpression, parse_template
from stepwell.definition.mapping.work_budget import StepResults, WorkBudget, WorkExceeded

REPEAT: Final = "repeat"
_LONGEST_PLACE = 255
_READ_CHARACTERS = 64  # of a text that is searched for expressions, for one unit of work
_EXPRESSION_UNITS = 10  # to find an expression in its text, and to assemble its data


class StepPart(Enum):
    """A part of a step that is evaluated on its own: the source of its items, its condition, or its config with its
    mappings.
    """

    CONFIG = auto()
    CONDITION = auto()
    ITEMS = auto()


class StepExpressions(Struct, frozen=True):
    """The texts of one part of a step that have expressions, and what these may read. A condition is one text.

    `dependencies` are the ids of the steps whose results they see. `own` are further members of their data, encoded:
    `inputs`, `workflow` and `item` as far as they read them, or the members of the step's own result.
    """

    texts: Sequence[ConfigText] = ()
    dependencies: Sequence[str] = ()
    own: Mapping[str, bytes] = {}


def condition_text(condition: str) -> ConfigText:
    """Return the condition as a text that is one whole expression."""
    return ConfigText((), f"{OPENING}{condition}}}", member="when")


def is_true(value: Any) -> bool:
    """Return whether the value of an expression is true by JMESPath's definition, by which 0 is true."""
    return not (value is None or value is False or value in ("", [], {}))


class ExpressionData:
    """The data of a step's expressions, decoded when one reads it. The decoding is charged to *budget*."""

    def __init__(self, expressions: StepExpressions, results: StepResults, budget: WorkBudget) -> None:
        self._steps = [name for name in expressions.dependencies if name not in RESERVED]
        self._known, self._own_names = frozenset(self._steps), expressions.own.keys()
        self._results, self._own = results, StepResults(expressions.own, budget)

    def of(self, names: frozenset[str], *, reads_all: bool) -> dict[str, Any]:
        """Return the data with the members *names*, or with all. Raises `WorkExceeded`."""
        wanted = [*self._steps, *self._own_names] if reads_all else names
        return {name: self._member(name) for name in wanted if name in self._known or name in self._own_names}

    def _member(self, name: str) -> Any:
        return self._results.get(name) if name in self._known else self._own.get(name)


def expression_values(texts: Sequence[ConfigText], data: ExpressionData, budget: WorkBudget) -> tuple[list[Any], int]:
    """Return the value of each text, and about their size together as JSON.

    Raises `AttemptError`, not retryable, for the first expression that fails, and `WorkExceeded`.
    """
    values, size = list[Any](), 0
    for text in texts:
        budget.spend(len(text.text) // _READ_CHARACTERS + 1)
        value, more = _text_value(text, data, budget, MAX_MAPPED_BYTES - size)
        size += more
        if isinstance(value, (list, dict)) and is_deeper(value, MAX_LEVELS - len(text.place)):
            raise step_error(place_label(text), f"the value is nested deeper than {MAX_LEVELS} levels")
        values.append(value)
    return values, size


def place_label(text: ConfigText) -> str:
    """Return how errors name the place of the text."""
    place = ".".join(map(str, (text.member, *text.place)))
    return f"Expression in {printable_key(place[:_LONGEST_PLACE])}"


def _text_value(text: ConfigText, data: ExpressionData, budget: WorkBudget, max_size: int) -> tuple[Any, int]:
    """Return the value of *text* and its size, which must be at most *max_size*."""
    template = parse_template(text.text)
    pieces, size = list[str](), 0
    for part in template.parts:
        if isinstance(part, str):
            pieces.append(part)
            size += len(part)
            continue
        try:
            value = _expression_value(part, data, budget)
            more = budget.spend_value(value)
            budget.spend_encode(more)
        except NothingFound as error:
            raise _failed(text, part, f"can't be evaluated: {error}") from error
        except WorkExceeded as error:
            raise WorkExceeded(f"{_label(text, part)} {error}") from None
        if (size := size + more) > max_size:
            raise _too_large(text)
        if template.is_expression:
            return value, size
        if value is None:
            raise _failed(text, part, "is null, which a text can't hold: correct it, or add a default as in a || 'b'")
        pieces.append(value if isinstance(value, str) else _encoded(text, part, value))
    if size > max_size:
        raise _too_large(text)
    budget.spend_new_text(size)
    return "".join(pieces), size + 2


def _expression_value(expression: TemplateExpression, data: ExpressionData, budget: WorkBudget) -> Any:
    budget.spend(_EXPRESSION_UNITS)
    compiled = compile_expression(expression.text, budget)
    if isinstance(compiled, str):
        raise NothingFound(compiled)
    return value_of(compiled, data.of(compiled.names, reads_all=compiled.reads_all), budget)


def _encoded(text: ConfigText, expression: TemplateExpression, value: Any) -> str:
    try:
        return json.encode(value).decode()
    except (TypeError, ValueError, OverflowError) as error:
        raise _failed(text, expression, "gives a value that JSON can't hold") from error


def _label(text: ConfigText, expression: TemplateExpression) -> str:
    return f"{place_label(text)}: {printable_key(expression.text)}"


def _failed(text: ConfigText, expression: TemplateExpression, why: str) -> AttemptError:
    return step_error(_label(text, expression), why, separator=" ")


def _too_large(text: ConfigText) -> AttemptError:
    return step_error(place_label(text), f"the values for the step's inputs are over {MAX_MAPPED_BYTES:,} bytes")


def repeat_texts(repeat: Repeat) -> list[ConfigText]:
    """Return `until`, and `best` if there is one, each as a text that is one whole expression."""
    named = {"until": repeat.until, "best": repeat.best}
    return [
        ConfigText((name,), f"{OPENING}{expression}}}", member=REPEAT)
        for name, expression in named.items()
        if expression is not None
    ]


def score_of(value: Any) -> float | None:
    """Return the value of `best` as a number; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        score = float(value)
    except OverflowError:
        return None
    return score if isfinite(score) else None
