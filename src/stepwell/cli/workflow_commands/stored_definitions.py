"""`stepwell definitions`: the commands about definitions that are stored by name."""

from collections.abc import Iterable, Sequence
from difflib import unified_diff
from typing import Any

from msgspec import UNSET, json
from rich.console import Group, RenderableType
from rich.text import Text

from stepwell.cli.errors import MISUSED, Refused
from stepwell.cli.examples import find_example
from stepwell.cli.outcome import print_warnings
from stepwell.cli.output import print_message
from stepwell.cli.workflow_commands.command_context import CommandContext
from stepwell.cli.workflow_commands.definition_changes import read_definition, read_labels
from stepwell.cli.workflow_commands.text_tables import counted, plain, table, time_text
from stepwell.client import Forbidden, UnexpectedResponse
from stepwell.client.definition_text import RUN_MEMBERS
from stepwell.contract.stored_definitions import DefinitionPublic, DefinitionSummary
from stepwell.examples import read_examples

_NEWEST = "newest"


def put(context: CommandContext, name: str, data: bytes, *, dry_run: bool) -> None:
    definition = read_definition(data)
    if left_out := [member for member in definition if member in RUN_MEMBERS]:
        print_message(f"left out, because it belongs to a run: {', '.join(left_out)}")
    stored = context.client.put_definition(name, definition, dry_run=dry_run)
    print_warnings([] if stored.warnings is UNSET else stored.warnings)
    context.show(stored, _name_and_version)


def put_example(context: CommandContext, name: str, example: str, *, dry_run: bool) -> None:
    """Store an example, with its description unless the name has one. Raises `Refused`, which lists the examples."""
    source = find_example(example, read_examples())
    content = {key: value for key, value in read_definition(source.text.encode()).items() if key not in RUN_MEMBERS}
    stored = context.client.put_definition(name, content, dry_run=dry_run)
    if stored.description is None and not dry_run:
        context.client.update_definition(name, description=source.description)
    context.show(stored, _name_and_version)


def list_all(context: CommandContext, name: str | None, labels: Sequence[str], *, archived: bool) -> None:
    definitions = context.client.stored_definitions(name, labels=read_labels(labels), archived=archived)
    context.show_each(definitions, _render)


def _find(context: CommandContext, name: str) -> DefinitionPublic:
    """Return the definition that *name* names, which may have a version. Raises `Refused` for a text as version."""
    name, at, version = name.partition("@")
    return context.client.stored_definition(name, _number(version) if at else None)


def find_runnable(context: CommandContext, name: str) -> dict[str, Any]:
    """Return the content that a run of *name* takes; nothing if the token can't read it, or it is archived."""
    try:
        definition = _find(context, name)
    except Forbidden:  # the token may run it nevertheless
        return {}
    except UnexpectedResponse:  # a token with definitions:run reads the form alone
        return {"inputs_schema": context.client.definition_form(name).inputs_schema}
    if "@" not in name and definition.default_version not in (None, definition.version):
        definition = context.client.stored_definition(name, definition.default_version)
    return {} if definition.archived else dict(definition.definition)


def show(context: CommandContext, name: str) -> None:
    definition = _find(context, name)
    context.show(definition, lambda definition: _whole(_lines(definition)))


def compare(context: CommandContext, name: str, old: int, new: int) -> None:
    """Print the difference of the versions *old* and *new* as unified diff. There are no lines if they are equal."""
    before, after = (_lines(context.client.stored_definition(name, each)) for each in (old, new))
    lines = unified_diff(before, after, f"{name}@{old}", f"{name}@{new}", lineterm="")
    context.show([*lines], _whole)


def pin(context: CommandContext, name: str, version: str) -> None:
    change(context, name, default_version=None if version == _NEWEST else _number(version))


def change(context: CommandContext, name: str, **changes: Any) -> None:
    changed = context.client.update_definition(name, **changes)
    context.show(changed, lambda changed: _render([changed]))


def delete(context: CommandContext, name: str, *, yes: bool) -> None:
    versions = context.client.definition_versions(name)
    context.confirm(f"Delete {name} with {counted(len(versions), 'version')}?", yes=yes)
    deleted = context.client.delete_definition(name)
    context.show(deleted, lambda deleted: plain(f"deleted {name} with {counted(deleted.versions, 'version')}"))


def _number(version: str) -> int:
    if not (version.isascii() and version.isdecimal()):
        raise Refused(f"VERSION: Expected a number: {version}", code=MISUSED)
    return int(version)


def _name_and_version(definition: DefinitionPublic) -> RenderableType:
    return plain(f"{definition.name}@{definition.version}")


def _whole(lines: Iterable[str]) -> RenderableType:
    """Return the lines, none of which is folded: a program may read them."""
    return Group(*(Text.assemble(plain(line), no_wrap=True, overflow="ignore") for line in lines))


def _lines(definition: DefinitionPublic) -> list[str]:
    return json.format(json.encode(definition.definition), indent=2).decode().splitlines()


def _render(definitions: Sequence[DefinitionSummary]) -> RenderableType:
    if not definitions:
        return "There are no such definitions."
    rows = [
        (
            each.name,
            each.version,
            each.default_version or _NEWEST,
            each.created_by,
            time_text(each.created_at),
            " ".join(f"{key}={value}" for key, value in each.labels.items()) or None,
            each.description,
        )
        for each in definitions
    ]
    headings = ("NAME", "VERSION", "DEFAULT", "BY", "STORED", "LABELS", "DESCRIPTION")
    return table(*headings, rows=rows, numbers=("VERSION", "DEFAULT"), whole=("NAME", "VERSION"))
