"""`stepwell completion`: the scripts that let a shell complete commands, made by click."""

import click
from click.shell_completion import get_completion_class

_PROGRAM = "stepwell"


def completion_script(cli: click.Command, shell: str) -> str:
    """Return the script for *shell*: bash, zsh or fish."""
    kind = get_completion_class(shell)
    assert kind is not None
    return kind(cli, {}, _PROGRAM, f"_{_PROGRAM.upper()}_COMPLETE").source()
