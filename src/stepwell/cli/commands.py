"""Every command with its options.

A command imports its implementation when it runs, so that `--help` is fast.
"""

import os
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import IO, Any, Concatenate, ParamSpec

import click

from stepwell import __version__
from stepwell.bench.loads import Shape, Work
from stepwell.cli.command_group import CommandGroup
from stepwell.cli.errors import FAILED, INTERRUPTED, MISUSED, Refused, os_errors
from stepwell.cli.output import discard_output, print_message, print_result, settings_of, start_logging
from stepwell.cli.signals import Signals
from stepwell.cli.workflow_commands import declarations, definition_declarations  # noqa: F401 - they declare commands
from stepwell.cli.workflow_commands.service_command import CONNECTION, service_commands
from stepwell.contract.scopes import DEFAULT_PERMISSIONS, Permission
from stepwell.settings import Settings

# ruff: noqa: PLC0415 - see above

P = ParamSpec("P")
_DATABASE = ("STEPWELL_DATABASE_URL", "STEPWELL_DATABASE_URL_FILE")
_EPILOG = "Every setting is an environment variable STEPWELL_...; options go over them. See `stepwell manual settings`."

data_dir = click.option("--data-dir", type=click.Path(path_type=Path), help="Data folder [STEPWELL_DATA_DIR].")
host = click.option("--host", help="Address to listen on [STEPWELL_HOST, 127.0.0.1].")
port = click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 takes a free one [STEPWELL_PORT, 9000].")


def run() -> int:
    """Run the command of this process. Returns its exit code."""
    try:
        return cli.main(standalone_mode=False) or 0
    except Refused as refused:
        print_message(*refused.lines)
        return refused.code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    finally:
        discard_output()


def _stoppable(stopped: int) -> Callable[[Callable[Concatenate[Signals, P], int]], Callable[P, int]]:
    """Pass the signals to a command, which they stop in order. *stopped*: its exit code if one preceded its start."""

    def decorate(command: Callable[Concatenate[Signals, P], int]) -> Callable[P, int]:
        @wraps(command)
        def run(*args: P.args, **options: P.kwargs) -> int:
            with Signals() as signals:
                try:
                    return command(signals, *args, **options)
                except KeyboardInterrupt:
                    return stopped

        return run

    return decorate


def _quiet_settings(data_dir: Path | None) -> Settings:
    """Return the settings, and start a log of warnings. The option *data_dir* has priority over the database."""
    environ = {name: value for name, value in os.environ.items() if data_dir is None or name not in _DATABASE}
    settings = settings_of(environ, data_dir=data_dir)
    start_logging(settings, os.environ, quiet=True)
    return settings


@click.group(cls=CommandGroup, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="stepwell", message="%(prog)s %(version)s")
def cli() -> None:
    """Runs workflows of AI-media tasks."""


@cli.command()
@host
@port
@data_dir
@_stoppable(0)
def up(signals: Signals, /, **options: Any) -> int:
    """Run everything embedded: PostgreSQL, the service, a token."""
    settings = settings_of(os.environ, **options)
    start_logging(settings, os.environ)
    from stepwell.cli.up import up

    return up(settings, signals)


@cli.command()
@host
@port
@_stoppable(0)
def serve(signals: Signals, /, **options: Any) -> int:
    """Run the service on a PostgreSQL of yours (STEPWELL_DATABASE_URL)."""
    settings = settings_of(os.environ, **options)
    start_logging(settings, os.environ)
    from stepwell.cli.serve import serve

    return serve(settings, signals)


@cli.command()
@click.option(
    "--concurrency", type=click.IntRange(1, 1_024), help="Steps at once [STEPWELL_MAX_LOCAL_STEPS, the number of CPUs]."
)
@click.option("--queues", help="Queues to take steps from, with commas between them [all of STEPWELL_CELERY_QUEUES].")
def worker(concurrency: int | None, queues: str | None) -> int:
    """Run a Celery worker, which does LOCAL's work for `serve` with STEPWELL_EXECUTOR=celery.

    It needs STEPWELL_CELERY_BROKER_URL and the artifact store of the service, and no database.
    """
    from stepwell.cli.worker import worker

    settings = settings_of(os.environ, executor="celery")
    start_logging(settings, os.environ)
    return worker(settings, concurrency=concurrency, queues=queues)


@cli.command(name="run")
@click.argument("file", type=click.File("rb"))
@data_dir
@_stoppable(INTERRUPTED)
def run_file(signals: Signals, file: IO[bytes], data_dir: Path | None) -> int:
    """Run the definition in FILE ("-" for stdin) to its end on the data folder.

    If `stepwell up` runs on that folder, that `up` runs the definition, with its own settings. Progress goes to stderr.
    The result and the absolute paths of its files go to stdout, as JSON. Exit code 0: it is COMPLETED; 1: it is not;
    3: the definition is not valid; 5: the `up` doesn't respond. Ctrl-C doesn't cancel the workflow: the `up` that runs
    it, or else the next start on the folder, continues it.
    """
    from stepwell.cli.run import run_definition

    settings = settings_of(os.environ, data_dir=data_dir)
    start_logging(settings, os.environ, quiet=True)
    with signals.interrupting():
        data = file.read()
    return run_definition(settings, data, signals)


