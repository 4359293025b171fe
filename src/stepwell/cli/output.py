"""The output of commands: results go to stdout, all else to stderr. Also reads the settings of a command."""

import contextlib
import logging
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import TextIO, cast

from stepwell.cli.errors import MISUSED, Refused
from stepwell.cli.keys import credential_faults
from stepwell.definition.provider_descriptors import InvalidProviders
from stepwell.providers.installed_providers import installed_providers
from stepwell.settings import InvalidSettings, Settings, read_settings, unread_settings

# Libraries whose "info" lines are of no use to operators.
_CHATTY = ("uvicorn", "alembic", "mcp")


def print_result(line: str) -> None:
    """Print a line of the result to stdout. A closed pipe is no error. Raises `Refused` for other failures."""
    with contextlib.suppress(BrokenPipeError):
        write_result(line)


def write_result(line: str) -> None:
    """Print a line of the result to stdout. Raises BrokenPipeError, and `Refused` for other failures."""
    try:
        _print(line, sys.stdout)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Refused(f"cannot write to stdout: {error.strerror or error}") from error


def print_message(*lines: str) -> None:
    """Print lines to stderr, after "stepwell: ". Failures are ignored."""
    for line in lines:
        with contextlib.suppress(OSError):
            _print(f"stepwell: {printable(line)}", sys.stderr)


def printable(text: str) -> str:
    """Return *text* without control characters, which a terminal might obey. Others may have chosen the text."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _print(line: str, stream: TextIO) -> None:
    print(line, file=stream, flush=True)


def settings_of(environ: Mapping[str, str], **options: object) -> Settings:
    """Return the settings of a command: the environment's, overridden by its *options*. Raises `Refused`."""
    try:
        providers = installed_providers()
        settings = read_settings(environ, providers, **options)
    except InvalidProviders as error:
        raise Refused(str(error)) from error
    except InvalidSettings as error:
        raise Refused(*error.lines, code=MISUSED) from error
    except RuntimeError as error:  # a user without a home
        raise Refused("STEPWELL_DATA_DIR: Expected a folder: this user has no home for it", code=MISUSED) from error
    if faults := list(credential_faults(settings, providers)):
        raise Refused(*faults, code=MISUSED)
    return settings


def start_logging(settings: Settings, environ: Mapping[str, str], *, quiet: bool = False) -> None:
    """Configure the logs. The default format suits a terminal, if stderr is one. *quiet*: warnings by default."""
    # They would load rich, for tracebacks with local variables (and so secrets) and for its own command line.
    _import_without_rich("structlog", "httpx")
    # This and prometheus_client take 0.04 s of CPU time, which commands without logs save.
    import structlog  # noqa: PLC0415

    from stepwell.runtime.telemetry import configure_logging  # noqa: PLC0415

    format_ = settings.log_format
    if "STEPWELL_LOG_FORMAT" not in environ and sys.stderr.isatty():
        format_ = "console"
    level = "warning" if quiet and "STEPWELL_LOG_LEVEL" not in environ else settings.log_level
    configure_logging(format_, level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
    # asyncio warns of a child process that exits by itself while it is being stopped.
    logging.getLogger("asyncio").addFilter(lambda record: "Unknown child process" not in str(record.msg))
    for name, similar in unread_settings(environ, installed_providers()).items():
        advice = f"did you mean {similar}?" if similar else "remove it; `stepwell manual settings` lists the settings"
        structlog.get_logger().warning("setting.unknown", action="start", name=name, meant=similar, advice=advice)


def _import_without_rich(*modules: str) -> None:
    """Import *modules* without rich and its pygments: 0.1 s of CPU time, and 9 MB in a service.

    A command that has loaded rich for its own output keeps it.
    """
    loaded = cast("dict[str, object]", sys.modules)
    hidden = {"rich", "pygments"} - loaded.keys()
    loaded.update(dict.fromkeys(hidden))  # None is Python's way to let an import fail
    try:
        for module in modules:
            import_module(module)
    finally:
        for name in hidden:
            del loaded[name]


def discard_output() -> None:
    """Discard the output that stdout doesn't accept, because its pipe is closed, or `print_result` has reported why."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
