"""Failures that a command reports to its user in clear lines, without a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOSPC

# The exit codes of all commands. 0 is success.
FAILED = 1
MISUSED = 2  # wrong settings or options
REFUSED = 3  # the service refuses the request, or the definition
NOT_FOUND = 4
UNAVAILABLE = 5  # the service doesn't respond, can't now, or is another one
INTERRUPTED = 130  # by Ctrl-C


class Refused(Exception):
    """Ends the command. *lines* go to stderr, *code* is the exit code."""

    def __init__(self, *lines: str, code: int = FAILED) -> None:
        super().__init__("\n".join(lines))
        self.lines, self.code = lines, code


@contextmanager
def os_errors(what: str, advice: str = "", *, code: int = FAILED) -> Iterator[None]:
    """Raise `Refused` for an OSError. *what* begins its message, like "cannot read the file"; *advice* ends it.

    *code* is the exit code, unless the disk is full.
    """
    try:
        yield
    except OSError as error:
        end = f": {advice}" if advice else ""
        ended = FAILED if error.errno == ENOSPC else code
        raise Refused(f"{what}: {error.strerror or error}{end}", code=ended) from error
