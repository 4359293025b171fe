"""What commands say: results on stdout, everything else on stderr."""

import contextlib
import logging
import os
import sys
from collections.abc import Mapping
from typing import TextIO

import structlog

from stepwell.cli.errors import MISUSED, Refused, os_errors
from stepwell.cli.keys import credential_faults
from stepwell.settings import InvalidSettings, Settings, read_settings, unread_settings
from stepwell.telemetry import configure_logging

log = structlog.get_logger()

# Libraries that tell at "info" what is of no use to whoever runs the service.
_CHATTY = ("uvicorn", "alembic")


def tell(line: str) -> None:
    """Print a line of the result; that nobody reads it is no fault. Raises `Refused` if it can't be written."""
    with os_errors("cannot write to stdout"), contextlib.suppress(BrokenPipeError):
        _print(line, sys.stdout)


def complain(*lines: str) -> None:
    """Print lines about what happens; a command goes on if they can't be written."""
    for line in lines:
        with contextlib.suppress(OSError):
            _print(f"stepwell: {printable(line)}", sys.stderr)


def printable(text: str) -> str:
    """*text* without what a terminal would take as a command; words of others are in it."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _print(line: str, stream: TextIO) -> None:
    print(line, file=stream, flush=True)


def settings_of(environ: Mapping[str, str], **options: object) -> Settings:
    """Settings of a command from the environment, with its *options* on top. Raises `Refused`."""
    try:
        settings = read_settings(environ, **options)
    except InvalidSettings as error:
        raise Refused(*error.lines, code=MISUSED) from error
    except RuntimeError as error:  # a user without a home
        raise Refused("STEPWELL_DATA_DIR: Expected a folder: this user has no home for it", code=MISUSED) from error
    if faults := list(credential_faults(settings)):
        raise Refused(*faults, code=MISUSED)
    return settings


def start_logging(settings: Settings, environ: Mapping[str, str], *, quiet: bool = False) -> None:
    """Logs as configured; where nothing is, in a form for people on a terminal. *quiet*: warnings only."""
    format_ = settings.log_format
    if "STEPWELL_LOG_FORMAT" not in environ and sys.stderr.isatty():
        format_ = "console"
    level = "warning" if quiet and "STEPWELL_LOG_LEVEL" not in environ else settings.log_level
    configure_logging(format_, level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
    # asyncio tells of a worker that ended by itself while it was being ended.
    logging.getLogger("asyncio").addFilter(lambda record: "Unknown child process" not in str(record.msg))
    for name, meant in unread_settings(environ).items():
        log.warning("setting.unknown", action="start", name=name, meant=meant)


def no_more_output() -> None:
    """Drop what stdout doesn't take: nobody reads the pipe, or `tell` has said why."""
    if sys.stdout is None:  # it was closed when the process began
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
