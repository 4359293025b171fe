"""The group of all commands, and the sections in which its help lists them."""

from collections.abc import Mapping, Sequence
from typing import Final

import click

_SECTIONS: Final[Mapping[str, Sequence[str]]] = {
    "Server": ("up", "serve", "worker", "mcp", "health", "token", "sign-out-all", "migrate", "dump", "restore"),
    "Workflows": (),  # all that are in no other section
    "Development": ("example", "manual", "openapi", "bench", "completion"),
}


class CommandGroup(click.Group):
    """A group whose help lists the commands in sections. The section of workflows has the commands over the API."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Write the sections, each with its commands in the order of their declaration."""
        elsewhere = {name for names in _SECTIONS.values() for name in names}
        for title, names in _SECTIONS.items():
            shown = names or [name for name in self.commands if name not in elsewhere]
            rows = [(name, self.commands[name].get_short_help_str(200)) for name in shown]
            with formatter.section(title):
                formatter.write_dl(rows)
