"""The output of `stepwell run`: the outcome of the workflow, or the faults of its definition."""

from collections.abc import Iterable
from uuid import UUID

from msgspec import Raw, Struct, json

from stepwell.basics.errors import Fault
from stepwell.cli.errors import FAILED, REFUSED, Refused
from stepwell.cli.output import print_message, print_result
from stepwell.contract.enums import WorkflowStatus
from stepwell.contract.problems import DefinitionWarning, ValidationError, place_text


class RunOutcome(Struct, frozen=True):
    """The outcome of a workflow. `result` is the final step's. `files` are paths, or URLs of files elsewhere."""

    workflow_id: UUID
    status: WorkflowStatus
    result: Raw | None
    errors: tuple[str, ...]
    files: list[str]


def print_outcome(outcome: RunOutcome) -> int:
    """Print *outcome* as JSON, and its errors on stderr as well. Returns the exit code."""
    print_result(json.format(json.encode(outcome), indent=2).decode())
    print_message(*outcome.errors)
    return exit_code_of(outcome.status)


def exit_code_of(status: WorkflowStatus) -> int:
    """Return the exit code of a command that waited for the end of a workflow."""
    return 0 if status is WorkflowStatus.COMPLETED else FAILED


def invalid_definition(faults: Iterable[Fault]) -> Refused:
    """Return the error for a definition that is not valid, with a line for each fault."""
    return Refused("the definition is not valid:", *map(fault_line, faults), code=REFUSED)


def print_warnings(warnings: Iterable[DefinitionWarning]) -> None:
    """Print the warnings of an accepted definition on stderr, a line for each."""
    print_message(*(f"warning: {fault_line(warning)}" for warning in warnings))


def fault_line(item: Fault | DefinitionWarning | ValidationError) -> str:
    """Return the line for a fault or a warning: its place in the definition or the request, and what is wrong."""
    return f"{place_text(item.loc)}: {item.msg}"
