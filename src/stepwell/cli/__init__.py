"""The command line: `stepwell up`, `serve`, `run` and the others.

Each child process of LOCAL imports the module with which the program started, and so this one. So this module imports
nothing else of Stepwell until `main` runs.
"""

import atexit
import os
import sys
import threading
from contextlib import suppress
from typing import NoReturn

INTERRUPTED = 130
_STDERR = 2


def main() -> NoReturn:
    """Run the command that the process was started with, and end the process with the command's exit code."""
    _open_standard_streams()
    try:
        from stepwell.runtime.freed_memory import tune_gc  # noqa: PLC0415 - see above

        tune_gc()
        from stepwell.cli.commands import run  # noqa: PLC0415 - see above

        code = run()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:  # noqa: BLE001 - reported
        _report(error)
        code = 1
    end_process(code)


def _open_standard_streams() -> None:
    """Open those of stdin, stdout and stderr that were closed when the process began. They are empty, and discard.

    Otherwise another file gets the number of a closed one. libuv aborts the process if one of its files does.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(descriptor, True)  # noqa: FBT003 - positional only
    os.close(descriptor)
    sys.stdin = sys.stdin or open(0)  # noqa: SIM115 - it stays open
    sys.stdout = sys.stdout or open(1, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(_STDERR, "w")  # noqa: SIM115


def _report(error: Exception) -> None:
    """Print an unexpected error to stderr: one line, or its traceback if the user wants that."""
    if os.environ.get("STEPWELL_DEBUG"):
        sys.excepthook(type(error), error, error.__traceback__)
        return
    text = "".join(each if each.isprintable() else " " for each in f"{type(error).__name__}: {error}")
    with suppress(OSError):
        sys.stderr.write(f"stepwell: unexpected error: {text} (STEPWELL_DEBUG=1 shows where)\n")


def end_process(code: int) -> NoReturn:
    """End the process as `sys.exit` does, but don't finalise the interpreter.

    obstore's threads hand results to Python. Before 3.14, Python unwinds a thread that does so while the interpreter is
    finalised. The stack of such a thread holds Rust, which can't be unwound, so the whole process would abort.
    """
    # There is no other way to do what Python does first. Executors would wait for ever without it.
    with suppress(KeyboardInterrupt):
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001
    atexit._run_exitfuncs()  # noqa: SLF001
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # a stream may be broken or closed
            stream.flush()
    os._exit(code)
