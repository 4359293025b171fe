"""Checks the conditions of steps, and the expressions in their configs and sources of items, before any is evaluated.

What must hold:
- In an accepted definition each `${` begins an expression that compiles and whose names are known, or it is escaped.
  So the texts of a stored workflow mean the same in every version that runs it.
- Under lenient handling a faulty expression of a config is escaped, so it stays literal, and a warning names it. A
  faulty condition is always a fault.
- A step depends on each step that its condition, its source of items, or an expression of its config names.
- Only expressions in the config of a step with items read `item`.
- A path into `inputs` or `workflow` that leads to no member only gets a warning: null may be meant.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from msgspec import structs

from stepwell.basics.errors import Fault
from stepwell.basics.spelling import similar_name
from stepwell.basics.strict_json.normalise import Handling
from stepwell.basics.strict_json.schema_faults import Loc, printable_key, printable_place
from stepwell.contract.definition import ForEach, JsonObject, Repeat
from stepwell.contract.enums import WAITS_OF
from stepwell.contract.problems import DefinitionWarning
from stepwell.definition.mapping.expressions import WRITE_A_FIELD, ExpressionCheck, Expressions
from stepwell.definition.mapping.input_mapping import TIMEOUT
from stepwell.definition.mapping.task_configs import NO_PLACES
from stepwell.definition.mapping.templates import (
    ESCAPED,
    INPUTS,
    ITEM,
    MAX_EXPRESSIONS,
    MAX_STEP_CHARACTERS,
    MAX_STEP_EXPRESSIONS,
    OPENING,
    RESERVED,
    WORKFLOW,
    WORKFLOW_MEMBERS,
    ConfigText,
    Template,
    TemplateError,
    TemplateExpression,
    escaped_from,
    evaluated_config,
    has_text,
    parse_template,
    texts_of,
    with_literal,
    with_values,
)
from stepwell.definition.validation.graph import quoted
from stepwell.definition.validation.partial_step import PartialStep
from stepwell.definition.validation.step_rules import OutputRefusal

_MAX_ODD_IDS = 100
_NO_NAMES = frozenset[str]()
_MAX_SEARCHES = 10
_HINT = f"write {ESCAPED} for a literal {OPENING}"
_LONGEST_SHOWN = 100  # characters of an expression in a message
# Mistakes of users who expect another language than JMESPath.
_OPERATOR_WORD = re.compile(r"(?<![\w.'\"])(?:and|or|not)(?![\w.'\"(])")
_OPERATOR_ADVICE = "; JMESPath writes && for and, || for or, and ! for not"
_LITERALS = frozenset({"true", "false", "null"})
_BARE_NUMBER = re.compile(r"[<>=!]=?\s*-?[0-9]")
_ARITHMETIC = re.compile(r"Unknown token [-+/%] ")
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*", re.ASCII)
# An expression that is a path into `inputs` or `workflow`, without a default.
_OWN_PATH = re.compile(r'(inputs|workflow)\.(?:([A-Za-z_]\w*)|"([^"\\]*)")(?:\.\w+|\[\d+\])*', re.ASCII)


class ReadOutput(NamedTuple):
    """A field of a step's result, which an expression at *loc* reads. `from_field` is as in a mapping."""

    step_id: str
    from_field: str
    loc: Loc


class CheckedExpressions(NamedTuple):
    """The expressions of one step. *config* is the step's config with each literal `${` escaped, and *for_each* its
    source of items; None if it is equal.

    *places* are the locations of the strings with expressions, as in `config_faults`. *sources* has the ids of the
    steps that the expressions name, or that have the items, each with the location of the first that does. *evaluates*:
    the step has a condition or items, or a string of its config has expressions or escapes.
    """

    config: JsonObject | None = None
    for_each: ForEach | None = None
    evaluates: bool = False
    places: Mapping[Loc, bool] = NO_PLACES
    sources: dict[str, Loc] = {}  # noqa: RUF012 - never changed
    outputs: Sequence[ReadOutput] = ()
    faults: Sequence[Fault] = ()
    warnings: Sequence[DefinitionWarning] = ()

    @property
    def inputs(self) -> frozenset[str]:
        if not self.places:  # hot path
            return _NO_NAMES
        return frozenset(str(place[4]) for place in self.places if place[3] == "config")


_NO_EXPRESSIONS = CheckedExpressions()


