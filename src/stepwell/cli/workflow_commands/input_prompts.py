"""Asks for the inputs of a run on a terminal, by the questions of `input_questions`."""

from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any, Final, TypeAlias

import click
from msgspec import UNSET, structs

from stepwell.cli.outcome import fault_line
from stepwell.cli.output import print_message, printable
from stepwell.cli.workflow_commands.input_questions import Kind, Question, faults_of, questions_of, text_of, value_of

_NESTED: Final = (Kind.LIST, Kind.OBJECT)
Upload: TypeAlias = Callable[[Path], str]


def ask_inputs(stored: Mapping[str, Any], preset: Mapping[str, Any], upload: Upload) -> dict[str, Any]:
    """Ask for the inputs of the definition *stored* that *preset* lacks. Return those that differ from the stored ones.

    If *preset* has all that are required, and is not empty, there are no questions. Raises `click.Abort`.
    """
    schema, inputs = stored.get("inputs_schema") or {}, stored.get("inputs") or {}
    questions = [each for each in questions_of(schema, inputs) if each.name not in preset]
    if preset and not any(each.is_required for each in questions):
        return {}
    answers = {}
    for question in questions:
        value = _ask(question, upload)
        while value is not UNSET and (faults := faults_of(schema, question.name, value)):
            print_message(*map(fault_line, faults))
            value = _ask(question, upload)
        if value is not UNSET and not (question.name in inputs and inputs[question.name] == value):
            answers[question.name] = value
    return answers


def _ask(question: Question, upload: Upload) -> Any:
    """Return the value that the user types, or the preset; UNSET for an optional value that the user leaves out."""
    choices = [f"  {number} {text_of(choice)}" for number, choice in enumerate(question.choices, 1)]
    for line in ([question.description] if question.description else []) + choices:
        click.echo(printable(line), err=True)
    if question.kind is Kind.LIST:
        return _ask_list(question, upload)
    if question.kind is Kind.OBJECT:
        if not question.is_required and not _confirm(f"Set {question.title}?", preset=question.preset is not UNSET):
            return UNSET
        values = {each.name: _ask(each, upload) for each in question.parts}
        return {name: value for name, value in values.items() if value is not UNSET}
    empty = None if question.is_required else ""  # with None, an empty line is asked again
    preset = empty if question.preset is UNSET else text_of(question.preset)

    def read(text: str) -> Any:
        try:
            return question.preset if text == preset else _value(question, text, upload)
        except ValueError as error:
            raise click.UsageError(str(error)) from None

    return click.prompt(_label(question, preset), preset, show_default=False, value_proc=read, err=True)


def _value(question: Question, text: str, upload: Upload) -> Any:
    if question.kind is not Kind.FILE:
        return value_of(question, text)
    path = Path(text).expanduser()
    if not path.is_file():
        raise ValueError(f"There is no file {text}")
    return upload(path)


def _ask_list(question: Question, upload: Upload) -> Any:
    preset = question.preset
    if preset is not UNSET and _confirm(f"{question.title} {text_of(preset)}: use this?", preset=True):
        return preset
    values, part = [], question.parts[0]
    for number in count(1):
        item = structs.replace(part, title=f"{question.title} {number}", is_required=part.kind in _NESTED)
        if item.is_required and not _confirm(f"Add {item.title}?", preset=False):
            break
        if (value := _ask(item, upload)) is UNSET:
            break
        values.append(value)
    return values if values or question.is_required else UNSET


def _label(question: Question, preset: str | None) -> str:
    kind = f"{question.media_type} {question.kind}" if question.media_type else question.kind
    title = question.title if question.kind in (Kind.TEXT, Kind.CHOICE) else f"{question.title} ({kind})"
    return printable(f"{title} [{preset}]" if preset else title)


def _confirm(text: str, *, preset: bool) -> bool:
    return click.confirm(printable(text), default=preset, err=True)