@cli.command()
@click.argument("name", required=False)
def example(name: str | None) -> None:
    """Print an example: a definition for `run` or the API, or a worker for CUSTOM. Without NAME, list the examples.

    For instance: stepwell example fashion > pipeline.json
    """
    from stepwell.cli.examples import example, examples

    if name is not None:
        print_result(example(name).rstrip("\n"))
        return
    _print_list(examples())


@cli.command()
@click.argument("page", required=False)
def manual(page: str | None) -> None:
    """Print a page of the manual, in Markdown. Without PAGE, list the pages.

    A running service shows the manual at /manual.
    """
    from stepwell.api.routes.manual_pages import PAGES, read_heading, read_page

    if page is None:
        _print_list({name: read_heading(name)[1] for name in PAGES})
        return
    name = page.partition("#")[0].removesuffix(".md")  # a link between pages is like tasks.md#results
    if name not in PAGES:
        raise Refused(f"the manual has no page {page!r}; its pages are {', '.join(PAGES)}", code=MISUSED)
    print_result(read_page(name).rstrip("\n"))


def _print_list(descriptions: Mapping[str, str]) -> None:
    width = max(map(len, descriptions))
    for name, description in descriptions.items():
        print_result(f"{name:<{width}}  {description}")


@cli.command(context_settings={"show_default": True})
@click.option(
    "--shape",
    type=click.Choice([shape.value for shape in Shape]),
    default="chain",
    help="The shape of the workflows: which steps depend on which.",
)
@click.option("--workflows", type=click.IntRange(min=1), default=200, help="The number of workflows.")
@click.option("--steps", type=click.IntRange(1, 10_000), default=20, help="Steps of each workflow.")
@click.option("--concurrency", type=click.IntRange(1, 10_000), default=200, help="Workflows that run at a time.")
@click.option(
    "--payload", type=click.IntRange(0, 1_000_000), default=0, help="The size of each step's result, in bytes."
)
@click.option(
    "--work",
    type=click.Choice([work.value for work in Work]),
    default="nothing",
    help="The work of each step: none, an image by LOCAL, or a wait of a tenth of a second.",
)
@click.option(
    "--image-size",
    type=click.IntRange(16, 4_096),
    default=1024,
    help="The width and height of an image, in pixels. The default is that of LOCAL.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=1,
    help="Processes that run the engine, on one database. The workflows are divided among them.",
)
@click.option(
    "--executor",
    type=click.Choice(["inline", "celery"]),
    default="inline",
    help="Where images are made: by the processes of the engine, or by a Celery worker. Steps that do nothing have no "
    "executor. celery needs STEPWELL_CELERY_BROKER_URL or a Redis server.",
)
@click.option(
    "--workers", type=click.IntRange(1, 64), help="Processes of the Celery worker  [default: the number of CPUs]"
)
@click.option(
    "--api", is_flag=True, help="Post the workflows over HTTP from another process, which polls them until they end."
)
@click.option("--json", "as_json", is_flag=True, help="Also print the report as one line of JSON, at the end.")
@data_dir
@_stoppable(FAILED)
def bench(
    signals: Signals,
    /,
    executor: str,
    workers: int | None,
    data_dir: Path | None,
    shape: str,
    work: str,
    workflows: int,
    concurrency: int,
    steps: int,
    payload: int,
    image_size: int,
    **options: Any,
) -> int:
    """Measure the engine with steps that do nothing, or that make images.

    It uses STEPWELL_DATABASE_URL, or the data folder's PostgreSQL if that isn't set. It works in a new schema,
    which is dropped at the end. A fan is 1 -> n-2 -> 1 steps. A layered workflow is a random graph, the same in each
    run. mixed runs all three shapes.
    """
    from stepwell.bench.loads import Load
    from stepwell.cli.bench import BenchOptions, bench

    if workers is not None and executor != "celery":
        raise Refused("--workers needs --executor celery", code=MISUSED)
    used = (workers or os.cpu_count() or 1) if executor == "celery" else None
    settings = _quiet_settings(data_dir)
    load = Load(Shape(shape), workflows, steps, min(concurrency, workflows), payload, Work(work), image_size)
    return bench(settings, BenchOptions(load, workers=used, **options), signals)