class ExpressionChecks:
    """Checks the expressions of one definition. *ids* are those of its steps, and *inputs* the names of its inputs."""

    def __init__(
        self, ids: Sequence[str | None], inputs: frozenset[str], expressions: Expressions, handling: Handling
    ) -> None:
        self._members = {INPUTS: inputs, WORKFLOW: WORKFLOW_MEMBERS}
        self._all_ids = frozenset(ids)
        self._ids = dict.fromkeys(each for each in ids if each is not None and each not in RESERVED)
        self._odd_ids = [each for each in self._ids if each and not _IDENTIFIER.fullmatch(each)][:_MAX_ODD_IDS]
        self._expressions, self._is_lenient = expressions, handling is Handling.LENIENT
        self._searches = 0

    def of(self, step: PartialStep, position: int) -> CheckedExpressions:
        """Check the condition of the step at *position*, and the expressions in its config."""
        config = evaluated_config(step.task_type, step.config) if step.config else None
        own = config if config and has_text(config, OPENING) else None
        if own is None and step.condition is None and step.repeat is None and step.for_each is None:
            return _NO_EXPRESSIONS
        loc: Loc = ("body", "steps", position)
        findings, changed, for_each = _Findings(waits=step.task_type in WAITS_OF), None, None
        if step.condition is not None:
            self._check_condition(step.condition, (*loc, "when"), findings)
        if step.repeat is not None:
            self._check_repeat(step.repeat, (*loc, "repeat"), findings)
        if step.for_each is not None:
            for_each = self._check_items(step.for_each.valid, (*loc, "for_each"), findings)
            findings.item = step.for_each.valid.as_ or ITEM
        if own is not None:
            changed = self._check_texts(own, (*loc, "config"), findings)
        return CheckedExpressions(
            None if changed is None else {**(step.config or {}), **changed},
            for_each,
            evaluates=True,
            places=findings.places,
            sources=findings.sources,
            outputs=findings.outputs,
            faults=findings.faults,
            warnings=findings.warnings,
        )

    def _check_condition(self, text: str, place: Loc, findings: "_Findings") -> None:
        if (expression := self._whole_expression("A condition", text, place, findings)) is not None:
            self._check_expression(expression, place, findings)

    def _check_repeat(self, repeat: Repeat, loc: Loc, findings: "_Findings") -> None:
        """Check the expressions of *repeat*, which read the result of their own step."""
        for name, text in (("until", repeat.until), ("best", repeat.best)):
            place = (*loc, name)
            if text is None or self._whole_expression(name, text, place, findings) is None:
                continue
            checked = self._expressions.analyse(text)
            if (why := self._fault(text, checked.fault, checked.null_in_result)) is not None:
                findings.faults.append(Fault(place, why, "bad_expression"))

    def _check_items(self, items: ForEach, loc: Loc, findings: "_Findings") -> ForEach | None:
        """Check the source of items. Return it with each literal `${` escaped; None if it is equal."""
        if items.from_step is not None and items.from_step in self._all_ids:
            findings.sources.setdefault(items.from_step, (*loc, "from_step"))
        source = {"items": items.items, "count": items.count}
        changed = self._check_texts(source, loc, findings) if has_text(source, OPENING) else None
        return None if changed is None else structs.replace(items, **changed)

    def _whole_expression(self, what: str, text: str, place: Loc, findings: "_Findings") -> TemplateExpression | None:
        """Return *text* as one whole expression; None if it isn't one, which is a fault."""
        expression = TemplateExpression(text, 0, len(text))
        if text.lstrip().startswith(OPENING):
            message = f"{what} is one whole expression: write it without {OPENING} and }}"
            findings.faults.append(Fault(place, message, "bad_expression"))
            return None
        return expression if self._count([expression], place, findings) else None

    def _check_texts(self, config: Mapping[str, Any], loc: Loc, findings: "_Findings") -> JsonObject | None:
        """Check the texts in *config*. Return it with each literal `${` escaped; None if it is equal."""
        literal = dict[tuple[str | int, ...], str]()
        for number, text in enumerate(texts_of(config), 1):
            if self._expressions.places_left < 0:  # which is a fault already
                break
            place = (*loc, *printable_place(text.place))
            if (changed := self._check(text, place, findings)) != text.text:
                literal[text.place] = changed
            if number > MAX_STEP_EXPRESSIONS or findings.is_full:
                limit = f"{MAX_STEP_EXPRESSIONS:,} expressions, of {MAX_STEP_CHARACTERS:,} characters together"
                findings.faults.append(Fault(loc, f"A step has at most {limit}", "too_many_expressions"))
                break
        return with_values(config, literal) if literal else None

    def _check(self, text: ConfigText, place: Loc, findings: "_Findings") -> str:
        """Check one text. Return it with each literal `${` escaped."""
        if place[3:] == ("config", TIMEOUT) and not findings.waits:
            findings.places[place] = True
            message = f"{TIMEOUT} can't have an expression: it is needed before the step's inputs are known"
            findings.faults.append(Fault(place, message, "bad_expression"))
            return text.text
        literal = text.text
        try:
            template = parse_template(literal)
        except TemplateError as error:
            if not self._count([TemplateExpression("", error.start, error.start)], place, findings):
                return literal
            self._report(findings, place, f"{error}; {_HINT}", "bad_expression")
            if not self._is_lenient:
                findings.places[place] = True
                return literal
            literal = escaped_from(literal, error.start)
            template = parse_template(literal)
        return self._check_template(template, literal, place, findings)

    def _check_template(self, template: Template, literal: str, place: Loc, findings: "_Findings") -> str:
        if not self._count(template.expressions, place, findings):
            return literal
        faulty = [each for each in template.expressions if not self._check_expression(each, place, findings, _HINT)]
        if len(faulty) < len(template.expressions) or (faulty and not self._is_lenient):
            findings.places[place] = template.is_expression
        return with_literal(literal, faulty) if self._is_lenient else literal

    def _count(self, expressions: Sequence[TemplateExpression], place: Loc, findings: "_Findings") -> bool:
        """Count *expressions* for the limits. Return False, and add a fault, if the definition has too many."""
        self._expressions.places_left -= len(expressions)
        if self._expressions.places_left < 0:
            message = f"A definition has at most {MAX_EXPRESSIONS:,} expressions, nested ones included"
            findings.faults.append(Fault(place, message, "too_many_expressions"))
            return False
        findings.count(expressions)
        return True

    def _check_expression(
        self, expression: TemplateExpression, place: Loc, findings: "_Findings", hint: str | None = None
    ) -> bool:
        """Check one expression, and return whether it is valid. It can be escaped if there is a *hint* how."""
        if (refusal := self._refusal(expression, findings)) is not None:
            message, type_ = refusal
            if hint is None:
                findings.faults.append(Fault(place, message, type_))
            else:
                self._report(findings, place, f"{message}; {hint}", type_)
            return False
        self._warn_of_null(expression, place, findings)
        findings.add(self._expressions.analyse(expression.text), place)
        return True

    def _refusal(self, expression: TemplateExpression, findings: "_Findings") -> tuple[str, str] | None:
        """Return message and type of the fault of *expression*; None if it is valid."""
        checked = self._expressions.analyse(expression.text)
        if (why := self._fault(expression.text, checked.fault, checked.null_part)) is not None:
            return why, "bad_expression"
        if ITEM in checked.names and findings.item is None:
            return f"{ITEM} has a value only in the config of a step with for_each", "unknown_step"
        for name in sorted(checked.names - RESERVED):
            if name not in self._ids:
                own = (INPUTS, WORKFLOW) if findings.item is None else (INPUTS, WORKFLOW, ITEM)
                begins = f"{', '.join(f'with {each}' for each in own[:-1])} or with {own[-1]}"
                known = f"An expression begins with the id of a step, {begins}"
                meant = _literal_hint(name, expression.text)
                meant = meant or (f"; the item is {ITEM} in expressions." if name == findings.item else "")
                meant = meant or self._suggestion(name, chain(self._ids, own))
                return f"There is no step {quoted(name)}{meant} {known}", "unknown_step"
        return None

    def _fault(self, text: str, fault: str | None, null_part: str | None) -> str | None:
        """Return the message about the expression *text*, which doesn't compile or has a part that is always null."""
        if fault is None:
            return None if null_part is None else f"{_shortened(text)}: {null_part}"
        why = fault.removesuffix(WRITE_A_FIELD)
        return f"{_shortened(text)}: {why}{self._advice(text, why)}"

    def _suggestion(self, name: str, candidates: Iterable[str]) -> str:
        """Return the end of a sentence about the unknown *name*: a similar one of *candidates*, if there is one."""
        self._searches += 1
        similar = similar_name(name, candidates) if self._searches <= _MAX_SEARCHES else None
        if similar is None:
            return "."
        written = similar if _IDENTIFIER.fullmatch(similar) else f'"{similar}"'
        return f"; did you mean {written}?"

    def _advice(self, text: str, why: str) -> str:
        """Return what to do about an expression that doesn't compile; "" if that is unknown."""
        if (odd := next((each for each in self._odd_ids if each in text), None)) is not None:
            return f"; in an expression the id {quoted(odd)} stands in double quotes"
        if _ARITHMETIC.search(why):
            return "; JMESPath has no arithmetic"
        if _OPERATOR_WORD.search(text):
            return _OPERATOR_ADVICE
        return "; a number stands in backticks, as in a == `1`" if _BARE_NUMBER.search(text) else ""

    def _warn_of_null(self, expression: TemplateExpression, place: Loc, findings: "_Findings") -> None:
        """Add a warning if the expression is a path to a member of `inputs` or `workflow` that doesn't exist."""
        if (path := _OWN_PATH.fullmatch(expression.text)) is None:
            return
        owner, name = path[1], path[2] or path[3]
        if name not in self._members[owner]:
            meant = self._suggestion(name, self._members[owner])
            message = f"{owner} has no {quoted(name)}{meant} The value of {_shortened(expression.text)} is null"
            findings.warnings.append(DefinitionWarning(place, message, "unknown_member"))

    def _report(self, findings: "_Findings", place: Loc, message: str, type_: str) -> None:
        if self._is_lenient:
            findings.warnings.append(DefinitionWarning(place, f"This stays literal. {message}", "literal_expression"))
        else:
            findings.faults.append(Fault(place, message, type_))


