"""What a command can't do, for a reason that its user can understand: told in clear lines, without a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

FAILED = 1
MISUSED = 2  # wrong settings or input, the exit code of wrong options too


class Refused(Exception):
    """Ends the command. *lines* go to stderr, *code* is the exit code."""

    def __init__(self, *lines: str, code: int = FAILED) -> None:
        super().__init__("\n".join(lines))
        self.lines, self.code = lines, code


@contextmanager
def os_errors(what: str) -> Iterator[None]:
    """Turn the operating system's refusals into ours: *what* says what couldn't be done."""
    try:
        yield
    except OSError as error:
        raise Refused(f"{what}: {error.strerror or error}") from error
