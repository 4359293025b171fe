"""The manual names every member of the enums that users see, and every command."""

import re

import pytest
from msgspec.structs import fields

from stepwell.cli.commands import cli
from stepwell.contract.enums import CancelReceipt, OnFailure, ProviderType, TaskType, TransformType, WorkflowStatus
from stepwell.contract.task_configs import CONFIGS, TASK_TYPES
from support.documents.manual import pages

PAGES = pages()
NAMED = {
    "concepts": [*WorkflowStatus, *OnFailure],
    "tasks": [*TaskType, *TransformType],
    "providers": [*ProviderType, *CancelReceipt],
}


def first_cells(page: str) -> set[str]:
    """Return the words in the first cells of the tables of *page*."""
    return {
        word for cell in re.findall(r"^\| (.+?) \|", PAGES[page], re.MULTILINE) for word in re.findall(r"\w+", cell)
    }


@pytest.mark.parametrize(("page", "member"), [(page, member) for page in NAMED for member in NAMED[page]])
def test_a_table_of_the_page_has_a_row_for_each_member(page: str, member: str) -> None:
    assert member in first_cells(page)


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_row_of_a_task_type_names_its_inputs(kind: TaskType) -> None:
    (row,) = [row for row in PAGES["tasks"].splitlines() if re.match(rf"\| ([\w, ]+, )?{kind}\b", row)]
    required, optional = (set(re.findall(r"\b[a-z]\w*", cell)) for cell in row.split(" | ")[1:3])
    names = {field.name for field in fields(CONFIGS[kind])} - {"timeout_s"}
    assert set(TASK_TYPES[kind].inputs) <= required
    assert names <= required | optional


def test_every_command_is_in_the_table_of_commands() -> None:
    listed = re.findall(r"`stepwell ([\w-]+)", PAGES["operations"].partition("\n## stepwell up")[0])
    listed += re.findall(r"^\| `([\w-]+)", PAGES["cli"].partition("<!-- end of table -->")[0], re.MULTILINE)
    assert sorted({*listed}) == sorted(cli.commands)