@cli.command()
@click.option("--tenant", help="The tenant that the token is for.")
@click.option(
    "--all-tenants",
    is_flag=True,
    help="Make a token for every tenant. This is the default with the data folder's secret.",
)
@click.option(
    "--scope",
    multiple=True,
    help=f"One of {', '.join(Permission)}. Repeatable  [default: {', '.join(DEFAULT_PERMISSIONS)}]",
)
@click.option(
    "--expires", help="A time like 12h, 15m or 3600 (seconds), at most STEPWELL_JWT_MAX_LIFETIME_S  [default: 30d]"
)
@click.option(
    "--subject", default="stepwell token", show_default=True, help="The name of the token's holder, for the events."
)
@click.option("--origin-instance", help="The origin_instance of definitions without one that are sent with this token.")
@click.option("--definition", multiple=True, help="A definition that the scope definitions:run may run. Repeatable.")
@data_dir
def token(data_dir: Path | None, all_tenants: bool, scope: tuple[str, ...], **claims: Any) -> None:  # noqa: FBT001 - an option
    """Print a token, signed with STEPWELL_JWT_SECRET or else with the data folder's secret.

    Without options it is like the token that `up` writes: for all tenants, to read and write, for 30 days. If
    STEPWELL_JWT_SECRET is set, --tenant or --all-tenants is required.
    """
    from stepwell.cli.tokens import make_token

    settings = settings_of(os.environ, data_dir=data_dir)
    definitions = claims.pop("definition")
    print_result(make_token(settings, every=all_tenants, scopes=scope, definitions=definitions, **claims))


@cli.command()
@data_dir
@_stoppable(FAILED)
def sign_out_all(signals: Signals, data_dir: Path | None) -> int:
    """End all sessions of the web page, and all sign-in URLs.

    It works on STEPWELL_DATABASE_URL, or on the data folder if that isn't set, while the service runs or not. Tokens
    stay valid.
    """
    from stepwell.cli.database_commands import sign_out_all

    return sign_out_all(_quiet_settings(data_dir), signals)


@cli.command()
@click.option("--host", help="Host of the service [STEPWELL_HOST, 127.0.0.1].")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port; 0 is the port of the data folder's `up` [STEPWELL_PORT, 9000]."
)
def health(host: str | None, port: int | None) -> None:
    """Check the service on this machine, at STEPWELL_HOST and STEPWELL_PORT: exit code 0 if it is ready, else 1."""
    from stepwell.cli.health import health

    health(settings_of(os.environ, host=host, port=port))


@cli.command()
@data_dir
@_stoppable(FAILED)
def migrate(signals: Signals, data_dir: Path | None) -> int:
    """Migrate the tables of STEPWELL_DATABASE_URL, or of the data folder if that isn't set."""
    from stepwell.cli.database_commands import migrate

    return migrate(_quiet_settings(data_dir), signals)


@cli.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@data_dir
@_stoppable(FAILED)
def dump(signals: Signals, file: Path, data_dir: Path | None) -> int:
    """Write the database of the data folder to FILE ("-" for stdout), beside a running `up` or alone.

    The dump doesn't contain the files of tasks.
    """
    from stepwell.cli.database_commands import dump

    return dump(_quiet_settings(data_dir), None if str(file) == "-" else file, signals)


@cli.command()
@click.argument("file", type=click.File("rb"))
@data_dir
@_stoppable(FAILED)
def restore(signals: Signals, file: IO[bytes], data_dir: Path | None) -> int:
    """Restore the dump in FILE ("-" for stdin) into the data folder, which must have no database.

    Data of another major version of PostgreSQL are moved aside.
    """
    from stepwell.cli.database_commands import restore

    return restore(_quiet_settings(data_dir), file.fileno(), signals)


@cli.command()
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="The file to write; default: stdout.")
@click.option("--custom-worker", is_flag=True, help="Print the document of the protocol that workers of CUSTOM need.")
def openapi(output: Path | None, custom_worker: bool) -> None:  # noqa: FBT001 - an option
    """Print the OpenAPI document of the service."""
    from msgspec import json

    from stepwell.api.openapi.document import encode
    from stepwell.api.routes.all_routes import openapi_document
    from stepwell.providers.custom.protocol import read_openapi
    from stepwell.providers.installed_providers import installed_providers

    text = read_openapi() if custom_worker else encode(openapi_document([*installed_providers()])).decode()
    document = json.format(text, indent=2)
    if output is None:
        print_result(document)
        return
    with os_errors(f"cannot write {output}"):
        output.write_text(f"{document}\n", encoding="utf-8")


@cli.command(params=list(CONNECTION.values()))
def mcp(**connection: Any) -> None:
    """Let an AI assistant use the service, over stdin and stdout (Model Context Protocol).

    The assistant's program starts it: see `stepwell manual assistant`.
    """
    from stepwell.cli.mcp_stdio import serve_assistant
    from stepwell.cli.workflow_commands.endpoint import ConnectionOptions

    serve_assistant(ConnectionOptions(**connection))


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that completes commands, options and ids in SHELL.

    For bash: echo 'eval "$(stepwell completion bash)"' >> ~/.bashrc
    """
    from stepwell.cli.shell_completion import completion_script

    print_result(completion_script(cli, shell))


for _command in service_commands.commands.values():
    cli.add_command(_command)
