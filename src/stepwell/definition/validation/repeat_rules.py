"""Validates the member `repeat` of a step. `expression_checks` checks its expressions."""

from collections.abc import Callable, Iterator

from stepwell.basics.errors import Fault
from stepwell.basics.strict_json.schema_faults import Loc
from stepwell.contract.definition import Repeat
from stepwell.contract.enums import WITHOUT_ATTEMPTS
from stepwell.definition.mapping.expressions import Expressions
from stepwell.definition.validation.partial_step import PartialStep


def repeat_faults(
    step: PartialStep, repeat: Repeat, expressions: Expressions, refusal: Callable[[str], str | None], loc: Loc
) -> Iterator[Fault]:
    """Yield the faults of *repeat* of the step at *loc*.

    *refusal* returns why a field can't be in the result of the step; None if it may be.
    """
    if step.task_type in WITHOUT_ATTEMPTS:
        yield Fault((*loc, "repeat"), f"{step.task_type} is never repeated: leave this out", "unused_member")
        return
    for name, expression in (("until", repeat.until), ("best", repeat.best)):
        if expression is not None and (why := _refusal(expression, expressions, refusal)) is not None:
            yield Fault((*loc, "repeat", name), why, "unknown_output")


def _refusal(expression: str, expressions: Expressions, refusal: Callable[[str], str | None]) -> str | None:
    """Return why the expression reads nothing that can be in the result; None if it may."""
    read = expressions.analyse(expression)
    if read.fault is not None or read.reads_all:
        return None
    refusals = [refusal(name) for name in sorted(read.names)]
    return refusals[0] if refusals and None not in refusals else refusal(expression)
