"""The declaration of commands over the API. It imports little, because `--help` and the shell's completion load it."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Concatenate, Final

import click

# ruff: noqa: PLC0415 - a command imports its implementation when it runs

if TYPE_CHECKING:
    from stepwell.cli.workflow_commands.command_context import CommandContext

# The options that name the service and the token for it.
CONNECTION: Final[Mapping[str, click.Option]] = {
    "url": click.Option(["--url"], help="Address of the service [STEPWELL_URL]."),
    "token": click.Option(["--token"], help="Token for the service [STEPWELL_TOKEN]."),
    "profile": click.Option(["--profile"], help="The profile of `stepwell login` to use  [default: default]."),
    "data_dir": click.Option(
        ["--data-dir"],
        type=click.Path(path_type=Path),
        help="Use the `stepwell up` on this data folder [STEPWELL_DATA_DIR].",
    ),
}
_JSON = click.Option(["--json", "as_json"], is_flag=True, help="Print JSON: one object, or one in each line.")

_SURROGATE = re.compile("[\ud800-\udfff]")  # stands for a byte of an argument that isn't UTF-8

# The names of the options that all commands have.
SHARED: Final = frozenset({*CONNECTION, "as_json"})

# All commands over the API.
service_commands: Final = click.Group()


class ServiceCommand(click.Command):
    """A command over the API, with the options that all such commands have.

    Its callback gets the `CommandContext` first, then its own options. It returns an exit code; None is 0. `function`
    is that of `lazy_command`.
    """

    function: str | None = None

    def __init__(self, name: str | None, *, connection: Sequence[str], **settings: Any) -> None:
        super().__init__(name, **settings)
        self.connection = connection
        self.params += [*(CONNECTION[each] for each in connection), _JSON]

    def invoke(self, ctx: click.Context) -> Any:
        from stepwell.cli.workflow_commands.command_context import run_command
        from stepwell.cli.workflow_commands.endpoint import ConnectionOptions

        _check_texts(ctx)
        own = dict(ctx.params)
        as_json = own.pop("as_json")
        options = ConnectionOptions(**{name: own.pop(name) for name in self.connection})
        callback = self.callback
        assert callback is not None
        return run_command(options, lambda context: ctx.invoke(callback, context, **own), as_json=as_json)


def _check_texts(context: click.Context) -> None:
    """Raise `click.UsageError` for a text that isn't UTF-8, which no request can contain. Paths of files may be so."""
    for parameter in context.command.params:
        value = context.params[parameter.name or ""]
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str) and _SURROGATE.search(text):
                raise click.BadParameter("Expected UTF-8.", context, parameter)


def service_command(
    name: str, *, connection: Sequence[str] = tuple(CONNECTION), group: click.Group = service_commands
) -> Callable[[Callable[Concatenate["CommandContext", ...], int | None]], ServiceCommand]:
    """Declare the command *name* and add it to *group*. *connection* names the options of the connection."""

    def declare(callback: Callable[Concatenate["CommandContext", ...], int | None]) -> ServiceCommand:
        command = click.command(name, cls=ServiceCommand, connection=connection)(callback)
        group.add_command(command)
        return command

    return declare


def lazy_command(
    name: str, function: str, *, connection: Sequence[str] = tuple(CONNECTION), group: click.Group = service_commands
) -> Callable[[Callable[[], None]], ServiceCommand]:
    """Declare the command *name* and add it to *group*. It calls *function* of this package, like "listings.explain".

    The function gets the `CommandContext`, and the options by their names. Its module is imported when the command
    runs. The docstring of the decorated function is the command's help.
    """

    def declare(described: Callable[[], None]) -> ServiceCommand:
        @wraps(described)
        def call(context: "CommandContext", **options: Any) -> int | None:
            module, member = function.split(".")
            result: int | None = resolve_name(f"{__package__}.{module}:{member}")(context, **options)
            return result

        command = service_command(name, connection=connection, group=group)(call)
        command.function = function
        return command

    return declare


def complete_ids(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Return the short ids that begin with *incomplete*, of the workflows that the command line has shown lately."""
    from stepwell.cli.workflow_commands.recent_workflows import LAST, SHORT, RecentWorkflows, short_id

    ids = RecentWorkflows().recent_ids()
    names = dict.fromkeys([LAST, *map(short_id, ids), *map(str, ids)])
    return [name for name in names if name.startswith(incomplete) and (incomplete or len(name) <= SHORT)]


workflow_id = click.argument("workflow", metavar="ID", shell_complete=complete_ids)
optional_workflow_id = click.argument("workflow", metavar="[ID]", required=False, shell_complete=complete_ids)
workflow_ids = click.argument("workflows", metavar="ID...", nargs=-1, required=True, shell_complete=complete_ids)