class _Findings:
    """The findings about one step: its faults and warnings, and the steps and fields that its expressions read.

    *waits*: the step waits instead of making attempts, so its timeout may have an expression. `item` is the name of the
    input with its item; None unless the expressions that are checked may read an item.
    """

    def __init__(self, *, waits: bool) -> None:
        self.waits = waits
        self.item: str | None = None
        self.places: dict[Loc, bool] = {}
        self.sources: dict[str, Loc] = {}
        self.outputs: list[ReadOutput] = []
        self.faults: list[Fault] = []
        self.warnings: list[DefinitionWarning] = []
        self._number = self._characters = 0

    @property
    def is_full(self) -> bool:
        return self._number > MAX_STEP_EXPRESSIONS or self._characters > MAX_STEP_CHARACTERS

    def count(self, expressions: Sequence[TemplateExpression]) -> None:
        self._number += len(expressions)
        self._characters += sum(len(each.text) for each in expressions)

    def add(self, checked: ExpressionCheck, place: Loc) -> None:
        for name in sorted(checked.names - RESERVED):
            self.sources.setdefault(name, place)
        self.outputs += (ReadOutput(name, field, place) for name, field in checked.reads if name not in RESERVED)


def _literal_hint(name: str, text: str) -> str:
    """Return the end of a sentence about an unknown *name* that is probably meant as a literal; "" if it isn't.

    *text* is the expression.
    """
    if name in _LITERALS:
        return f"; as a value, {name} stands in backticks: `{name}`."
    is_compared = re.search(rf'[<>=!]=?\s*"{re.escape(name)}"(?!\s*[.\[])', text) is not None
    return f"; a text stands in single quotes: '{printable_key(name)}'." if is_compared else ""


def _shortened(expression: str) -> str:
    cut = expression if len(expression) <= _LONGEST_SHOWN else f"{expression[:_LONGEST_SHOWN]}…"
    return printable_key(cut)


def output_faults(
    checked: CheckedExpressions, position_of: Mapping[str, int], refusal: OutputRefusal
) -> Iterator[Fault]:
    """Yield a fault for each member that an expression reads and that no result of its step can have."""
    reported = set[tuple[Loc, str]]()
    for step_id, from_field, loc in checked.outputs:
        absent = refusal(position_of[step_id], from_field)
        if absent is not None and (loc, absent) not in reported:
            reported.add((loc, absent))
            yield Fault(loc, absent, "unknown_output")
